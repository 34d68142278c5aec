"""Packed attention against each sequence alone."""

import itertools

import pytest
import torch

from robertakit.torch.packed_attention import packed_attention
from robertakit.torch.relative_positions import relative_scores

LENGTHS = [3, 7, 0, 3, 1, 5]


def drawn(lengths, heads=2, width=4, dtype=torch.float64):
    """Query, key, value (T, H, D) and cumulative lengths (S + 1,)."""
    generator = torch.Generator().manual_seed(0)
    shape = (3, sum(lengths), heads, width)
    rows = torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)
    return (*rows, torch.tensor([0, *lengths]).cumsum(0))


def alone(query, key, value, distances=None, with_keys=False):
    """One sequence, written out."""
    q, k, v = (x.transpose(0, 1)[None] for x in (query, key, value))
    scores = q @ k.mT
    if distances is not None:
        scores = scores + relative_scores(q, k, distances, with_keys)
    return (torch.softmax(scores * query.shape[-1] ** -0.5, -1) @ v)[0].transpose(0, 1)


@pytest.mark.parametrize("way", ["absolute", "relative_key", "relative_key_query"])
def test_a_sequence_equals_itself_alone(way):
    query, key, value, bounds = drawn(LENGTHS)
    table = None if way == "absolute" else torch.randn(41, 4, dtype=torch.float64)
    with_keys = way == "relative_key_query"
    packed = packed_attention(query, key, value, bounds, distances=table, with_keys=with_keys)
    assert packed.is_contiguous()
    for start, stop in itertools.pairwise(bounds):
        rows = slice(int(start), int(stop))
        expected = alone(query[rows], key[rows], value[rows], table, with_keys)
        torch.testing.assert_close(packed[rows], expected, rtol=0, atol=1e-12)
