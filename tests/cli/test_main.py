"""The frame of the command line: help, typos, errors and exit statuses."""

import argparse
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from robertakit import __version__
from robertakit.cli.main import COMMANDS, main
from robertakit.errors import InputError


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A command `probe` with one option, whose `run` a test may replace."""
    module = ModuleType("robertakit.cli.probe")
    module.add_arguments = lambda parser: parser.add_argument("--depth", type=int, default=1)  # type: ignore[attr-defined]
    module.run = lambda arguments: arguments.depth  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "robertakit.cli.probe", module)
    monkeypatch.setitem(COMMANDS, "probe", "try the frame")
    return module


def ends(words: list[str]) -> int:
    """Return the exit status of a command line that argparse ends."""
    with pytest.raises(SystemExit) as stopped:
        main(words)
    assert isinstance(stopped.value.code, int)
    return stopped.value.code


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    bare = capsys.readouterr().out
    assert ends(["--help"]) == 0
    assert capsys.readouterr().out == bare
    assert all(f"  {name} " in bare and summary in bare for name, summary in COMMANDS.items())


def test_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    assert ends(["--version"]) == 0
    assert capsys.readouterr().out == f"robertakit {__version__}\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["evn"], "robertakit: unknown command 'evn'; did you mean 'env'? (see robertakit --help)\n"),
        (["zzz"], "robertakit: unknown command 'zzz' (see robertakit --help)\n"),
        (
            ["--verison"],
            "robertakit: unknown argument '--verison'; did you mean '--version'? (see robertakit --help)\n",
        ),
        (
            ["probe", "--detph=3"],
            "robertakit probe: unknown argument '--detph=3'; did you mean '--depth'? (see robertakit probe --help)\n",
        ),
        (
            ["probe", "--dep", "3"],
            "robertakit probe: unknown argument '--dep'; did you mean '--depth'? (see robertakit probe --help)\n",
        ),
        (
            ["probe", "--depth", "x"],
            "robertakit probe: argument --depth: invalid int value: 'x' (see robertakit probe --help)\n",
        ),
    ],
)
def test_a_typo_gets_one_sentence(
    command: ModuleType, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    assert ends(words) == 2
    assert capsys.readouterr() == ("", said)


def test_the_status_is_the_commands(command: ModuleType) -> None:
    assert main(["probe"]) == 1
    assert main(["probe", "--depth", "0"]) == 0


def test_an_error_of_ours_is_one_sentence(command: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    def refuse(arguments: argparse.Namespace) -> int:
        raise InputError(given="a line without a mask", expected="<mask>")

    command.run = refuse  # type: ignore[attr-defined]
    assert main(["probe"]) == 1
    assert capsys.readouterr() == ("", "robertakit probe: a line without a mask; expected <mask>.\n")


def test_any_other_error_is_not_hidden(command: ModuleType) -> None:
    def fail(arguments: argparse.Namespace) -> int:
        raise ZeroDivisionError

    command.run = fail  # type: ignore[attr-defined]
    with pytest.raises(ZeroDivisionError):
        main(["probe"])


def test_ctrl_c_ends_with_130(command: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(arguments: argparse.Namespace) -> int:
        raise KeyboardInterrupt

    command.run = interrupted  # type: ignore[attr-defined]
    assert main(["probe"]) == 130
    assert "Traceback" not in capsys.readouterr().err


def test_a_closed_pipe_is_no_error(root: Path) -> None:
    """`robertakit env | true`, with more output than a pipe holds."""
    code = (
        "import sys, types\n"
        "from robertakit.cli import main\n"
        "probe = types.ModuleType('robertakit.cli.probe')\n"
        "probe.add_arguments = lambda parser: None\n"
        "probe.run = lambda arguments: print('x' * 10_000_000) or 0\n"
        "sys.modules['robertakit.cli.probe'] = probe\n"
        "main.COMMANDS['probe'] = 'print much'\n"
        "sys.exit(main.main(['probe']))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=root / "src", stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait() == 141


def test_python_dash_m_is_the_same_program(root: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "robertakit", "--version"],
        cwd=root / "src",
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"robertakit {__version__}\n"
