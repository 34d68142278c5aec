"""The house: who may import whom, names that no file bears, lengths, and a test beside each source file.

All read from the source text, so that an import deferred into a function counts like any other.
"""

import ast
import graphlib
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "src" / "robertakit"
FILES = sorted(PACKAGE.rglob("*.py"))

# The place of a file is the first part of its path inside the package; a place imports from lower floors and itself.
FLOORS = {
    "aliases": 1,
    "archives": 1,
    "errors": 1,
    "exports": 1,
    "files": 1,
    "hub": 1,
    "publishing": 1,
    "logging": 1,
    "memory": 1,
    "configuration": 2,
    "fairseq_settings": 2,
    "field_values": 2,
    "pretrained_config": 2,
    "outputs": 2,
    "batch": 2,
    "shapes": 2,
    "seeding": 2,
    "architecture": 3,
    "calls": 3,
    "tokenizers": 3,
    "checkpoints": 3,
    "buckets": 3,
    "engine": 3,
    "generation": 3,
    "resizing": 3,
    "bucket_engine": 4,
    "model_card": 4,
    "numpy": 4,
    "conversion": 5,
    "torch": 5,
    "tensorflow": 5,
    "jax": 5,
    "auto": 6,
    "engine_choice": 6,
    "tasks": 7,
    "training": 7,
    "serving": 8,
    "cli": 9,
    "__main__": 9,
    "embedded": 1,
    "__init__": 10,
}
# Imports between neighbours on one floor: (who, whom).
NEIGHBOURS = {
    ("archives", "errors"),
    ("embedded", "errors"),
    ("exports", "aliases"),
    ("files", "errors"),
    ("files", "hub"),
    ("hub", "errors"),
    ("publishing", "errors"),
    ("publishing", "hub"),
    ("logging", "errors"),
    ("pretrained_config", "fairseq_settings"),
    ("pretrained_config", "field_values"),
    ("configuration", "field_values"),
    ("configuration", "pretrained_config"),
    ("configuration", "field_values"),
    ("pretrained_config", "field_values"),
    ("batch", "configuration"),
    ("calls", "architecture"),
    ("checkpoints", "architecture"),
    ("engine", "architecture"),
    ("generation", "calls"),
    ("engine", "checkpoints"),
    ("training", "tasks"),
    ("__main__", "cli"),
}
# Imports that the floors would allow and the design does not.
FORBIDDEN = {
    ("tasks", "numpy"),  # a task is written once and runs on every engine: `auto` chooses
    ("tasks", "torch"),
    ("tasks", "tensorflow"),
    ("tasks", "jax"),
    ("torch", "tokenizers"),
    ("tensorflow", "tokenizers"),
    ("jax", "tokenizers"),
}
# Whose code may name a framework; all others get it from `errors.require` at the moment of use, or not at all.
FRAMEWORKS = {
    "torch": {"torch", "training"},
    "accelerate": {"torch"},  # models on several devices
    "tensorflow": {"tensorflow"},
    "keras": {"tensorflow"},
    "optree": {"tensorflow"},  # how Keras flattens what models give
    "jax": {"jax"},
    "flax": {"jax"},
    "optax": {"jax"},
}
CORE = {"numpy", "tokenizers", "sentencepiece", "safetensors", "huggingface_hub"}

FORBIDDEN_NAMES = {"utils", "util", "common", "misc", "helpers", "helper"}

# Files longer than 400 lines, with the reason. Before adding one, ask whether it is two things.
LONG_FILE = 400
LONG_FILES: dict[str, str] = {
    "architecture.py": "the table, and what is read off it",
    "tokenizers/calling.py": "the documented methods, each with its thirty arguments written out",
    "pretrained_config.py": "one class with the documented methods, three of them twice for the type checker",
}
# Functions longer than 60 lines without their docstring, with the reason.
LONG_FUNCTION = 60
LONG_FUNCTIONS: dict[str, str] = {
    "tokenizers/options.py:call_options": "the documented arguments of a call, each judged once",
}

