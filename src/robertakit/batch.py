"""Encoded texts and packed batches: positions, padding view, windows over long text, planning by budget.

Everything between a tokenizer and a model is decided here, once, in NumPy; no model and no framework.

Shape letters: B batch, L padded length, T tokens of a packed batch, S sequences, W width.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from robertakit.errors import BadShape, InputError, TooLong

if TYPE_CHECKING:
    from robertakit.configuration import PretrainedConfig

__all__ = [
    "Batch",
    "Encoding",
    "Window",
    "check_ids",
    "longest_input",
    "pack",
    "plan",
    "position_ids",
    "sequential_position_ids",
    "unpack",
    "windows",
]

Ints = NDArray[np.int32]
Scalar = TypeVar("Scalar", bound=np.generic)


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of a text's tokens, special tokens not counted: ``start`` up to ``stop`` of ``total``."""

    start: int
    stop: int
    total: int


@dataclass(frozen=True, slots=True)
class Encoding:
    """One sequence on its way into a model, and where it came from.

    Attributes:
        input_ids: ids with special tokens, without padding, (n,).
        token_type_ids: (n,), or None for all zeros.
        text_index: which of the caller's texts this is.
        pair_index: which question, candidate or choice of that text, or None.
        window: which stretch of a text that was too long for one sequence, or None for the whole text.
    """

    input_ids: Sequence[int] | Ints
    token_type_ids: Sequence[int] | Ints | None = None
    text_index: int = 0
    pair_index: int | None = None
    window: Window | None = None

    def __len__(self) -> int:
        return len(self.input_ids)


@dataclass(frozen=True, slots=True)
class Batch:
    """Sequences laid end to end, without padding.

    Attributes:
        input_ids: (T,) int32.
        position_ids: (T,) int32, rows of the position table.
        cumulative_lengths: (S+1,) int32; sequence s has the rows from ``[s]`` up to ``[s + 1]``.
        token_type_ids: (T,) int32, or None for all zeros.

    Example:
        >>> batch = Batch.from_encodings([Encoding([0, 9, 2]), Encoding([0, 2])], padding_idx=1)
        >>> batch.position_ids.tolist(), batch.cumulative_lengths.tolist()
        ([2, 3, 4, 2, 3], [0, 3, 5])
    """

    input_ids: Ints
    position_ids: Ints
    cumulative_lengths: Ints
    token_type_ids: Ints | None = None

    @classmethod
    def from_encodings(cls, encodings: Sequence[Encoding], padding_idx: int) -> "Batch":
        """Pack encodings in their order."""
        cumulative = _cumulative([len(encoding) for encoding in encodings])
        ids = _concatenated([encoding.input_ids for encoding in encodings])
        types = None
        if any(encoding.token_type_ids is not None for encoding in encodings):
            given = [[0] * len(e) if e.token_type_ids is None else e.token_type_ids for e in encodings]
            types = _concatenated(given)
            if len(types) != len(ids):
                raise BadShape(given=f"{len(types)} token_type_ids", expected=f"{len(ids)}, one for each id")
        return cls(ids, _packed_position_ids(ids, cumulative, padding_idx), cumulative, types)

    @classmethod
    def from_padded(
        cls,
        input_ids: ArrayLike,
        attention_mask: ArrayLike,
        padding_idx: int,
        token_type_ids: ArrayLike | None = None,
        positions: ArrayLike | None = None,
    ) -> "Batch":
        """Keep what the attention mask keeps; positions are those that the padded batch has. All (B, L)."""
        ids, mask = np.asarray(input_ids, np.int32), np.asarray(attention_mask) != 0
        if ids.shape != mask.shape or ids.ndim != 2:
            shapes = f"input_ids {ids.shape} and attention_mask {mask.shape}"
            raise BadShape(given=shapes, expected="two equal shapes (batch, length)")
        where = position_ids(ids, padding_idx) if positions is None else np.asarray(positions, np.int32)
        types = None
        if token_type_ids is not None:
            types = np.broadcast_to(np.asarray(token_type_ids, np.int32), ids.shape)[mask]
        return cls(ids[mask], np.broadcast_to(where, ids.shape)[mask], _cumulative(mask.sum(1)), types)

    def __len__(self) -> int:
        return len(self.cumulative_lengths) - 1

    @property
    def lengths(self) -> Ints:
        """Tokens of each sequence, (S,)."""
        return np.diff(self.cumulative_lengths)

    @property
    def first_rows(self) -> Ints:
        """Packed row of each sequence's first token, (S,); of use for sequences that are not empty."""
        return self.cumulative_lengths[:-1]

    def padded(self, padding_idx: int, length: int | None = None) -> tuple[Ints, Ints, Ints]:
        """Return the right-padded view that compilers and the documented API want.

        Args:
            padding_idx: id and position of padding.
            length: padded length L; the longest sequence if None.

        Returns:
            input_ids, attention_mask, position_ids, each (S, L) int32.
        """
        mask = self.padding_mask(length)
        ids = np.full(mask.shape, padding_idx, np.int32)
        where = ids.copy()
        ids[mask], where[mask] = self.input_ids, self.position_ids
        return ids, mask.astype(np.int32), where

    def padding_mask(self, length: int | None = None) -> NDArray[np.bool_]:
        """Return where the right-padded view (S, L) holds real tokens."""
        longest = int(self.lengths.max(initial=0))
        if length is not None and length < longest:
            raise BadShape(given=f"length {length}", expected=f"at least the longest sequence, {longest}")
        return np.arange(longest if length is None else length) < self.lengths[:, None]


