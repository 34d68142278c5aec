"""Byte-level BPE by the `tokenizers` library: the same ids, offsets and words as `ByteLevelBPE`, in Rust."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import cast

from tokenizers import Encoding, Tokenizer, models, pre_tokenizers, processors

from robertakit.tokenizers.byte_level import ByteLevelModel, decode_pieces
from robertakit.tokenizers.core import Pieces, refuse_lone_surrogates


class FastByteLevelBPE:
    """The fast core of RoBERTa's tokenizer; see `core.Core`. Arguments as of `ByteLevelBPE`."""

    def __init__(
        self,
        model: ByteLevelModel,
        *,
        add_prefix_space: bool = False,
        trim_offsets: bool = True,
        errors: str = "replace",
    ) -> None:
        self.model = model
        self.add_prefix_space = add_prefix_space
        self.trim_offsets = trim_offsets
        self.errors = errors
        unk_token = model.unk_token if model.unk_token in model.vocabulary else None
        self._bpe = models.BPE(dict(model.vocabulary), list(model.merges), unk_token=unk_token)
        self._pieces = {id: piece for piece, id in model.vocabulary.items()}
        self._backends: dict[tuple[bool, bool, bool], Tokenizer] = {}

    def __reduce__(self) -> tuple[object, ...]:
        options = {name: getattr(self, name) for name in ("add_prefix_space", "trim_offsets", "errors")}
        return partial(type(self), **options), (self.model,)

    @property
    def vocabulary(self) -> Mapping[str, int]:
        """Piece -> id."""
        return self.model.vocabulary

    def piece_of(self, id: int) -> str:
        """The piece of an id; KeyError for an id that the vocabulary does not have."""
        return self._pieces[id]

    def encode(
        self,
        text: str,
        with_offsets: bool = True,
        *,
        prefix_space: bool | None = None,
        begins_text: bool = True,
    ) -> Pieces:
        """Encode one stretch of plain text; see `core.Core.encode`."""
        return self.encode_batch([text], with_offsets, prefix_space=prefix_space, begins_text=[begins_text])[
            0
        ]

    def encode_batch(
        self,
        texts: Sequence[str],
        with_offsets: bool = False,
        *,
        prefix_space: bool | None = None,
        begins_text: Sequence[bool] | None = None,
    ) -> list[Pieces]:
        """Encode many stretches, in parallel where the library does so; see `core.Core.encode_batch`."""
        prefix = self.add_prefix_space if prefix_space is None else prefix_space
        if not with_offsets:
            found = self._run(self._backend(prefix, False), texts, with_offsets=False)
            return [Pieces(encoding.ids) for encoding in found]
        # Where no space is put in, it does not matter which stretch begins its text.
        groups = [prefix and begins for begins in begins_text or [True] * len(texts)]
        pieces: list[Pieces] = [Pieces([])] * len(texts)
        for keep_first in set(groups):
            places = [place for place, group in enumerate(groups) if group == keep_first]
            backend = self._backend(prefix, keep_first)
            found = self._run(backend, [texts[place] for place in places], with_offsets=True)
            for place, encoding in zip(places, found, strict=True):
                pieces[place] = Pieces(encoding.ids, encoding.offsets, cast("list[int]", encoding.word_ids))
        return pieces

    def decode(self, pieces: Sequence[str]) -> str:
        """The text of pieces; `decode` of what `encode` gave is the text again."""
        return decode_pieces(pieces, self.errors)

    def _backend(self, prefix: bool, keep_first: bool) -> Tokenizer:
        """The library's pipeline; `keep_first` as of `byte_level.trim`. Pipelines share one model."""
        key = (prefix, keep_first, self.trim_offsets)
        if key not in self._backends:
            backend = Tokenizer(self._bpe)
            backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix)
            backend.post_processor = processors.ByteLevel(
                add_prefix_space=keep_first, trim_offsets=self.trim_offsets
            )
            self._backends[key] = backend
        return self._backends[key]

    @staticmethod
    def _run(backend: Tokenizer, texts: Sequence[str], with_offsets: bool) -> list[Encoding]:
        encode = backend.encode_batch if with_offsets else backend.encode_batch_fast
        try:
            return encode(texts, add_special_tokens=False)
        except TypeError:
            for text in texts:
                refuse_lone_surrogates(text)
            raise
