"""Nothing is skipped in secret: the rule of conftest.py, tried on small test files of its own."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).resolve().parent / "conftest.py"
SKIPS = {
    "plain": "import pytest\n\ndef test(): pytest.skip('not today')\n",
    "marked": "import pytest\n\n@pytest.mark.skip(reason='not today')\ndef test(): pass\n",
    "module": "import pytest\n\npytest.skip('not today', allow_module_level=True)\n",
    "absent": "import pytest\n\nno_such = pytest.importorskip('no_such_package')\n",
}
EXCUSED = {
    "gpu": "import pytest\n\ndef test(): pytest.skip('needs a GPU')\n",
    "shared": "def test(shared): assert shared.is_dir()\n",
    "claimed": "import pytest\n\ndef test(): pytest.skip('../shared is not here')\n",
}


def outcomes(
    folder: Path, *, ci: bool, files: dict[str, str] = SKIPS | EXCUSED, **variables: str
) -> dict[str, str]:
    """Run files under our conftest in `folder/checkout/tests`; return name -> SKIPPED, PASSED, FAILED or ERROR."""
    tests = folder / "checkout" / "tests"
    tests.mkdir(parents=True)
    shutil.copy(CONFTEST, tests)
    for name, text in files.items():
        (tests / f"test_{name}.py").write_text(text, encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-rA",
        "--continue-on-collection-errors",
        "-p",
        "no:cacheprovider",
        f"--rootdir={tests}",
        str(tests),
    ]
    environment = {**os.environ, "CI": "true" if ci else "false", **variables}
    said = subprocess.run(command, env=environment, cwd=tests, capture_output=True, text=True).stdout
    found = re.findall(r"^(SKIPPED|PASSED|FAILED|ERROR)\b.*?test_(\w+)\.py", said, flags=re.MULTILINE)
    return {name: outcome for outcome, name in found}


def test_at_home_a_skip_is_a_skip(tmp_path: Path) -> None:
    assert outcomes(tmp_path, ci=False) == dict.fromkeys({**SKIPS, **EXCUSED}, "SKIPPED")


def test_on_ci_only_what_is_really_absent_may_be_missing(tmp_path: Path) -> None:
    expected = {"plain": "FAILED", "marked": "ERROR", "module": "ERROR", "absent": "ERROR"}
    assert outcomes(tmp_path, ci=True) == expected | dict.fromkeys(EXCUSED, "SKIPPED")


def test_on_ci_shared_is_used_where_it_is(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    found = outcomes(tmp_path, ci=True)
    assert (found["shared"], found["claimed"], found["gpu"]) == ("PASSED", "FAILED", "SKIPPED")


def test_on_ci_only_an_environment_with_one_framework_lacks_the_others(tmp_path: Path) -> None:
    """An absent module stands in for a framework: a plain interpreter has all that this one has."""
    skip = "import pytest\n\ndef test(): pytest.skip('could not import {name}')\n"
    hidden = (
        "import importlib.util as util\n"
        "find = util.find_spec\n"
        "util.find_spec = lambda name, *rest: None if name in {'torch', 'jax'} else find(name, *rest)\n"
    )
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden" / "hidden_frameworks.py").write_text(hidden, encoding="utf-8")
    files = {name: skip.format(name=name) for name in ("torch", "jax", "json")}
    for alone, expected in (
        ("jax", {"torch": "SKIPPED", "jax": "FAILED", "json": "FAILED"}),
        ("torch", {"torch": "FAILED", "jax": "SKIPPED", "json": "FAILED"}),
    ):
        path = {
            "PYTHONPATH": str(tmp_path / "hidden"),
            "PYTEST_ADDOPTS": "-p hidden_frameworks",
            "FRAMEWORK": alone,
        }
        assert outcomes(tmp_path / alone, ci=True, files=files, **path) == expected


@pytest.mark.parametrize("name", ["root", "golden"])
def test_folders_of_the_fixtures_are_there(request: pytest.FixtureRequest, name: str) -> None:
    assert request.getfixturevalue(name).is_dir()
