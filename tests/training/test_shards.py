"""Shards: what was written is what is mapped; every kind of damage is told, by the file's name."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from robertakit.errors import ShardError
from robertakit.training.shard_writing import ShardWriter, token_type, write_manifest
from robertakit.training.shards import MANIFEST, Corpus, SpecialIds

SPECIAL = SpecialIds(0, 2, 1, 99, 3, (0, 1, 2, 3, 99))


def write(folder: Path, stretches: int = 5, vocab_size: int = 100, seed: int = 0) -> dict[str, np.ndarray]:
    """One source, written in `stretches` of documents whose token counts are no multiples of eight."""
    draw = np.random.default_rng(seed)
    folder.mkdir(exist_ok=True)
    writer = ShardWriter(folder, 0, vocab_size)
    tokens, words, sentences, documents = [], [], [], []
    for _ in range(stretches):
        lengths = draw.integers(1, 9, draw.integers(1, 6))
        ends = (
            np.sort(draw.choice(np.arange(1, len(lengths)), len(lengths) // 2, replace=False))
            if len(lengths) > 1
            else []
        )
        ends = np.array([*ends, len(lengths)], np.int64)
        row = draw.integers(4, vocab_size - 1, lengths.sum()).astype(token_type(vocab_size))
        bits = draw.random(len(row)) < 0.6
        writer.append(row, bits, np.cumsum(lengths), ends)
        sentences.append(np.cumsum(lengths) + sum(map(len, tokens)))
        documents.append(ends + sum(map(len, sentences[:-1])))
        tokens.append(row)
        words.append(bits)
    arrays = writer.close()
    row = {"name": "one", "weight": 2.0, "language": "en", **arrays}
    special = {"bos": 0, "eos": 2, "pad": 1, "mask": 99, "unk": 3, "all": [0, 1, 2, 3, 99]}
    write_manifest(folder, {"vocab_size": vocab_size, "special": special, "sources": [row]})
    return {
        "tokens": np.concatenate(tokens),
        "words": np.concatenate(words),
        "sentences": np.concatenate([[0], *sentences]),
        "documents": np.concatenate([[0], *documents]),
    }


@pytest.mark.parametrize("vocab_size", [100, 1 << 16, (1 << 16) + 1])
@pytest.mark.parametrize("seed", range(5))
def test_what_was_written_is_mapped(tmp_path: Path, vocab_size: int, seed: int) -> None:
    wanted = write(tmp_path, 1 + 3 * seed, vocab_size, seed)
    corpus = Corpus.open(tmp_path)
    (source,) = corpus.sources
    assert source.tokens.dtype == (np.uint16 if vocab_size <= 1 << 16 else np.uint32)
    assert np.array_equal(source.tokens, wanted["tokens"])
    assert np.array_equal(source.sentence_offsets, wanted["sentences"])
    assert np.array_equal(source.document_offsets, wanted["documents"])
    bits = np.unpackbits(source.word_starts, bitorder="little")[: len(source.tokens)]
    assert np.array_equal(bits, wanted["words"])
    assert (source.name, source.weight, source.language) == ("one", 2.0, "en")
    assert (corpus.vocab_size, corpus.special, corpus.tokens) == (vocab_size, SPECIAL, len(wanted["tokens"]))
    assert isinstance(source.tokens, np.memmap)
    assert not source.tokens.flags.writeable
    assert not list(tmp_path.glob(".*"))


def test_another_process_maps_the_files_itself(tmp_path: Path) -> None:
    write(tmp_path, 400)
    corpus = Corpus.open(tmp_path)
    content = pickle.dumps(corpus)
    assert len(content) < 1000 < corpus.sources[0].tokens.nbytes
    assert np.array_equal(pickle.loads(content).sources[0].tokens, corpus.sources[0].tokens)
    in_memory = Corpus(corpus.sources, 100, SPECIAL)
    assert np.array_equal(pickle.loads(pickle.dumps(in_memory)).sources[0].tokens, corpus.sources[0].tokens)


def changed(name: str, place: int) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        content = bytearray((folder / name).read_bytes())
        content[place] ^= 1
        (folder / name).write_bytes(content)

    return change


def cut(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:-1]) and None


def manifest(**fields: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        content = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        (folder / MANIFEST).write_text(json.dumps({**content, **fields}), encoding="utf-8")

    return change


def array(of: str, **fields: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        content = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        content["sources"][0][of].update(fields)
        (folder / MANIFEST).write_text(json.dumps(content), encoding="utf-8")

    return change


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (changed("source-000.tokens", 4), "source-000.tokens"),
        (changed("source-000.words", 2), "source-000.words"),
        (changed("source-000.sentences", 8), "source-000.sentences"),
        (changed("source-000.documents", 8), "source-000.documents"),
        (cut("source-000.tokens"), "source-000.tokens"),
        (cut("source-000.documents"), "source-000.documents"),
        (lambda folder: (folder / "source-000.words").unlink(), "source-000.words"),
        (lambda folder: (folder / MANIFEST).unlink(), "tokenize the corpus first"),
        (lambda folder: (folder / MANIFEST).write_text("{"), MANIFEST),
        (lambda folder: (folder / MANIFEST).write_text("[]"), "robertakit-shards"),
        (manifest(version=2), "version 1"),
        (manifest(vocab_size=50), "source-000.tokens"),
        (manifest(vocab_size="50"), MANIFEST),
        (manifest(special={}), MANIFEST),
        (manifest(sources={}), MANIFEST),
        (array("tokens", file="../source-000.tokens"), MANIFEST),
        (array("tokens", type="|O"), MANIFEST),
        (array("tokens", length=-1), MANIFEST),
        (array("tokens", length=1 << 60), "source-000.tokens"),
        (array("tokens", length=True), MANIFEST),
    ],
)
def test_damage_is_told(tmp_path: Path, damage: Callable[[Path], None], words: str) -> None:
    write(tmp_path)
    damage(tmp_path)
    with pytest.raises(ShardError, match=words):
        Corpus.open(tmp_path)


def test_arrays_that_do_not_fit_are_told_without_reading_them(tmp_path: Path) -> None:
    write(tmp_path / "a", 3)
    write(tmp_path / "b", 4, seed=1)
    mixed = json.loads((tmp_path / "a" / MANIFEST).read_text(encoding="utf-8"))
    other = json.loads((tmp_path / "b" / MANIFEST).read_text(encoding="utf-8"))
    mixed["sources"][0]["document_offsets"] = other["sources"][0]["document_offsets"]
    (tmp_path / "a" / MANIFEST).write_text(json.dumps(mixed), encoding="utf-8")
    (tmp_path / "a" / "source-000.documents").write_bytes(
        (tmp_path / "b" / "source-000.documents").read_bytes()
    )
    with pytest.raises(ShardError, match="do not fit each other"):
        Corpus.open(tmp_path / "a", verify=False)


def test_what_is_not_verified_is_mapped_all_the_same(tmp_path: Path) -> None:
    write(tmp_path)
    changed("source-000.words", 2)(tmp_path)
    assert Corpus.open(tmp_path, verify=False).tokens
