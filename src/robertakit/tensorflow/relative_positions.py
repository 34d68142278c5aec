"""Relative positions in attention scores: distances between queries and keys as rows of a table.

Shape letters: B batch, L queries, K keys, H heads, D head width, R relative distances (2P - 1 for P positions).
"""

import tensorflow as tf

__all__ = ["relative_scores"]


def relative_scores(query: tf.Tensor, key: tf.Tensor, table: tf.Tensor, with_keys: bool) -> tf.Tensor:
    """Return what relative positions add to the scores; linear in the query, and in the key that meets the table.

    `relative_key` (Shaw et al. 2018) adds query · E[distance]; `relative_key_query` (Huang et al. 2020, method 4)
    adds key · E[distance] as well.

    Args:
        query: (B, H, L, D), the last L of K positions: the earlier ones may lie in a cache.
        key: (B, H, K, D).
        table: (R, D); row (R - 1) / 2 is distance 0.
        with_keys: whether the keys meet the table too.

    Returns:
        (B, H, L, K).

    Example:
        >>> query, key = tf.ones((1, 1, 1, 2)), tf.ones((1, 1, 2, 2))
        >>> relative_scores(query, key, tf.constant([[0.0, 0.0], [1.0, 0.0], [3.0, 0.0]]), False).numpy().tolist()
        [[[[3.0, 1.0]]]]
    """
    queries, keys = tf.shape(query)[2], tf.shape(key)[2]
    position = tf.range(keys)
    distance = position[keys - queries :, None] - position[None, :]
    rows = distance + (table.shape[0] - 1) // 2
    met = tf.cast(tf.gather(table, rows), query.dtype)  # (L, K, D)
    added = tf.einsum("bhld,lkd->bhlk", query, met)
    return added + tf.einsum("bhkd,lkd->bhlk", key, met) if with_keys else added