# Source files without a test file of their own -> the test file that covers them.
TESTED_BY = {
    "bucket_engine.py": "jax/test_engine.py",
    "jax/head_module.py": "jax/test_encoder.py",
    "__main__.py": "cli/test_main.py",
    "generation/checks.py": "generation/test_config.py",
    "generation/fields.py": "generation/test_config.py",
    "generation/beam_search.py": "generation/test_writing.py",
    "generation/decoding.py": "generation/test_writing.py",
    "generation/defaults.py": "generation/test_writing.py",
    "generation/logits_processing.py": "generation/test_writing.py",
    "generation/prompts.py": "generation/test_writing.py",
    "generation/sampling.py": "generation/test_writing.py",
    "generation/stopping.py": "generation/test_writing.py",
    "generation/outputs.py": "torch/test_generation.py",
    "tokenizers/auto.py": "tokenizers/test_loading.py",
    "tokenizers/encoding.py": "tokenizers/test_batch_encoding.py",
    "tokenizers/fairseq_vocabulary.py": "tokenizers/test_surface_reference.py",
    "tokenizers/given.py": "tokenizers/test_calling.py",
    "tokenizers/options.py": "tokenizers/test_calling.py",
    "tokenizers/padding.py": "tokenizers/test_calling.py",
    "tokenizers/pipeline.py": "tokenizers/test_tokenizer_json.py",
    "tokenizers/preparing.py": "tokenizers/test_calling.py",
    "tokenizers/published.py": "tokenizers/test_tokenizer_json.py",
    "tokenizers/roberta.py": "tokenizers/test_surface_reference.py",
    "tokenizers/saving.py": "tokenizers/test_loading.py",
    "tokenizers/unicode_classes.py": "tokenizers/test_splitter.py",
    "tokenizers/xlm_roberta.py": "tokenizers/test_surface_reference.py",
    "torch/beam_search.py": "torch/test_generation_searches.py",
    "torch/decoding.py": "torch/test_generation.py",
    "torch/logits_processing.py": "torch/test_generation.py",
    "torch/prompts.py": "torch/test_generation.py",
    "torch/sampling.py": "torch/test_generation_searches.py",
    "torch/stopping.py": "torch/test_generation.py",
    "torch/activations.py": "torch/test_pretrained.py",
    "torch/attention.py": "torch/test_pretrained.py",
    "torch/encoder.py": "torch/test_pretrained.py",
    "torch/changing.py": "torch/test_pretrained_changing.py",
    "torch/construction.py": "torch/test_pretrained_own.py",
    "torch/contents.py": "torch/test_pretrained_own.py",
    "torch/device_maps.py": "torch/test_pretrained_devices.py",
    "torch/loading.py": "torch/test_pretrained_loading.py",
    "torch/loading_arguments.py": "torch/test_pretrained_loading.py",
    "torch/module_methods.py": "torch/test_pretrained_methods.py",
    "torch/resizing.py": "torch/test_pretrained_changing.py",
    "torch/saving.py": "torch/test_pretrained.py",
    "torch/sharing.py": "torch/test_pretrained_loading.py",
    "torch/values.py": "torch/test_pretrained_loading.py",
}


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def place_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def statements(tree: ast.AST, *, type_only: bool) -> Iterator[ast.AST]:
    """Walk a tree, with or without the bodies of `if TYPE_CHECKING:`."""
    for node in ast.iter_child_nodes(tree):
        if type_only or not (isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")):
            yield node
            yield from statements(node, type_only=type_only)


def imported_modules(path: Path, *, type_only: bool = True) -> set[str]:
    """Return the dotted names that a file imports anywhere, `import_module` of a literal included.

    Args:
        path: the file.
        type_only: count what only type checkers import, too.
    """
    package = ["robertakit", *path.relative_to(PACKAGE).parts[:-1]]
    found: set[str] = set()
    for node in statements(tree_of(path), type_only=type_only):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            # `from robertakit import batch` names a file, `from robertakit.batch import Batch` one in it
            found.update(f"{module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called == "import_module" and isinstance(node.args[0].value, str):
                found.add(node.args[0].value)
    return found


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_imports_obey_the_floors(path: Path) -> None:
    here = place_of(path)
    assert here in FLOORS, f"{name_of(path)} stands on no floor: DESIGN's table and FLOORS name the places"
    broken = []
    for module in imported_modules(path):
        parts = module.split(".")
        if parts[0] != "robertakit" or len(parts) == 1 or parts[1] in ("__version__", "*"):
            continue
        there = parts[1]
        if there not in FLOORS:
            broken.append(f"{module}: import it from the file where it lives")
        elif here != there and (
            (FLOORS[there] >= FLOORS[here] and (here, there) not in NEIGHBOURS) or (here, there) in FORBIDDEN
        ):
            broken.append(
                f"{module}: {here} (floor {FLOORS[here]}) must not know {there} (floor {FLOORS[there]})"
            )
    assert not broken, broken


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_frameworks_are_named_in_their_own_folders_only(path: Path) -> None:
    named = {module.split(".")[0] for module in imported_modules(path, type_only=False)} & set(FRAMEWORKS)
    assert not {framework for framework in named if place_of(path) not in FRAMEWORKS[framework]}


def files_imported(path: Path) -> set[str]:
    """Return the files of ours that a file needs when it runs, faces of folders apart."""
    named = {
        Path(*module.split(".")[1:parts])
        for module in imported_modules(path, type_only=False)
        if module.startswith("robertakit.")
        for parts in range(2, module.count(".") + 2)
    }
    return {
        file.with_suffix(".py").as_posix() for file in named if (PACKAGE / file).with_suffix(".py").is_file()
    }


def test_no_ring_of_files_imports_itself() -> None:
    try:
        list(
            graphlib.TopologicalSorter({name_of(path): files_imported(path) for path in FILES}).static_order()
        )
    except graphlib.CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))


