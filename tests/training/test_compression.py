"""Compressed files: told by their bytes, read to the end, and never taken for whole when they are cut off."""

import gzip
import lzma
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from robertakit.errors import DependencyError, SourceError
from robertakit.training import compression
from robertakit.training.compression import DAMAGES, open_decompressed

TEXT = np.random.default_rng(0).integers(32, 127, 700_000).astype(np.uint8).tobytes()


def zstd(content: bytes) -> bytes:
    zstandard = pytest.importorskip("zstandard")
    return bytes(zstandard.ZstdCompressor().compress(content))


FORMATS: dict[str, Callable[[bytes], bytes]] = {
    "plain": lambda content: content,
    "gzip": gzip.compress,
    "xz": lzma.compress,
    "zstd": zstd,
}


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("content", [b"x", TEXT], ids=["short", "long"])
def test_what_was_compressed_is_read(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / "misleading.gz"
    path.write_bytes(FORMATS[name](content))
    with open_decompressed(path) as file:
        assert file.read() == content


@pytest.mark.parametrize("name", ["gzip", "xz", "zstd"])
def test_several_streams_follow_each_other(tmp_path: Path, name: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(
        b"".join(FORMATS[name](TEXT[start : start + 100_000]) for start in range(0, 300_000, 100_000))
    )
    with open_decompressed(path) as file:
        assert file.read() == TEXT[:300_000]


def test_an_empty_file_is_empty(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with open_decompressed(tmp_path / "file") as file:
        assert file.read() == b""


@pytest.mark.parametrize("name", ["gzip", "xz", "zstd"])
@pytest.mark.parametrize("left", [0.02, 0.3, 0.7, 0.999999])
def test_a_file_that_is_cut_off_raises(tmp_path: Path, name: str, left: float) -> None:
    content = FORMATS[name](TEXT)
    path = tmp_path / "file"
    path.write_bytes(content[: int(len(content) * left)])
    with open_decompressed(path) as file, pytest.raises((*DAMAGES, SourceError)):
        file.read()


@pytest.mark.parametrize("name", ["gzip", "xz", "zstd"])
def test_a_file_that_is_damaged_raises(tmp_path: Path, name: str) -> None:
    if name == "zstd":  # its checksum is an option of whoever writes
        zstandard = pytest.importorskip("zstandard")
        content = bytearray(zstandard.ZstdCompressor(write_checksum=True).compress(TEXT))
    else:
        content = bytearray(FORMATS[name](TEXT))
    content[len(content) // 2] ^= 0xFF
    (tmp_path / "file").write_bytes(content)
    with open_decompressed(tmp_path / "file") as file, pytest.raises((*DAMAGES, SourceError)):
        file.read()


def test_skippable_frames_are_skipped(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"\x50\x2a\x4d\x18\x04\x00\x00\x00note" + zstd(b"text") + zstd(b" more"))
    with open_decompressed(tmp_path / "file") as file:
        assert file.read() == b"text more"


def test_an_absent_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(module: str, *, extra: str, needed_for: str) -> None:
        raise DependencyError(given=f"{needed_for} needs {module}", hint=f"pip install 'robertakit[{extra}]'")

    monkeypatch.setattr(compression, "require", absent)
    (tmp_path / "a.zst").write_bytes(b"\x28\xb5\x2f\xfd")
    with pytest.raises(DependencyError, match=r"a\.zst.*zstandard.*train"):
        open_decompressed(tmp_path / "a.zst")
