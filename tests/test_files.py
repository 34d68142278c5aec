"""Local places, bounded reading, and writing that is whole or not at all."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from robertakit.errors import ArgumentError, CorruptFile, NotFound, SaveFailed
from robertakit.files import (
    finish_interrupted_save,
    is_plain_name,
    locate,
    read_json,
    take_where,
    text_writer,
    write_atomically,
)

COMMIT = "0123456789abcdef0123456789abcdef01234567"
OLDER = "89abcdef0123456789abcdef0123456789abcdef"
SOURCE = Path(__file__).resolve().parents[1] / "src"


# --- local places ---


def folder_of(path: Path, **files: str) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (path / name.replace("__", ".")).write_text(text)
    return path


def test_local_folder(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "model", config__json="{}")
    place = locate(folder)
    assert place.path_of("config.json") == folder / "config.json"
    assert place.path_of("vocab.json") is None
    assert place.commit is None
    with pytest.raises(NotFound, match=r"has no vocab\.json.*it holds config\.json"):
        place.require("vocab.json")


def test_local_file_names_its_folder(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "model", config__json="{}", weights="")
    place = locate(folder / "weights")
    assert (place.folder, place.filename) == (folder, "weights")


def test_home_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    folder_of(tmp_path / "model", config__json="{}")
    assert locate("~/model").require("config.json").is_file()


def test_subfolder(tmp_path: Path) -> None:
    folder_of(tmp_path / "model" / "encoder", config__json="{}")
    assert locate(tmp_path / "model", subfolder="encoder").require("config.json").is_file()
    with pytest.raises(NotFound, match="no subfolder 'decoder'"):
        locate(tmp_path / "model", subfolder="decoder")


@pytest.mark.parametrize(
    "name",
    ["./nowhere", "/nowhere/at/all", "../nowhere", "a/b/c", "~/nowhere", "~nobody", "a\\b", "", "a b", "a\0b"]
    + ["a" * 97, "a" * 5000, "./" + "a" * 300],
)
def test_what_can_only_be_a_path_is_not_looked_up_on_the_hub(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NotFound, match="there is no folder"):
        locate(name)


def test_sentence_transformers_layout(tmp_path: Path) -> None:
    modules = [
        {"idx": 1, "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
        {"idx": 0, "path": "0_Transformer", "type": "sentence_transformers.models.Transformer"},
    ]
    folder_of(tmp_path, modules__json=json.dumps(modules))
    folder_of(tmp_path / "0_Transformer", config__json="{}")
    folder_of(tmp_path / "1_Pooling", config__json="wrong one")
    assert locate(tmp_path).require("config.json") == tmp_path / "0_Transformer" / "config.json"
    (tmp_path / "config.json").write_text("{}")  # the newer layout has the Transformer at the top
    assert locate(tmp_path).require("config.json") == tmp_path / "config.json"


@pytest.mark.parametrize("path", ["../elsewhere", "/etc", "a/../../b"])
def test_modules_cannot_lead_outside(tmp_path: Path, path: str) -> None:
    folder_of(
        tmp_path,
        modules__json=json.dumps([{"path": path, "type": "sentence_transformers.models.Transformer"}]),
    )
    with pytest.raises(CorruptFile, match="no Transformer module inside"):
        locate(tmp_path)


def test_snapshot_of_the_cache_is_made_of_links(tmp_path: Path) -> None:
    folder_of(tmp_path / "blobs", abc="{}")
    snapshot = folder_of(tmp_path / "snapshots" / COMMIT)
    (snapshot / "config.json").symlink_to("../../blobs/abc")
    (snapshot / "gone.json").symlink_to("../../blobs/gone")
    assert locate(snapshot).require("config.json").read_text() == "{}"
    assert locate(snapshot).path_of("gone.json") is None


def test_local_path_never_imports_the_hub_client(tmp_path: Path) -> None:
    folder_of(tmp_path, config__json="{}")
    code = (
        "import sys; from robertakit.files import locate; locate(sys.argv[1]).require('config.json');"
        "sys.exit('huggingface_hub' in sys.modules or 'numpy' in sys.modules)"
    )
    environment = os.environ | {"PYTHONPATH": str(SOURCE)}
    assert (
        subprocess.run([sys.executable, "-c", code, str(tmp_path)], env=environment, check=False).returncode
        == 0
    )


# --- writing ---


@pytest.mark.parametrize("wrong", [None, 3, b"folder"])
def test_what_is_no_place_is_an_argument_error(wrong: object) -> None:
    with pytest.raises(ArgumentError, match="as a place; expected a folder, or a name on the Hub"):
        locate(wrong)  # type: ignore[arg-type]


def test_arguments_that_say_where_are_taken_out() -> None:
    arguments = {"revision": "a", "subfolder": "b", "num_labels": 3, "use_auth_token": "c", "proxies": None}
    assert take_where(arguments) == {"revision": "a", "subfolder": "b", "token": "c"}
    assert arguments == {"num_labels": 3}
    assert take_where({"trust_remote_code": False, "resume_download": True}) == {}
    assert take_where({"token": "c", "use_auth_token": "c"}) == {"token": "c"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            {"trust_remote_code": True},
            "trust_remote_code=True; expected None or False; nothing that comes with",
        ),
        ({"proxies": {"https": "a"}}, "HTTPS_PROXY"),
        ({"token": "a", "use_auth_token": "b"}, "which differ"),
    ],
)
def test_what_is_never_done_is_said(arguments: dict[str, object], words: str) -> None:
    with pytest.raises(ArgumentError, match=words):
        take_where(arguments)


def test_names_that_may_stand_in_files() -> None:
    assert is_plain_name("model-00001-of-00002.safetensors")
    for name in (
        "",
        ".",
        "..",
        "a/b",
        "/a",
        "a\\b",
        "c:a",
        ".hidden",
        "a\0",
        "a\n",
        "a" * 256,
        None,
        7,
        ["a"],
    ):
        assert not is_plain_name(name)


def test_write_replaces_and_removes(tmp_path: Path) -> None:
    folder_of(tmp_path, a="old", b="old", c="other")
    write_atomically(tmp_path, {"a": text_writer("new"), "d": text_writer("ü")}, remove=["b", "nowhere"])
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        "a": "new",
        "c": "other",
        "d": "ü",
    }


def test_writer_that_fails_leaves_nothing(tmp_path: Path) -> None:
    folder_of(tmp_path, a="old")

    def fail(file: object) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_atomically(tmp_path, {"a": text_writer("new"), "b": fail})
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a": "old"}


@pytest.mark.parametrize("name", ["../a", "/a", "a/b", ".a", ""])
def test_names_outside_the_folder_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(SaveFailed, match="plain names"):
        write_atomically(tmp_path / "folder", {name: text_writer("x")})
    assert list(tmp_path.iterdir()) == []


def interrupted(folder: Path, *, done: int) -> None:
    """A save of two files that was cut after its commit note and ``done`` renames."""
    folder_of(folder, a="new" if done else "old", b="old", c="earlier")
    save = "0123456789abcdef"
    note = {"files": ["a", "b"], "remove": ["c"]}
    (folder / f".{save}.robertakit-commit").write_text(json.dumps(note))
    for name in ["a", "b"][done:]:
        (folder / f".{name}.{save}.robertakit-part").write_text("new")


@pytest.mark.parametrize("done", [0, 1])
def test_locate_finishes_what_was_cut_off(tmp_path: Path, done: int) -> None:
    interrupted(tmp_path, done=done)
    locate(tmp_path)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a": "new", "b": "new"}


def test_two_may_finish_it_at_once(tmp_path: Path) -> None:
    interrupted(tmp_path, done=0)
    threads = [threading.Thread(target=finish_interrupted_save, args=(tmp_path,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a": "new", "b": "new"}


def test_temporaries_without_a_commit_note_are_nothing(tmp_path: Path) -> None:
    folder_of(tmp_path, a="old")
    (tmp_path / ".a.0123456789abcdef.robertakit-part").write_text("ne")
    locate(tmp_path)
    assert (tmp_path / "a").read_text() == "old"
    write_atomically(tmp_path, {"b": text_writer("new")})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_json_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("[1, 2]")
    assert read_json(path) == [1, 2]
    with pytest.raises(CorruptFile, match="at most 5"):
        read_json(path, limit=5)
    for text in ("{", "[" * 10**6):
        path.write_text(text)
        with pytest.raises(CorruptFile, match="not JSON"):
            read_json(path)
