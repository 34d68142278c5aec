"""JAX models of every head with weights wide enough for mistakes to show, and calls of them."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from models import SIZES, config_of, ragged, wide_weights  # ``tests/models.py``, which the fixture has loaded

import robertakit.jax
from robertakit.architecture import HEADS
from robertakit.checkpoints.dialects import FLAX

#: Real tokens of each row.
LENGTHS = (9, 4, 9, 1)

sizes = SIZES
lengths = LENGTHS
weights = wide_weights


def build(
    head: str, family: str = "Roberta", *, seed: int = 5, dtype: object = np.float32, **fields: Any
) -> Any:
    """A model; with float64 inside `jax.enable_x64(True)` alone."""
    config = config_of(head, family, **fields)
    kind = getattr(robertakit.jax, f"Flax{family}{HEADS[head].class_suffix}")
    model = kind(config, dtype=dtype, _do_init=False)
    wide = np.float64 if dtype == np.float64 else np.float32
    model.params = model.contents.tree(
        {
            name: jnp.asarray(FLAX.layout(model.contents.table[name].kind, value), wide)
            for name, value in wide_weights(config, head, seed).items()
        }
    )
    return model


def call(head: str, lengths: tuple[int, ...] = LENGTHS, **how: Any) -> dict[str, np.ndarray]:
    """`models.ragged`, in JAX's integers."""
    return {name: value.astype(np.int32) for name, value in ragged(head, lengths, **how).items()}


def compiled(model: Any, *ids: Any, **given: Any) -> Any:
    """The call as one program: a fifth of the time to compile, where no other test shares the single operations."""
    return jax.jit(lambda params: model(*ids, **given, params=params))(model.params)


def gradients(loss: Callable[[Any], Any], params: Any) -> Any:
    """`jax.grad` of a function of the parameters, as one program."""
    return jax.jit(jax.grad(loss))(params)
