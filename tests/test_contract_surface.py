"""The surface: a light import, exported names that exist, the documented signatures, and a core without frameworks."""

import ast
import importlib
import importlib.util
import inspect
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import robertakit

ROOT = Path(__file__).resolve().parent.parent
#: What we accept beside the documented arguments, of RoBERTa's classes and of XLM-R's alike.
ADDED = {
    "RobertaForCausalLM.forward": {"logits_to_keep"},  # transformers 4.57 has it for other models
    "RobertaForMaskedLM.forward": {"logits_to_keep"},
}
SIGNATURES = json.loads((ROOT / "tests" / "golden" / "signatures.json").read_text(encoding="utf-8"))


def python(*arguments: str) -> str:
    """Run a fresh interpreter, and return what it prints."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_trap_21_import_robertakit_imports_no_other_package() -> None:
    """Nor the parts of the standard library that cost time: `__future__` alone is free."""
    code = "import sys; before = set(sys.modules); import robertakit; print(*set(sys.modules) - before)"
    assert set(python("-c", code).split()) <= {"robertakit", "robertakit.exports", "__future__"}


def test_trap_21_help_imports_no_command_and_no_package() -> None:
    code = (
        "import sys\n"
        "from robertakit.cli.main import main\n"
        "main([])\n"
        "print(*sorted(m for m in sys.modules if m.split('.')[0] not in sys.stdlib_module_names))"
    )
    loaded = set(python("-c", code).splitlines()[-1].split())
    assert {name for name in loaded if not name.startswith("_")} - {"site", "sitecustomize"} == {
        "robertakit",
        "robertakit.cli",
        "robertakit.cli.main",
        "robertakit.errors",
        "robertakit.exports",
    }


def test_all_names_are_sorted_and_resolve() -> None:
    assert list(robertakit.__all__) == sorted(set(robertakit.__all__))
    for name in robertakit.__all__:
        assert getattr(robertakit, name) is not None
    assert set(robertakit.__all__) <= set(dir(robertakit))


def test_a_star_import_needs_no_extra() -> None:
    """Names of the frameworks are found by name alone: `from robertakit import *` works in the bare install."""
    loaded = python("-c", "from robertakit import *; import sys; print(*sys.modules)").split()
    assert "robertakit.tokenizers.roberta" in loaded
    assert not {"torch", "tensorflow", "jax"} & set(loaded)
    assert {"RobertaModel", "RobertaForMaskedLM"} <= set(dir(robertakit))


def test_type_checkers_see_every_home() -> None:
    """What `__getattr__` finds at run time stands under TYPE_CHECKING for editors and mypy."""
    tree = ast.parse((ROOT / "src" / "robertakit" / "__init__.py").read_text(encoding="utf-8"))
    seen = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {*robertakit._HOMES, *robertakit._OPTIONAL} <= seen


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="RobertaForEverything"):
        robertakit.RobertaForEverything  # noqa: B018


@pytest.mark.parametrize(
    "path", sorted((ROOT / "src" / "robertakit").rglob("*.py")), ids=lambda path: path.stem
)
def test_each_file_exports_what_it_has(path: Path) -> None:
    parts = path.relative_to(ROOT / "src").with_suffix("").parts
    if parts[-1] == "__main__":
        return
    module = importlib.import_module(".".join(part for part in parts if part != "__init__"))
    exported = getattr(module, "__all__", [])
    assert len(exported) == len(set(exported))
    assert not [name for name in exported if not hasattr(module, name)]


def documented(kind: str) -> list[tuple[str, str]]:
    """Return (class, method) of each documented signature whose class exists so far."""
    return [
        (name, method)
        for name, methods in SIGNATURES.items()
        if name in dir(robertakit)
        for method in methods
        if kind in name or kind == ""
    ]


def test_configurations_and_tokenizers_are_there() -> None:
    kinds = re.compile(r"(XLM)?Roberta(Config|Tokenizer|TokenizerFast)")
    assert {name for name in SIGNATURES if kinds.fullmatch(name)} <= set(robertakit.__all__)


@pytest.mark.parametrize(("class_name", "method"), documented(""))
def test_signature_is_the_documented_one(class_name: str, method: str) -> None:
    """Names, order, defaults and kinds; what we accept besides has a name in ADDED, and is given by name alone."""
    wanted = SIGNATURES[class_name][method]["parameters"]
    found = list(inspect.signature(getattr(getattr(robertakit, class_name), method)).parameters.values())[1:]
    ours = [
        (p.name, "<required>" if p.default is p.empty else repr(p.default))
        for p in found
        if p.kind is p.POSITIONAL_OR_KEYWORD
    ]
    assert ours == [(name, default) for name, default in wanted if not name.startswith("*")]
    open_ended = {p.name for p in found if p.kind is p.VAR_KEYWORD}
    assert open_ended == {name[2:] for name, _ in wanted if name.startswith("**")}
    added = {p.name for p in found if p.kind is p.KEYWORD_ONLY}
    assert added == ADDED.get(f"{class_name.removeprefix('XLM')}.{method}", set())
    assert all(p.default is not p.empty for p in found if p.kind is p.KEYWORD_ONLY)


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="PyTorch is not installed")
def test_the_models_of_pytorch_are_there() -> None:
    """All seven of both families, each with the documented methods."""
    wanted = {
        name
        for name, methods in SIGNATURES.items()
        if "forward" in methods and not name.startswith(("TF", "Flax"))
    }
    assert len(wanted) == 14
    assert wanted <= set(dir(robertakit))


def test_each_module_imports_with_the_core_alone() -> None:
    """Framework modules raise the dependency error that names their extra; all others import."""
    python(str(ROOT / "scripts" / "import_each_module.py"), "--without-frameworks")


def test_the_changelog_begins_with_this_version() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    newest = re.search(r"^## (\S+)", changelog, flags=re.MULTILINE)
    assert newest is not None
    assert newest.group(1) == robertakit.__version__


def test_the_package_says_that_it_is_typed() -> None:
    assert (ROOT / "src" / "robertakit" / "py.typed").is_file()
