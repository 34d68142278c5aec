"""Relative positions in attention scores: distances between queries and keys as rows of a table.

Shape letters: B batch, L queries, K keys, H heads, D head width, R relative distances (2P - 1 for P positions).
"""

import jax
import jax.numpy as jnp

__all__ = ["relative_scores"]


def relative_scores(
    query: jax.Array, key: jax.Array, table: jax.Array, with_keys: bool, first: int | jax.Array = 0
) -> jax.Array:
    """Return what relative positions add to the scores before they are scaled.

    `relative_key` (Shaw et al. 2018) adds query · E[distance]; `relative_key_query` (Huang et al. 2020, method 4)
    adds key · E[distance] as well.

    Args:
        query: (B, L, H, D).
        key: (B, K, H, D), of the positions from 0 on.
        table: (R, D); row (R - 1) / 2 is distance 0.
        with_keys: whether the keys meet the table too.
        first: position of the first query: earlier ones may lie in a cache.

    Returns:
        (B, H, L, K).

    Example:
        >>> query, key = jnp.ones((1, 1, 1, 2)), jnp.ones((1, 2, 1, 2))
        >>> table = jnp.array([[0.0, 0.0], [1.0, 0.0], [3.0, 0.0]])
        >>> relative_scores(query, key, table, False, first=1).tolist()
        [[[[3.0, 1.0]]]]
    """
    distance = first + jnp.arange(query.shape[1])[:, None] - jnp.arange(key.shape[1])[None, :]
    met = table[distance + (table.shape[0] - 1) // 2]  # (L, K, D)
    added = jnp.einsum("blhd,lkd->bhlk", query, met)
    return added + jnp.einsum("bkhd,lkd->bhlk", key, met) if with_keys else added
