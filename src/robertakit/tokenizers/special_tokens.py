"""The named tokens of a tokenizer (`<s>`, `<pad>`, `<mask>`, ...) and their ids, as attributes that can be set.

Which ids added tokens have, and how text is cut at them, is the business of `vocabulary.py` and `pipeline.py`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import overload

from robertakit.errors import ArgumentError, TokenizerError
from robertakit.tokenizers.added_tokens import AddedToken, TokenLike, added_token, replace_flag

NAMES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")


class _Token:
    """The attribute `tokenizer.mask_token` and its like: a string, or None where there is no such token."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, tokenizer: None, owner: type) -> _Token: ...
    @overload
    def __get__(self, tokenizer: SpecialTokensMixin, owner: type) -> str | None: ...
    def __get__(self, tokenizer: SpecialTokensMixin | None, owner: type) -> str | None | _Token:
        if tokenizer is None:
            return self
        token = tokenizer._named.get(self._name)
        return None if token is None else token.content

    def __set__(self, tokenizer: SpecialTokensMixin, value: TokenLike | None) -> None:
        tokenizer._set_named(self._name, value)


class _TokenId:
    """The attribute `tokenizer.mask_token_id` and its like."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name.removesuffix("_id")

    @overload
    def __get__(self, tokenizer: None, owner: type) -> _TokenId: ...
    @overload
    def __get__(self, tokenizer: SpecialTokensMixin, owner: type) -> int | None: ...
    def __get__(self, tokenizer: SpecialTokensMixin | None, owner: type) -> int | None | _TokenId:
        if tokenizer is None:
            return self
        token = tokenizer._named.get(self._name)
        return None if token is None else tokenizer._id_of_special(self._name, token.content)

    def __set__(self, tokenizer: SpecialTokensMixin, value: int | None) -> None:
        tokenizer._set_named(self._name, None if value is None else tokenizer._token_of_id(value))


class SpecialTokensMixin(ABC):
    """Attributes of special tokens. The class that mixes it in says which strings have ids.

    Setting a token that has no id yet is allowed (`add_special_tokens` would give it one); asking for its id
    then is an error, where the reference returns the id of `<unk>`.
    """

    bos_token, eos_token, unk_token, sep_token = _Token(), _Token(), _Token(), _Token()
    pad_token, cls_token, mask_token = _Token(), _Token(), _Token()
    bos_token_id, eos_token_id, unk_token_id, sep_token_id = _TokenId(), _TokenId(), _TokenId(), _TokenId()
    pad_token_id, cls_token_id, mask_token_id = _TokenId(), _TokenId(), _TokenId()

    SPECIAL_TOKENS_ATTRIBUTES = (*NAMES, "additional_special_tokens")
    pad_token_type_id = 0

    _named: dict[str, AddedToken]
    _additional: list[AddedToken]

    @abstractmethod
    def _id_of(self, token: str) -> int | None: ...

    @abstractmethod
    def _token_of_id(self, id: int) -> str: ...

    @abstractmethod
    def _add(self, tokens: Sequence[AddedToken]) -> int: ...

    def _set_named(self, name: str, value: TokenLike | None) -> None:
        named = dict(self._named)
        if value is None:
            named.pop(name, None)
        else:
            named[name] = added_token(value, special=True, normalized=False)
        self._named = named

    def _id_of_special(self, name: str, content: str) -> int:
        id = self._id_of(content)
        if id is None:
            raise TokenizerError(
                given=f"{name} {content!r}, which has no id",
                expected="a token of the vocabulary",
                hint=f"call add_special_tokens({{{name!r}: {content!r}}}) and resize the model's embeddings",
            )
        return id

    @property
    def additional_special_tokens(self) -> list[str]:
        """Special tokens beside the named ones."""
        return [token.content for token in self._additional]

    @additional_special_tokens.setter
    def additional_special_tokens(self, tokens: Sequence[TokenLike] | None) -> None:
        self._additional = [added_token(token, special=True, normalized=False) for token in tokens or ()]

    @property
    def additional_special_tokens_ids(self) -> list[int]:
        """Their ids."""
        return [
            self._id_of_special("additional_special_tokens", token)
            for token in self.additional_special_tokens
        ]

    @property
    def special_tokens_map(self) -> dict[str, str | list[str]]:
        """Name -> token, of those that are set."""
        found: dict[str, str | list[str]] = {
            name: str(self._named[name]) for name in self._names_in_order() if name in self._named
        }
        return found | (
            {"additional_special_tokens": self.additional_special_tokens} if self._additional else {}
        )

    @property
    def special_tokens_map_extended(self) -> dict[str, AddedToken | list[AddedToken]]:
        """Name -> `AddedToken`, of those that are set."""
        found: dict[str, AddedToken | list[AddedToken]] = {
            name: self._named[name] for name in self._names_in_order() if name in self._named
        }
        return found | ({"additional_special_tokens": list(self._additional)} if self._additional else {})

    def _names_in_order(self) -> list[str]:
        return [*NAMES, *(name for name in self._named if name not in NAMES)]

    @property
    def all_special_tokens_extended(self) -> list[AddedToken]:
        """All special tokens, each once: the named ones, then the additional ones."""
        named = [self._named[name] for name in self._names_in_order() if name in self._named]
        found: dict[str, AddedToken] = {}
        for token in [*named, *self._additional]:
            found.setdefault(token.content, token)
        return list(found.values())

    @property
    def all_special_tokens(self) -> list[str]:
        """All special tokens as strings, each once."""
        named = [self._named[name] for name in self._names_in_order() if name in self._named]
        return list(dict.fromkeys(token.content for token in [*named, *self._additional]))

    @property
    def all_special_ids(self) -> list[int]:
        """The ids of `all_special_tokens`; those without an id are left out."""
        ids = (self._id_of(token) for token in self.all_special_tokens)
        return [id for id in ids if id is not None]

    def add_special_tokens(
        self,
        special_tokens_dict: Mapping[str, TokenLike | Sequence[TokenLike]],
        replace_additional_special_tokens: bool = True,
    ) -> int:
        """Name special tokens, and give ids to those that have none.

        Args:
            special_tokens_dict: for example `{"pad_token": "[PAD]", "additional_special_tokens": ["<ent>"]}`.
            replace_additional_special_tokens: forget the additional ones named before; they stay in the
                vocabulary either way.

        Returns:
            How many ids are new. Where it is not 0, resize the model's embeddings.
        """
        named: dict[str, AddedToken] = {}
        additional: list[AddedToken] | None = None
        for name, value in special_tokens_dict.items():
            several = isinstance(value, Sequence) and not isinstance(value, str)
            if name in ("additional_special_tokens", "extra_special_tokens") and several:
                kept = [] if replace_additional_special_tokens else self._additional
                known = {token.content for token in kept}
                new = [added_token(token, special=True, normalized=False) for token in _tokens(value)]
                additional = [*kept, *(token for token in new if token.content not in known)]
            elif name in self._names_in_order() and not several:
                named[name] = added_token(_tokens(value)[0], special=True, normalized=False)
            else:
                raise ArgumentError(
                    given=f"{name}={value!r}",
                    expected=f"a token for one of {', '.join(self._names_in_order())}, "
                    "or a list for additional_special_tokens",
                )
        self._named = {**self._named, **named}
        if additional is not None:
            self._additional = additional
        return self._add([*named.values(), *(additional or [])])

    def add_tokens(self, new_tokens: TokenLike | Sequence[TokenLike], special_tokens: bool = False) -> int:
        """Give ids to tokens that the vocabulary lacks, and cut all of them out of text from now on.

        Args:
            new_tokens: one token or a list.
            special_tokens: `decode(skip_special_tokens=True)` leaves them out.

        Returns:
            How many ids are new. Where it is not 0, resize the model's embeddings.
        """
        tokens = [
            added_token(token, special=True if special_tokens else None) for token in _tokens(new_tokens)
        ]
        fresh = [token for token in tokens if token.special and token.content not in self.all_special_tokens]
        if fresh:
            self._additional = [*self._additional, *fresh]
        return self._add(tokens)

    def sanitize_special_tokens(self) -> int:
        """Give ids to the named tokens that have none (the reference's old name for it)."""
        return self._add([replace_flag(token, True) for token in self.all_special_tokens_extended])


def _tokens(value: TokenLike | Sequence[TokenLike]) -> list[TokenLike]:
    """One token or several, as a list."""
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value]
