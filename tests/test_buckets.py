"""Buckets: every token once, sequences apart, few shapes, little padding."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robertakit.batch import Batch, Encoding, plan
from robertakit.buckets import ROW_LENGTHS, buckets, padded_count, row_lengths

LONGEST = 512


def lengths_of(count: int, seed: int = 0) -> list[int]:
    """The stream of benchmarks/torch_workload.py: log-normal, median 50, sigma 0.9, clipped to 8 to 512 tokens."""
    drawn = np.random.default_rng(seed).lognormal(np.log(50), 0.9, count)
    return [int(n) for n in np.clip(np.rint(drawn), 8, 512)]


def batch_of(lengths: list[int], types: bool = False) -> Batch:
    generator = np.random.default_rng(0)
    return Batch.from_encodings(
        [
            Encoding(generator.integers(3, 50, n), generator.integers(0, 2, n) if types else None)
            for n in lengths
        ],
        padding_idx=1,
    )


@given(
    st.lists(st.integers(0, 40), max_size=60),
    st.sampled_from([40, 64, 512]),
    st.sampled_from([40, 100, 1024]),
)
def test_each_token_stands_once_beside_its_own_sequence_alone(
    lengths: list[int], longest: int, tokens: int
) -> None:
    batch = batch_of(lengths, types=True)
    sequence_of = np.repeat(np.arange(len(lengths)), lengths)
    seen: list[int] = []
    for call in buckets(batch, 1, longest, tokens):
        rows, length = call.shape
        assert rows * length <= max(tokens, length)
        assert length in row_lengths(longest)
        for name in ("input_ids", "token_type_ids", "position_ids"):
            array = getattr(call, name)
            assert array.shape == call.shape
            np.testing.assert_array_equal(array.flat[call.flat], getattr(batch, name)[call.packed])
        empty = np.delete(np.arange(rows * length), call.flat)
        assert not call.sequence_ids.flat[empty].any()
        assert not call.token_type_ids.flat[empty].any()
        assert (call.input_ids.flat[empty] == 1).all()
        assert (call.position_ids.flat[empty] == 1).all()
        row, own = call.flat // length, call.sequence_ids.flat[call.flat]
        names = {(r, n): set() for r, n in zip(row, own, strict=True)}
        for r, n, s in zip(row, own, sequence_of[call.packed], strict=True):
            names[r, n].add(int(s))
        assert all(len(sequences) == 1 for sequences in names.values())  # one sequence under one name
        assert len(names) == len(set.union(*names.values()))  # and one name for it
        for sequence in set.union(*names.values()):
            place = call.flat[sequence_of[call.packed] == sequence]
            assert (np.diff(place) == 1).all()  # in its order, for relative positions
        seen += call.packed.tolist()
    assert sorted(seen) == list(range(sum(lengths)))


def test_a_short_text_alone_has_a_short_row() -> None:
    shapes = [[c.shape for c in buckets(batch_of([n]), 1, LONGEST, 1024)] for n in (1, 32, 33, 130, 400, 512)]
    assert shapes == [[(1, 32)], [(1, 32)], [(1, 64)], [(1, 192)], [(1, 512)], [(1, 512)]]


def test_nothing_gives_no_call() -> None:
    assert [*buckets(batch_of([]), 1, LONGEST, 1024), *buckets(batch_of([0, 0]), 1, LONGEST, 1024)] == []


@pytest.mark.parametrize(("tokens", "budget", "most"), [(1024, 2048, 12), (8192, 16_384, 23)])
def test_a_stream_of_mixed_lengths_has_few_shapes_and_little_padding(
    tokens: int, budget: int, most: int
) -> None:
    """Both bounds are of the ladder; what is reached is in docs/decisions.md."""
    shapes, computed, real = set(), 0, 0
    for seed in range(4):
        lengths = lengths_of(1024, seed)
        for members in plan(lengths, budget):
            for call in buckets(batch_of([lengths[i] for i in members]), 1, LONGEST, tokens):
                shapes.add(call.shape)
                computed += call.input_ids.size
                real += len(call.packed)
    assert len(shapes) <= most
    assert computed / real < 1.15
    for first in range(0, 1024, 32):  # as they come
        shapes |= {c.shape for c in buckets(batch_of(lengths[first : first + 32]), 1, LONGEST, tokens)}
    for length in range(1, 513, 7):  # one at a time
        shapes |= {c.shape for c in buckets(batch_of([length]), 1, LONGEST, tokens)}
    assert len(shapes) <= most


def test_row_lengths_end_with_the_longest_input() -> None:
    assert row_lengths(512) == ROW_LENGTHS
    assert row_lengths(38) == (32, 38)
    assert row_lengths(20) == (20,)
    assert row_lengths(1000) == (*ROW_LENGTHS, 1000)


def test_heads_get_few_counts_of_rows() -> None:
    counts = {padded_count(rows) for rows in range(1, 4000)}
    assert sorted(counts) == [8, 16, 32, 64, 128, 256, 512]
    assert all(rows <= padded_count(rows) < max(9, 2 * rows) for rows in range(1, 513))
