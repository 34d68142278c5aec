"""Small models that the tests of `jax/` share. Where Flax is not installed, none of these tests is collected."""

import importlib.util
import os
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from models import SIZES, config_of, ragged, wide_weights

from robertakit.configuration import RobertaConfig

if importlib.util.find_spec("flax") is None:
    collect_ignore_glob = ["test_*.py"]

# What runs once need not be compiled well: that saves a third of the time of these tests. Benchmarks and
# `tests/test_frameworks*` compile as JAX always does, where they run in a process of their own.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
if "jax" in sys.modules:
    sys.modules["jax"].config.update("jax_disable_most_optimizations", True)

#: Real tokens of each row.
LENGTHS = (9, 4, 9, 1)


class Models:
    """Models of every head with weights wide enough for mistakes to show, and calls of them."""

    sizes = SIZES
    lengths = LENGTHS

    weights = staticmethod(wide_weights)

    @classmethod
    def build(
        cls, head: str, family: str = "Roberta", *, seed: int = 5, dtype: object = np.float32, **fields: Any
    ) -> Any:
        """A model; with float64 inside `jax.enable_x64(True)` alone."""
        import jax.numpy as jnp

        import robertakit.jax
        from robertakit.architecture import HEADS
        from robertakit.checkpoints.dialects import FLAX

        config = config_of(head, family, **fields)
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
    def call(cls, head: str, lengths: tuple[int, ...] = LENGTHS, **how: Any) -> dict[str, np.ndarray]:
        """`models.ragged`, in JAX's integers."""
        return {name: value.astype(np.int32) for name, value in ragged(head, lengths, **how).items()}


@pytest.fixture(scope="session")
def models() -> type[Models]:
    """Models of every head, and calls of them."""
    return Models


@pytest.fixture
def tiny() -> Callable[..., Any]:
    """``tiny(**fields)``: a small configuration."""
    return lambda **fields: RobertaConfig(**(SIZES | fields))
