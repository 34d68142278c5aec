"""What may stand in the repository: no path of one machine, no registry's host, nothing huge; and the typing budget."""

import ast
import importlib.util
import re
import subprocess
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted((ROOT / "src" / "robertakit").rglob("*.py"))

TOTAL_BYTES = 60_000_000
# Assembled from halves, so that this file passes its own test.
OF_ONE_MACHINE = re.compile(r"(?<![\w.~])/(?:" + "work|farm|root|home/\\w+|Users/\\w+|tmp/w" + ")/")
REGISTRIES = [
    "pypi" + ".org",
    "python" + "hosted",
    "download.py" + "torch",
    "npmjs" + ".",
    "deb.debian" + ".",
]

# How often `Any` and `type: ignore` stand in src/. Lower it when you can; raising it needs a reason in the commit.
ANY_BUDGET = 76  # values of JSON files, and keywords on their way through the tokenizers: all in tokenizers/
IGNORE_BUDGET = 2


@cache
def tracked_files() -> list[Path]:
    """Return what git tracks; in an unpacked sdist, all that it brought."""
    if (ROOT / ".git").exists():
        listed = subprocess.run(
            ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout
        return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]
    made = {
        "__pycache__",
        ".venv",
        ".pytest_cache",
        ".mypy_cache",
        ".ruff_cache",
        ".hypothesis",
        "dist",
        "build",
    }
    return [
        path for path in ROOT.rglob("*") if path.is_file() and not made & set(path.relative_to(ROOT).parts)
    ]


def texts() -> list[tuple[Path, str]]:
    read = []
    for path in tracked_files():
        try:
            read.append((path, path.read_text(encoding="utf-8")))
        except UnicodeDecodeError:  # weights and the like
            continue
    return read


def test_no_file_names_a_place_of_one_machine_or_a_registry() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:80]}"
        for path, text in texts()
        if "golden" not in path.parts  # reference data is what it is
        for number, line in enumerate(text.splitlines(), 1)
        if OF_ONE_MACHINE.search(line) or any(host in line for host in REGISTRIES)
    ]
    assert not found


def test_the_repository_stays_small() -> None:
    assert sum(path.stat().st_size for path in tracked_files()) < TOTAL_BYTES


def test_no_work_left_without_an_issue() -> None:
    marker = re.compile(r"#\s*(?:TODO|FIXME|XXX|HACK)(?! ?\(?#\d+)")
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path, text in texts()
        if path.suffix == ".py"
        for number, line in enumerate(text.splitlines(), 1)
        if marker.search(line)
    ]
    assert not found


def count_any(path: Path) -> int:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    # `Value` is the tokenizers' name for it (tokenizers/values.py): an alias is no way round the budget.
    names = sum(isinstance(node, ast.Name) and node.id in ("Any", "Value") for node in ast.walk(tree))
    attributes = sum(
        isinstance(node, ast.Attribute) and ast.unparse(node) == "typing.Any" for node in ast.walk(tree)
    )
    return names + attributes


def test_any_is_within_its_budget() -> None:
    counts = {str(path.relative_to(ROOT)): count_any(path) for path in SOURCES}
    assert sum(counts.values()) <= ANY_BUDGET, {name: count for name, count in counts.items() if count}


def test_ignores_are_within_their_budget() -> None:
    counts = {
        str(path.relative_to(ROOT)): path.read_text(encoding="utf-8").count("type: ignore")
        for path in SOURCES
    }
    assert sum(counts.values()) <= IGNORE_BUDGET, {name: count for name, count in counts.items() if count}


def test_folders_of_tests_shadow_no_package() -> None:
    tests = ROOT / "tests"
    assert not list(tests.rglob("__init__.py")), "a test folder that is a package could shadow a real one"
    for folder in sorted(path.name for path in tests.iterdir() if path.is_dir()):
        spec = importlib.util.find_spec(folder) if folder.isidentifier() else None
        places = [] if spec is None else [spec.origin, *(spec.submodule_search_locations or [])]
        assert not [place for place in places if place and Path(place).is_relative_to(tests)], folder


@pytest.mark.parametrize(
    "name", ["LICENSE", "NOTICE", "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"]
)
def test_the_papers_are_there(name: str) -> None:
    assert (ROOT / name).read_text(encoding="utf-8").strip()


def test_shipped_weights_carry_licence_and_attribution() -> None:
    """Each model folder of the package has a card, and a file with the licence and the attributions of its texts."""
    for weights in sorted((ROOT / "src" / "robertakit" / "embedded").rglob("*.safetensors")):
        names = {path.name for path in weights.parent.iterdir()}
        assert "README.md" in names
        assert [name for name in names if name.startswith(("LICENSE", "ATTRIBUTION"))]
