import pytest
from hypothesis import given
from hypothesis import strategies as st

from robertakit.tokenizers import byte_level_bpe
from robertakit.tokenizers.byte_level import BYTE_OF, ByteLevelModel
from robertakit.tokenizers.byte_level_bpe import ByteLevelBPE

ALPHABET = {character: id for id, character in enumerate(BYTE_OF)}


def core_of(*merges, **options):
    vocabulary = dict(ALPHABET)
    for left, right in merges:
        vocabulary[left + right] = len(vocabulary)
    return ByteLevelBPE(ByteLevelModel(vocabulary, merges), **options)


def pieces(core, text):
    return [core.piece_of(id) for id in core.encode(text).ids]


def test_lowest_rank_first_then_leftmost():
    core = core_of(("b", "c"), ("a", "b"), ("a", "a"))
    assert pieces(core, "abc") == ["a", "bc"]
    assert pieces(core, "aaab") == ["aa", "ab"]
    assert pieces(core, "aaaaa") == ["aa", "aa", "a"]


def test_ids_come_from_the_vocabulary_not_from_the_ranks(published_byte_level):
    core = published_byte_level.slow
    assert core.encode("Hello world").ids == [31414, 232]
    assert core.encode(" Hello world").ids == [20920, 232]
    assert core.encode("Hello, my dog is cute").ids == [31414, 6, 127, 2335, 16, 11962]
    assert core.encode("Hello world! cécé herlolip 418").ids == [
        31414, 232, 328, 740, 1140, 12695, 69, 46078, 1588, 42928
    ]  # fmt: skip


def test_pieces_inside_a_character_cover_the_whole_of_it():
    found = core_of().encode("aé!")
    assert found.offsets == [(0, 1), (1, 2), (1, 2), (2, 3)]
    assert found.words == [0, 0, 0, 1]


def test_trap_22_words_are_remembered_within_bounds(monkeypatch):
    monkeypatch.setattr(byte_level_bpe, "CACHED_WORDS", 5)
    core = core_of(("a", "b"))
    for number in range(50):
        assert core.decode(pieces(core, f"ab{number} x{number}")) == f"ab{number} x{number}"
        assert len(core._words) <= 5
    core.encode("y" * 1000)
    assert all(len(word) <= byte_level_bpe.CACHED_CHARACTERS for word in core._words)


@pytest.mark.parametrize("text", ["ab" * 50_000, "中" * 30_000, " " * 100_000, "a b " * 25_000])
def test_long_words_take_no_quadratic_time(text):
    core = core_of(("a", "b"), ("ab", "ab"), ("Ġ", "Ġ"))
    assert core.decode(pieces(core, text)) == text  # quadratic, each would take many minutes


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_decode_gives_the_text_back(text):
    core = core_of(("Ġ", "a"), ("e", "s"))
    assert core.decode(pieces(core, text)) == text


def test_prefix_space_is_put_before_a_stretch_that_has_none():
    core = core_of(("Ġ", "a"), add_prefix_space=True)
    assert pieces(core, "a a") == ["Ġa", "Ġa"]
    assert pieces(core, " a") == ["Ġa"]
    assert pieces(core, "\ta") == ["Ġ", "ĉ", "a"]
    assert pieces(core, "") == []
    assert core.encode("a", prefix_space=False).ids == [ALPHABET["a"]]
