"""Vocabularies trained here: layout, ids, repeatability, and that the field's readers take them."""

import json

import pytest
import sentencepiece
import tokenizers

from robertakit.errors import ArgumentError, InputError
from robertakit.tokenizers.training import train_byte_level_bpe, train_unigram

TEXTS = [
    f"{who} {what} the {which} river, and the {which} river {what} {who}."
    for who in ("Anna", "Bertil", "Čeněk", "Дарья")
    for what in ("crossed", "followed", "painted")
    for which in ("wide", "cold", "slow", "young")
]


def test_byte_level_bpe_has_robertas_ids_and_reads_back(tmp_path):
    folder = train_byte_level_bpe(TEXTS, 320, tmp_path / "bpe")
    vocabulary = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
    assert [vocabulary[token] for token in ("<s>", "<pad>", "</s>", "<unk>")] == [0, 1, 2, 3]
    assert vocabulary["<mask>"] == 319 == len(vocabulary) - 1
    assert sorted(vocabulary.values()) == list(range(320))
    reader = tokenizers.ByteLevelBPETokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"))
    text = "Anna crossed the wide river \U0001f600 Γ"
    encoding = reader.encode(text)
    assert reader.decode(encoding.ids) == text
    assert "Ġriver" in encoding.tokens
    # every merge was learnt from the text, none from the special tokens
    merges = (folder / "merges.txt").read_text(encoding="utf-8").splitlines()[1:]
    assert len(merges) == 320 - 256 - 5
    assert all("".join(merge.split()) in vocabulary for merge in merges)


def test_byte_level_bpe_is_repeatable(tmp_path):
    first, second = (train_byte_level_bpe(iter(TEXTS), 300, tmp_path / name) for name in "ab")
    for name in ("vocab.json", "merges.txt"):
        assert (first / name).read_bytes() == (second / name).read_bytes()


def test_byte_level_bpe_refuses_what_cannot_be(tmp_path):
    with pytest.raises(ArgumentError, match="at least 261"):
        train_byte_level_bpe(TEXTS, 260, tmp_path)
    with pytest.raises(InputError, match="no text"):
        train_byte_level_bpe([], 300, tmp_path)


def test_unigram_has_xlm_rs_layout_and_is_repeatable(tmp_path):
    first, second = (train_unigram(iter(TEXTS), 45, tmp_path / name) for name in "ab")
    model, again = (folder / "sentencepiece.bpe.model" for folder in (first, second))
    assert model.read_bytes() == again.read_bytes()
    processor = sentencepiece.SentencePieceProcessor(model_file=str(model))
    assert processor.get_piece_size() == 43  # `<pad>` and `<mask>` are XLM-R's, not SentencePiece's
    assert [processor.id_to_piece(index) for index in range(3)] == ["<unk>", "<s>", "</s>"]
    text = "Anna crossed the wide river"
    assert processor.decode(processor.encode(text)) == text
    assert processor.encode("ﬁ") == processor.encode("fi")  # nmt_nfkc


def test_unigram_refuses_what_cannot_be(tmp_path):
    with pytest.raises(ArgumentError, match="vocab_size=100000"):
        train_unigram(TEXTS, 100_000, tmp_path / "big")
    with pytest.raises(InputError, match="no text"):
        train_unigram([], 100, tmp_path / "none")
    assert not list((tmp_path / "big").iterdir())
