"""Sentences to token arrays, many at a time: the tokenizer's own ids and word starts, computed once for each word.

Text repeats its words. Byte-level BPE never merges across a space that stands before a letter, so what stands between
two spaces has the same pieces everywhere: each such stretch goes through the tokenizer once, and its pieces are kept.
The arrays of a batch are then gathered by NumPy. (Measured in docs/decisions.md beside cores that are written in Rust.)
"""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, islice

import numpy as np
from numpy.typing import NDArray

from robertakit.tokenizers import PreTrainedTokenizerBase
from robertakit.tokenizers.core import Pieces
from robertakit.tokenizers.fast_bpe import FastByteLevelBPE
from robertakit.tokenizers.fast_unigram import FastUnigram
from robertakit.tokenizers.normalization import WORD_MARK
from robertakit.tokenizers.pipeline import Pipeline, SplitPipeline
from robertakit.tokenizers.splitter import split

__all__ = ["BulkEncoder", "Encoded", "bulk_encoder"]

#: Stretches that are kept, and the longest that is, in characters.
_KEPT = 1 << 20
_LONGEST = 64
#: In place of a number: the sentence has to be encoded whole.
_WHOLE = -1


@dataclass(frozen=True)
class Encoded:
    """A batch of sentences as tokens.

    Attributes:
        tokens: (T,) uint32, without special tokens.
        word_starts: (T,) True where a token begins a word; the first token of a sentence does.
        lengths: (sentences,) tokens of each, 0 for one that nothing is left of.
    """

    tokens: NDArray[np.uint32]
    word_starts: NDArray[np.bool_]
    lengths: NDArray[np.int64]


class BulkEncoder:
    """Encodes sentences whole, whatever the tokenizer.

    What text spells like a special token (``"</s>"``) is text.

    Example:
        >>> from robertakit import RobertaTokenizerFast, embedded
        >>> encoder = bulk_encoder(RobertaTokenizerFast.from_pretrained(embedded.folder()))
        >>> encoded = encoder.encode(["The cats sat.", " Unbelievably so."])
        >>> encoded.lengths.tolist(), encoded.word_starts.tolist()
        ([5, 7], [True, True, False, True, True, True, False, False, False, False, True, True])
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._pipeline: Pipeline = tokenizer._pipeline

    def encode(self, sentences: Sequence[str]) -> Encoded:
        """Return the tokens of sentences, in their order.

        Raises:
            InputError: a sentence with a lone surrogate.
        """
        return _joined(self._pieces(sentences))

    def _pieces(self, texts: Sequence[str]) -> list[Pieces]:
        return self._pipeline.encode_batch(texts, True, split_special_tokens=True)


class UnigramEncoder(BulkEncoder):
    """Encodes by SentencePiece, ids alone: words are read off the pieces, in which `▁` begins one."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        super().__init__(tokenizer)
        vocabulary = self._pipeline.vocabulary
        size = max(vocabulary.values()) + 1
        self._begins = np.zeros(size, bool)
        #: Pieces with a `▁` further inside: what follows such a one begins a word, too.
        self._divided = np.zeros(size, bool)
        for piece, id in vocabulary.items():
            self._begins[id] = piece.startswith(WORD_MARK)
            self._divided[id] = WORD_MARK in piece[1:]

    @staticmethod
    def suits(pipeline: Pipeline) -> bool:
        """Whether ids tell the words: no unknown piece can hold a `▁`, no added token stands in text."""
        return (
            isinstance(pipeline, SplitPipeline)
            and isinstance(pipeline.core, FastUnigram)
            and WORD_MARK in pipeline.vocabulary
            and all(token.special for token in pipeline.added.values())
        )

    def encode(self, sentences: Sequence[str]) -> Encoded:
        """Return the tokens of sentences, in their order."""
        rows = [
            pieces.ids for pieces in self._pipeline.encode_batch(sentences, False, split_special_tokens=True)
        ]
        lengths = np.fromiter(map(len, rows), np.int64, len(rows))
        tokens = np.fromiter((id for row in rows for id in row), np.uint32, int(lengths.sum()))
        starts = self._begins[tokens]
        starts[1:] |= self._divided[tokens[:-1]]
        starts[_firsts(lengths)] = True
        return Encoded(tokens, starts, lengths)