def _concatenated(arrays: Sequence[Sequence[int] | Ints]) -> Ints:
    return np.concatenate([np.zeros(0, np.int32), *(np.asarray(array, np.int32) for array in arrays)])


def _cumulative(lengths: ArrayLike) -> Ints:
    return np.concatenate([np.zeros(1, np.int32), np.cumsum(lengths, dtype=np.int32)])


def position_ids(input_ids: ArrayLike, padding_idx: int, past_length: int = 0) -> Ints:
    """Return the rows of the position table for padded ids, (B, L).

    Positions start at ``padding_idx + 1`` and count the ids that differ from ``padding_idx``, not the
    attention mask; a padding id has position ``padding_idx`` (fairseq's make_positions; every RoBERTa
    checkpoint relies on it).

    Args:
        input_ids: (B, L).
        padding_idx: ``config.pad_token_id``.
        past_length: tokens before these that a cache holds.

    Example:
        >>> position_ids([[0, 9, 2, 1, 1]], padding_idx=1).tolist()
        [[2, 3, 4, 1, 1]]
    """
    real = np.asarray(input_ids) != padding_idx
    counted = np.cumsum(real, axis=-1, dtype=np.int32) + np.int32(past_length)
    return np.where(real, counted, np.int32(0)).astype(np.int32) + np.int32(padding_idx)


def sequential_position_ids(length: int, padding_idx: int, past_length: int = 0) -> Ints:
    """Return positions for embeddings given in place of ids, (1, L): all count, as no id says otherwise."""
    return (np.arange(length, dtype=np.int32) + np.int32(padding_idx + 1 + past_length))[None]


def _packed_position_ids(ids: Ints, cumulative: Ints, padding_idx: int) -> Ints:
    real = ids != padding_idx
    before = np.concatenate([np.zeros(1, np.int32), np.cumsum(real, dtype=np.int32)])
    start_of_row = np.repeat(before[cumulative[:-1]], np.diff(cumulative))
    return np.where(real, before[1:] - start_of_row, 0).astype(np.int32) + np.int32(padding_idx)


def longest_input(config: "PretrainedConfig") -> int:
    """Return how many tokens a sequence may have: ``max_position_embeddings - pad_token_id - 1``."""
    return config.max_position_embeddings - config.pad_token_id - 1


