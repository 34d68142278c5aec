"""Vocabularies: trained from sources by weight, the same twice, kept whole or not at all."""

import os
from collections import Counter
from pathlib import Path

import pytest

from robertakit import AutoTokenizer
from robertakit.errors import ArgumentError, InputError, ShardError, SourceError
from robertakit.training.sources import Source
from robertakit.training.vocabularies import sample_documents, train_vocabulary

ENGLISH = Path(__file__).parent.parent / "golden" / "english.txt"


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    folder = tmp_path / "text"
    folder.mkdir()
    lines = [line for line in ENGLISH.read_text(encoding="utf-8").split("\n") if line][:300]
    (folder / "a.txt").write_text("\n\n".join(lines), encoding="utf-8")
    (folder / "b.txt").write_text(
        "\n\n".join(f"word{number} and more" for number in range(1000)), encoding="utf-8"
    )
    return folder


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize(("kind", "size"), [("byte-level-bpe", 400), ("unigram", 200)])
def test_a_vocabulary_is_a_tokenizer_and_the_same_twice(
    corpus: Path, tmp_path: Path, kind: str, size: int
) -> None:
    sources = [Source((str(corpus / "a.txt"),), weight=1.5), Source((str(corpus / "b.txt"),), weight=0.5)]
    first = train_vocabulary(sources, kind, size, tmp_path / "first")
    second = train_vocabulary(sources, kind, size, tmp_path / "second")
    assert content(first) == content(second)
    tokenizer = AutoTokenizer.from_pretrained(first)
    assert len(tokenizer) == size
    assert tokenizer.decode(tokenizer("The word42.").input_ids, skip_special_tokens=True) == "The word42."
    before = (first / "tokenizer.json").stat().st_mtime_ns
    assert train_vocabulary(sources, kind, size, first) == first
    assert (first / "tokenizer.json").stat().st_mtime_ns == before
    with pytest.raises(ShardError, match="other vocabulary"):
        train_vocabulary(sources, kind, size + 1, first)
    os.utime(corpus / "a.txt", ns=(1, 1))
    assert train_vocabulary(sources, kind, size, first) == first
    text = (corpus / "a.txt").read_text(encoding="utf-8")
    (corpus / "a.txt").write_text(text.swapcase(), encoding="utf-8")
    with pytest.raises(ShardError, match="other sources"):
        train_vocabulary(sources, kind, size, first)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first", "second", "text"]


def test_documents_come_as_often_as_their_source_weighs(corpus: Path) -> None:
    (corpus / "c.txt").write_text("\n\n".join(f"rare{number}" for number in range(1000)), encoding="utf-8")
    sources = [Source((str(corpus / "b.txt"),), weight=2.25), Source((str(corpus / "c.txt"),), weight=0.5)]
    drawn = Counter(document[0] for document in sample_documents(sources, 10**9))
    common = [drawn[f"word{number} and more"] for number in range(1000)]
    assert set(common) == {2, 3}
    assert 2190 < sum(common) < 2310
    rare = [drawn[f"rare{number}"] for number in range(1000)]
    assert set(rare) == {0, 1}
    assert 430 < sum(rare) < 570


def test_a_bound_keeps_the_shares_of_the_sources(corpus: Path) -> None:
    sources = [
        Source((str(corpus / "b.txt"),), weight=3),
        Source((str(corpus / "b.txt"),), name="again", weight=1),
    ]
    size = sum(len(document[0]) for document in sample_documents(sources, 10**9))
    few = [document[0] for document in sample_documents(sources, size // 10)]
    assert 0.8 * size / 10 < sum(map(len, few)) < 1.2 * size / 10
    assert few == [document[0] for document in sample_documents(sources, size // 10)]
    assert few != [document[0] for document in sample_documents(sources, size // 10, seed=1)]


def test_languages_are_smoothed(corpus: Path) -> None:
    (corpus / "sw.txt").write_text(
        "\n\n".join(f"neno{number} na zaidi" for number in range(100)), encoding="utf-8"
    )
    sources = [
        Source((str(corpus / "b.txt"),), language="en"),
        Source((str(corpus / "sw.txt"),), language="sw"),
    ]
    drawn = Counter(document[0][:4] for document in sample_documents(sources, 10**9, smoothing=0.5))
    # p = (10, 1) / 11 for equal lengths, q = sqrt: 3.2 to 1
    assert 2.6 < drawn["word"] / drawn["neno"] < 3.9


def test_long_sentences_are_cut_for_sentencepiece(tmp_path: Path) -> None:
    text = tmp_path / "long.txt"
    text.write_text("ab cd " * 2000 + "\n\n" + "x" * 9000, encoding="utf-8")
    made = train_vocabulary([Source((str(text),))], "unigram", 14, tmp_path / "made")
    assert "x" in AutoTokenizer.from_pretrained(made).get_vocab()


def test_errors(corpus: Path, tmp_path: Path) -> None:
    source = Source((str(corpus / "a.txt"),))
    with pytest.raises(ArgumentError, match="wordpiece"):
        train_vocabulary([source], "wordpiece", 300, tmp_path / "x")
    with pytest.raises(ArgumentError, match="at least 261"):
        train_vocabulary([source], "byte-level-bpe", 100, tmp_path / "x")
    with pytest.raises(SourceError, match="absent"):
        train_vocabulary([Source((str(corpus / "absent*"),))], "unigram", 100, tmp_path / "x")
    (corpus / "empty.txt").write_text("\n\n")
    with pytest.raises(InputError, match="without text"):
        train_vocabulary([Source((str(corpus / "empty.txt"),))], "unigram", 100, tmp_path / "x")
    with pytest.raises(ArgumentError, match="characters=0"):
        list(sample_documents([source], 0))
    (corpus / "cut.txt.gz").write_bytes(b"\x1f\x8b\x08\x00")
    with pytest.raises(SourceError, match=r"cut\.txt\.gz"):
        train_vocabulary([Source((str(corpus / "cut.txt.gz"),))], "unigram", 100, tmp_path / "x")
    (tmp_path / "file").write_text("")
    with pytest.raises(ShardError, match="cannot be written"):
        train_vocabulary([source], "byte-level-bpe", 300, tmp_path / "file" / "x")
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "notes.txt").write_text("mine")
    with pytest.raises(ShardError, match="has no vocabulary_training"):
        train_vocabulary([source], "byte-level-bpe", 300, tmp_path / "taken")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "taken", "text"]
