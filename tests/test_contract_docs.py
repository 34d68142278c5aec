"""Every example runs: Python blocks of the README and of docs/, and the examples of all docstrings.

A block is run after those above it in the same page, in an empty folder. One that cannot run here says why behind
its language: a fence opened by ``python not-run: needs a GPU``.
"""

import doctest
import importlib
import re
from pathlib import Path

import pytest

from robertakit.errors import DependencyError

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "src" / "robertakit"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```python(?P<remark>[^\n]*)\n(?P<code>.*?)^```$", flags=re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:|#|mailto:)(?P<target>[^)#\s]+)")
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


#: What an example says where its framework is not installed.
ABSENT = re.compile(
    r"No module named '(torch|tensorflow|keras|jax|flax|optax)'|"
    r"pip install 'robertakit\[(torch|tensorflow|jax|train)\]'"
)


def skip_where_absent(said: str) -> None:
    """Skip an example of a framework that is not here."""
    if match := ABSENT.search(said):
        pytest.skip(match[0])


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def run_examples(name: str, text: str, names: dict[str, object], line: int) -> None:
    """Run `>>>` examples, and fail with doctest's own report."""
    examples = doctest.DocTestParser().get_doctest(text, names, name, name, line)
    report: list[str] = []
    runner = doctest.DocTestRunner(optionflags=FLAGS)
    runner.run(examples, out=report.append, clear_globs=False)
    names.update(examples.globs)
    if runner.summarize(verbose=False).failed:
        skip_where_absent("".join(report))
        pytest.fail("".join(report), pytrace=False)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_examples_of_the_page_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "__example__"}
    text = page.read_text(encoding="utf-8")
    for block in BLOCK.finditer(text):
        line = text.count("\n", 0, block.start()) + 1
        remark = block["remark"].strip()
        if remark:
            assert re.fullmatch(r"not-run: .{5,}", remark), f"{name_of(page)}:{line}: {remark}"
            continue
        if ">>> " in block["code"]:
            run_examples(name_of(page), block["code"], names, line)
            continue
        try:
            exec(compile("\n" * line + block["code"], str(page), "exec"), names)
        except ImportError as error:
            skip_where_absent(str(error))
            raise


@pytest.mark.parametrize("page", [*PAGES, *sorted(ROOT.glob("*.md"))[1:]], ids=name_of)
def test_links_between_files_lead_somewhere(page: Path) -> None:
    targets = [match["target"] for match in LINK.finditer(page.read_text(encoding="utf-8"))]
    assert not [target for target in targets if not (page.parent / target).exists()]


def test_no_figure_is_left_to_fill_in() -> None:
    assert not [name_of(page) for page in PAGES if "TO FILL" in page.read_text(encoding="utf-8")]


def test_the_index_lists_every_page() -> None:
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    pages = sorted(page.relative_to(ROOT / "docs").as_posix() for page in PAGES if page.parent.name == "docs")
    assert not [page for page in pages if page != "README.md" and f"({page})" not in index]


@pytest.mark.parametrize(
    "path", [path for path in sorted(PACKAGE.rglob("*.py")) if path.stem != "__main__"], ids=name_of
)
def test_examples_of_the_docstrings_run(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    parts = path.relative_to(ROOT / "src").with_suffix("").parts
    try:
        module = importlib.import_module(".".join(part for part in parts if part != "__init__"))
    except DependencyError as error:
        pytest.skip(str(error))
    report: list[str] = []
    runner = doctest.DocTestRunner(optionflags=FLAGS)
    for examples in doctest.DocTestFinder(exclude_empty=True).find(module, module.__name__):
        runner.run(examples, out=report.append)
    if runner.summarize(verbose=False).failed:
        skip_where_absent("".join(report))
        skip_where_absent("".join(report))
        pytest.fail("".join(report), pytrace=False)
