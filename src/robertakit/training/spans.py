"""Documents to pieces, pieces to spans: the arithmetic of offsets that all input formats share.

Shape letters: P pieces, N sentences, D documents, R rows.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from robertakit.training.shards import SourceTokens

__all__ = ["Pieces", "Spans", "greedy", "pieces_of", "spans_of", "walk"]

Ints = NDArray[np.int64]

#: Sentences that are planned at a time: bounds the memory of a plan, and changes nothing in it.
BLOCK = 1 << 20


@dataclass(frozen=True)
class Pieces:
    """Sentences in the order in which they are packed; one that no row holds is several pieces.

    Attributes:
        starts: (P,) int64, first token in the source.
        lengths: (P,) int64, tokens.
        begins: (P,) int64, 1 where a document begins.
        documents: (P,) int64, document in the source.
    """

    starts: Ints
    lengths: Ints
    begins: Ints
    documents: Ints

    def __len__(self) -> int:
        return len(self.starts)

    @classmethod
    def none(cls) -> "Pieces":
        """Return no pieces."""
        nothing = np.zeros(0, np.int64)
        return cls(nothing, nothing, nothing, nothing)

    def followed_by(self, other: "Pieces") -> "Pieces":
        """Return these and then those."""
        return Pieces(
            np.concatenate([self.starts, other.starts]),
            np.concatenate([self.lengths, other.lengths]),
            np.concatenate([self.begins, other.begins]),
            np.concatenate([self.documents, other.documents]),
        )

    def before(self, piece: int) -> "Pieces":
        """Return the pieces before this one."""
        return self._cut(slice(None, piece))

    def behind(self, piece: int) -> "Pieces":
        """Return this piece and all behind it."""
        return self._cut(slice(piece, None))

    def _cut(self, where: slice) -> "Pieces":
        return Pieces(self.starts[where], self.lengths[where], self.begins[where], self.documents[where])


@dataclass(frozen=True)
class Spans:
    """Rows of one source as stretches of its tokens.

    Attributes:
        source: index of the source.
        starts: (spans,) int64, first token in the source.
        lengths: (spans,) int32, tokens.
        counts: (R,) int32, spans of each row.
        follows: (R,) int8 of segment pairs (`packing.Rows`).
    """

    source: int
    starts: Ints
    lengths: NDArray[np.int32]
    counts: NDArray[np.int32]
    follows: NDArray[np.int8]


def pieces_of(source: "SourceTokens", documents: Ints, room: int) -> Iterator[Pieces]:
    """Yield the sentences of documents, in blocks; longer ones than ``room`` are cut, empty ones are left out."""
    offsets = source.document_offsets
    counts = np.asarray(offsets[documents + 1]) - offsets[documents]
    blocks = np.cumsum(counts) // BLOCK
    for own in np.split(documents, np.flatnonzero(np.diff(blocks)) + 1):
        pieces = _block(source, own, room)
        if len(pieces):
            yield pieces


def _block(source: "SourceTokens", documents: Ints, room: int) -> Pieces:
    first = np.asarray(source.document_offsets[documents], np.int64)
    counts = np.asarray(source.document_offsets[documents + 1], np.int64) - first
    ends = np.cumsum(counts)
    sentences = np.repeat(first - ends + counts, counts) + np.arange(ends[-1] if len(ends) else 0)
    drawn = np.repeat(np.arange(len(documents)), counts)  # a document may be drawn twice
    starts = np.asarray(source.sentence_offsets[sentences], np.int64)
    lengths = np.asarray(source.sentence_offsets[sentences + 1], np.int64) - starts
    if not lengths.all():
        full = lengths > 0
        starts, lengths, drawn = starts[full], lengths[full], drawn[full]
    if lengths.max(initial=0) > room:
        parts = -(-lengths // room)
        number = np.arange(parts.sum()) - np.repeat(np.cumsum(parts) - parts, parts)
        starts = np.repeat(starts, parts) + number * room
        lengths = np.minimum(np.repeat(lengths, parts) - number * room, room)
        drawn = np.repeat(drawn, parts)
    begins = np.ones(len(drawn), np.int64)
    begins[1:] = drawn[1:] != drawn[:-1]
    return Pieces(starts, lengths, begins, documents[drawn])


def greedy(pieces: Pieces, room: int, crossing: bool) -> Ints:
    """Return the pieces that rows begin with, (rows,): each row takes pieces while they fit.

    Args:
        pieces: none longer than ``room``.
        room: tokens of a row without its special tokens at both ends.
        crossing: whether a row may go on into the next document, which takes one separator.
    """
    offsets = np.concatenate([[0], np.cumsum(pieces.lengths + pieces.begins, dtype=np.int64)])
    # Where a row that begins with this piece ends: its own separator is not needed.
    ends = np.searchsorted(offsets, offsets[:-1] + pieces.begins + room, side="right") - 1
    if not crossing:
        heads = np.append(np.flatnonzero(pieces.begins), len(pieces))
        ends = np.minimum(ends, heads[np.searchsorted(heads, np.arange(len(pieces)), side="right")])
    return walk(ends)


def spans_of(pieces: Pieces, rows: Ints, source: int) -> Spans:
    """Join the pieces of a row that lie in one document, which are neighbours in the source.

    Args:
        pieces: of the rows.
        rows: (R,) the piece that each row begins with, the first one 0.
        source: index of the source.
    """
    heads = pieces.begins.astype(np.bool_)
    heads[rows] = True
    spans = np.flatnonzero(heads)
    lengths = np.add.reduceat(pieces.lengths, spans) if len(spans) else pieces.lengths
    counts = np.diff(np.append(np.searchsorted(spans, rows), len(spans)))
    return Spans(
        source,
        pieces.starts[spans],
        lengths.astype(np.int32),
        counts.astype(np.int32),
        np.full(len(rows), -1, np.int8),
    )


def walk(ends: Ints) -> Ints:
    """Return where a walk from 0 steps that goes from each place to its end; ``ends[i] > i``.

    Example:
        >>> walk(np.array([2, 2, 3, 5, 5])).tolist()
        [0, 2, 3]
    """
    to, at, found = ends.tolist(), 0, []
    while at < len(to):  # a step is 50 ns: a second for twenty million rows
        found.append(at)
        at = to[at]
    return np.asarray(found, np.int64)
