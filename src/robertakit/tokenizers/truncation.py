"""Truncation as pure functions of lengths: how much of each sequence is kept, and which windows that makes."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import NamedTuple

from robertakit.errors import ArgumentError, InputError


class TruncationStrategy(str, Enum):
    """The values of the argument `truncation`."""

    ONLY_FIRST = "only_first"
    ONLY_SECOND = "only_second"
    LONGEST_FIRST = "longest_first"
    DO_NOT_TRUNCATE = "do_not_truncate"


class Span(NamedTuple):
    """A run of the pieces of one sequence: from `start` up to `stop`."""

    start: int
    stop: int


class Cutting(NamedTuple):
    """What truncation leaves of a sequence or pair: lengths before and after, and how it was asked for."""

    lengths: tuple[int, ...]
    kept: tuple[int, ...]
    strategy: TruncationStrategy
    stride: int
    side: str


def truncation_strategy(value: object) -> TruncationStrategy:
    """Return the strategy that a documented spelling names: a bool, a string, or an enum of any library."""
    if value is True:
        return TruncationStrategy.LONGEST_FIRST
    if value is False or value is None:
        return TruncationStrategy.DO_NOT_TRUNCATE
    name = getattr(value, "value", value)
    try:
        return TruncationStrategy(name)
    except ValueError:
        raise ArgumentError(
            given=f"truncation={value!r}",
            expected="True, False, " + ", ".join(repr(each.value) for each in TruncationStrategy),
        ) from None


def cut(
    lengths: tuple[int, ...],
    room: int | None,
    strategy: TruncationStrategy,
    *,
    stride: int = 0,
    side: str = "right",
    odd_to_longer: bool = False,
) -> Cutting:
    """Say how many pieces of each sequence fit.

    Args:
        lengths: pieces of the text, or of both texts of a pair.
        room: places for them, special tokens already taken off; None for any number.
        strategy: which of the two gives way.
        stride: pieces that neighbouring windows share.
        side: the side that is cut off, `"right"` or `"left"`.
        odd_to_longer: of an odd number of places that a pair shares, the longer text gets the spare one (the
            reference's fast classes); otherwise the first text does (its slow classes, and ours).

    Raises:
        InputError: the room cannot be reached, or the stride is not smaller than what is kept.

    Example:
        >>> cut((5, 9), 10, TruncationStrategy.LONGEST_FIRST).kept
        (5, 5)
    """
    kept = lengths
    surplus = 0 if room is None else sum(lengths) - room
    if surplus > 0 and strategy is not TruncationStrategy.DO_NOT_TRUNCATE:
        kept = _kept(lengths, surplus, strategy, odd_to_longer)
        _check_stride(lengths, kept, stride)
    return Cutting(lengths, kept, strategy, stride, side)


def _kept(
    lengths: tuple[int, ...], surplus: int, strategy: TruncationStrategy, odd_to_longer: bool
) -> tuple[int, ...]:
    if len(lengths) == 2 and strategy is TruncationStrategy.LONGEST_FIRST and sum(lengths) > surplus:
        return _share(lengths[0], lengths[1], sum(lengths) - surplus, odd_to_longer)
    if strategy is TruncationStrategy.ONLY_SECOND and len(lengths) == 1:
        raise ArgumentError(
            given="truncation='only_second' for a single text",
            expected="a pair of texts",
            hint="use truncation=True or 'only_first'",
        )
    which = 1 if strategy is TruncationStrategy.ONLY_SECOND else 0
    left = lengths[which] - surplus
    if left <= 0:
        name = ("first", "second")[which]
        raise InputError(
            given=f"{surplus} tokens too many for max_length, and a {name} text of {lengths[which]}",
            expected="a text that stays longer than nothing once it is cut",
            hint="raise max_length, or choose another truncation strategy",
        )
    return (left, *lengths[1:]) if which == 0 else (lengths[0], left)


def _share(first: int, second: int, room: int, odd_to_longer: bool) -> tuple[int, int]:
    """Take from the longer of the two until both are equal, then from both in turn."""
    shorter = min(first, second)
    if room >= 2 * shorter:
        return (shorter, room - shorter) if first <= second else (room - shorter, shorter)
    half, spare = divmod(room, 2)
    to_first = spare if not odd_to_longer or first > second else 0
    return half + to_first, half + spare - to_first


def _check_stride(lengths: tuple[int, ...], kept: tuple[int, ...], stride: int) -> None:
    for length, left in zip(lengths, kept, strict=True):
        if left < length and stride and stride >= left:
            raise InputError(
                given=f"stride={stride}, and room for {left} tokens of a text of {length}",
                expected="a stride smaller than that room",
                hint="raise max_length or lower stride",
            )


def windows(cutting: Cutting) -> list[tuple[Span, ...]]:
    """Return the windows of a sequence or pair, the first being what plain truncation keeps.

    For a pair of which both were cut, each window of the first meets each of the second, in the order of the
    reference: all later windows of the first (each with all of the second), then the first with the later ones.

    Example:
        >>> [tuple(span) for (span,) in windows(cut((5,), 3, TruncationStrategy.LONGEST_FIRST, stride=1))]
        [(0, 3), (2, 5)]
    """
    each = [
        _spans(length, kept, cutting.stride, cutting.side)
        for length, kept in zip(cutting.lengths, cutting.kept, strict=True)
    ]
    if len(each) == 1:
        return [(span,) for span in each[0]]
    first, second = each
    later = [(a, b) for a in first[1:] for b in second]
    return [(first[0], second[0]), *later, *((first[0], b) for b in second[1:])]


def head(cutting: Cutting) -> tuple[Span, ...]:
    """Return only the first window: what plain truncation keeps."""
    if cutting.side == "left":
        return tuple(
            Span(length - kept, length) for length, kept in zip(cutting.lengths, cutting.kept, strict=True)
        )
    return tuple(Span(0, kept) for kept in cutting.kept)


def _spans(length: int, kept: int, stride: int, side: str) -> list[Span]:
    if kept >= length or kept == 0:
        return [Span(0, kept)]
    spans = [Span(0, kept)]
    while spans[-1].stop < length:
        start = spans[-1].start + kept - stride
        spans.append(Span(start, min(start + kept, length)))
    return spans if side == "right" else [Span(length - stop, length - start) for start, stop in spans]


def overflow(cutting: Cutting, sequences: Sequence[Sequence[int]]) -> list[int]:
    """Return the slow classes' flat list of what was cut off, with `stride` pieces of what was kept.

    Empty for a pair cut on both sides: the reference defines none there.
    """
    cut_off = [index for index, length in enumerate(cutting.lengths) if cutting.kept[index] < length]
    both = len(cutting.lengths) == 2 and cutting.strategy is TruncationStrategy.LONGEST_FIRST
    if not cut_off or both:
        return []
    ids, length = sequences[cut_off[0]], cutting.lengths[cut_off[0]]
    count = min(length, length - cutting.kept[cut_off[0]] + cutting.stride)
    return list(ids[:count] if cutting.side == "left" else ids[length - count :])
