"""Rows of an epoch, as the paper forms them (Liu et al. 2019, section 4.2), planned by offsets alone.

FULL-SENTENCES: full sentences, one after another, while they fit; a row may go on into the next document, with one
more ``</s>`` between them. DOC-SENTENCES: the same, but a row ends where its document ends. SEGMENT-PAIR: two segments
joined by ``</s></s>``, the second one from another document in half of the rows (`segment_pairs.py`).

A row is a list of spans: stretches of one source's tokens. The plan of an epoch holds where spans begin and how long
they are; a token is copied when its row is taken.

Shape letters: T tokens, S rows taken, R rows of the epoch, P pieces (a sentence, or a part of one that no row holds).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from robertakit.errors import ArgumentError, InputError
from robertakit.training import counter_random
from robertakit.training.sampling import draw_documents, smoothed_passes
from robertakit.training.segment_pairs import pair_segments
from robertakit.training.spans import Pieces, Spans, greedy, pieces_of, spans_of, walk

if TYPE_CHECKING:
    from robertakit.training.shards import Corpus, SourceTokens

__all__ = ["FORMS", "Epoch", "Packing", "Rows", "plan_epoch"]

Ints = NDArray[np.int64]

#: The paper's input formats, and how many separators stand between two spans of a row.
FORMS = {"full-sentences": 1, "doc-sentences": 1, "segment-pair": 2}
_SMALLEST = 8  # a row of fewer tokens is a mistake of whoever wrote the number
_LENGTH, _ROWS = 4, 5  # what a key is for; see sampling.py and masking.py for others


@dataclass(frozen=True)
class Packing:
    """How rows are formed.

    Attributes:
        form: ``"full-sentences"``, ``"doc-sentences"`` or ``"segment-pair"``.
        lengths: most tokens of a row, special tokens included, and the share of the documents that is packed so.
            More than one length is for small models, which learn sooner from short rows.
        smoothing: exponent that evens languages out (`sampling.smoothed_passes`); None reads by weight.

    Raises:
        ArgumentError: another form, or lengths without shares.

    Example:
        >>> Packing(lengths=((128, 0.9), (512, 0.1))).form
        'full-sentences'
    """

    form: str = "full-sentences"
    lengths: tuple[tuple[int, float], ...] = ((512, 1.0),)
    smoothing: float | None = None

    def __post_init__(self) -> None:
        if self.form not in FORMS:
            raise ArgumentError(given=f"form={self.form!r}", expected=" or ".join(map(repr, FORMS)))
        right = all(size >= _SMALLEST and 0 < share <= 1 for size, share in self.lengths)
        if not self.lengths or not right or abs(sum(share for _, share in self.lengths) - 1) > 1e-9:
            raise ArgumentError(
                given=f"lengths={self.lengths}",
                expected=f"pairs (length, share), lengths of {_SMALLEST} or more, shares that add up to 1",
            )


@dataclass(frozen=True)
class Rows:
    """Rows without padding, one behind another, special tokens in.

    Attributes:
        input_ids: (T,) int64.
        word_ids: (T,) int64, number of each token's word, from 0 in each row; -1 at special tokens.
        cumulative_lengths: (S+1,) int64; row s has the tokens from ``[s]`` up to ``[s + 1]``.
        sequence_indices: (S,) int64, each row's number in its epoch: what masks are keyed by.
        sources: (S,) int64, index of the source that a row is from.
        follows: (S,) int8 for segment pairs, else None: 1 where the second segment follows the first, 0 where it is
            from another document, -1 where there is no second one. Our models have no head for it (the paper's
            finding is that they need none): it is there for whoever compares.
    """

    input_ids: Ints
    word_ids: Ints
    cumulative_lengths: Ints
    sequence_indices: Ints
    sources: Ints
    follows: NDArray[np.int8] | None = None

    def __len__(self) -> int:
        return len(self.sequence_indices)


class Epoch:
    """The rows of an epoch, in training order. `plan_epoch` makes it.

    Attributes:
        lengths: (R,) int64, tokens of each row, special tokens included.
        sources: (R,) int64, index of each row's source.
    """

    def __init__(self, corpus: "Corpus", form: str, planned: list[Spans], order: Ints) -> None:
        self._corpus, self._separators = corpus, FORMS[form]
        self._order = order  # training order -> row of the plan
        counts = np.concatenate([np.zeros(0, np.int32), *(spans.counts for spans in planned)])
        self._first = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])  # each row's first span
        self._starts = np.concatenate([np.zeros(0, np.int64), *(spans.starts for spans in planned)])
        self._lengths = np.concatenate([np.zeros(0, np.int32), *(spans.lengths for spans in planned)])
        self._sources = np.concatenate(
            [np.zeros(0, np.int32), *(np.full(len(s.counts), s.source, np.int32) for s in planned)]
        )
        self._follows = None
        if form == "segment-pair":
            self._follows = np.concatenate([np.zeros(0, np.int8), *(spans.follows for spans in planned)])
        tokens = np.concatenate([[0], np.cumsum(self._lengths, dtype=np.int64)])[self._first]
        self.lengths: Ints = (np.diff(tokens) + 2 + self._separators * (counts - 1))[order].astype(np.int64)
        self.sources: Ints = self._sources[order].astype(np.int64)

    def __len__(self) -> int:
        return len(self._order)

    def take(self, positions: ArrayLike) -> Rows:
        """Return rows by their place in the training order.

        Args:
            positions: (S,) integers.

        Raises:
            InputError: a place that the epoch does not have.
        """
        places = np.atleast_1d(np.asarray(positions, np.int64))
        if places.size and not (places.min() >= 0 and places.max() < len(self)):
            raise InputError(given=f"rows {places.min()} to {places.max()}", expected=f"0 to {len(self) - 1}")
        rows = self._order[places]
        cumulative = np.concatenate([[0], np.cumsum(self.lengths[places])])
        counts = self._first[rows + 1] - self._first[rows]
        spans = np.repeat(self._first[rows], counts) + _within(counts)
        input_ids, word_ids = self._copied(spans, counts, np.repeat(self._sources[rows], counts), cumulative)
        follows = None if self._follows is None else self._follows[rows]
        return Rows(input_ids, word_ids, cumulative, places, self.sources[places], follows)

    def _copied(self, spans: Ints, counts: Ints, sources: Ints, cumulative: Ints) -> tuple[Ints, Ints]:
        """Copy spans to their places: ids (T,) and words (T,)."""
        special, lengths = self._corpus.special, self._lengths[spans].astype(np.int64)
        # A span stands behind `<s>`, the spans before it, and their separators.
        before = np.cumsum(lengths) - lengths
        ahead = np.repeat(before[np.cumsum(counts) - counts], counts)
        at = np.repeat(cumulative[:-1], counts) + 1 + before - ahead + self._separators * _within(counts)

        input_ids = np.full(cumulative[-1], special.eos, np.int64)
        input_ids[cumulative[:-1]] = special.bos
        real, begins = np.zeros((2, len(input_ids)), np.bool_)
        order = np.argsort(sources, kind="stable")
        for own in np.split(order, np.flatnonzero(np.diff(sources[order])) + 1) if len(order) else ():
            arrays, within = self._corpus.sources[int(sources[own[0]])], _within(lengths[own])
            to = np.repeat(at[own], lengths[own]) + within
            origin = np.repeat(self._starts[spans[own]], lengths[own]) + within
            input_ids[to] = arrays.tokens[origin]
            begins[to] = (arrays.word_starts[origin >> 3] >> (origin & 7).astype(np.uint8)) & 1
            real[to] = True
        begins[at] = True  # what a row begins with is a word to it, though a sentence was cut there
        words: Ints = np.cumsum(begins, dtype=np.int64)
        words -= np.repeat(words[cumulative[:-1]] + 1, np.diff(cumulative))
        return input_ids, np.where(real, words, -1)

    def batches(self, tokens: int) -> Ints:
        """Divide the rows, in training order, into batches of about as many tokens.

        "Inputs sampled near the end of a document may be shorter than 512 tokens, so we dynamically increase the batch
        size in these cases to achieve a similar number of total tokens" (section 4.2): a batch takes rows until the
        next one would go past ``tokens``.

        Args:
            tokens: most tokens of a batch, special tokens included.

        Returns:
            (batches + 1,) int64: batch b has the rows from ``[b]`` up to ``[b + 1]``.

        Raises:
            InputError: fewer tokens than the longest row has.
        """
        longest = int(self.lengths.max(initial=0))
        if tokens < max(longest, 1):
            raise InputError(
                given=f"batches of {tokens} tokens", expected=f"at least the longest row's {longest}"
            )
        offsets = np.concatenate([[0], np.cumsum(self.lengths)])
        ends = np.searchsorted(offsets, offsets[:-1] + tokens, side="right") - 1
        return np.append(walk(ends), len(self))


def plan_epoch(corpus: "Corpus", packing: Packing, *, seed: int, epoch: int) -> Epoch:
    """Draw the documents of an epoch, pack them into rows, and shuffle the rows.

    A row never crosses sources: it has one language, and what is measured of it belongs to one source.

    Args:
        corpus: the shards.
        packing: form, lengths, smoothing.
        seed: of the run.
        epoch: from 0.

    Raises:
        ArgumentError: smoothing where a source names no language.
    """
    planned: list[Spans] = []
    passes = smoothed_passes(corpus.sources, packing.smoothing)
    shares = np.cumsum([share for _, share in packing.lengths])[:-1]
    for index, source in enumerate(corpus.sources):
        count = len(source.document_offsets) - 1
        documents = draw_documents(count, float(passes[index]), seed=seed, epoch=epoch, source=index)
        drawn = counter_random.key(seed, _LENGTH, epoch, index)
        which = np.zeros(len(documents), np.int64)
        if len(shares):
            lots = counter_random.uniform(drawn, np.arange(len(documents)))
            which = np.searchsorted(shares, lots, side="right")
        for number, (size, _) in enumerate(packing.lengths):
            key = counter_random.key(seed, _LENGTH, epoch, index, number)
            planned += list(_packed(source, index, documents[which == number], packing.form, size, key))
    rows = sum(len(spans.counts) for spans in planned)
    order = counter_random.permutation(counter_random.key(seed, _ROWS, epoch), rows)
    return Epoch(corpus, packing.form, planned, order)


def _packed(
    source: "SourceTokens", index: int, documents: Ints, form: str, size: int, key: np.uint64
) -> Iterator[Spans]:
    """Pack documents, block by block; the row that a block leaves unfinished goes on in the next."""
    if form == "segment-pair":
        yield pair_segments(source, index, documents, size, key)
        return
    room, crossing = size - 2, form == "full-sentences"
    rest = Pieces.none()
    for block in pieces_of(source, documents, room):
        pieces = rest.followed_by(block)
        starts = greedy(pieces, room, crossing)
        yield spans_of(pieces.before(starts[-1]), starts[:-1], index)
        rest = pieces.behind(starts[-1])
    if len(rest):
        yield spans_of(rest, np.zeros(1, np.int64), index)


def _within(counts: Ints) -> Ints:
    """Return 0 … count-1 for each count, one behind another."""
    total = np.cumsum(counts)
    return np.arange(total[-1] if len(total) else 0) - np.repeat(total - counts, counts)
