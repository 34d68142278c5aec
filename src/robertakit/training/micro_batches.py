"""Batches cut into what is computed at once: as many micro-batches on each process, of about as many tokens.

Shape letters: T tokens, S sequences, R labelled tokens.
"""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from robertakit.architecture import IGNORED_LABEL
from robertakit.errors import InputError

if TYPE_CHECKING:
    from robertakit.training.packing import Rows

__all__ = ["MaskedRows", "even_batches", "split_batch"]

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class MaskedRows:
    """Masked rows without padding, and what is predicted in them.

    Attributes:
        input_ids: (T,) int64, masks in.
        position_ids: (T,) int64, rows of the position table.
        cumulative_lengths: (S+1,) int64; sequence s has the tokens from ``[s]`` up to ``[s + 1]``.
        predicted: (R,) int64, where the tokens to predict lie in (T,), rising.
        labels: (R,) int64, their ids.
        sources: (R,) int64, index of the source that each is from.
        tokens: real tokens; 0 in one that only keeps step with other processes.
    """

    input_ids: Ints
    position_ids: Ints
    cumulative_lengths: Ints
    predicted: Ints
    labels: Ints
    sources: Ints
    tokens: int

    @property
    def targets(self) -> int:
        """Number of tokens to predict."""
        return len(self.labels)

    @classmethod
    def of(cls, rows: "Rows", inputs: Ints, labels: Ints, pad_token_id: int) -> "MaskedRows":
        """Return what the model needs of masked rows.

        Args:
            rows: what `Epoch.take` gave.
            inputs: (T,) of `draw_masks`.
            labels: (T,) of `draw_masks`, -100 where nothing is predicted.
            pad_token_id: of the model; positions are counted from the one behind it.

        Example:
            >>> from types import SimpleNamespace as S
            >>> rows = S(cumulative_lengths=np.array([0, 3, 5]), sources=np.array([7, 8]))
            >>> made = MaskedRows.of(rows, np.array([0, 9, 2, 0, 2]), np.array([-100, 5, -100, -100, -100]), 1)
            >>> made.position_ids.tolist(), made.predicted.tolist(), made.labels.tolist(), made.sources.tolist()
            ([2, 3, 4, 2, 3], [1], [5], [7])
        """
        bounds = rows.cumulative_lengths
        lengths = np.diff(bounds)
        within = np.arange(len(inputs)) - np.repeat(bounds[:-1], lengths)
        predicted = np.flatnonzero(labels != IGNORED_LABEL)
        sources = np.repeat(rows.sources, lengths)[predicted]
        return cls(
            inputs, within + pad_token_id + 1, bounds, predicted, labels[predicted], sources, len(inputs)
        )

    @classmethod
    def nothing(cls, bos: int, eos: int, pad_token_id: int) -> "MaskedRows":
        """Return a micro-batch without tokens, for a process that has none left: the model sees an empty text."""
        none = np.zeros(0, np.int64)
        ids, positions = np.array([bos, eos]), np.array([1, 2]) + pad_token_id
        return cls(ids, positions, np.array([0, 2]), none, none, none, 0)


def even_batches(rows: int, size: int) -> Ints:
    """Divide the rows of an epoch into batches of about `size`, none of them a small rest.

    Returns:
        (batches + 1,) int64: batch b has the rows from ``[b]`` up to ``[b + 1]``; sizes differ by one at most.

    Raises:
        InputError: there are no rows.

    Example:
        >>> even_batches(10, 4).tolist()
        [0, 5, 10]
    """
    if not rows:
        raise InputError(given="an epoch without rows", expected="text")
    count = max(1, round(rows / size))
    return np.arange(count + 1) * rows // count


def split_batch(lengths: Sequence[int] | Ints, processes: int, most_tokens: int) -> list[list[Ints]]:
    """Share the rows of a batch among processes, and cut each share into micro-batches.

    Every process gets as many micro-batches; all hold about as many tokens, and at most `most_tokens` unless one row
    alone has more.

    Args:
        lengths: tokens of each row.
        processes: how many share the batch.
        most_tokens: of a micro-batch.

    Returns:
        For each process, its micro-batches: places in `lengths`, rising; empty where there are too few rows.

    Example:
        >>> [[part.tolist() for part in share] for share in split_batch([5, 4, 3, 3, 1], 2, 6)]
        [[[0], [2, 4]], [[1], [3]]]
    """
    sizes = np.asarray(lengths, np.int64)
    longest_first = np.argsort(-sizes, kind="stable")
    most = max(most_tokens, int(sizes.max(initial=1)))
    rounds = max(1, -(-int(sizes.sum()) // (processes * most)))
    while True:
        parts = _dealt(sizes, longest_first, processes * rounds, most)
        if parts is not None:
            return [parts[rank::processes] for rank in range(processes)]
        rounds += 1


def _dealt(sizes: Ints, order: Ints, count: int, most: int) -> list[Ints] | None:
    """Give each row to the part with the fewest tokens; None where a part overflows."""
    parts: list[list[int]] = [[] for _ in range(count)]
    fullness = [(0, part) for part in range(count)]
    for row in order.tolist():
        tokens, part = heapq.heappop(fullness)
        parts[part].append(row)
        tokens += int(sizes[row])
        if tokens > most:
            return None
        heapq.heappush(fullness, (tokens, part))
    return [np.array(sorted(part), np.int64) for part in parts]
