"""Three training steps in all three frameworks, from the same weights and batches, give the same losses and weights."""

from types import ModuleType

import numpy as np
import pytest

from robertakit.architecture import HEADS, initial_weights, parameters

for _module in ("torch", "tensorflow", "keras", "jax", "flax"):
    pytest.importorskip(_module)

Arrays = dict[str, np.ndarray]
HEADS_WITH_A_LOSS = [name for name, head in HEADS.items() if head.labels]
#: Of one shape, so that JAX compiles once a head.
BATCHES = ((9, 4, 9, 1), (9, 7, 2, 5), (3, 9, 1, 9))
#: JAX's compiler takes nearly all of the time, and it takes it by the layer. The encoder is one for all heads, so one
#: head in each dtype has the two layers that tell them apart.
ONE_LAYER = {"num_hidden_layers": 1}
DEPTHS = {head: {} if head == "masked-lm" else ONE_LAYER for head in HEADS_WITH_A_LOSS}
#: The recipe of Liu et al. (2019).
RATE, FIRST, SECOND, EPSILON, DECAY = 1e-3, 0.9, 0.98, 1e-6, 0.01


def adamw(
    weights: Arrays, gradients: Arrays, state: dict[str, Arrays], step: int, decays: set[str]
) -> Arrays:
    """One step of AdamW (Loshchilov and Hutter 2019), each tensor in its own dtype."""
    stepped = {}
    for name, value in weights.items():
        gradient = gradients[name].astype(value.dtype)
        mean = state["mean"][name] = FIRST * state["mean"].get(name, 0) + (1 - FIRST) * gradient
        square = state["square"][name] = SECOND * state["square"].get(name, 0) + (1 - SECOND) * gradient**2
        direction = (mean / (1 - FIRST**step)) / (np.sqrt(square / (1 - SECOND**step)) + EPSILON)
        kept = value * (1 - RATE * DECAY) if name in decays else value
        stepped[name] = (kept - RATE * direction).astype(value.dtype)
    return stepped


def trained(
    kind: object, frameworks: ModuleType, head: str, dtype: str, fields: dict[str, object]
) -> tuple[list[float], Arrays]:
    config = frameworks.config_of(head, **fields)
    table = parameters(config, head)
    decays = {name for name, row in table.items() if row.decays}
    generator = np.random.default_rng(5)
    weights = {
        name: (3 * value + 0.1 * generator.standard_normal(value.shape)).astype(dtype)
        for name, value in initial_weights(config, head, 5).items()
    }
    model = make(kind, head, config, dtype)
    losses: list[float] = []
    state: dict[str, Arrays] = {"mean": {}, "square": {}}
    for step, lengths in enumerate(BATCHES, 1):
        kind.assign(model, weights)
        loss, gradients = kind.gradients(model, frameworks.call_of(head, lengths, seed=step))
        losses.append(loss)
        weights = adamw(weights, gradients, state, step, decays)
    return losses, weights


def make(kind: object, head: str, config: object, dtype: str) -> object:
    made = kind.model_class(head, "Roberta")
    if kind.name == "torch":
        import torch

        config.attn_implementation = "eager"
        return made(config).to(getattr(torch, dtype)).eval()
    return made(config, dtype=dtype)


def without_gradient(frameworks: ModuleType, head: str, fields: dict[str, object]) -> set[str]:
    """Tensors that move no loss, such as a key's bias, which shifts all scores of a query alike.

    In float32 their gradient is nothing but rounding, of which Adam makes steps; in float64 its epsilon is above that.
    """
    kind, config = frameworks.ALL["torch"], frameworks.config_of(head, **fields)
    model = make(kind, head, config, "float64")
    kind.assign(model, {n: 3 * v.astype("f8") for n, v in initial_weights(config, head, 5).items()})
    _, gradients = kind.gradients(model, frameworks.call_of(head, BATCHES[0], seed=1))
    return {name for name, gradient in gradients.items() if np.abs(gradient).max() < 1e-12}


#: What float32 adds is the encoder's, and the language models go through it in three ways. Of the other heads
#: `test_frameworks.py` compares the answers in float32, and the test in float64 the gradients, to a billionth.
SLOW = [head for head in HEADS_WITH_A_LOSS if head not in ("masked-lm", "causal-lm")]
CASES = [
    *((head, ONE_LAYER) for head in ("masked-lm", "causal-lm")),
    *(pytest.param(head, ONE_LAYER, marks=pytest.mark.slow) for head in SLOW),
    *(
        (head, ONE_LAYER | {"position_embedding_type": "relative_key_query"})
        for head in ("masked-lm", "causal-lm")
    ),
    ("masked-lm", {"is_decoder": True}),
    ("causal-lm", ONE_LAYER | {"is_decoder": True}),
]


@pytest.mark.parametrize(("head", "fields"), CASES)
def test_three_steps_give_the_same_losses_and_weights(
    frameworks: ModuleType, head: str, fields: dict[str, object]
) -> None:
    found = {
        name: trained(kind, frameworks, head, "float32", fields) for name, kind in frameworks.ALL.items()
    }
    losses, weights = found.pop("torch")
    still = without_gradient(frameworks, head, fields)
    assert len(set(losses)) == 3
    assert len(still) < 6
    for framework, (other_losses, other) in found.items():
        np.testing.assert_allclose(other_losses, losses, rtol=1e-5, err_msg=framework)
        assert other.keys() == weights.keys()
        for name, value in weights.items():
            if name in still:
                continue
            limit = 1e-5 * max(1.0, float(np.abs(value).max()))
            np.testing.assert_allclose(other[name], value, rtol=0, atol=limit, err_msg=f"{framework} {name}")


@pytest.mark.parametrize("head", HEADS_WITH_A_LOSS)
def test_in_float64_they_agree_to_a_billionth(frameworks: ModuleType, head: str) -> None:
    found = {}
    for name, kind in frameworks.ALL.items():
        with kind.precise():
            found[name] = trained(kind, frameworks, head, "float64", DEPTHS[head])
    losses, weights = found.pop("torch")
    for framework, (other_losses, other) in found.items():
        np.testing.assert_allclose(other_losses, losses, rtol=1e-9, err_msg=framework)
        for name, value in weights.items():
            np.testing.assert_allclose(other[name], value, rtol=0, atol=1e-9, err_msg=f"{framework} {name}")


def test_a_row_of_padding_learns_nothing_from_being_looked_up(frameworks: ModuleType) -> None:
    """PyTorch's `padding_idx`: one rule for the three; where the decoder is the embedding, it learns as a word."""
    given, config = (
        frameworks.call_of("token-classification"),
        frameworks.config_of("token-classification", **ONE_LAYER),
    )
    for kind in frameworks.ALL.values():
        model = make(kind, "token-classification", config, "float32")
        _, gradients = kind.gradients(model, given)
        for table in ("word_embeddings", "position_embeddings"):
            gradient = gradients[f"roberta.embeddings.{table}.weight"]
            assert not gradient[1].any()
            assert gradient[5].any()
