"""Fine-tune the model in the package on labelled sentences, by Keras' `fit`.

python recipes/fine_tuning/with_keras.py ../shared/data/tasks/sst2 --output runs/sst2-keras
"""

import keras
from sentences import Options, read, read_options

from robertakit import TFAutoModelForSequenceClassification, embedded

__all__ = ["fine_tune"]


def fine_tune(options: Options) -> tuple[float, float]:
    """Train, save if asked to, and return the accuracy on `dev.tsv` and that of the commonest label."""
    keras.utils.set_random_seed(options.seed)
    train, dev = read(options.data / "train.tsv", options.sentences), read(options.data / "dev.tsv")
    model = TFAutoModelForSequenceClassification.from_pretrained(embedded.folder(), num_labels=2)
    steps = options.epochs * (len(train) // options.batch)
    rate = keras.optimizers.schedules.CosineDecay(
        0.0, steps - steps // 10, warmup_target=options.rate, warmup_steps=steps // 10
    )
    optimizer = keras.optimizers.AdamW(rate, weight_decay=0.01, global_clipnorm=1.0)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss=loss, metrics=["accuracy"], jit_compile=True)
    whole = len(train) // options.batch * options.batch  # one shape: XLA compiles once
    model.fit(train.inputs(slice(whole)), train.labels[:whole], options.batch, options.epochs, verbose=2)
    accuracy = model.evaluate(dev.inputs(), dev.labels, 109, verbose=0, return_dict=True)["accuracy"]
    if options.output is not None:
        model.save_pretrained(options.output)
    return float(accuracy), dev.majority


if __name__ == "__main__":
    accuracy, majority = fine_tune(read_options(__doc__))
    print(f"accuracy {accuracy:.3f}; the commonest label has {majority:.3f}")
