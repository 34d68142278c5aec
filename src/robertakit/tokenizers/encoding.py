"""One encoded row: where each of its tokens comes from in the caller's text. Worked out only when asked for.

`Template` says where the special tokens stand; `TextEncoding` is what `BatchEncoding.encodings` holds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from robertakit.errors import InputError
from robertakit.tokenizers.core import Pieces
from robertakit.tokenizers.pipeline import Pipeline, Text
from robertakit.tokenizers.truncation import Span

T = TypeVar("T")
# Stand-ins for the two sequences when a tokenizer is asked where it puts special tokens.
FIRST, SECOND = -1, -2


class CharSpan(NamedTuple):
    """Characters from `start` up to `end` of a text."""

    start: int
    end: int


class TokenSpan(NamedTuple):
    """Tokens from `start` up to `end` of a row."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Template:
    """Where the special tokens of a row stand: ids, with `FIRST` and `SECOND` in the places of the sequences.

    Example:
        >>> Template((0, FIRST, 2), (0, 0, 0)).join(([7, 8],))
        [0, 7, 8, 2]
    """

    slots: tuple[int, ...]
    types: tuple[int, ...]

    def __post_init__(self) -> None:
        expected = 2 if SECOND in self.slots else 1
        if sum(slot < 0 for slot in self.slots) != expected or len(self.types) != len(self.slots):
            raise InputError(
                given="build_inputs_with_special_tokens that loses, repeats or miscounts a sequence",
                expected="each sequence once, with one token type id for every token",
            )

    @property
    def specials(self) -> int:
        """Number of special tokens that are added."""
        return sum(slot >= 0 for slot in self.slots)

    def join(self, sequences: Sequence[Sequence[int]]) -> list[int]:
        """Return the ids of the row."""
        return self._fill(sequences, lambda slot: slot)

    def spread(self, sequences: Sequence[Sequence[T]], special: T) -> list[T]:
        """Return a row's values: those of the sequences, and `special` at each special token."""
        return self._fill(sequences, lambda _: special)

    def type_ids(self, lengths: Sequence[int]) -> list[int]:
        """Return the token type ids of the row."""
        row: list[int] = []
        for slot, type in zip(self.slots, self.types, strict=True):
            row += [type] * (1 if slot >= 0 else lengths[-1 - slot])
        return row

    def _fill(self, sequences: Sequence[Sequence[T]], special: Callable[[int], T]) -> list[T]:
        row: list[T] = []
        for slot in self.slots:
            if slot >= 0:
                row.append(special(slot))
            else:
                row += sequences[-1 - slot]
        return row


class Source:
    """A text and its pieces; the offsets are made at the first question for them.

    Two threads that ask at once both work it out, and get the same.
    """

    __slots__ = ("_pieces", "_pipeline", "_settings", "_text", "pre_split")

    def __init__(
        self,
        text: Text,
        pieces: Pieces,
        pipeline: Pipeline,
        prefix_space: bool | None,
        split_special_tokens: bool,
    ) -> None:
        self._text, self._pieces = text, pieces
        self._pipeline: Pipeline | None = pipeline
        self._settings = (prefix_space, split_special_tokens)
        self.pre_split = not isinstance(text, str)

    @classmethod
    def of_ids(cls, ids: list[int], pipeline: Pipeline) -> Source:
        """A sequence that the caller gave as ids: it has no text."""
        nothing: list[tuple[int, int]] = [(0, 0)] * len(ids)
        return cls("", Pieces(ids, nothing, [0] * len(ids)), pipeline, None, False)

    def pieces(self) -> Pieces:
        """Return the pieces with offsets and words."""
        if self._pieces.offsets is None and self._pipeline is not None:
            prefix_space, split_special_tokens = self._settings
            self._pieces = self._pipeline.encode_batch(
                [self._text], True, prefix_space=prefix_space, split_special_tokens=split_special_tokens
            )[0]
        return self._pieces

    def tokens(self, ids: Sequence[int]) -> list[str]:
        """Return the pieces of ids by the vocabulary that made them."""
        if self._pipeline is None:
            raise InputError(given="tokens of an unpickled encoding", hint="ask its tokenizer for them")
        return [self._pipeline.piece_of(id) or "" for id in ids]

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        # A pickle holds the answers, not the vocabulary that would be needed to work them out.
        return _source_of_answers, (self._text, self.pieces())


def _source_of_answers(text: Text, pieces: Pieces) -> Source:
    source = Source.__new__(Source)
    source._text, source._pieces, source._pipeline = text, pieces, None
    source._settings, source.pre_split = (None, False), not isinstance(text, str)
    return source


