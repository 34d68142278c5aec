"""The surface: a light import, exported names that exist, the documented signatures, and a core without frameworks."""

import ast
import importlib
import inspect
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import robertakit
from robertakit.errors import DependencyError

ROOT = Path(__file__).resolve().parent.parent
#: What we accept beside the documented arguments, of RoBERTa's classes and of XLM-R's alike.
ADDED = {
    "RobertaForCausalLM.forward": {"logits_to_keep"},  # transformers 4.57 has it for other models
    "RobertaForMaskedLM.forward": {"logits_to_keep"},
    "TFRobertaModel.__init__": {"add_pooling_layer"},  # as in the other frameworks
}
#: The same for every class in JAX: what the reference has in the other frameworks alone.
ADDED_IN_JAX = {
    "__call__": {"inputs_embeds", "labels", "start_positions", "end_positions", "use_cache"},
    "__init__": set(),
}
FRAMEWORKS = {"torch": "", "tensorflow": "TF", "jax": "Flax"}
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
    assert {"RobertaModel", "TFRobertaModel", "FlaxRobertaForMaskedLM"} <= set(dir(robertakit))


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
    if parts[1] in FRAMEWORKS:
        pytest.importorskip(parts[1])
    try:
        module = importlib.import_module(".".join(part for part in parts if part != "__init__"))
    except DependencyError as error:  # some of training/ needs PyTorch, some does not
        assert parts[1] == "training"
        pytest.skip(str(error))
    exported = getattr(module, "__all__", [])
    assert len(exported) == len(set(exported))
    assert not [name for name in exported if not hasattr(module, name)]


def framework_of(class_name: str) -> str | None:
    """The framework that a documented class needs; None for configurations and tokenizers."""
    if re.search("Config$|Tokenizer(Fast)?$", class_name):
        return None
    return {"T": "tensorflow", "F": "jax"}.get(class_name[0], "torch")


def test_configurations_and_tokenizers_are_there() -> None:
    kinds = re.compile(r"(XLM)?Roberta(Config|Tokenizer|TokenizerFast)")
    assert {name for name in SIGNATURES if kinds.fullmatch(name)} <= set(robertakit.__all__)


@pytest.mark.parametrize(
    ("class_name", "method"), [(name, method) for name, methods in SIGNATURES.items() for method in methods]
)
def test_signature_is_the_documented_one(class_name: str, method: str) -> None:
    """Names, order, defaults and kinds; what we accept besides has a name in ADDED, and is given by name alone."""
    framework = framework_of(class_name)
    if framework is not None:
        pytest.importorskip(framework)
    wanted = SIGNATURES[class_name][method]["parameters"]
    found = list(inspect.signature(getattr(getattr(robertakit, class_name), method)).parameters.values())[1:]
    ours = [
        (p.name, "<required>" if p.default is p.empty else repr(p.default))
        for p in found
        if p.kind is p.POSITIONAL_OR_KEYWORD
    ]
    # The pages do not show the defaults of Flax's classes that are no plain values, and call them required.
    hidden = {name for name, default in wanted if framework == "jax" and default == "<required>"} - {"config"}
    ours = [(name, "<required>" if name in hidden else default) for name, default in ours]
    assert ours == [(name, default) for name, default in wanted if not name.startswith("*")]
    open_ended = {p.name for p in found if p.kind is p.VAR_KEYWORD}
    assert open_ended == {name[2:] for name, _ in wanted if name.startswith("**")}
    added = {p.name for p in found if p.kind is p.KEYWORD_ONLY}
    of_all = ADDED_IN_JAX[method] if framework == "jax" else set()
    assert added == ADDED.get(f"{class_name.replace('XLM', '')}.{method}", of_all)
    assert all(p.default is not p.empty for p in found if p.kind is p.KEYWORD_ONLY)


