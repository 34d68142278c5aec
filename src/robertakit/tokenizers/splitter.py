"""GPT-2's splitter: the words that byte-level BPE works on, which it never merges across.

Its letters, numbers and white space are tables of our own (`unicode_classes`), so that the result does
not depend on the Unicode version of Python. No `regex` here.
"""

import re
from functools import cache

from robertakit.tokenizers.unicode_classes import LETTERS, NUMBERS, SPACES


def character_class(table: str) -> str:
    """The inside of a regular expression's [...] for a table of `unicode_classes`."""
    ends = [(word.partition("-")[0], word.rpartition("-")[2]) for word in table.split()]
    return "".join(f"\\U{int(first, 16):08x}-\\U{int(last, 16):08x}" for first, last in ends)


@cache
def pattern() -> re.Pattern[str]:
    r"""The published pattern, `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`,
    with the classes written out (Radford et al. 2019, encoder.py).
    """
    letters, numbers, spaces = (character_class(table) for table in (LETTERS, NUMBERS, SPACES))
    return re.compile(
        f"'(?:[stmd]|re|ve|ll)| ?[{letters}]+| ?[{numbers}]+| ?[^{spaces}{letters}{numbers}]+"
        f"|[{spaces}]+(?![^{spaces}])|[{spaces}]+"
    )


def split(text: str) -> list[str]:
    """Split text into words that, joined, are the text again.

    Example:
        >>> split("it's  2 words")
        ['it', "'s", ' ', ' 2', ' words']
    """
    return pattern().findall(text)