class TextEncoding:
    """One row: ids, and for each token its sequence, word and characters.

    Token positions count padding; special tokens and padding belong to no sequence and no word (None), and have
    the offsets (0, 0).
    """

    __slots__ = ("_names", "_pad_right", "_sources", "_spans", "_template", "ids", "overflowing", "pad_left")

    def __init__(
        self,
        ids: list[int],
        template: Template,
        sources: tuple[Source, ...],
        spans: tuple[Span, ...],
        padding: tuple[int, int],
        names: Callable[[Sequence[int]], list[str]] | None,
    ) -> None:
        self.ids, self._template, self._sources, self._spans = ids, template, sources, spans
        self.pad_left, self._pad_right = padding
        self._names = names
        self.overflowing: list[TextEncoding] = []

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        return f"TextEncoding(num_tokens={len(self.ids)}, n_sequences={self.n_sequences})"

    def __reduce__(self) -> tuple[object, ...]:
        names = _Names(self.ids, self.tokens)
        args = (self.ids, self._template, self._sources, self._spans, (self.pad_left, self._pad_right), names)
        return TextEncoding, args, (None, {"overflowing": self.overflowing})

    @property
    def n_sequences(self) -> int:
        """1 for a text, 2 for a pair."""
        return len(self._sources)

    @property
    def tokens(self) -> list[str]:
        """The pieces of the ids."""
        return self._names(self.ids) if self._names is not None else []

    @property
    def attention_mask(self) -> list[int]:
        """1 for tokens, 0 for padding."""
        real = len(self.ids) - self.pad_left - self._pad_right
        return [0] * self.pad_left + [1] * real + [0] * self._pad_right

    @property
    def special_tokens_mask(self) -> list[int]:
        """1 for special tokens that were added and for padding; one that stood in the text counts as text."""
        return self._row([[0] * (stop - start) for start, stop in self._spans], 1)

    @property
    def type_ids(self) -> list[int]:
        """Token type ids; padding has 0."""
        row = self._template.type_ids([stop - start for start, stop in self._spans])
        return [0] * self.pad_left + row + [0] * self._pad_right

    @property
    def sequence_ids(self) -> list[int | None]:
        """For each token the number of its sequence."""
        values: list[list[int | None]] = [
            [number] * (stop - start) for number, (start, stop) in enumerate(self._spans)
        ]
        return self._row(values, None)

    @property
    def word_ids(self) -> list[int | None]:
        """For each token the number of its word within its sequence: the pre-token, or the caller's word."""
        values: list[list[int | None]] = []
        for source, (start, stop) in zip(self._sources, self._spans, strict=True):
            words: list[int | None] = [*(source.pieces().words or [])]
            values.append(words[start:stop])
        return self._row(values, None)

    words = word_ids

    @property
    def offsets(self) -> list[tuple[int, int]]:
        """For each token the characters of its text (or of its word, where the caller split the text)."""
        values = [
            (source.pieces().offsets or [])[start:stop]
            for source, (start, stop) in zip(self._sources, self._spans, strict=True)
        ]
        return self._row(values, (0, 0))

    def _row(self, sequences: Sequence[Sequence[T]], special: T) -> list[T]:
        row = self._template.spread(sequences, special)
        return [special] * self.pad_left + row + [special] * self._pad_right

    def token_to_sequence(self, token: int) -> int | None:
        """The sequence of a token, None for a special one and past the end of the row."""
        sequences = self.sequence_ids
        return sequences[token] if -len(sequences) <= token < len(sequences) else None

    def token_to_word(self, token: int) -> int | None:
        """The word of a token, None for a special one and past the end of the row."""
        return None if self.token_to_sequence(token) is None else self.word_ids[token]

    def token_to_chars(self, token: int) -> CharSpan | None:
        """The characters of a token, None for a special one and past the end of the row."""
        return None if self.token_to_sequence(token) is None else CharSpan(*self.offsets[token])

    def char_to_token(self, char: int, sequence: int = 0) -> int | None:
        """The token that covers a character of a text, None for a space between tokens."""
        for token, (number, (start, end)) in enumerate(zip(self.sequence_ids, self.offsets, strict=True)):
            if number == sequence and start <= char < end:
                return token
        return None

    def char_to_word(self, char: int, sequence: int = 0) -> int | None:
        """The word that covers a character of a text."""
        token = self.char_to_token(char, sequence)
        return None if token is None else self.word_ids[token]

    def word_to_tokens(self, word: int, sequence: int = 0) -> TokenSpan | None:
        """The tokens of a word, None where it has none in this row."""
        found = [
            token
            for token, (number, each) in enumerate(zip(self.sequence_ids, self.word_ids, strict=True))
            if number == sequence and each == word
        ]
        return TokenSpan(found[0], found[-1] + 1) if found else None

    def word_to_chars(self, word: int, sequence: int = 0) -> CharSpan | None:
        """The characters of a word, None where it has no tokens in this row."""
        tokens = self.word_to_tokens(word, sequence)
        if tokens is None:
            return None
        offsets = self.offsets
        return CharSpan(offsets[tokens.start][0], offsets[tokens.end - 1][1])


class _Names:
    """The tokens of one row, kept for a pickle in place of the vocabulary."""

    def __init__(self, ids: Sequence[int], tokens: Sequence[str]) -> None:
        self._names = dict(zip(ids, tokens, strict=True))

    def __call__(self, ids: Sequence[int]) -> list[str]:
        return [self._names[id] for id in ids]
