"""Attention over sequences that lie end to end: every token is real, none is padding.

Shape letters: T packed tokens, S sequences, H heads, D head width, R rows of the table of relative positions.
"""

import itertools

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from robertakit.torch.relative_positions import relative_scores

__all__ = ["packed_attention"]


def packed_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    cumulative_lengths: Tensor,
    dropout: float = 0.0,
    distances: Tensor | None = None,
    with_keys: bool = False,
) -> Tensor:
    """Let every token attend to the tokens of its own sequence, in both directions.

    Args:
        query: (T, H, D).
        key: (T, H, D).
        value: (T, H, D).
        cumulative_lengths: (S + 1,) integers from 0 to T; sequence s has rows [s] to [s + 1].
        dropout: the probability with which an attention weight is dropped; 0 in inference.
        distances: (R, D) table of relative positions, or None.
        with_keys: whether the keys meet the table too (`relative_key_query`).

    Returns:
        (T, H, D), contiguous.

    Example:
        >>> value = torch.tensor([1.0, 3.0, 5.0]).view(3, 1, 1)
        >>> query = torch.zeros(3, 1, 1)
        >>> packed_attention(query, query, value, torch.tensor([0, 2, 3])).flatten().tolist()
        [2.0, 2.0, 5.0]
    """
    bounds = cumulative_lengths.tolist()
    by_length: dict[int, list[int]] = {}
    for start, stop in itertools.pairwise(bounds):
        by_length.setdefault(stop - start, []).append(start)
    order, pieces = [], []
    for length, starts in by_length.items():
        rows = (torch.tensor(starts)[:, None] + torch.arange(length)).to(query.device)
        q, k, v = (x[rows].transpose(1, 2) for x in (query, key, value))
        bias = None
        if distances is not None:
            bias = relative_scores(q, k, distances, with_keys) * query.shape[-1] ** -0.5
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=bias, dropout_p=dropout)
        order.append(rows.flatten())
        pieces.append(mixed.transpose(1, 2).flatten(0, 1))
    return torch.zeros_like(value).index_copy(0, torch.cat(order), torch.cat(pieces)) if pieces else value