def check_ids(
    config: "PretrainedConfig",
    input_ids: NDArray[np.integer] | None = None,
    position_ids: NDArray[np.integer] | None = None,
    token_type_ids: NDArray[np.integer] | None = None,
) -> None:
    """Raise before any kernel runs if an id has no row in its table.

    Raises:
        TooLong: a position past the table, which is what an over-long text leads to.
        InputError: an id outside the vocabulary, or a token type outside its table.
    """
    if input_ids is not None:
        hint = "use the tokenizer of this checkpoint"
        _check_rows("input_ids", input_ids, config.vocab_size, "vocab_size", hint)
    if token_type_ids is not None:
        hint = "RoBERTa has one token type: leave token_type_ids out" if config.type_vocab_size == 1 else ""
        _check_rows("token_type_ids", token_type_ids, config.type_vocab_size, "type_vocab_size", hint)
    if position_ids is not None and position_ids.size:
        last, rows, pad = int(position_ids.max()), config.max_position_embeddings, config.pad_token_id
        if last >= rows:
            raise TooLong(
                given=f"{last - pad} tokens (position {last})",
                expected=f"at most {longest_input(config)} (max_position_embeddings {rows} - {pad} - 1)",
                hint="truncate the text, or split it into windows",
            )
        _check_rows("position_ids", position_ids, rows, "max_position_embeddings", "")


def _check_rows(name: str, ids: NDArray[np.integer], rows: int, field: str, hint: str) -> None:
    if not ids.size:
        return
    lowest, highest = int(ids.min()), int(ids.max())
    if lowest < 0 or highest >= rows:
        wrong = lowest if lowest < 0 else highest
        where = tuple(int(i) for i in np.argwhere(ids == wrong)[0])
        raise InputError(
            given=f"{name} {wrong} at {where if len(where) > 1 else where[0]}",
            expected=f"0 to {rows - 1} ({field} is {rows})",
            hint=hint,
        )


def pack(padded: NDArray[Scalar], mask: NDArray[np.bool_]) -> NDArray[Scalar]:
    """Gather the real rows of (B, L, ...) into (T, ...)."""
    return padded[mask]


def unpack(rows: NDArray[Scalar], mask: NDArray[np.bool_]) -> NDArray[Scalar]:
    """Scatter packed rows (T, ...) into (B, L, ...); padding is zero. ``unpack(pack(x, m), m)`` is x where m.

    Example:
        >>> unpack(np.array([1, 2, 3]), np.array([[True, False], [True, True]])).tolist()
        [[1, 0], [2, 3]]
    """
    if len(rows) != mask.sum():
        raise BadShape(
            given=f"{len(rows)} rows", expected=f"{mask.sum()}, the number of real tokens in the mask"
        )
    padded = np.zeros((*mask.shape, *rows.shape[1:]), rows.dtype)
    padded[mask] = rows
    return padded


def plan(lengths: Sequence[int], tokens_per_batch: int) -> list[list[int]]:
    """Divide sequences into batches of at most ``tokens_per_batch`` tokens, the longest first.

    Neighbours in length share a batch, so that engines which pad lose little; a sequence longer than the
    budget has a batch of its own.

    Args:
        lengths: tokens of each sequence.
        tokens_per_batch: budget, tokens.

    Returns:
        Indices into ``lengths``; every index once.

    Example:
        >>> plan([3, 9, 4, 2], tokens_per_batch=9)
        [[1], [2, 0, 3]]
    """
    if tokens_per_batch < 1:
        raise InputError(given=f"tokens_per_batch={tokens_per_batch}", expected="at least 1")
    batches: list[list[int]] = []
    room = 0
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        if not batches or lengths[index] > room:
            batches.append([])
            room = tokens_per_batch
        batches[-1].append(index)
        room -= lengths[index]
    return batches


def windows(total: int, size: int, stride: int = 0) -> list[Window]:
    """Divide ``total`` tokens into windows of at most ``size`` that overlap by ``stride`` tokens.

    Args:
        total: tokens of the text, special tokens not counted.
        size: most tokens of a window, special tokens not counted.
        stride: tokens that two neighbours share (the reference's meaning of the word).

    Example:
        >>> [(w.start, w.stop) for w in windows(10, size=4, stride=1)]
        [(0, 4), (3, 7), (6, 10)]
    """
    if size < 1 or not 0 <= stride < size:
        raise InputError(
            given=f"stride {stride} with windows of {size} tokens", expected="0 <= stride < window size"
        )
    starts = range(0, max(total - stride, 1), size - stride)
    return [Window(start, min(start + size, total), total) for start in starts]
