import pytest

from robertakit.errors import TokenizerError
from robertakit.tokenizers import unigram as module
from robertakit.tokenizers.fast_unigram import FastUnigram
from robertakit.tokenizers.sentencepiece_model import SentencePieceModel
from robertakit.tokenizers.unigram import Unigram

FIRST = ["<unk>", "<s>", "</s>"]


def core_of(scores, kind=Unigram, types=None):
    pieces = [*FIRST, *scores]
    all_types = [2, 3, 3, *[(types or {}).get(piece, 1) for piece in scores]]
    return kind(SentencePieceModel(pieces, [0.0, 0.0, 0.0, *scores.values()], all_types))


def pieces(core, text):
    return [core.piece_of(id) for id in core.encode(text).ids]


@pytest.mark.parametrize("kind", [Unigram, FastUnigram])
def test_the_highest_sum_is_taken(kind):
    core = core_of({"▁": -3.0, "a": -2.0, "b": -2.0, "▁a": -3.0, "ab": -2.5, "▁ab": -9.0}, kind)
    assert pieces(core, "ab") == ["▁a", "b"]
    assert pieces(core, "abab") == ["▁a", "b", "ab"]
    assert pieces(core, "ab a") == ["▁a", "b", "▁a"]


@pytest.mark.parametrize("kind", [Unigram, FastUnigram])
def test_a_run_of_unknown_characters_is_one_piece(kind):
    core = core_of({"▁": -3.0, "a": -2.0}, kind)
    found = core.encode("xyz a xa")
    assert [core.piece_of(id) for id in found.ids] == ["▁", "<unk>", "▁", "a", "▁", "<unk>", "a"]
    assert found.offsets == [(0, 1), (0, 3), (4, 5), (4, 5), (6, 7), (6, 7), (7, 8)]
    assert found.words == [0, 0, 1, 1, 2, 2, 2]


@pytest.mark.parametrize("kind", [Unigram, FastUnigram])
def test_a_vocabulary_without_a_mark(kind):
    core = core_of({"a": -2.0, "b": -2.0}, kind)
    found = core.encode("a c")
    assert [core.piece_of(id) for id in found.ids] == ["<unk>", "a", "<unk>"]
    assert found.offsets == [(0, 1), (0, 1), (2, 3)]


@pytest.mark.parametrize("kind", [Unigram, FastUnigram])
def test_unused_and_control_pieces_are_not_found_in_text(kind):
    core = core_of(
        {"▁": -3.0, "a": -2.0, "b": -2.0, "ab": -1.0, "<": -4.0, "s": -4.0, ">": -4.0}, kind, {"ab": 5}
    )
    assert pieces(core, "ab") == ["▁", "a", "b"]
    assert pieces(core, "<s>") == ["▁", "<", "s", ">"]


def test_unknown_costs_ten_more_than_the_rarest():
    for kind in (Unigram, FastUnigram):
        core = core_of({"▁": -3.0, "a": -2.0, "b": -25.0, "cb": -33.0}, kind)
        assert pieces(core, "cb") == ["▁", "cb"]
        assert pieces(core, "bcb") == ["▁", "b", "cb"]


def test_documented_ids(published_unigram):
    core = published_unigram.slow
    assert core.encode("Hello world!").ids == [35378, 8999, 38]
    assert core.encode("你好，世界").ids == [6, 124084, 4, 3221]
    assert core.encode("नमस्ते दुनिया").ids == [68700, 97883, 29405]
    assert core.encode("مرحبا بالعالم").ids == [665, 193478, 258, 1705, 77796]


def test_trap_22_words_are_remembered_within_bounds(monkeypatch):
    monkeypatch.setattr(module, "CACHED_WORDS", 5)
    core = core_of({"▁": -3.0, "a": -2.0, "1": -1.0})
    for number in range(50):
        core.encode(f"a{number} {number}")
        assert len(core._lattices) <= 5
    core.encode("a" * 1000)
    assert all(len(word) <= module.CACHED_CHARACTERS for word in core._lattices)


def test_models_in_another_order_are_refused():
    for kind in (Unigram, FastUnigram):
        with pytest.raises(TokenizerError, match="begins with the pieces '<s>', '<unk>', '</s>'"):
            kind(SentencePieceModel(["<s>", "<unk>", "</s>", "a"], [0.0] * 4, [3, 2, 3, 1]))


@pytest.mark.parametrize("kind", [Unigram, FastUnigram])
def test_decode_is_that_of_the_documented_slow_class(kind):
    core = core_of({"a": -1.0}, kind)
    assert core.decode(["▁Hello", "▁", "wor", "ld"]) == "Hello world"
    assert core.decode([]) == ""