@pytest.mark.parametrize(("framework", "prefix"), FRAMEWORKS.items())
def test_the_models_of_each_framework_are_there(framework: str, prefix: str) -> None:
    """All seven of both families, by the names of the documentation and by those of the package."""
    wanted = {name for name in SIGNATURES if framework_of(name) == framework}
    assert len(wanted) == 14
    assert all(name.startswith(prefix) for name in wanted)
    assert wanted <= set(dir(robertakit))
    pytest.importorskip(framework)
    package = importlib.import_module(f"robertakit.{framework}")
    assert wanted <= set(package.__all__)
    assert set(robertakit._OPTIONAL[package.__name__]) <= set(dir(package))
    for name in robertakit._OPTIONAL[package.__name__]:
        assert getattr(robertakit, name) is getattr(package, name)


def test_containers_bear_the_names_of_all_frameworks() -> None:
    """Every container that a documented signature names is ours."""
    named = {method["returns"] for methods in SIGNATURES.values() for method in methods.values()} - {None}
    containers = {name for name in named if name.endswith(("Output", "Attentions", "Pooling"))}
    assert {"TFMaskedLMOutput", "FlaxTokenClassifierOutput", "MaskedLMOutput"} <= containers
    for name in containers:
        plain = name.removeprefix("TF").removeprefix("Flax")
        assert getattr(robertakit, name) is getattr(robertakit, plain)


class InTorch:
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


class InTensorFlow:
    """The same of `TFPreTrainedModel`. Ours saves safetensors where nothing else is asked for."""

    def can_generate(self): ...
    def get_input_embeddings(self): ...
    def get_output_embeddings(self): ...
    def prune_heads(self, heads_to_prune): ...
    def resize_token_embeddings(self, new_num_tokens=None): ...
    def set_input_embeddings(self, value): ...

    def from_pretrained(
        self, pretrained_model_name_or_path, *model_args, config=None, cache_dir=None, ignore_mismatched_sizes=False,
        force_download=False, local_files_only=False, token=None, revision="main", use_safetensors=None, **kwargs,
    ): ...  # fmt: skip

    def push_to_hub(
        self, repo_id, use_temp_dir=None, commit_message=None, private=None, max_shard_size=..., token=None,
        create_pr=False,
    ): ...  # fmt: skip

    def save_pretrained(
        self, save_directory, saved_model=False, version=1, push_to_hub=False, signatures=None, max_shard_size="5GB",
        create_pr=False, safe_serialization=..., token=None, **kwargs,
    ): ...  # fmt: skip


class InJax:
    """The same of `FlaxPreTrainedModel`."""

    def can_generate(self): ...
    def enable_gradient_checkpointing(self): ...
    def init_weights(self, rng, input_shape, params=None): ...
    def to_bf16(self, params, mask=None): ...
    def to_fp16(self, params, mask=None): ...
    def to_fp32(self, params, mask=None): ...

    def from_pretrained(
        self, pretrained_model_name_or_path, dtype=..., *model_args, config=None, cache_dir=None,
        ignore_mismatched_sizes=False, force_download=False, local_files_only=False, token=None, revision="main",
        **kwargs,
    ): ...  # fmt: skip

    def save_pretrained(
        self, save_directory, params=None, push_to_hub=False, max_shard_size=..., token=None, safe_serialization=...,
        **kwargs,
    ): ...  # fmt: skip


DOCUMENTED = {"torch": InTorch, "tensorflow": InTensorFlow, "jax": InJax}


@pytest.mark.parametrize(
    ("framework", "method"),
    [(f, name) for f, methods in DOCUMENTED.items() for name in vars(methods) if not name.startswith("_")],
)
def test_methods_of_all_models_take_what_is_documented(framework: str, method: str) -> None:
    """What is given by place stands at the documented place; the rest has the documented name, and its default."""
    pytest.importorskip(framework)
    wanted = list(inspect.signature(getattr(DOCUMENTED[framework], method)).parameters.values())[1:]
    model = getattr(robertakit, FRAMEWORKS[framework] + "RobertaModel")
    found = inspect.signature(getattr(model, method)).parameters
    by_place = [p.name for p in found.values() if p.kind is p.POSITIONAL_OR_KEYWORD and p.name != "self"]
    documented = [p.name for p in wanted if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert by_place[: len(documented)] == documented[: len(by_place)]
    open_ended = any(p.kind is p.VAR_KEYWORD for p in found.values())
    for parameter in wanted:
        if parameter.name in found and parameter.default in (..., parameter.empty):
            continue
        if parameter.name in found:
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
