"""The three kinds of layer that all is made of, with the family's settings: where these are said, once.

`dtype` is the one to compute in, as everywhere in Flax; parameters keep theirs. LayerNorm and what is `wide` are
computed in float32 at least.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from robertakit.configuration import RobertaConfig

__all__ = ["dense", "embed", "layer_norm", "wide"]


def dense(config: RobertaConfig, features: int, dtype: DTypeLike, *, use_bias: bool = True) -> nn.Dense:
    """A matrix and a bias: (..., in) to (..., features)."""
    return nn.Dense(
        features,
        use_bias=use_bias,
        dtype=dtype,
        kernel_init=nn.initializers.normal(config.initializer_range),
    )


def embed(
    config: RobertaConfig, rows: int, features: int, dtype: DTypeLike, padding_idx: int | None = None
) -> nn.Embed:
    """A table of (rows, features); the row of padding begins as zeros."""
    draw = nn.initializers.normal(config.initializer_range)

    def table(key: jax.Array, shape: Sequence[int], kind: DTypeLike) -> jax.Array:
        values = draw(key, shape, kind)
        return values if padding_idx is None else values.at[padding_idx].set(0)

    return nn.Embed(rows, features, dtype=dtype, embedding_init=table)


def layer_norm(config: RobertaConfig, dtype: DTypeLike) -> nn.LayerNorm:
    """LayerNorm whose variance is that of the centred values: Flax's short cut loses digits far from 0."""
    return nn.LayerNorm(epsilon=config.layer_norm_eps, dtype=dtype, use_fast_variance=False)


def wide(x: jax.Array) -> jax.Array:
    """Return float32 at least: what softmax and losses are computed in."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))
