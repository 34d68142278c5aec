import dataclasses
import tracemalloc
from contextlib import suppress

import pytest
import sentencepiece
from hypothesis import given, settings
from hypothesis import strategies as st

from robertakit.errors import TokenizerError
from robertakit.tokenizers import sentencepiece_model
from robertakit.tokenizers.sentencepiece_model import PieceType, SentencePieceModel, varint

PIECES = ["<unk>", "<s>", "</s>", "▁a", "b"]
SCORES = [0.0, 0.0, 0.0, -1.5, -2.25]
TYPES = [2, 3, 3, 1, 1]


@pytest.fixture(scope="module")
def model(trained):
    return SentencePieceModel.from_file(trained / "sentencepiece.bpe.model")


def field(number, raw):
    return varint(number << 3 | 2) + varint(len(raw)) + raw


def test_reads_what_sentencepiece_reads(model):
    original = sentencepiece.SentencePieceProcessor(model_proto=model.serialized)
    assert model.pieces == [original.id_to_piece(id) for id in range(original.get_piece_size())]
    assert model.scores == [original.get_score(id) for id in range(original.get_piece_size())]
    assert [type == PieceType.CONTROL for type in model.types] == [
        original.is_control(i) for i in range(len(model.types))
    ]
    assert model.unk_id == original.unk_id()


def test_what_is_written_is_read_again_by_us_and_by_sentencepiece(model):
    written = dataclasses.replace(model, serialized=None).to_bytes()
    again = SentencePieceModel.from_bytes(written)
    assert dataclasses.replace(again, serialized=None) == dataclasses.replace(model, serialized=None)
    text = "Zwölf Boxkämpfer ½ 中🃏"
    both = [sentencepiece.SentencePieceProcessor(model_proto=raw) for raw in (written, model.serialized)]
    assert both[0].encode(text) == both[1].encode(text)


def test_a_model_that_was_read_is_written_byte_for_byte(model, trained):
    assert model.to_bytes() == (trained / "sentencepiece.bpe.model").read_bytes()


def test_unknown_fields_are_passed_over():
    raw = SentencePieceModel(PIECES, SCORES, TYPES).to_bytes()
    extra = field(200, b"later") + b"\x09" + bytes(8) + b"\x0d" + bytes(4) + b"\x10\x07"
    assert SentencePieceModel.from_bytes(extra + raw).pieces == PIECES


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pieces": PIECES[:-1]}, "differ in length"),
        ({"types": [3, 3, 3, 1, 1]}, "0 unknown pieces"),
        ({"types": [2, 2, 3, 1, 1]}, "2 unknown pieces"),
        ({"types": [2, 3, 3, 3, 3]}, "no piece of text"),
        ({"types": [2, 3, 3, 1, 6]}, "pieces of type 6"),
        ({"types": [2, 3, 3, 1, 4]}, "pieces of type 4"),
        ({"pieces": [*PIECES[:-1], "▁a"]}, "stands twice"),
        ({"pieces": [*PIECES[:-1], ""]}, "is empty"),
        ({"pieces": [*PIECES[:-1], "a▁b"]}, "the piece 'a▁b'"),
        ({"scores": [0.0, 0.0, 0.0, float("nan"), 1.0]}, "no finite number"),
        ({"scores": [0.0, 0.0, 0.0, float("-inf"), 1.0]}, "no finite number"),
    ],
)
def test_models_of_another_kind_are_refused(changes, message):
    parts = {"pieces": PIECES, "scores": SCORES, "types": TYPES} | changes
    with pytest.raises(TokenizerError, match=message):
        SentencePieceModel(**parts)


@pytest.mark.parametrize(
    ("part", "message"),
    [
        (field(2, b"\x18\x02"), r"model type 2 \(BPE\)"),
        (field(2, b"\x18\x09"), r"model type 9 \(unknown\)"),
        (field(2, b"\xc0\x01\x01"), "treat_whitespace_as_suffix"),
        (field(2, b"\x98\x02\x01"), "byte_fallback"),
        (field(3, b"\x18\x00"), "add_dummy_prefix off"),
        (field(3, b"\x20\x00"), "remove_extra_whitespaces off"),
        (field(3, b"\x28\x00"), "escape_whitespaces off"),
        (field(1, field(1, b"\xff")), "not UTF-8"),
        (b"\x0a\xff\xff\xff\xff\x7f", "a field of 34359738367 bytes where 0 are left"),
        (b"\x0a\x05ab", "a field of 5 bytes where 2 are left"),
        (b"\xff" * 12, "a number that does not end"),
        (b"\x80", "a number that does not end"),
        (b"\x0b", "wire type 3"),
        (b"\x0d\x00", "a field of 4 bytes where 1 are left"),
    ],
)
def test_broken_files_are_refused(part, message):
    raw = SentencePieceModel(PIECES, SCORES, TYPES).to_bytes()
    with pytest.raises(TokenizerError, match=message):
        SentencePieceModel.from_bytes(raw + part)


def test_files_that_are_absent_empty_or_too_large_are_refused(tmp_path, monkeypatch):
    with pytest.raises(TokenizerError, match="cannot be read"):
        SentencePieceModel.from_file(tmp_path / "no.model")
    with pytest.raises(TokenizerError, match="0 unknown pieces"):
        SentencePieceModel.from_bytes(b"")
    monkeypatch.setattr(sentencepiece_model, "MAX_FILE_BYTES", 10)
    (tmp_path / "large.model").write_bytes(bytes(1000))
    with pytest.raises(TokenizerError, match="more than 10 bytes"):
        SentencePieceModel.from_file(tmp_path / "large.model")


@settings(max_examples=200)
@given(st.data())
def test_any_damage_ends_in_a_model_or_one_error(data):
    raw = bytearray(SentencePieceModel(PIECES, SCORES, TYPES, b"", None).to_bytes())
    del raw[data.draw(st.integers(0, len(raw))) :]
    for _ in range(data.draw(st.integers(0, 4))):
        if raw:
            raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    with suppress(TokenizerError):  # and nothing else
        SentencePieceModel.from_bytes(bytes(raw))


def test_a_lying_length_allocates_nothing():
    raw = field(2, b"") + b"\x0a" + varint(2**40) + b"x"
    tracemalloc.start()
    with pytest.raises(TokenizerError):
        SentencePieceModel.from_bytes(raw)
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()
