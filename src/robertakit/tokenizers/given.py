"""What a caller means by an argument: a text, a list of them, pairs, words, or ids."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from robertakit.errors import InputError
from robertakit.tokenizers.pipeline import Text


class Ids(list[int]):
    """A sequence given as ids: its type tells it from words."""


Given = Text | Ids
Item = tuple[Given, Given | None]
"""A sequence and, for a pair, the second one."""
TokensToIds = Callable[[list[str]], list[int]]


def items_of(text: object, pair: object, pre_split: bool) -> tuple[list[Item], bool]:
    """Read the arguments `text` and `text_pair` of a call.

    Returns:
        The items, and whether the caller gave a batch.

    Raises:
        InputError: neither texts nor lists of them, or pairs of unequal number.
    """
    if not _is_batch(text, pre_split):
        return [(_text(text, pre_split), None if pair is None else _text(pair, pre_split))], False
    texts = list(_sequence(text))
    if pair is None:
        if not pre_split:
            return [_text_or_pair(each) for each in texts], True
        return [(_text(each, pre_split), None) for each in texts], True
    if not _is_batch(pair, pre_split):
        raise InputError(
            given="a list of texts with a text_pair that is none", expected="as many second texts"
        )
    pairs = list(_sequence(pair))
    if len(pairs) != len(texts):
        raise InputError(
            given=f"{len(texts)} texts and {len(pairs)} second texts", expected="as many of each"
        )
    return [
        (_text(first, pre_split), _text(second, pre_split))
        for first, second in zip(texts, pairs, strict=True)
    ], True


def item_of(text: object, pair: object, pre_split: bool, to_ids: TokensToIds) -> Item:
    """Read the arguments of `encode` and `encode_plus`: one text or pair, as str, words, tokens or ids."""
    return _one(text, pre_split, to_ids), None if pair is None else _one(pair, pre_split, to_ids)


def items_of_batch(batch: object, pre_split: bool, to_ids: TokensToIds) -> list[Item]:
    """Read the argument of `batch_encode_plus`: texts, or pairs of texts."""
    items: list[Item] = []
    for each in _sequence(batch):
        first, second = _pair(each, pre_split)
        items.append(item_of(first, second, pre_split, to_ids))
    return items


def _pair(each: object, pre_split: bool) -> tuple[object, object]:
    """A tuple of two is a pair; so is a list of two texts, where texts do not come as lists of words."""
    if not isinstance(each, tuple | list) or len(each) != 2:
        return each, None
    words_or_ids = isinstance(each, list) and (pre_split or isinstance(each[0], int))
    return (each, None) if words_or_ids else (each[0], each[1])


def ids_of(given: object) -> Ids:
    """Check a sequence of ids."""
    found = Ids()
    for id in _sequence(given):
        if isinstance(id, bool) or not hasattr(id, "__index__"):
            raise InputError(given=f"{type(id).__name__} among ids", expected="whole numbers")
        found.append(id.__index__())
    return found


def _is_batch(text: object, pre_split: bool) -> bool:
    if isinstance(text, str | bytes) or not isinstance(text, Sequence):
        return False
    return not pre_split or not text or not isinstance(text[0], str)


def _text_or_pair(each: object) -> Item:
    if isinstance(each, str):
        return each, None
    if isinstance(each, Sequence) and len(each) == 2:
        return _text(each[0], False), _text(each[1], False)
    raise InputError(
        given=f"{_name(each)} among the texts",
        expected="str, or pairs of str",
        hint="for texts split into words pass is_split_into_words=True",
    )


def _text(given: object, pre_split: bool) -> Text:
    if isinstance(given, str) and not pre_split:
        return given
    if pre_split and isinstance(given, Sequence) and not isinstance(given, str):
        words = list(given)
        if all(isinstance(word, str) for word in words):
            return words
    expected = "a list of words (str), as is_split_into_words=True says" if pre_split else "str"
    raise InputError(given=f"{_name(given)} as a text", expected=expected)


def _one(given: object, pre_split: bool, to_ids: TokensToIds) -> Given:
    if isinstance(given, str) or pre_split:
        return _text(given, pre_split)
    values = list(_sequence(given))
    if values and all(isinstance(value, str) for value in values):
        return Ids(to_ids([str(value) for value in values]))
    return ids_of(values)


def _sequence(given: object) -> Sequence[object]:
    if isinstance(given, Sequence) and not isinstance(given, str | bytes):
        return given
    raise InputError(given=f"{_name(given)}", expected="a list")


def _name(given: object) -> str:
    return "None" if given is None else f"{type(given).__name__}"
