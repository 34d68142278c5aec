"""Unigram segmentation in plain Python: the specification that the fast core equals, string for string.

Normalised text is cut into the pieces whose scores add up highest (Kudo 2018), with SentencePiece's own float32
sums over the whole stretch. No `sentencepiece` and no `tokenizers` here.
"""

import random
import struct
from collections.abc import Mapping, Sequence
from functools import partial

from robertakit.tokenizers.core import Pieces, refuse_lone_surrogates
from robertakit.tokenizers.fairseq_vocabulary import FairseqVocabulary, places, text_pieces
from robertakit.tokenizers.lattice import Lattice, Path, Sampling, best_path
from robertakit.tokenizers.normalization import WORD_MARK, Normalizer
from robertakit.tokenizers.sentencepiece_model import SentencePieceModel

UNKNOWN_PENALTY = 10.0
"""An unknown character costs this much more than the rarest piece (SentencePiece's unigram_model.cc)."""
CACHED_WORDS = 2**16
CACHED_CHARACTERS = 64
"""Lattices of words are remembered up to this number and this length, so that strange text cannot fill the memory."""


class Unigram:
    """The slow core of XLM-R's tokenizer; see `core.Core`.

    Args:
        model: pieces, scores and normalisation.
        sampling: subword regularisation; None and the default take the best segmentation.
        generator: where the draws of `sampling` come from; by default one of its own, seeded by the system.
    """

    def __init__(
        self,
        model: SentencePieceModel,
        *,
        sampling: Sampling | None = None,
        generator: random.Random | None = None,
    ) -> None:
        self.model = model
        self.sampling = sampling or Sampling()
        self.generator = generator or random.Random()
        self._names = FairseqVocabulary(model)
        self._normalizer = Normalizer(model.charsmap)
        self._indices = text_pieces(model)
        self._longest = max(map(len, self._indices))
        self._unknown = model.unk_id
        normal_scores = (score for score, type in zip(model.scores, model.types, strict=True) if type == 1)
        self._unknown_score = float32(min(normal_scores) - UNKNOWN_PENALTY)
        self._lattices: dict[str, Lattice] = {}

    def __reduce__(self) -> tuple[object, ...]:
        return partial(type(self), sampling=self.sampling, generator=self.generator), (self.model,)

    @property
    def vocabulary(self) -> Mapping[str, int]:
        """Piece -> id."""
        return self._names.ids

    def piece_of(self, id: int) -> str:
        """The piece of an id; KeyError for an id that the vocabulary does not have."""
        if not 0 <= id < len(self._names.pieces):
            raise KeyError(id)
        return self._names.pieces[id]

    def encode(
        self,
        text: str,
        with_offsets: bool = True,
        *,
        prefix_space: bool | None = None,
        begins_text: bool = True,
    ) -> Pieces:
        """Encode one stretch of plain text; see `core.Core.encode`."""
        refuse_lone_surrogates(text)
        normalized = self._normalizer.normalize(text, with_offsets)
        surfaces: list[str] = []
        indices: list[int] = []
        begin = 0
        for end, index in self._path(normalized.text):
            if index == self._unknown and indices and indices[-1] == index:  # a run of unknown ones is one
                surfaces[-1] += normalized.text[begin:end]
            else:
                surfaces.append(normalized.text[begin:end])
                indices.append(index)
            begin = end
        ids = [self._names.of_index[index] for index in indices]
        return Pieces(ids, *places(normalized, surfaces)) if with_offsets else Pieces(ids)

    def encode_batch(
        self,
        texts: Sequence[str],
        with_offsets: bool = False,
        *,
        prefix_space: bool | None = None,
        begins_text: Sequence[bool] | None = None,
    ) -> list[Pieces]:
        """Encode many stretches; see `core.Core.encode_batch`."""
        return [self.encode(text, with_offsets) for text in texts]

    def decode(self, pieces: Sequence[str]) -> str:
        """The text of pieces, without white space at its ends."""
        return decode_pieces(pieces)

    def _path(self, normalized: str) -> Path:
        """The way through a whole stretch. No piece crosses a `▁`, so it is looked for word by word."""
        path: Path = []
        lattices = [self._lattice(WORD_MARK + word) for word in normalized.split(WORD_MARK)[1:]]
        if self.sampling.draws and lattices:
            return self.sampling.draw(joined(lattices), self.generator)
        begin, score = 0, 0.0
        for lattice in lattices:
            steps, score = best_path(lattice, score)
            path += [(begin + end, index) for end, index in steps]
            begin += len(lattice)
        return path

    def _lattice(self, word: str) -> Lattice:
        known = self._lattices.get(word)
        if known is None:
            known = self._build_lattice(word)
            if len(word) <= CACHED_CHARACTERS:
                if len(self._lattices) >= CACHED_WORDS:
                    self._lattices = {}
                self._lattices[word] = known
        return known

    def _build_lattice(self, word: str) -> Lattice:
        lattice: Lattice = []
        for start in range(len(word)):
            edges = []
            for end in range(start + 1, min(start + self._longest, len(word)) + 1):
                index = self._indices.get(word[start:end])
                if index is not None:
                    edges.append((end, self.model.scores[index], index))
            if not edges or edges[0][0] != start + 1:  # no piece for this character alone
                edges.append((start + 1, self._unknown_score, self._unknown))
            lattice.append(edges)
        return lattice


def joined(lattices: list[Lattice]) -> Lattice:
    """One lattice of several, each after the other."""
    found: Lattice = []
    for lattice in lattices:
        begin = len(found)
        found += [[(begin + end, score, index) for end, score, index in edges] for edges in lattice]
    return found


def float32(value: float) -> float:
    """The nearest number of 32 bits."""
    (rounded,) = struct.unpack("<f", struct.pack("<f", value))
    return float(rounded)


def decode_pieces(pieces: Sequence[str]) -> str:
    """The text of XLM-R's pieces: `▁` is a space, and white space at the ends goes (the documented slow class)."""
    return "".join(pieces).replace(WORD_MARK, " ").strip()