class ByteLevelEncoder(BulkEncoder):
    """Encodes each stretch between spaces once, and each of its words once, and remembers both."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        super().__init__(tokenizer)
        self._added = [token.content for token in self._pipeline.added.values() if not token.special]
        self._forget()

    @staticmethod
    def suits(pipeline: Pipeline) -> bool:
        """Whether what stands between two spaces has the same pieces everywhere."""
        return (
            isinstance(pipeline, SplitPipeline)
            and isinstance(pipeline.core, FastByteLevelBPE)
            and not pipeline.core.add_prefix_space
            and not any(
                character.isspace() for token in pipeline.added.values() for character in token.content
            )
        )

    def encode(self, sentences: Sequence[str]) -> Encoded:
        """Return the tokens of sentences, in their order."""
        if self._pieces_of.is_full() or self._words_of.is_full():
            self._forget()
        first, later = self._first.__getitem__, self._later.__getitem__
        found, ends = array("q"), array("q")
        for sentence in sentences:
            if sentence.startswith(" "):
                found.extend(map(later, sentence[1:].split(" ")))
            else:
                begin, *rest = sentence.split(" ")
                found.append(first(begin))
                found.extend(map(later, rest))
            ends.append(len(found))
        self._learn_stretches()
        numbers, last = np.array(found, np.int64), np.array(ends, np.int64)
        begins = np.concatenate([[0], last])[:-1]
        counts = last - begins
        keep = np.ones(len(numbers), bool)
        strange = np.unique(np.searchsorted(last, np.flatnonzero(numbers == _WHOLE), side="right"))
        numbers[begins[strange]] = self._pieces_of.append(
            _joined(self._pieces([sentences[number] for number in strange.tolist()]))
        )
        for number in strange.tolist():
            keep[begins[number] + 1 : last[number]] = False
        counts[strange] = 1
        return self._pieces_of.gather(numbers[keep], counts)

    def _learn_stretches(self) -> None:
        """Encode the words of the stretches that were met first in this batch."""
        splits = [split(stretch) for stretch in self._waiting]
        self._waiting.clear()
        counts = np.fromiter(map(len, splits), np.int64, len(splits))
        numbers = np.fromiter(map(self._words.__getitem__, chain(*splits)), np.int64, int(counts.sum()))
        new = list(islice(self._words, len(self._words_of), None))
        rows = self._pipeline.encode_batch(new, False, split_special_tokens=True)
        lengths = np.fromiter((len(row.ids) for row in rows), np.int64, len(rows))
        tokens = np.fromiter((id for row in rows for id in row.ids), np.uint32, int(lengths.sum()))
        starts = np.zeros(len(tokens), bool)
        starts[_firsts(lengths)] = True
        self._words_of.append(Encoded(tokens, starts, lengths))
        self._pieces_of.append(self._words_of.gather(numbers, counts))

    def _forget(self) -> None:
        self._waiting: list[str] = []
        self._words = _Words()
        self._words_of, self._pieces_of = _Rows(), _Rows()
        self._first = _Stretches(self._waiting, self._pieces_of, "", self._added)
        self._later = _Stretches(self._waiting, self._pieces_of, " ", self._added)


class _Rows:
    """Pieces of stretches of text, by number."""

    def __init__(self) -> None:
        self._known = _joined([])
        self._offsets: NDArray[np.int64] = np.zeros(0, np.int64)

    def __len__(self) -> int:
        return len(self._offsets)

    def is_full(self) -> bool:
        """Whether it is time to begin anew, so that strange text cannot fill the memory."""
        return len(self) > _KEPT or len(self._known.tokens) > 4 * _KEPT

    def append(self, new: Encoded) -> NDArray[np.int64]:
        """Add stretches; return their numbers."""
        before = len(self)
        self._known = Encoded(
            np.concatenate([self._known.tokens, new.tokens]),
            np.concatenate([self._known.word_starts, new.word_starts]),
            np.concatenate([self._known.lengths, new.lengths]),
        )
        self._offsets = np.cumsum(self._known.lengths) - self._known.lengths
        return np.arange(before, len(self))

    def gather(self, numbers: NDArray[np.int64], counts: NDArray[np.int64]) -> Encoded:
        """Put stretches in a row: each of `counts`, all above 0, says how many of them make a sentence."""
        if not len(counts):
            return _joined([])
        lengths = self._known.lengths[numbers]
        begins = np.cumsum(lengths) - lengths
        places = np.arange(lengths.sum()) + np.repeat(self._offsets[numbers] - begins, lengths)
        sums = np.add.reduceat(lengths, np.cumsum(counts) - counts)
        return Encoded(self._known.tokens[places], self._known.word_starts[places], sums)


class _Words(dict[str, int]):
    """Word -> its number, in the order in which they were met."""

    def __missing__(self, word: str) -> int:
        number = self[word] = len(self)
        return number


class _Stretches(dict[str, int]):
    """Stretch between spaces -> its number among the rows; `_WHOLE` where its sentence has to be encoded whole."""

    def __init__(self, waiting: list[str], rows: _Rows, before: str, added: Sequence[str]) -> None:
        self._waiting, self._rows, self._before, self._added = waiting, rows, before, added

    def __missing__(self, stretch: str) -> int:
        # Empty, or with other white space in it: then white space comes in runs, which the splitter cuts otherwise.
        if stretch.split() != [stretch] or any(token in stretch for token in self._added):
            return _WHOLE
        number = len(self._rows) + len(self._waiting)
        self._waiting.append(self._before + stretch)
        if len(stretch) <= _LONGEST:
            self[stretch] = number
        return number


def bulk_encoder(tokenizer: PreTrainedTokenizerBase) -> BulkEncoder:
    """Return the fastest encoder that gives what the tokenizer gives."""
    pipeline = tokenizer._pipeline
    for kind in (ByteLevelEncoder, UnigramEncoder):
        if kind.suits(pipeline):
            return kind(tokenizer)
    return BulkEncoder(tokenizer)


def _joined(rows: Sequence[Pieces]) -> Encoded:
    lengths = np.fromiter((len(row.ids) for row in rows), np.int64, len(rows))
    total = int(lengths.sum())
    tokens = np.fromiter((id for row in rows for id in row.ids), np.uint32, total)
    words = np.fromiter((word for row in rows for word in row.words or ()), np.int64, total)
    starts = np.ones(total, bool)
    starts[1:] = (words[1:] != words[:-1]) | (words[1:] < 0)  # -1: a token of no word stands for itself
    starts[_firsts(lengths)] = True
    return Encoded(tokens, starts, lengths)


def _firsts(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Places of the first tokens of sentences that are not empty."""
    starts: NDArray[np.int64] = (np.cumsum(lengths) - lengths)[lengths > 0]
    return starts
