"""Unigram segmentation by the `sentencepiece` library: the same ids, offsets and words as `Unigram`, in C++.

The library segments; offsets come from our own normaliser's alignment, since the library's differ from those that
the published tokenizer gives.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TypeVar

from sentencepiece import SentencePieceProcessor

from robertakit.tokenizers.core import Pieces, refuse_lone_surrogates
from robertakit.tokenizers.fairseq_vocabulary import FairseqVocabulary, places, text_pieces
from robertakit.tokenizers.lattice import Sampling
from robertakit.tokenizers.normalization import Normalizer
from robertakit.tokenizers.sentencepiece_model import SentencePieceModel, refusal
from robertakit.tokenizers.unigram import decode_pieces

Kind = TypeVar("Kind", int, str)


class FastUnigram:
    """The fast core of XLM-R's tokenizer; see `core.Core`.

    Args:
        model: pieces, scores and normalisation.
        sampling: subword regularisation, drawn by the library; None and the default take the best segmentation.
    """

    def __init__(self, model: SentencePieceModel, *, sampling: Sampling | None = None) -> None:
        self.model = model
        self.sampling = sampling or Sampling()
        self._names = FairseqVocabulary(model)
        self._normalizer = Normalizer(model.charsmap)  # first, since it checks what the library would trust
        of_index = self._names.of_index
        self._ids = {piece: of_index[index] for piece, index in text_pieces(model).items()}
        try:
            self._processor = SentencePieceProcessor(model_proto=model.to_bytes())
        except RuntimeError as error:
            raise refusal(f"what sentencepiece refuses ({error})") from error

    def __reduce__(self) -> tuple[object, ...]:
        return partial(type(self), sampling=self.sampling), (self.model,)

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
        return self.encode_batch([text], with_offsets)[0]

    def encode_batch(
        self,
        texts: Sequence[str],
        with_offsets: bool = False,
        *,
        prefix_space: bool | None = None,
        begins_text: Sequence[bool] | None = None,
    ) -> list[Pieces]:
        """Encode many stretches, on several threads where the library does so; see `core.Core.encode_batch`."""
        for text in texts:
            refuse_lone_surrogates(text)
        if not with_offsets:
            of_index = self._names.of_index
            return [Pieces([of_index[index] for index in row]) for row in self._run(texts, int)]
        found = []
        for text, surfaces in zip(texts, self._run(texts, str), strict=True):
            ids = [self._ids.get(surface, self._names.unk_id) for surface in surfaces]
            found.append(Pieces(ids, *places(self._normalizer.normalize(text), surfaces)))
        return found

    def decode(self, pieces: Sequence[str]) -> str:
        """The text of pieces, without white space at its ends."""
        return decode_pieces(pieces)

    def _run(self, texts: Sequence[str], kind: type[Kind]) -> list[list[Kind]]:
        sampling = self.sampling
        rows: list[list[Kind]] = self._processor.encode(
            list(texts),
            out_type=kind,
            enable_sampling=sampling.draws,
            nbest_size=sampling.nbest_size,
            alpha=sampling.alpha,
        )
        return rows
