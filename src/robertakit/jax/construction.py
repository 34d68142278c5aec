"""How the parameters of a model come into being: by the architecture's table, from one seed, without a forward pass.

A seed means the same weights in every framework. The draws are NumPy's; inside `jit` they are called back for.
"""

from collections.abc import Mapping
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from robertakit.architecture import Parameter, initial_value
from robertakit.checkpoints.dialects import FLAX
from robertakit.configuration import PretrainedConfig
from robertakit.errors import ArgumentError
from robertakit.jax.contents import Contents, Params

__all__ = ["checked_seed", "drawn", "drawn_value", "filled", "initial_params", "seed_of"]


def checked_seed(seed: object) -> int:
    """Return a seed that is one.

    Raises:
        ArgumentError: no integer from 0 on.
    """
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise ArgumentError(given=f"seed={seed!r}", expected="an integer from 0 on")
    return int(seed)


def seed_of(key_data: object) -> int:
    """Return the seed that a key was made of: `jax.random.key(seed)` has it as its two words.

    Example:
        >>> seed_of(jax.random.key_data(jax.random.key(7)))
        7
    """
    words = np.asarray(key_data).astype(np.uint64).reshape(-1)
    return sum(int(word) << (32 * place) for place, word in enumerate(words[::-1]))


def drawn_value(
    row: Parameter, config: PretrainedConfig, seed: int, dtype: DTypeLike
) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]]:
    """Return the initial value of one parameter in the layout of its kind, in C order."""
    return np.ascontiguousarray(FLAX.layout(row.kind, initial_value(row, config, seed))).astype(dtype)


def drawn(contents: Contents, config: PretrainedConfig, seed: int, dtype: DTypeLike) -> Params:
    """Return the initial parameters of a model."""
    return contents.tree(
        {name: jnp.array(drawn_value(contents.table[name], config, seed, dtype)) for name in contents.paths}
    )


def initial_params(contents: Contents, config: PretrainedConfig, rng: jax.Array, dtype: DTypeLike) -> Params:
    """Return the initial parameters that a key means; also inside `jit`, where each is drawn when it runs."""
    data = jax.random.key_data(rng) if jnp.issubdtype(rng.dtype, jax.dtypes.prng_key) else rng
    if not isinstance(data, jax.core.Tracer):
        return drawn(contents, config, seed_of(data), dtype)

    def value(row: Parameter, words: object) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]]:
        return drawn_value(row, config, seed_of(words), dtype)

    shapes = contents.named(contents.shapes(dtype))
    return contents.tree(
        {
            name: jax.pure_callback(partial(value, contents.table[name]), shape, data)
            for name, shape in shapes.items()
        }
    )


def filled(params: Mapping[str, object], missing: Params) -> Params:
    """Return a tree with what it lacks from another one, as plain dictionaries."""
    result: Params = dict(missing)
    for name, item in params.items():
        other = missing.get(name)
        result[name] = filled(item, other) if isinstance(item, Mapping) and isinstance(other, dict) else item
    return result
