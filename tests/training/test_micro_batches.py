"""Batches are cut so that nothing is lost, nothing overflows, and every process has as much to do."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robertakit.errors import InputError
from robertakit.training.micro_batches import even_batches, split_batch


@given(
    lengths=st.lists(st.integers(1, 50), min_size=0, max_size=40),
    processes=st.integers(1, 5),
    most=st.integers(1, 200),
)
def test_every_row_is_in_one_micro_batch(lengths: list[int], processes: int, most: int) -> None:
    shares = split_batch(lengths, processes, most)
    assert len(shares) == processes
    assert {len(share) for share in shares} == {len(shares[0])}
    assert len(shares[0]) >= 1
    parts = [part.tolist() for share in shares for part in share]
    assert sorted(row for part in parts for row in part) == list(range(len(lengths)))
    assert all(part == sorted(part) for part in parts)
    longest = max(lengths, default=1)
    assert all(sum(lengths[row] for row in part) <= max(most, longest) for part in parts)


@given(lengths=st.lists(st.integers(8, 512), min_size=64, max_size=200), processes=st.integers(1, 4))
def test_processes_have_about_as_many_tokens(lengths: list[int], processes: int) -> None:
    totals = [
        sum(lengths[row] for part in share for row in part) for share in split_batch(lengths, processes, 2048)
    ]
    assert max(totals) - min(totals) <= 512 * len(split_batch(lengths, processes, 2048)[0])


def test_few_micro_batches() -> None:
    """As many as the tokens ask for, or one more where rows do not fit so tightly."""
    lengths = np.random.default_rng(0).integers(8, 512, 1000)
    wanted = -(-int(lengths.sum()) // 4096)
    assert wanted <= len(split_batch(lengths, 1, 4096)[0]) <= wanted + 2


@given(rows=st.integers(1, 500), size=st.integers(1, 100))
def test_batches_are_even(rows: int, size: int) -> None:
    sizes = np.diff(even_batches(rows, size))
    assert sizes.sum() == rows
    assert sizes.min() >= 1
    assert sizes.max() - sizes.min() <= 1
    assert len(sizes) == 1 or size / 2 <= sizes.mean() <= size * 1.5


def test_an_epoch_without_rows_is_refused() -> None:
    with pytest.raises(InputError, match="without rows"):
        even_batches(0, 4)
