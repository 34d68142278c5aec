"""Writing shards: files appear whole, or not at all. (That they are read as written: test_shards.py.)"""

import json
from pathlib import Path

import numpy as np
import pytest

from robertakit.errors import SaveFailed
from robertakit.training.shard_writing import ShardWriter, token_type, write_manifest
from robertakit.training.shards import MANIFEST, read_manifest


def one_document(writer: ShardWriter) -> None:
    writer.append(np.array([5, 6], np.uint16), np.array([True, False]), np.array([2]), np.array([1]))


def test_an_abandoned_source_leaves_nothing(tmp_path: Path) -> None:
    writer = ShardWriter(tmp_path, 0, 100)
    one_document(writer)
    assert len(list(tmp_path.glob(".source-000.*.tmp"))) == 4
    writer.abandon()
    assert not list(tmp_path.iterdir())
    assert read_manifest(tmp_path) is None


def test_files_are_little_endian_and_told_as_they_are(tmp_path: Path) -> None:
    writer = ShardWriter(tmp_path, 7, 1 << 17)
    one_document(writer)
    one_document(writer)
    arrays = writer.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"source-007.{name}" for name in ("documents", "sentences", "tokens", "words")
    ]
    assert (tmp_path / "source-007.tokens").read_bytes() == bytes([5, 0, 0, 0, 6, 0, 0, 0] * 2)
    assert (tmp_path / "source-007.words").read_bytes() == bytes([0b0101])
    assert np.fromfile(tmp_path / "source-007.sentences", "<i8").tolist() == [0, 2, 4]
    assert np.fromfile(tmp_path / "source-007.documents", "<i8").tolist() == [0, 1, 2]
    # CRC-32 as zip and gzip compute it, of the bytes above
    assert arrays["word_starts"] == {
        "file": "source-007.words",
        "type": "|u1",
        "length": 1,
        "crc32": "a2681b02",
    }


@pytest.mark.parametrize(("size", "stored"), [(5, "<u2"), (1 << 16, "<u2"), ((1 << 16) + 1, "<u4")])
def test_the_smallest_type_is_taken(size: int, stored: str) -> None:
    assert token_type(size) == stored


def test_a_manifest_is_the_old_or_the_new(tmp_path: Path) -> None:
    write_manifest(tmp_path, {"vocab_size": 1})
    write_manifest(tmp_path, {"vocab_size": 2})
    assert json.loads((tmp_path / MANIFEST).read_text(encoding="utf-8"))["vocab_size"] == 2
    with pytest.raises(SaveFailed):
        write_manifest(tmp_path / MANIFEST, {"vocab_size": 3})
    assert [path.name for path in tmp_path.iterdir()] == [MANIFEST]
