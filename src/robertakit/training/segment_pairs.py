"""SEGMENT-PAIR: rows of two segments, the second one from another document in half of them.

"Each input has a pair of segments, which can each contain multiple natural sentences, but the total combined length
must be less than 512 tokens" (Liu et al. 2019, section 4.2, after Devlin et al. 2019). Here each token of an epoch is
in one row: documents are divided into segments of at most half a row, neighbours are paired, and half of the pairs
exchange their second segments between documents.
"""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from robertakit.training import counter_random
from robertakit.training.spans import Spans, greedy, pieces_of

if TYPE_CHECKING:
    from robertakit.training.shards import SourceTokens

__all__ = ["pair_segments"]

Ints = NDArray[np.int64]


def pair_segments(source: "SourceTokens", index: int, documents: Ints, size: int, key: np.uint64) -> Spans:
    """Form the rows of a source.

    Args:
        source: the shard.
        index: of the source.
        documents: (D,) those of the epoch, in order.
        size: most tokens of a row, its four special tokens included.
        key: what chance is drawn from.

    Returns:
        Rows of two spans; of one where no other document is left to pair with (``follows`` is -1).
    """
    segments = _segments(source, documents, (size - 4) // 2, key)
    starts, lengths, document, number = segments  # `number`: of the segment in its document
    last = np.append(number[1:] == 0, True)[: len(number)]
    first = np.flatnonzero((number % 2 == 0) & ~last)
    alone = np.flatnonzero((number % 2 == 0) & last)

    # Half of all rows, as far as rows of segments without a neighbour leave a choice.
    broken = round(max(len(first) / 2 - len(alone) / 4, 0))
    exchanged = counter_random.permutation(counter_random.key(int(key), 1), len(first))[:broken]
    order, shift = _apart(document[first[exchanged]], counter_random.key(int(key), 2))
    exchanged = exchanged[order]
    second, follows = first + 1, np.ones(len(first), np.int8)
    second[exchanged] = np.roll(second[exchanged], -shift)
    follows[exchanged] = 0

    order, shift = _apart(document[alone], counter_random.key(int(key), 3))
    half = len(order) // 2  # those of one document are neighbours and at most `shift`, so at most half of all
    left, right = alone[order[:half]], alone[order[half : 2 * half]]
    lone = np.setdiff1d(alone, np.concatenate([left, right]))

    pairs = np.stack([np.concatenate([first, left]), np.concatenate([second, right])], 1).ravel()
    spans = np.concatenate([pairs, lone])
    return Spans(
        index,
        starts[spans],
        lengths[spans].astype(np.int32),
        np.repeat(np.array([2, 1], np.int32), [len(pairs) // 2, len(lone)]),
        np.concatenate([follows, np.zeros(half, np.int8), np.full(len(lone), -1, np.int8)]),
    )


def _segments(
    source: "SourceTokens", documents: Ints, room: int, key: np.uint64
) -> tuple[Ints, Ints, Ints, Ints]:
    """Divide documents into segments: (starts, lengths, documents, number of the segment in its document)."""
    found = [np.zeros((4, 0), np.int64)]
    for block, pieces in enumerate(pieces_of(source, documents, room)):
        heads = greedy(pieces, room, crossing=False)
        heads = _evened(heads, pieces.begins[heads], len(pieces), counter_random.key(int(key), 0, block))
        lengths = np.add.reduceat(pieces.lengths, heads)
        begins = np.flatnonzero(pieces.begins[heads])
        number = np.arange(len(heads)) - np.repeat(begins, np.diff(np.append(begins, len(heads))))
        found.append(np.stack([pieces.starts[heads], lengths, pieces.documents[heads], number]))
    starts, lengths, document, number = np.concatenate(found, axis=1)
    return starts, lengths, document, number


def _evened(heads: Ints, begins: Ints, pieces: int, key: np.uint64) -> Ints:
    """Divide the last segment of each document with an odd number of them, between two of its sentences."""
    first = np.flatnonzero(begins)
    counts = np.diff(np.append(first, len(heads)))
    odd = (first + counts - 1)[counts % 2 == 1]
    sentences = np.append(heads, pieces)[odd + 1] - heads[odd]
    odd, sentences = odd[sentences > 1], sentences[sentences > 1]
    lots = counter_random.uniform(key, odd)
    return np.sort(np.concatenate([heads, heads[odd] + 1 + (lots * (sentences - 1)).astype(np.int64)]))


def _apart(documents: Ints, key: np.uint64) -> tuple[Ints, int]:
    """Order items so that a shift takes each one to another document, and leave out what cannot be.

    Items of one document become neighbours, in a random order of documents. If no document has more than ``shift`` of
    them, and all together are at least twice as many, then a shift leaves every document. One document that has more
    than half of all keeps as many as the others have together.

    Returns:
        Indices of the items that take part, and the shift.
    """
    if not len(documents):
        return documents, 0
    drawn = counter_random.bits(key, documents)
    order = np.argsort(drawn, kind="stable")
    heads = np.flatnonzero(np.diff(drawn[order], prepend=~drawn[order][:1]))
    sizes = np.diff(np.append(heads, len(order)))
    largest, shift = int(sizes.argmax()), int(sizes.max())
    others = len(order) - shift
    if shift > others:
        order = np.delete(order, slice(heads[largest] + others, heads[largest] + shift))
        shift = others
    return order, shift
