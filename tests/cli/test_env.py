"""`robertakit env`: complete, quick, and readable by people and programs."""

import json
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from robertakit import __version__
from robertakit.cli import env
from robertakit.cli.main import main

CPUINFO = """\
processor\t: 0
model name\t: Example 9000
flags\t\t: fpu avx2 sse avx512_vnni

processor\t: 1
model name\t: Other
"""


def test_it_tells_what_a_bug_report_needs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["env", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["robertakit"]["version"] == __version__
    assert facts["machine"]["python"].startswith(platform.python_version())
    assert facts["packages"]["numpy"] == np.__version__
    assert set(env.CORE) <= set(facts["packages"])
    assert facts["environment"].keys() == {*env.THREADS, *env.HUB}


def test_lines_hold_the_same_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["env"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for topic, entries in env.describe().items():
        assert f"{topic}:" in lines
        for name, value in entries.items():
            assert any(line.split() == [*name.split(), *value.split()] for line in lines)


def test_it_imports_no_package(root: Path) -> None:
    code = (
        "import sys; from robertakit.cli.main import main; main(['env']); "
        "print([name for name in ('numpy', 'torch', 'tokenizers', 'huggingface_hub') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root / "src", capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_processor_is_read_where_the_system_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "read_text", lambda self, **_: CPUINFO)
    assert env.processor_name() == "Example 9000"
    assert env.processor_features() == ["avx2", "avx512_vnni"]


def test_processor_without_cpuinfo(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(self: Path, **_: str) -> str:
        raise FileNotFoundError(self)

    monkeypatch.setattr(Path, "read_text", absent)
    assert env.processor_features() == []
    assert env.processor_name() == (platform.processor() or platform.machine())


def test_an_absent_package_is_said_to_be_absent() -> None:
    assert env.installed_version("no-such-package-of-this-name") == "not installed"
