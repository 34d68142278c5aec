import sys
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import pre_tokenizers

from robertakit.tokenizers.splitter import split
from robertakit.tokenizers.unicode_classes import LETTERS, NUMBERS, SPACES

SPLIT = pre_tokenizers.ByteLevel(add_prefix_space=False).pre_tokenize_str


def words_of_tokenizers(text):
    return [text[start:end] for _, (start, end) in SPLIT(text)]


def code_points(table):
    for word in table.split():
        first, _, last = word.partition("-")
        yield from range(int(first, 16), int(last or first, 16) + 1)


def test_tables_are_those_of_the_installed_core_over_all_code_points():
    letters, numbers, spaces = (set(code_points(table)) for table in (LETTERS, NUMBERS, SPACES))
    assert (len(letters), len(numbers), len(spaces)) == (141028, 1911, 25)
    for point in (*range(0xD800), *range(0xE000, 0x110000)):
        character = chr(point)
        kind = "a" if point in letters else "1" if point in numbers else "!"
        expected = 2 if character == " " else 3 if point in spaces else 1  # a space goes with what follows
        assert len(SPLIT(kind + character + kind)) == expected, hex(point)


def test_tables_agree_with_python_where_both_know_the_character():
    letters, numbers = set(code_points(LETTERS)), set(code_points(NUMBERS))
    for point in range(sys.maxunicode + 1):
        category = unicodedata.category(chr(point))[0]
        if category in "LN":
            assert point in (letters if category == "L" else numbers) or point > 0x2FFF


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", []),
        ("it's we'll I'M 'tis", ["it", "'s", " we", "'ll", " I", "'", "M", " '", "tis"]),
        ("a  b", ["a", " ", " b"]),
        ("a \t b", ["a", " \t", " b"]),
        ("a\tb ", ["a", "\t", "b", " "]),
        ("x2y ²", ["x", "2", "y", " ²"]),
        ("a\u2003b", ["a", "\u2003", "b"]),
        ("e\u0301", ["e", "\u0301"]),
        ("!? ... ''s", ["!?", " ...", " ''", "s"]),
        ("\U000323b0't", ["\U000323b0'", "t"]),
    ],
)
def test_words(text, words):
    assert split(text) == words
    assert words_of_tokenizers(text) == words


@settings(max_examples=1500)
@given(st.text("aZé1²½ \t\n\u2003\xa0'stremvld!-\u0301\U0001f600\U000323b0中\x1c\x85_", max_size=16))
def test_splits_as_tokenizers_does(text):
    assert split(text) == words_of_tokenizers(text)
    assert "".join(split(text)) == text
