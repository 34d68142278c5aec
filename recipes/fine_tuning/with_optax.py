"""Fine-tune the model in the package on labelled sentences, by a loop with optax.

python recipes/fine_tuning/with_optax.py ../shared/data/tasks/sst2 --output runs/sst2-optax
"""

import jax
import numpy as np
import optax
from flax.traverse_util import path_aware_map
from sentences import Options, Sentences, read, read_options

from robertakit import FlaxAutoModelForSequenceClassification, embedded

__all__ = ["fine_tune"]


def fine_tune(options: Options) -> tuple[float, float]:
    """Train, save if asked to, and return the accuracy on `dev.tsv` and that of the commonest label."""
    train, dev = read(options.data / "train.tsv", options.sentences), read(options.data / "dev.tsv")
    model = FlaxAutoModelForSequenceClassification.from_pretrained(
        embedded.folder(), num_labels=2, seed=options.seed
    )
    steps = options.epochs * (len(train) // options.batch)
    rate = optax.warmup_cosine_decay_schedule(0.0, options.rate, steps // 10, steps)
    optimizer = optax.chain(
        optax.clip_by_global_norm(1.0), optax.adamw(rate, weight_decay=0.01, mask=decayed)
    )

    def loss_of(params: object, inputs: dict[str, jax.Array], labels: jax.Array, key: jax.Array) -> jax.Array:
        return model(**inputs, labels=labels, params=params, dropout_rng=key, train=True).loss

    @jax.jit
    def step(params, state, inputs, labels, key):
        loss, gradients = jax.value_and_grad(loss_of)(params, inputs, labels, key)
        updates, state = optimizer.update(gradients, state, params)
        return optax.apply_updates(params, updates), state, loss

    params, state = model.params, optimizer.init(model.params)
    key, order = jax.random.key(options.seed), np.random.default_rng(options.seed)
    for epoch in range(options.epochs):
        losses = []
        for rows in batches(order.permutation(len(train)), options.batch):
            key, drop = jax.random.split(key)
            params, state, loss = step(params, state, train.inputs(rows), train.labels[rows], drop)
            losses.append(loss)
        print(f"epoch {epoch + 1} of {options.epochs}: loss {np.mean(losses):.4f}", flush=True)
    model.params = params
    if options.output is not None:
        model.save_pretrained(options.output)
    return accuracy_of(model, dev), dev.majority


def decayed(params: object) -> object:
    """Which parameters decay: matrices and embeddings, no bias and no LayerNorm."""
    return path_aware_map(lambda path, _: path[-1] in ("kernel", "embedding"), params)


def batches(order: np.ndarray, size: int) -> list[np.ndarray]:
    """Whole batches, so that every step has one shape; what is left over comes in another epoch."""
    return [order[first : first + size] for first in range(0, len(order) - size + 1, size)]


def accuracy_of(model: object, sentences: Sentences, size: int = 109) -> float:
    """Share of the labels that the model gives; 872 sentences are eight batches of 109."""
    call = jax.jit(lambda params, inputs: model(**inputs, params=params).logits.argmax(-1))
    parts = [slice(first, first + size) for first in range(0, len(sentences), size)]
    found = np.concatenate([call(model.params, sentences.inputs(rows)) for rows in parts])
    return float((found == sentences.labels).mean())


if __name__ == "__main__":
    accuracy, majority = fine_tune(read_options(__doc__))
    print(f"accuracy {accuracy:.3f}; the commonest label has {majority:.3f}")
