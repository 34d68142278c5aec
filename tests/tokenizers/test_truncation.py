"""Truncation as arithmetic."""

import itertools

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from robertakit.errors import ArgumentError, InputError
from robertakit.tokenizers.truncation import (
    TruncationStrategy,
    cut,
    head,
    overflow,
    truncation_strategy,
    windows,
)

LONGEST = TruncationStrategy.LONGEST_FIRST
NUMBERS = st.integers(0, 30)


@given(
    length=NUMBERS,
    room=st.integers(1, 12),
    stride=st.integers(0, 11),
    side=st.sampled_from(["left", "right"]),
)
def test_windows_cover_all_and_share_the_stride(length: int, room: int, stride: int, side: str) -> None:
    assume(stride < room)
    spans = [span for (span,) in windows(cut((length,), room, LONGEST, stride=stride, side=side))]
    assert (spans[0],) == head(cut((length,), room, LONGEST, stride=stride, side=side))
    assert {place for start, stop in spans for place in range(start, stop)} == set(range(length))
    ordered = spans if side == "right" else spans[::-1]
    assert ordered[0].start == 0
    assert ordered[-1].stop == length
    for earlier, later in itertools.pairwise(spans):
        shared = earlier.stop - later.start if side == "right" else later.stop - earlier.start
        assert shared == stride
    assert all(stop - start <= room for start, stop in spans)


def one_by_one(first: int, second: int, room: int) -> tuple[int, int]:
    """The reference by its own words: take tokens off the longer text, one at a time; at a tie off the second."""
    while first + second > room:
        if first > second:
            first -= 1
        else:
            second -= 1
    return first, second


@given(first=NUMBERS, second=NUMBERS, room=st.integers(1, 40))
def test_longest_first_takes_one_by_one(first: int, second: int, room: int) -> None:
    kept = cut((first, second), room, LONGEST).kept
    assert kept == one_by_one(first, second, room)
    legacy = cut((first, second), room, LONGEST, odd_to_longer=True).kept
    assert sum(legacy) == sum(kept)
    assert {*legacy} == {*kept}
    if kept[0] != kept[1] and min(kept) < min(first, second):
        assert (legacy[0] > legacy[1]) == (first > second)


def test_both_cut_in_the_order_of_the_reference() -> None:
    found = windows(cut((5, 5), 5, LONGEST, stride=1, odd_to_longer=True))
    firsts, seconds = [(0, 2), (1, 3), (2, 4), (3, 5)], [(0, 3), (2, 5)]
    later = [(first, second) for first in firsts[1:] for second in seconds]
    assert [tuple(map(tuple, pair)) for pair in found] == [
        (firsts[0], seconds[0]),
        *later,
        (firsts[0], seconds[1]),
    ]


def test_overflow() -> None:
    one = cut((5,), 3, LONGEST, stride=1)
    assert overflow(one, [[10, 11, 12, 13, 14]]) == [12, 13, 14]
    left = cut((5,), 3, LONGEST, stride=1, side="left")
    assert overflow(left, [[10, 11, 12, 13, 14]]) == [10, 11, 12]
    second = cut((2, 5), 5, TruncationStrategy.ONLY_SECOND)
    assert overflow(second, [[1, 2], [10, 11, 12, 13, 14]]) == [13, 14]
    assert overflow(cut((5, 5), 5, LONGEST), [[1] * 5, [2] * 5]) == []
    assert overflow(cut((5,), None, LONGEST), [[1] * 5]) == []


@pytest.mark.parametrize(
    ("lengths", "room", "strategy", "stride"),
    [
        ((5,), 0, LONGEST, 0),
        ((5, 3), 3, TruncationStrategy.ONLY_FIRST, 0),
        ((5, 3), 0, LONGEST, 0),
        ((5,), 3, LONGEST, 3),
        ((5, 5), 6, LONGEST, 3),
    ],
)
def test_what_cannot_be_reached(
    lengths: tuple[int, ...], room: int, strategy: TruncationStrategy, stride: int
) -> None:
    with pytest.raises(InputError):
        cut(lengths, room, strategy, stride=stride)


def test_spellings() -> None:
    assert truncation_strategy(True) is LONGEST
    assert truncation_strategy(None) is truncation_strategy(False) is TruncationStrategy.DO_NOT_TRUNCATE
    assert truncation_strategy(TruncationStrategy.ONLY_FIRST) is truncation_strategy("only_first")
    with pytest.raises(ArgumentError, match="longest_first"):
        truncation_strategy("longest")
