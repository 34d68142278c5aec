import struct
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robertakit.errors import TokenizerError
from robertakit.tokenizers.charsmap import read_charsmap
from robertakit.tokenizers.sentencepiece_model import SentencePieceModel


@pytest.fixture(scope="module")
def charsmap(trained):
    return SentencePieceModel.from_file(trained / "sentencepiece.bpe.model").charsmap


def unit(label=0, distance=0, has_value=False):
    """A transition: its label, the xor distance to its children, whether a value stands there."""
    return label | has_value << 8 | distance << 10


def compiled(units, strings):
    """A map from its parts; `units` are padded to two blocks."""
    padded = [units.get(place, 0) for place in range(512)]
    return struct.pack("<I512I", 2048, *padded) + strings


def test_no_map_has_no_entries():
    assert read_charsmap(b"") == {}


def test_entries_of_nmt_nfkc(charsmap):
    node = read_charsmap(charsmap)
    assert node["½"] == ("1⁄2", {})
    assert node["\t"][0] == " "
    assert node["\x01"][0] == ""
    assert node["e"][0] is None
    assert node["e"][1]["\u0323"][0] == "ẹ"
    assert node["e"][1]["\u0323"][1]["\u0302"][0] == "ệ"
    assert "Z" in node
    assert "\x85" not in node


def test_a_map_of_one_entry():
    # root's children at 256; "a" leads on, its children at 256 ^ ord("a") ^ 2, where its value stands
    place = 256 ^ ord("a")
    children = place ^ 2
    units = {0: unit(distance=256), place: unit(ord("a"), 2, has_value=True), children: 1 << 31 | 3}
    assert read_charsmap(compiled(units, b"xy\0zz\0")) == {"a": ("zz", {})}


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (b"\x01", "another length"),
        (bytes(4), "another length"),
        (bytes(5), "another length"),
        (struct.pack("<I", 2**32 - 4) + bytes(100), "another length"),
        (struct.pack("<II", 3, 0), "another length"),
        (struct.pack("<II", 4, 0), "leaves its trie"),
        (compiled({0: unit(distance=2**20)}, b"\0"), "leaves its trie"),
        # a transition from the root to itself
        (compiled({0: unit(distance=256), 256 ^ 97: unit(97, 97)}, b"\0"), "does not end"),
        (
            compiled({0: unit(distance=256), 256 ^ 97: unit(97, 2, True), 256 ^ 97 ^ 2: 1 << 31 | 9}, b"a\0"),
            "outside",
        ),
        (
            compiled({0: unit(distance=256), 256 ^ 97: unit(97, 2, True), 256 ^ 97 ^ 2: 1 << 31}, b"a"),
            "outside",
        ),
        (
            compiled({0: unit(distance=256), 256 ^ 97: unit(97, 2, True), 256 ^ 97 ^ 2: 1 << 31}, b"\xff\0"),
            "UTF-8",
        ),
        (
            compiled({0: unit(distance=256), 256 ^ 97: unit(97, 2, True), 256 ^ 97 ^ 2: 1 << 31}, b"a  b\0"),
            "two spaces",
        ),
        (
            compiled(
                {0: unit(distance=256), 256 ^ 0xFF: unit(0xFF, 2, True), 257 ^ 0xFF ^ 2: 1 << 31}, b"a\0"
            ),
            "UTF-8",
        ),
        (
            compiled(
                {0: unit(distance=256), 256 ^ 0xC3: unit(0xC3, 2, True), 256 ^ 0xC3 ^ 2: 1 << 31}, b"a\0"
            ),
            "UTF-8",
        ),
    ],
)
def test_broken_maps_are_refused(broken, message):
    with pytest.raises(TokenizerError, match=message):
        read_charsmap(broken)


@settings(max_examples=60)
@given(kept=st.floats(0, 1), changes=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=5))
def test_any_damage_ends_in_a_map_or_one_error(charsmap, kept, changes):
    damaged = bytearray(charsmap[: round(kept * len(charsmap))])
    for place, byte in changes:
        if damaged:
            damaged[round(place * (len(damaged) - 1))] = byte
    with suppress(TokenizerError):  # and nothing else
        read_charsmap(bytes(damaged))
