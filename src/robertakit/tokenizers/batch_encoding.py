"""`BatchEncoding`: what a tokenizer returns, a `dict` that also knows where its tokens come from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from robertakit.errors import InputError
from robertakit.tokenizers.encoding import CharSpan, TextEncoding, TokenSpan
from robertakit.tokenizers.padding import tensor_type, to_tensors
from robertakit.tokenizers.values import Value

if TYPE_CHECKING:
    import torch


@runtime_checkable
class _Movable(Protocol):
    def to(self, device: object, *, non_blocking: bool = ...) -> object: ...


class BatchEncoding(dict[str, Value]):
    """The columns of a batch (`input_ids`, `attention_mask`, ...) as a dict, by key or attribute.

    An integer in brackets gives one `TextEncoding`, a slice the same rows of every column. The methods about
    tokens, words and characters take `(batch_index, index)`, or `(index)` alone for the only (or first) row.

    Example:
        >>> BatchEncoding({"input_ids": [[0, 2]]}).input_ids
        [[0, 2]]
    """

    def __init__(
        self,
        data: Mapping[str, object] | None = None,
        encoding: TextEncoding | Sequence[TextEncoding] | None = None,
        tensor_type: object = None,
        prepend_batch_axis: bool = False,
        n_sequences: int | None = None,
        *,
        is_fast: bool | None = None,
    ) -> None:
        super().__init__(data or {})
        encodings = [encoding] if isinstance(encoding, TextEncoding) else encoding
        self._encodings = None if encodings is None else list(encodings)
        if n_sequences is None and self._encodings:
            n_sequences = self._encodings[0].n_sequences
        self._n_sequences = n_sequences
        self._is_fast = self._encodings is not None if is_fast is None else is_fast
        self.convert_to_tensors(tensor_type, prepend_batch_axis)

    @property
    def data(self) -> dict[str, Value]:
        """The columns: this very dict (the reference keeps them in an attribute of that name)."""
        return self

    @property
    def n_sequences(self) -> int | None:
        """1 for texts, 2 for pairs, None where that is not known."""
        return self._n_sequences

    @property
    def is_fast(self) -> bool:
        """Whether a fast tokenizer made this. (Ours answers the questions below for slow ones too.)"""
        return self._is_fast

    @property
    def encodings(self) -> list[TextEncoding] | None:
        """One `TextEncoding` for each row, None where the dict was made by hand."""
        return self._encodings

    def __getitem__(self, item: str | int | slice) -> Value:
        if isinstance(item, str):
            return super().__getitem__(item)
        if isinstance(item, slice):
            return {key: value[item] for key, value in self.items()}
        return self._row(item)

    def __getattr__(self, name: str) -> Value:
        if name.startswith("__") or name in ("_encodings", "_n_sequences", "_is_fast"):
            raise AttributeError(name)  # asked for while a copy or pickle is being made
        try:
            return super().__getitem__(name)
        except KeyError:
            raise AttributeError(f"no column {name!r}; there are: {', '.join(self) or 'none'}") from None

    def __reduce__(self) -> tuple[object, ...]:
        return _restored, (dict(self), self._encodings, self._n_sequences, self._is_fast)

    def copy(self) -> BatchEncoding:
        """A copy that shares the values."""
        return _restored(dict(self), self._encodings, self._n_sequences, self._is_fast)

    __copy__ = copy

    def _row(self, index: int) -> TextEncoding:
        if self._encodings is None:
            raise InputError(
                given="a question about tokens to a BatchEncoding that no tokenizer made",
                hint="call a tokenizer on the text",
            )
        try:
            return self._encodings[index]
        except IndexError:
            raise InputError(given=f"row {index}", expected=f"one of {len(self._encodings)} rows") from None

    def _at(self, batch_or_index: int, index: int | None) -> tuple[TextEncoding, int]:
        """Resolve `(row, index)` or `(index)` alone, negative ones counted from the end."""
        row = self._row(batch_or_index if index is not None else 0)
        return row, batch_or_index if index is None else index

    def tokens(self, batch_index: int = 0) -> list[str]:
        """Return the pieces of a row."""
        return self._row(batch_index).tokens

    def sequence_ids(self, batch_index: int = 0) -> list[int | None]:
        """Return for each token of a row its sequence: 0, 1, or None for special tokens."""
        return self._row(batch_index).sequence_ids

    def word_ids(self, batch_index: int = 0) -> list[int | None]:
        """Return for each token of a row the number of its word, None for special tokens."""
        return self._row(batch_index).word_ids

    words = word_ids

    def token_to_sequence(self, batch_or_token_index: int, token_index: int | None = None) -> int | None:
        """Return the sequence of a token."""
        row, token = self._at(batch_or_token_index, token_index)
        return row.token_to_sequence(token)

    def token_to_word(self, batch_or_token_index: int, token_index: int | None = None) -> int | None:
        """Return the word of a token."""
        row, token = self._at(batch_or_token_index, token_index)
        return row.token_to_word(token)

    def token_to_chars(self, batch_or_token_index: int, token_index: int | None = None) -> CharSpan | None:
        """Return the characters of a token, None for a special one."""
        row, token = self._at(batch_or_token_index, token_index)
        return row.token_to_chars(token)

    def char_to_token(
        self, batch_or_char_index: int, char_index: int | None = None, sequence_index: int = 0
    ) -> int | None:
        """Return the token that covers a character, None for a space between tokens."""
        row, char = self._at(batch_or_char_index, char_index)
        return row.char_to_token(char, sequence_index)

    def char_to_word(
        self, batch_or_char_index: int, char_index: int | None = None, sequence_index: int = 0
    ) -> int | None:
        """Return the word that covers a character."""
        row, char = self._at(batch_or_char_index, char_index)
        return row.char_to_word(char, sequence_index)

    def word_to_tokens(
        self, batch_or_word_index: int, word_index: int | None = None, sequence_index: int = 0
    ) -> TokenSpan | None:
        """Return the tokens of a word, None where it has none."""
        row, word = self._at(batch_or_word_index, word_index)
        return row.word_to_tokens(word, sequence_index)

    def word_to_chars(
        self, batch_or_word_index: int, word_index: int | None = None, sequence_index: int = 0
    ) -> CharSpan | None:
        """Return the characters of a word, None where it has no tokens."""
        row, word = self._at(batch_or_word_index, word_index)
        return row.word_to_chars(word, sequence_index)

    def convert_to_tensors(
        self, tensor_type: object = None, prepend_batch_axis: bool = False
    ) -> BatchEncoding:
        """Turn the columns into arrays (`"np"`) or tensors (`"pt"`, `"tf"`, `"jax"`) in place, and return self."""
        if tensor_type is not None:
            self.update(to_tensors(self, _tensor_type(tensor_type), add_batch_axis=prepend_batch_axis))
        return self

    def to(self, device: str | torch.device | int, *, non_blocking: bool = False) -> BatchEncoding:
        """Move the PyTorch tensors to a device, in place; other values stay. Returns self."""
        for key, value in self.items():
            if isinstance(value, _Movable):
                super().__setitem__(key, value.to(device, non_blocking=non_blocking))
        return self


_tensor_type = tensor_type  # under a name that the documented arguments do not hide


def _restored(
    data: dict[str, object], encodings: list[TextEncoding] | None, n_sequences: int | None, is_fast: bool
) -> BatchEncoding:
    return BatchEncoding(data, encodings, n_sequences=n_sequences, is_fast=is_fast)


def columns_of(rows: Sequence[Mapping[str, object]]) -> Iterator[tuple[str, list[object]]]:
    """Turn rows of equal keys into columns."""
    for key in rows[0] if rows else ():
        yield key, [row[key] for row in rows]
