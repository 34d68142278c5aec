"""Added tokens, and the one splitter that cuts text at them for slow and fast classes alike.

What lies between the tokens is a core's business (`core.py`), which token is called what the tokenizer's.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from robertakit.errors import ArgumentError

FLAGS = ("single_word", "lstrip", "rstrip", "normalized", "special")


@dataclass(frozen=True, init=False, slots=True, unsafe_hash=True)
class AddedToken:
    """A token that is cut out of the text before the model sees it.

    Args:
        content: the string.
        single_word: only where no letter, digit, mark or underscore touches it.
        lstrip: take the white space on its left with it.
        rstrip: take the white space on its right with it.
        normalized: kept and written to files; default: not for special tokens. Both classes look for the
            token in the text as given, as the reference's slow classes do; only `legacy_fast=True` and foreign
            `tokenizer.json` pipelines look for it in normalised text.
        special: skipped by `decode(skip_special_tokens=True)`.

    Example:
        >>> AddedToken("<ent>", lstrip=True, special=True).normalized
        False
    """

    content: str
    single_word: bool
    lstrip: bool
    rstrip: bool
    normalized: bool
    special: bool

    def __init__(
        self,
        content: str = "",
        *,
        single_word: bool = False,
        lstrip: bool = False,
        rstrip: bool = False,
        normalized: bool | None = None,
        special: bool = False,
    ) -> None:
        values = {
            "content": content,
            "single_word": single_word,
            "lstrip": lstrip,
            "rstrip": rstrip,
            "normalized": not special if normalized is None else normalized,
            "special": special,
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def __str__(self) -> str:
        return self.content

    def as_dict(self) -> dict[str, str | bool]:
        """Return the fields as `tokenizer_config.json` spells them, in its (alphabetical) order."""
        return {name: getattr(self, name) for name in ("content", "lstrip", "normalized", "rstrip")} | {
            "single_word": self.single_word,
            "special": self.special,
        }


@runtime_checkable
class _LikeAddedToken(Protocol):
    """What `tokenizers.AddedToken` shows; its objects are taken wherever ours are."""

    @property
    def content(self) -> str: ...
    @property
    def single_word(self) -> bool: ...
    @property
    def lstrip(self) -> bool: ...
    @property
    def rstrip(self) -> bool: ...
    @property
    def normalized(self) -> bool: ...
    @property
    def special(self) -> bool: ...


TokenLike = str | AddedToken | _LikeAddedToken | Mapping[str, object]


def added_token(
    token: TokenLike, *, special: bool | None = None, normalized: bool | None = None
) -> AddedToken:
    """Return `token` (a string, an AddedToken of any library, or its dict in a file) as an `AddedToken`.

    `special` overrides the token's own flag where it is not None; `normalized` is for plain strings only.

    Example:
        >>> added_token({"content": "<mask>", "lstrip": True, "__type": "AddedToken"}, special=True).lstrip
        True
    """
    if isinstance(token, str):
        return AddedToken(token, special=bool(special), normalized=normalized)
    if isinstance(token, AddedToken):
        made = token
    elif isinstance(token, Mapping):
        flags = {name: bool(token[name]) for name in FLAGS if token.get(name) is not None}
        made = AddedToken(str(token.get("content", "")), **flags)
    elif isinstance(token, _LikeAddedToken):
        made = AddedToken(token.content, **{name: bool(getattr(token, name)) for name in FLAGS})
    else:
        raise ArgumentError(
            given=f"a token of type {type(token).__name__}", expected="a str or an AddedToken"
        )
    return made if special is None else replace_flag(made, special)


def replace_flag(token: AddedToken, special: bool) -> AddedToken:
    """Return `token` with its `special` flag set as asked, all else kept."""
    if token.special == special:
        return token
    flags = {name: getattr(token, name) for name in FLAGS}
    return AddedToken(token.content, **{**flags, "special": special})


@dataclass(frozen=True, slots=True)
class Cut:
    """An added token found in a text.

    `start`, `end`: what it takes of the text, stripped white space included; `inner_start`, `inner_end`: the
    token itself; all in characters.
    """

    id: int
    start: int
    end: int
    inner_start: int
    inner_end: int


class Splitter:
    """Finds added tokens in text: leftmost first, the longest where several begin together.

    Safe to share between threads; made anew when tokens are added.
    """

    def __init__(self, tokens: Mapping[int, AddedToken]) -> None:
        self._tokens = {token.content: (id, token) for id, token in tokens.items() if token.content}
        longest_first = sorted(self._tokens, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None

    def cuts(self, text: str) -> list[Cut]:
        """Return the added tokens of `text` in order; they never overlap.

        Example:
            >>> [(c.id, c.start, c.end) for c in Splitter({9: AddedToken("<m>", lstrip=True)}).cuts("a <m>b")]
            [(9, 1, 5)]
        """
        if self._pattern is None:
            return []
        found: list[Cut] = []
        free_from, match = 0, self._pattern.search(text)
        while match is not None:
            id, token = self._tokens[match.group()]
            start, end = match.span()
            search_from = end
            if not (token.single_word and _touches_word(text, start, end)):
                left, right = start, end
                if token.lstrip:
                    while left > free_from and text[left - 1].isspace():
                        left -= 1
                if token.rstrip:
                    while right < len(text) and text[right].isspace():
                        right += 1
                found.append(Cut(id, left, right, start, end))
                free_from = search_from = right
            match = self._pattern.search(text, search_from)
        return found


def _touches_word(text: str, start: int, end: int) -> bool:
    """Whether a letter, number, mark or underscore stands right before or after text[start:end]."""
    before = start > 0 and _is_word_character(text[start - 1])
    return before or (end < len(text) and _is_word_character(text[end]))


def _is_word_character(character: str) -> bool:
    return character == "_" or character.isalnum() or unicodedata.category(character)[0] == "M"