def test_the_core_needs_no_other_package_than_it_declares() -> None:
    allowed = set(sys.stdlib_module_names) | CORE | {"robertakit"} | set(FRAMEWORKS)
    foreign = {
        f"{name_of(path)}: {module}"
        for path in FILES
        for module in imported_modules(path)
        if module.split(".")[0] not in allowed
    }
    assert not foreign


def test_no_file_has_a_name_that_says_nothing() -> None:
    names = [path for path in PACKAGE.rglob("*") if "__pycache__" not in path.parts]
    assert not [str(path) for path in names if path.stem in FORBIDDEN_NAMES or path.stem.startswith("base_")]


def test_files_keep_to_their_length() -> None:
    lengths = {name_of(path): len(path.read_text(encoding="utf-8").splitlines()) for path in FILES}
    too_long = {name: lines for name, lines in lengths.items() if lines > LONG_FILE}
    assert set(too_long) == set(LONG_FILES), too_long


def function_lengths(path: Path) -> dict[str, int]:
    lengths = {}
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            first = node.body[0]
            docstring = 0
            if ast.get_docstring(node, clean=False) is not None:
                assert first.end_lineno is not None
                docstring = first.end_lineno - first.lineno + 1
            lengths[f"{name_of(path)}:{node.name}"] = node.end_lineno - node.lineno + 1 - docstring
    return lengths


def test_functions_keep_to_their_length() -> None:
    too_long = {
        name: lines
        for path in FILES
        for name, lines in function_lengths(path).items()
        if lines > LONG_FUNCTION
    }
    assert set(too_long) == set(LONG_FUNCTIONS), too_long


def partners(path: Path) -> list[Path]:
    """Return the test files that mirror a source file: `x/test_y.py`, and `x/test_y_topic.py`."""
    folder = ROOT / "tests" / path.relative_to(PACKAGE).parent
    return [*folder.glob(f"test_{path.stem}.py"), *folder.glob(f"test_{path.stem}_*.py")]


@pytest.mark.parametrize("path", [path for path in FILES if path.stem != "__init__"], ids=name_of)
def test_each_source_file_has_its_test_file(path: Path) -> None:
    expected = f"tests/{path.relative_to(PACKAGE).with_name(f'test_{path.name}').as_posix()}"
    elsewhere = TESTED_BY.get(name_of(path))
    covered = elsewhere is not None and (ROOT / "tests" / elsewhere).is_file()
    assert partners(path) or covered, f"{expected} is not there, and TESTED_BY names no other file"


def test_the_lists_name_files_that_exist() -> None:
    assert set(TESTED_BY) <= set(map(name_of, FILES))
