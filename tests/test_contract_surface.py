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


class Documented:
    """The methods of `PreTrainedModel` that people call, as transformers 4.57 documents them."""

    def can_generate(self): ...
    def disable_input_require_grads(self): ...
    def enable_input_require_grads(self): ...
    def get_input_embeddings(self): ...
    def get_memory_footprint(self, return_buffers=True): ...
    def get_output_embeddings(self): ...
    def gradient_checkpointing_disable(self): ...
    def gradient_checkpointing_enable(self, gradient_checkpointing_kwargs=None): ...
    def init_weights(self): ...
    def num_parameters(self, only_trainable=False, exclude_embeddings=False): ...
    def post_init(self): ...
    def prune_heads(self, heads_to_prune): ...
    def resize_token_embeddings(self, new_num_tokens=None, pad_to_multiple_of=None, mean_resizing=True): ...
    def set_input_embeddings(self, value): ...
    def set_output_embeddings(self, new_embeddings): ...
    def tie_weights(self): ...

    def from_pretrained(
        self, pretrained_model_name_or_path, *model_args, config=None, cache_dir=None, ignore_mismatched_sizes=False,
        force_download=False, local_files_only=False, token=None, revision="main", use_safetensors=None,
        weights_only=True, **kwargs,
    ): ...  # fmt: skip

    def push_to_hub(
        self, repo_id, use_temp_dir=None, commit_message=None, private=None, token=None, max_shard_size="5GB",
        create_pr=False, safe_serialization=True, revision=None, commit_description=None, tags=None,
    ): ...  # fmt: skip

    def save_pretrained(
        self, save_directory, is_main_process=True, state_dict=None, save_function=..., push_to_hub=False,
        max_shard_size="5GB", safe_serialization=True, variant=None, token=None, save_peft_format=True, **kwargs,
    ): ...  # fmt: skip


@pytest.mark.parametrize("method", [name for name in vars(Documented) if not name.startswith("_")])
def test_methods_of_all_models_take_what_is_documented(method: str) -> None:
    """What is given by place stands at the documented place; the rest has the documented name, and its default."""
    pytest.importorskip("torch")
    wanted = list(inspect.signature(getattr(Documented, method)).parameters.values())[1:]
    found = inspect.signature(getattr(robertakit.RobertaModel, method)).parameters
    by_place = [p.name for p in found.values() if p.kind is p.POSITIONAL_OR_KEYWORD and p.name != "self"]
    documented = [p.name for p in wanted if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert by_place == documented[: len(by_place)]
    open_ended = any(p.kind is p.VAR_KEYWORD for p in found.values())
    for parameter in wanted:
        if parameter.name in found and parameter.default is not ...:
            assert found[parameter.name].default == parameter.default, parameter.name
        elif parameter.kind is not parameter.VAR_POSITIONAL:
            assert open_ended, f"{parameter.name} is not taken"


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
