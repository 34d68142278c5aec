"""Text for `make pretrain-demo` where there is no better: English that every machine with this project has.

That is the documentation of this project, the language reference that Python carries for `help()`, and the docstrings
of Python's standard library: some 2 MB. None of it is copied into the repository. A model that is trained on it knows
Python's documentation and nothing else.

    python scripts/demo_text.py TARGET
"""

import ast
import sys
import sysconfig
import warnings
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LEFT_OUT = {
    "test",
    "tests",
    "idle_test",
    "site-packages",
    "dist-packages",
    "lib2to3",
    "__pycache__",
    "turtledemo",
}
SHORTEST = 40  # characters of a paragraph that is worth reading


def main() -> None:
    """Write the text, a paragraph a line and a blank line between documents, into the folder that is named."""
    if len(sys.argv) != 2:
        sys.exit("usage: demo_text.py TARGET")
    target = Path(sys.argv[1])
    target.mkdir(parents=True, exist_ok=True)
    for name, documents in {
        "project": of_project(),
        "reference": of_reference(),
        "library": of_library(),
    }.items():
        written = "".join(
            "\n".join(paragraphs) + "\n\n" for paragraphs in map(prose, documents) if paragraphs
        )
        part = target / f".{name}.part"
        part.write_text(written, encoding="utf-8")
        part.replace(target / f"{name}.txt")
    size = sum(path.stat().st_size for path in target.glob("*.txt"))
    print(f"robertakit: {size / 1e6:.1f} MB of documentation from this machine in {target}", file=sys.stderr)


def of_project() -> Iterator[str]:
    """The pages of this project."""
    for path in sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "LICENSE"]):
        yield path.read_text(encoding="utf-8")


def of_reference() -> Iterator[str]:
    """The language reference that `help()` shows."""
    from pydoc_data.topics import topics

    yield from (topics[name] for name in sorted(topics))


def of_library() -> Iterator[str]:
    """Docstrings of the standard library; its modules are read, and not imported."""
    library = Path(sysconfig.get_paths()["stdlib"])
    for path in sorted(library.rglob("*.py")):
        if LEFT_OUT & set(path.relative_to(library).parts):
            continue
        try:
            with warnings.catch_warnings(action="ignore"):
                module = ast.parse(path.read_bytes())
        except (OSError, SyntaxError, ValueError):
            continue
        found = [
            ast.get_docstring(node)
            for node in ast.walk(module)
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        ]
        yield "\n\n".join(text for text in found if text)


def prose(text: str) -> list[str]:
    """The paragraphs of a page, each in a line; code, tables and headings left out."""
    paragraphs = []
    for part in text.split("\n\n"):
        line = " ".join(part.split())
        if len(line) >= SHORTEST and not line.startswith((">>>", "|", "#", "```", "+--", "...")):
            paragraphs.append(line)
    return paragraphs


if __name__ == "__main__":
    main()
