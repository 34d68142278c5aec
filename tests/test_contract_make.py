"""The two commands: `make` tells its words, set-up fails in one sentence, and `make run` finds its sentences."""

import ast
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = ROOT / "scripts" / "environment.py"


def make(*words: str) -> subprocess.CompletedProcess[str]:
    """Run make with our own variables unset."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "MFLAGS"))}
    return subprocess.run(["make", *words], cwd=ROOT, env=environment, capture_output=True, text=True)


def test_make_alone_lists_every_word_with_a_line() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    phony = re.search(r"^\.PHONY: (.*)$", makefile, flags=re.MULTILINE)
    assert phony is not None
    listed = dict(re.findall(r"^  ([a-z-]+) +(\S.*)$", make().stdout, flags=re.MULTILINE))
    assert set(listed) == set(phony.group(1).split())


def test_a_missing_python_is_one_sentence(tmp_path: Path) -> None:
    done = make("-W", "pyproject.toml", "env-core", f"PYTHON={tmp_path}/python3")
    assert done.returncode != 0
    assert done.stderr.splitlines()[0] == (
        f"robertakit: there is no {tmp_path}/python3; install Python 3.11 or newer, "
        "or name one with PYTHON=/path/to/python."
    )


def set_up(folder: Path, before: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
    """Run `environment.py core` in a copy of what it needs, after some code that changes the world."""
    (folder / "scripts").mkdir()
    shutil.copy(SCRIPT, folder / "scripts")
    shutil.copytree(ROOT / "constraints", folder / "constraints")
    shutil.copy(ROOT / "pyproject.toml", folder)
    run = f"import runpy; runpy.run_path({str(folder / 'scripts' / SCRIPT.name)!r}, run_name='__main__')"
    return subprocess.run(
        [sys.executable, "-c", f"import sys; sys.argv = ['environment.py', 'core']\n{before}\n{run}"],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
    )


def test_the_script_can_be_read_by_an_old_python() -> None:
    ast.parse(SCRIPT.read_text(encoding="utf-8"), feature_version=(3, 7))


def test_an_old_python_is_one_sentence(tmp_path: Path) -> None:
    done = set_up(tmp_path, "sys.version_info = (3, 9, 18)")
    assert done.returncode == 1
    assert done.stderr == (
        f"robertakit: {sys.executable} is Python 3.9.18, and robertakit needs 3.11 or newer; "
        "name a newer one, as in: make run PYTHON=python3.12.\n"
    )


def test_a_python_without_venv_is_one_sentence(tmp_path: Path) -> None:
    done = set_up(
        tmp_path,
        "import importlib.util as u; find = u.find_spec\n"
        "u.find_spec = lambda name, *rest: None if name == 'ensurepip' else find(name, *rest)",
    )
    assert done.returncode == 1
    assert done.stderr.startswith(f"robertakit: {sys.executable} has no venv module; install it (")
    assert not (tmp_path / ".venv").exists()


def test_no_network_is_one_sentence_and_no_stamp(tmp_path: Path) -> None:
    done = set_up(tmp_path, PIP_NO_INDEX="1", PIP_FIND_LINKS="", PIP_CONFIG_FILE=os.devnull)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("robertakit: pip could not install the packages")
    assert not (tmp_path / ".venv" / "core" / "ready").exists()


@pytest.fixture
def demo() -> ModuleType:
    """`scripts/demo.py` as a module."""
    spec = importlib.util.spec_from_file_location("demo_of_make_run", ROOT / "scripts" / "demo.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("arguments", "stdin", "words"),
    [
        ("", False, None),
        ("", True, []),
        ("It's a <mask>.", True, ["It's a <mask>."]),
        ("'One <mask>.' 'Two <mask>.' --top-k 3", False, ["One <mask>.", "Two <mask>.", "--top-k", "3"]),
        ("--top-k 3", True, ["--top-k", "3"]),
        ("--input lines.txt", False, ["--input", "lines.txt"]),
    ],
)
def test_sentences_of_make_run(
    demo: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: str,
    stdin: bool,
    words: list[str] | None,
) -> None:
    """From ARGS, else from standard input, else our own; and three lines on what to try next."""
    ran: list[list[str]] = []

    def run(command: list[str], env: dict[str, str]) -> subprocess.CompletedProcess[str]:
        ran.append(command)
        assert env["HF_HUB_OFFLINE"] == "1"
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setenv("ARGS", arguments)
    monkeypatch.setattr(demo.subprocess, "run", run)
    monkeypatch.setattr(demo, "stdin_has_sentences", lambda: stdin)
    assert demo.main() == 0
    assert ran[0][ran[0].index("fill-mask") + 1 :] == (demo.SENTENCES if words is None else words)
    assert len(capsys.readouterr().err.strip().splitlines()) == 4


def test_a_failure_shows_no_advice(
    demo: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo.subprocess, "run", lambda command, env: subprocess.CompletedProcess(command, 1))
    monkeypatch.setattr(demo, "stdin_has_sentences", lambda: False)
    assert demo.main() == 1
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("sent", "said"),
    [("One <mask>.\n", "True"), (None, "False"), (..., "False")],
    ids=["pipe", "null", "silent"],
)
def test_standard_input_is_read_where_something_stands(sent: object, said: str) -> None:
    """A silent pipe that stays open is not waited for."""
    code = (
        f"import runpy; demo = runpy.run_path({str(ROOT / 'scripts' / 'demo.py')!r})\n"
        "ask = demo['stdin_has_sentences']; ask.__globals__['PATIENCE_SECONDS'] = 0.1; print(ask())"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.DEVNULL if sent is None else subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    if isinstance(sent, str):
        assert process.stdin is not None
        process.stdin.write(sent)
        process.stdin.flush()
    assert process.stdout.read().strip() == said
    process.communicate()
