"""Descriptions of files: the same content is the same, whatever the clock says; other content never is."""

import os
from pathlib import Path

import pytest

from robertakit.training import file_states as module
from robertakit.training.file_states import file_states, states_in


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "a.txt"
    made.write_text("some text")
    return made


def test_the_same_content_is_described_as_before(path: Path) -> None:
    before = file_states([path])
    os.utime(path, ns=(1, 1))
    assert file_states([path]) != before
    assert file_states([path], before) == before


def test_other_content_of_the_same_size_and_another_size_are_seen(path: Path) -> None:
    before = file_states([path])
    for text in ("some Text", "some text."):
        path.write_text(text)
        os.utime(path, ns=(1, 1))
        assert file_states([path], before) == file_states([path]) != before


def test_a_file_that_nobody_touched_is_not_read_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = file_states([path])
    monkeypatch.setattr(module, "_digest", lambda path: pytest.fail("read"))
    assert file_states([path], before) == before


def test_another_file_of_the_same_content_is_another(path: Path, tmp_path: Path) -> None:
    other = tmp_path / "b.txt"
    other.write_text(path.read_text())
    assert file_states([other], file_states([path]))[0][0] == str(other)


@pytest.mark.parametrize(
    "stored", [None, 7, [None], [{}], [{"files": 3}], [{"files": [None, ["a.txt", 9, 1]]}]]
)
def test_what_an_older_or_odd_manifest_says_is_left_aside(path: Path, stored: object) -> None:
    assert file_states([path], states_in(stored)) == file_states([path])
