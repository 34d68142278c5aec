"""Few fixed shapes for batches of all lengths, for engines that compile a program for each shape they meet.

The sequences of a packed batch are laid side by side in rows of one length, several to a row where they fit, and each
sees its own tokens alone. So the lengths of the texts decide how many rows there are, and hardly how many shapes: a row
length has two of them, or one more for each eightfold of the tokens that a call may hold.

Shape letters: B rows of a call, L row length, T tokens of a packed batch, S sequences.
"""

from bisect import bisect_left, insort
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from robertakit.batch import Batch

__all__ = ["ROW_LENGTHS", "Bucket", "buckets", "padded_count", "row_lengths"]

#: Row lengths; a model whose positions end before the last, or in between, has its longest input as the last.
ROW_LENGTHS = (32, 64, 128, 192, 256, 384, 512)
#: Shorter rows only serve texts that fit into one: a batch in rows of this length loses little to attention.
_LEAST_OF_MANY = 128
#: What a token costs in a row of L rises by this share of L: attention, beside the products of a base model.
_ATTENTION = 1 / 4096
#: Rows that a head is given at once: a power of two between these.
_FEWEST, _MOST = 8, 512

Ints = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Bucket:
    """Some sequences of a packed batch in a call of a fixed shape.

    Attributes:
        packed: (t,) which of the batch's T tokens are in this call.
        flat: (t,) where each lies in (B·L).
        input_ids: (B, L), padding ids where there is no token.
        token_type_ids: (B, L), zeros where there are none.
        position_ids: (B, L), as in the batch; the padding position where there is no token.
        sequence_ids: (B, L) which sequence of its row a token belongs to, counted from 1; 0 where there is none.

    A token sees the tokens of its row with the same sequence id: `visible` says the same for each pair.
    """

    packed: NDArray[np.intp]
    flat: NDArray[np.intp]
    input_ids: Ints
    token_type_ids: Ints
    position_ids: Ints
    sequence_ids: Ints

    @property
    def shape(self) -> tuple[int, int]:
        """B and L."""
        return self.input_ids.shape[0], self.input_ids.shape[1]


def buckets(batch: Batch, padding_idx: int, longest: int, tokens: int) -> Iterator[Bucket]:
    """Lay a packed batch into calls of few shapes.

    Args:
        batch: T tokens of S sequences.
        padding_idx: id and position of padding.
        longest: most tokens of a sequence that the model takes; no row is longer.
        tokens: of a call, padding included, where a row is not longer than that.

    Yields:
        Calls that hold each token of the batch once.

    Example:
        >>> from robertakit.batch import Encoding
        >>> batch = Batch.from_encodings([Encoding([0, 7, 2]), Encoding([0, 2])], padding_idx=1)
        >>> [call] = buckets(batch, padding_idx=1, longest=512, tokens=1024)
        >>> call.shape, call.input_ids[0, :6].tolist(), call.sequence_ids[0, :6].tolist()
        ((1, 32), [0, 7, 2, 0, 2, 1], [1, 1, 1, 2, 2, 0])
    """
    lengths = batch.lengths
    if not len(batch.input_ids):
        return
    length, rows = _rows(lengths, row_lengths(longest))
    first = 0
    for size in _call_sizes(len(rows), max(1, tokens // length)):
        yield _bucket(batch, rows[first : first + size], length, padding_idx)
        first += size


def row_lengths(longest: int) -> tuple[int, ...]:
    """Return the row lengths of a model whose longest input this is.

    Example:
        >>> row_lengths(512)[-2:], row_lengths(40)
        ((384, 512), (32, 40))
    """
    below = tuple(length for length in ROW_LENGTHS if length < longest)
    return (*below, longest)


def padded_count(rows: int) -> int:
    """Return how many rows a head is given in place of so many: few counts, so that it is compiled a few times.

    Example:
        >>> [padded_count(n) for n in (1, 9, 300, 5000)]
        [8, 16, 512, 512]
    """
    return min(max(_FEWEST, 1 << (rows - 1).bit_length()), _MOST)


def _rows(lengths: Ints, choices: tuple[int, ...]) -> tuple[int, list[list[int]]]:
    """The row length that costs least, a short one only where one row holds everything, and each row's sequences."""
    total, longest = int(lengths.sum()), int(lengths.max())
    least = next((length for length in choices if length >= total), _LEAST_OF_MANY)
    least = max(min(least, _LEAST_OF_MANY), longest)
    fitting = [length for length in choices if length >= least] or [choices[-1]]
    filled = [(length, _filled(lengths, length)) for length in fitting]
    return min(filled, key=lambda way: len(way[1]) * way[0] * (1 + way[0] * _ATTENTION))


def _filled(lengths: Ints, length: int) -> list[list[int]]:
    """The sequences of each row: the longest first, each where the least room is left."""
    rows: list[list[int]] = []
    room: list[tuple[int, int]] = []  # what is left of each row, the least first
    for sequence in np.argsort(-lengths, kind="stable").tolist():
        needed = int(lengths[sequence])
        if not needed:
            break
        place = bisect_left(room, (needed, 0))
        left, row = room.pop(place) if place < len(room) else (length, len(rows))
        if row == len(rows):
            rows.append([])
        rows[row].append(sequence)
        insort(room, (left - needed, row))
    return rows


def _call_sizes(rows: int, most: int) -> Iterator[int]:
    """Rows of each call: `most` as long as there are so many, then by powers of eight down to one."""
    sizes = [most, *(power for power in (512, 64, 8, 1) if power < most)]
    for size in sizes:
        yield from [size] * (rows // size)
        rows %= size


def _bucket(batch: Batch, rows: list[list[int]], length: int, padding_idx: int) -> Bucket:
    shape = (len(rows), length)
    ids = np.full(shape, padding_idx, np.int32)
    positions, types, sequences = ids.copy(), np.zeros(shape, np.int32), np.zeros(shape, np.int32)
    packed, flat = [], []
    for row, members in enumerate(rows):
        start = 0
        for number, sequence in enumerate(members, 1):
            first, last = batch.cumulative_lengths[sequence : sequence + 2]
            stop = start + int(last - first)
            sequences[row, start:stop] = number
            packed.append(np.arange(first, last))
            flat.append(row * length + np.arange(start, stop))
            start = stop
    where, there = np.concatenate(packed), np.concatenate(flat)
    ids.flat[there], positions.flat[there] = batch.input_ids[where], batch.position_ids[where]
    if batch.token_type_ids is not None:
        types.flat[there] = batch.token_type_ids[where]
    return Bucket(where, there, ids, types, positions, sequences)
