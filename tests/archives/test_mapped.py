"""A file as bytes: only ordinary ones, only whole, never written."""

import os
from pathlib import Path

import pytest

from robertakit.archives.mapped import map_file
from robertakit.errors import CorruptFile


def test_bytes_are_those_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    data = map_file(tmp_path / "a")
    assert data[:] == b"abc"
    with pytest.raises(TypeError):
        data[0] = 1


def test_what_cannot_be_mapped(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    with pytest.raises(CorruptFile, match="is empty"):
        map_file(tmp_path / "empty")
    os.mkfifo(tmp_path / "pipe")
    for name in ("pipe", "absent", "."):
        with pytest.raises(CorruptFile, match="no ordinary file"):
            map_file(tmp_path / name)
