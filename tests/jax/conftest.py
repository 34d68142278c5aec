"""Small models that the tests of `jax/` share. Where Flax is not installed, none of these tests is collected."""

import importlib.util
import os
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

if importlib.util.find_spec("flax") is None:
    collect_ignore_glob = ["test_*.py"]

# What runs once need not be compiled well: that saves a third of the time of these tests. Benchmarks and
# `tests/test_frameworks*` compile as JAX always does, where they run in a process of their own.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
if "jax" in sys.modules:
    sys.modules["jax"].config.update("jax_disable_most_optimizations", True)

SIZES = {
    "vocab_size": 61, "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 37,
    "max_position_embeddings": 40, "type_vocab_size": 2, "pad_token_id": 1,
}  # fmt: skip
#: Real tokens of each row.
LENGTHS = (9, 4, 9, 1)


class Models:
    """Models of every head with weights wide enough for mistakes to show, and calls of them."""

    sizes = SIZES
    lengths = LENGTHS

    @staticmethod
    def weights(config: Any, head: str, seed: int = 5) -> dict[str, np.ndarray]:
        """New weights, ten times wider than by default; biases and scales are moved, too."""
        from robertakit.architecture import initial_weights

        generator = np.random.default_rng(seed)
        return {
            name: (
                (10 if value.ndim > 1 else 1) * value + 0.2 * generator.standard_normal(value.shape)
            ).astype(np.float32)
            for name, value in initial_weights(config, head, seed).items()
        }

    @classmethod
    def build(
        cls, head: str, family: str = "Roberta", *, seed: int = 5, dtype: object = np.float32, **fields: Any
    ) -> Any:
        """A model; with float64 inside `jax.enable_x64(True)` alone."""
        import jax.numpy as jnp

        import robertakit.jax
        from robertakit.architecture import HEADS
        from robertakit.checkpoints.dialects import FLAX
        from robertakit.configuration import RobertaConfig, XLMRobertaConfig

        labels = {"sequence-classification": 3, "token-classification": 5}.get(head, 2)
        make = {"Roberta": RobertaConfig, "XLMRoberta": XLMRobertaConfig}[family]
        config = make(**({**cls.sizes, "num_labels": labels} | fields))
        kind = getattr(robertakit.jax, f"Flax{family}{HEADS[head].class_suffix}")
        model = kind(config, dtype=dtype, _do_init=False)
        drawn = cls.weights(config, head, seed)
        wide = np.float64 if dtype == np.float64 else np.float32
        model.params = model.contents.tree(
            {
                name: jnp.asarray(FLAX.layout(model.contents.table[name].kind, value), wide)
                for name, value in drawn.items()
            }
        )
        return model

    @classmethod
    def call(
        cls,
        head: str,
        lengths: tuple[int, ...] = LENGTHS,
        *,
        left: bool = False,
        seed: int = 0,
        labels: bool = False,
    ) -> dict[str, np.ndarray]:
        """Arguments of a call: padded ids with their mask, and labels on real tokens; choices come in pairs."""
        generator = np.random.default_rng(seed)
        longest = max(lengths)
        ids = np.full((len(lengths), longest), 1)
        for row, length in enumerate(lengths):
            where = slice(longest - length, longest) if left else slice(0, length)
            ids[row, where] = generator.integers(3, cls.sizes["vocab_size"], length)
        mask = (ids != 1).astype(np.int32)
        types = generator.integers(0, 2, ids.shape)
        given = {
            "input_ids": ids.astype(np.int32),
            "attention_mask": mask,
            "token_type_ids": types.astype(np.int32),
        }
        if head == "multiple-choice":
            given = {name: np.stack([value, np.roll(value, 1, 0)], 1) for name, value in given.items()}
        return given | (_labels(head, ids, mask, generator) if labels else {})


def _labels(
    head: str, ids: np.ndarray, mask: np.ndarray, generator: np.random.Generator
) -> dict[str, np.ndarray]:
    if head in ("masked-lm", "causal-lm"):
        return {"labels": np.where((mask == 1) & (generator.random(ids.shape) < 0.5), ids, -100)}
    if head == "token-classification":
        return {"labels": np.where(mask == 1, generator.integers(0, 5, ids.shape), -100)}
    if head in ("sequence-classification", "multiple-choice"):
        return {"labels": generator.integers(0, 3 if head == "sequence-classification" else 2, len(ids))}
    if head == "question-answering":
        places = [generator.integers(0, mask.sum(1)) for _ in range(2)]
        return dict(zip(("start_positions", "end_positions"), places, strict=True))
    return {}


@pytest.fixture(scope="session")
def models() -> type[Models]:
    """Models of every head, and calls of them."""
    return Models


@pytest.fixture
def tiny() -> Callable[..., Any]:
    """``tiny(**fields)``: a small configuration."""
    from robertakit.configuration import RobertaConfig

    return lambda **fields: RobertaConfig(**(SIZES | fields))
