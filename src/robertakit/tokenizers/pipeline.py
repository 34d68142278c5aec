"""From text to pieces: the added tokens cut out, the stretches between them through a core.

Two kinds: `SplitPipeline` (our splitter and one of our cores) and `RawPipeline` (a `tokenizers.Tokenizer` with a
pipeline of its own, followed as it is). Pairs, special tokens, truncation and padding come after this.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Protocol

from robertakit.errors import InputError
from robertakit.tokenizers.added_tokens import FLAGS, AddedToken, Cut, Splitter, added_token
from robertakit.tokenizers.core import Core, Pieces, refuse_lone_surrogates

if TYPE_CHECKING:
    import tokenizers

Text = str | Sequence[str]
"""A text, or its words where the caller has split it."""


class Pipeline(Protocol):
    """Whole texts in, pieces with added tokens among them out. Has no state that a call changes."""

    @property
    def vocabulary(self) -> Mapping[str, int]:
        """Piece -> id of the model itself, without added tokens."""
        ...

    @property
    def added(self) -> Mapping[int, AddedToken]:
        """Id -> added token."""
        ...

    @property
    def draws(self) -> bool:
        """Whether the same text may be cut otherwise the next time (subword sampling)."""
        ...

    def encode_batch(
        self,
        texts: Sequence[Text],
        with_offsets: bool = False,
        *,
        prefix_space: bool | None = None,
        split_special_tokens: bool = False,
    ) -> list[Pieces]:
        """Encode each text, or each list of words.

        Offsets count characters of the text, or of the word; the words of `Pieces.words` are the pre-tokens of
        a text, or the caller's words.
        """
        ...

    def piece_of(self, id: int) -> str | None:
        """The piece of an id, None where the model has none."""
        ...

    def surfaces(self, text: Text, *, prefix_space: bool | None, split_special_tokens: bool) -> list[str]:
        """The pieces as strings, unknown ones as the text has them."""
        ...

    def text_of(self, pieces: Sequence[str]) -> str:
        """Join pieces of plain text."""
        ...

    def with_added(self, tokens: Mapping[int, AddedToken]) -> Pipeline:
        """The same pipeline with these added tokens in place of the ones it had."""
        ...


class SplitPipeline:
    """Our splitter, then a core for each stretch.

    Args:
        core: one of the cores of `core.py`.
        added: id -> added token.
        trim_added: leave the white space that an added token takes with it (`lstrip`) out of its offsets, as
            byte-level BPE with `trim_offsets` does.
        prefix_words: begin every word of a pre-split text with a space (byte-level BPE).
        unknown: piece of what the vocabulary lacks (unigram); None where everything is in it.
    """

    def __init__(
        self,
        core: Core,
        added: Mapping[int, AddedToken] | None = None,
        *,
        trim_added: bool = False,
        prefix_words: bool = False,
        unknown: str | None = None,
    ) -> None:
        self.core, self._trim_added, self._prefix_words, self._unknown = (
            core,
            trim_added,
            prefix_words,
            unknown,
        )
        self.added = added = {} if added is None else dict(added)
        self._all = Splitter(added)
        self._plain = Splitter({id: token for id, token in added.items() if not token.special})

    @property
    def vocabulary(self) -> Mapping[str, int]:
        """Piece -> id of the model itself."""
        return self.core.vocabulary

    @property
    def draws(self) -> bool:
        """Whether the same text may be cut otherwise the next time."""
        return bool(getattr(getattr(self.core, "sampling", None), "draws", False))

    def __deepcopy__(self, memo: dict[int, object]) -> SplitPipeline:
        return self  # nothing in it ever changes

    def with_added(self, tokens: Mapping[int, AddedToken]) -> SplitPipeline:
        """The same pipeline with these added tokens in place of the ones it had."""
        return SplitPipeline(
            self.core,
            tokens,
            trim_added=self._trim_added,
            prefix_words=self._prefix_words,
            unknown=self._unknown,
        )

    def piece_of(self, id: int) -> str | None:
        """The piece of an id, None where the model has none."""
        try:
            return self.core.piece_of(id)
        except (KeyError, IndexError):
            return None

    def text_of(self, pieces: Sequence[str]) -> str:
        """Join pieces of plain text."""
        return self.core.decode(pieces)

    def encode_batch(
        self,
        texts: Sequence[Text],
        with_offsets: bool = False,
        *,
        prefix_space: bool | None = None,
        split_special_tokens: bool = False,
    ) -> list[Pieces]:
        """Encode texts; see `Pipeline.encode_batch`."""
        splitter = self._plain if split_special_tokens else self._all
        flat: list[str] = []
        shape: list[int | None] = []  # number of words, None for a whole text
        for text in texts:
            if isinstance(text, str):
                flat.append(text)
                shape.append(None)
            else:
                flat.extend(text)
                shape.append(len(text))
        pre_split = len(flat) != len(texts) or any(count is not None for count in shape)
        if pre_split and self._prefix_words:
            prefix_space = True
        encoded = self._encode_flat(flat, splitter, with_offsets, prefix_space)
        if not pre_split:
            return encoded
        rest = iter(encoded)
        return [
            next(rest) if count is None else _join_words(islice(rest, count), with_offsets) for count in shape
        ]

    def _encode_flat(
        self, texts: Sequence[str], splitter: Splitter, with_offsets: bool, prefix_space: bool | None
    ) -> list[Pieces]:
        """All stretches of all texts go to the core in one call: that is what makes the fast cores fast."""
        cuts = [splitter.cuts(text) for text in texts]
        if not any(cuts):
            return self.core.encode_batch(texts, with_offsets, prefix_space=prefix_space)
        stretches: list[str] = []
        begins: list[bool] = []
        for text, found in zip(texts, cuts, strict=True):
            start = 0
            for cut in found:
                if start < cut.start:
                    stretches.append(text[start : cut.start])
                    begins.append(start == 0)
                start = cut.end
            if start < len(text) or not found:
                stretches.append(text[start:] if start else text)
                begins.append(start == 0)
        pieces = iter(
            self.core.encode_batch(stretches, with_offsets, prefix_space=prefix_space, begins_text=begins)
        )
        return [
            self._assemble(len(text), found, pieces, with_offsets) if found else next(pieces)
            for text, found in zip(texts, cuts, strict=True)
        ]

    def _assemble(
        self, length: int, cuts: Sequence[Cut], pieces: Iterator[Pieces], with_offsets: bool
    ) -> Pieces:
        """Put the stretches of one text and its added tokens in a row."""
        ids: list[int] = []
        offsets: list[tuple[int, int]] = []
        words: list[int] = []
        start = word = 0
        for cut in [*cuts, None]:
            until = length if cut is None else cut.start
            if start < until:
                stretch = next(pieces)
                ids += stretch.ids
                if stretch.offsets and stretch.words:
                    offsets += [(start + first, start + last) for first, last in stretch.offsets]
                    words += [word + number for number in stretch.words]
                    word = words[-1] + 1
            if cut is not None:
                ids.append(cut.id)
                offsets.append((cut.inner_start, cut.inner_end) if self._trim_added else (cut.start, cut.end))
                words.append(word)
                word, start = word + 1, cut.end
        return Pieces(ids, offsets, words) if with_offsets else Pieces(ids)

    def surfaces(self, text: Text, *, prefix_space: bool | None, split_special_tokens: bool) -> list[str]:
        """The pieces of a text as strings."""
        result: list[str] = []
        words = [text] if isinstance(text, str) else list(text)
        encoded = self._encode_flat(
            words,
            self._plain if split_special_tokens else self._all,
            self._unknown is not None,
            True if self._prefix_words and not isinstance(text, str) else prefix_space,
        )
        for word, pieces in zip(words, encoded, strict=True):
            for number, id in enumerate(pieces.ids):
                piece = self.added[id].content if id in self.added else self.piece_of(id) or ""
                if piece == self._unknown and pieces.offsets:
                    first, last = pieces.offsets[number]
                    piece = word[first:last] or piece
                result.append(piece)
        return result


class RawPipeline:
    """A `tokenizers.Tokenizer` followed as it is: another model, or the reference's fast class with its faults.

    The tokenizer belongs to this object alone; its own truncation and padding are switched off.
    """

    def __init__(self, tokenizer: tokenizers.Tokenizer) -> None:
        tokenizer.no_truncation()
        tokenizer.no_padding()
        tokenizer.encode_special_tokens = False
        self.tokenizer = tokenizer
        self.draws = False
        self._vocabulary: dict[str, int] = tokenizer.get_vocab(with_added_tokens=False)

    @classmethod
    def from_json(cls, text: str) -> RawPipeline:
        """Build the pipeline that a `tokenizer.json` describes."""
        from tokenizers import Tokenizer

        return cls(Tokenizer.from_str(text))

    def to_json(self) -> str:
        """Return the whole pipeline as a `tokenizer.json`."""
        text: str = self.tokenizer.to_str(pretty=True)
        return text

    def __deepcopy__(self, memo: dict[int, object]) -> RawPipeline:
        return self  # nothing in it ever changes

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return RawPipeline.from_json, (self.to_json(),)

    @property
    def vocabulary(self) -> Mapping[str, int]:
        """Piece -> id of the model itself."""
        return self._vocabulary

    def with_added(self, tokens: Mapping[int, AddedToken]) -> RawPipeline:
        """The same pipeline with these added tokens in place of the ones it had."""
        from tokenizers import AddedToken as RawToken
        from tokenizers import Tokenizer

        copy = Tokenizer.from_str(self.tokenizer.to_str())
        known = self.added
        for id, token in sorted(tokens.items()):
            if known.get(id) != token:
                made = RawToken(token.content, **{name: getattr(token, name) for name in FLAGS})
                (copy.add_special_tokens if token.special else copy.add_tokens)([made])
        return RawPipeline(copy)

    @property
    def added(self) -> Mapping[int, AddedToken]:
        """Id -> added token."""
        return {id: added_token(token) for id, token in self.tokenizer.get_added_tokens_decoder().items()}

    def piece_of(self, id: int) -> str | None:
        """The piece of an id, None where the model has none."""
        piece: str | None = self.tokenizer.id_to_token(id)
        return piece

    def text_of(self, pieces: Sequence[str]) -> str:
        """Join pieces of plain text."""
        decoder = self.tokenizer.decoder
        text: str = " ".join(pieces) if decoder is None else decoder.decode(list(pieces))
        return text

    def encode_batch(
        self,
        texts: Sequence[Text],
        with_offsets: bool = False,
        *,
        prefix_space: bool | None = None,
        split_special_tokens: bool = False,
    ) -> list[Pieces]:
        """Encode texts; see `Pipeline.encode_batch`."""
        encodings = self._encodings(texts, prefix_space, split_special_tokens)
        if not with_offsets:
            return [Pieces(encoding.ids) for encoding in encodings]
        return [
            Pieces(
                encoding.ids, encoding.offsets, [-1 if word is None else word for word in encoding.word_ids]
            )
            for encoding in encodings
        ]

    def surfaces(self, text: Text, *, prefix_space: bool | None, split_special_tokens: bool) -> list[str]:
        """The pieces of a text as strings."""
        tokens: list[str] = self._encodings([text], prefix_space, split_special_tokens)[0].tokens
        return tokens

    def _encodings(
        self, texts: Sequence[Text], prefix_space: bool | None, split_special_tokens: bool
    ) -> list[tokenizers.Encoding]:
        if prefix_space is not None:
            raise InputError(
                given=f"add_prefix_space={prefix_space} in a call",
                hint="this tokenizer follows a tokenizer.json: its pipeline says whether a space is put in",
            )
        for text in texts:
            for part in [text] if isinstance(text, str) else text:
                refuse_lone_surrogates(part)
        tokenizer = self.tokenizer
        if (
            split_special_tokens
        ):  # a switch of the tokenizer itself: set it on a copy, other threads use this one
            tokenizer = RawPipeline.from_json(self.to_json()).tokenizer
            tokenizer.encode_special_tokens = True
        kinds = {isinstance(text, str) for text in texts}
        if len(kinds) > 1:
            return [self._encodings([text], prefix_space, split_special_tokens)[0] for text in texts]
        encodings: list[tokenizers.Encoding] = tokenizer.encode_batch(
            [text if isinstance(text, str) else list(text) for text in texts],
            is_pretokenized=kinds == {False},
            add_special_tokens=False,
        )
        return encodings


def _join_words(words: Iterator[Pieces], with_offsets: bool) -> Pieces:
    """One sequence of the pieces of the caller's words; offsets stay within each word."""
    joined = Pieces([], [], []) if with_offsets else Pieces([])
    for number, pieces in enumerate(words):
        joined.ids += pieces.ids
        if joined.offsets is not None and joined.words is not None and pieces.offsets is not None:
            joined.offsets += pieces.offsets
            joined.words += [number] * len(pieces.ids)
    return joined
