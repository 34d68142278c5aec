import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robertakit.errors import TokenizerError
from robertakit.tokenizers import byte_level
from robertakit.tokenizers.byte_level import (
    BYTE_OF,
    CHARACTER_OF,
    ByteLevelModel,
    decode_pieces,
    merges_of,
    read_merges,
    read_vocabulary,
)

ALPHABET = {character: id for id, character in enumerate(BYTE_OF)}


def test_alphabet_has_each_byte_once():
    assert len(CHARACTER_OF) == len(BYTE_OF) == 256
    assert (CHARACTER_OF[0x20], CHARACTER_OF[0x0A], CHARACTER_OF[0x41], CHARACTER_OF[0xAD]) == (
        "Ġ",
        "Ċ",
        "A",
        "Ń",
    )


def test_alphabet_is_that_of_tokenizers():
    from tokenizers.pre_tokenizers import ByteLevel

    assert sorted(ByteLevel.alphabet()) == sorted(BYTE_OF)


@given(st.binary())
def test_bytes_come_back(raw):
    pieces = [CHARACTER_OF[byte] for byte in raw]
    assert decode_pieces(pieces, "surrogateescape") == raw.decode("utf-8", "surrogateescape")


def test_characters_outside_the_alphabet_stand_for_themselves():
    assert decode_pieces(["a b", "Ġ▁c"], "strict") == "a b ▁c"


def test_bytes_that_are_no_text_are_treated_as_asked():
    piece = CHARACTER_OF[0xC3]
    assert decode_pieces([piece], "replace") == "\ufffd"
    assert decode_pieces([piece], "ignore") == ""
    with pytest.raises(UnicodeDecodeError):
        decode_pieces([piece], "strict")


@pytest.mark.parametrize(
    ("vocabulary", "merges", "message"),
    [
        (ALPHABET | {"ab": 0}, [], "ids that repeat"),
        (ALPHABET | {"ab": -1}, [], "ids that repeat or are no numbers"),
        (ALPHABET | {"ab": True}, [], "ids that repeat or are no numbers"),
        (ALPHABET | {"ab": 2**40}, [], "no numbers"),
        (ALPHABET, [("a", "b")], "'ab' outside the vocabulary"),
        ({"a": 0}, [], "without '!' and without '<unk>'"),
    ],
)
def test_models_that_contradict_themselves_are_refused(vocabulary, merges, message):
    with pytest.raises(TokenizerError, match=message):
        ByteLevelModel(vocabulary, merges)


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"a": "b"}', '{"a": 1.0}', '{"a": null}', "[" * 100_000, "\xff"]
)
def test_broken_vocabularies_are_refused(tmp_path, content):
    path = tmp_path / "vocab.json"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(TokenizerError, match=r"vocab\.json"):
        read_vocabulary(path)


def test_files_that_are_absent_or_too_large_are_refused(tmp_path, monkeypatch):
    with pytest.raises(TokenizerError, match="cannot be read"):
        read_vocabulary(tmp_path / "vocab.json")
    with pytest.raises(TokenizerError, match="cannot be read"):
        read_merges(tmp_path)
    monkeypatch.setattr(byte_level, "MAX_FILE_BYTES", 10)
    (tmp_path / "vocab.json").write_text(json.dumps(ALPHABET))
    with pytest.raises(TokenizerError, match="above 10 bytes"):
        read_vocabulary(tmp_path / "vocab.json")


def test_merges_are_read_in_order(tmp_path):
    path = tmp_path / "merges.txt"
    path.write_bytes("#version: 0.2\r\nĠ t\r\n# #\n\nĠt h".encode())
    assert read_merges(path) == [("Ġ", "t"), ("#", "#"), ("Ġt", "h")]


@pytest.mark.parametrize("line", ["a", "a b c", "a ", [], ["a"], ["a", 1], 7])
def test_broken_merges_are_refused(line):
    with pytest.raises(TokenizerError, match=r"merges\.txt with the merge"):
        merges_of([line], "merges.txt")
    assert merges_of(["a b", ["c", "d e"]], "x") == [("a", "b"), ("c", "d e")]
