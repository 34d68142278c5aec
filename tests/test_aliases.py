"""Other names of our modules: what they have, what they have not, and that they cost nothing."""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

import robertakit
from robertakit.aliases import ALIASES, spec_of

SOURCE = Path(__file__).resolve().parent.parent / "src"


def test_every_home_exists_and_no_file_is_hidden() -> None:
    for alias, homes in ALIASES.items():
        assert not list(SOURCE.glob(f"robertakit/{alias.replace('.', '/')}*")), alias
        for home in homes:
            path = SOURCE / home.replace(".", "/")
            assert path.is_dir() or path.with_suffix(".py").is_file(), (alias, home)


@pytest.mark.parametrize("alias", sorted(ALIASES))
def test_each_alias_is_a_module_with_the_names_of_its_homes(alias: str) -> None:
    for framework in ("torch", "tensorflow", "jax"):
        if any(home.startswith(f"robertakit.{framework}") for home in ALIASES[alias]):
            pytest.importorskip(framework)
    module = importlib.import_module(f"robertakit.{alias}")
    names: dict[str, object] = {}
    exec(f"from robertakit.{alias} import *", names)
    assert set(module.__all__) <= set(names)
    assert set(module.__all__) <= set(dir(module))
    assert module.__all__
    for home in ALIASES[alias]:
        for name in getattr(importlib.import_module(home), "__all__", ()):
            assert hasattr(module, name)


def test_what_is_not_there_is_an_ordinary_import_error() -> None:
    with pytest.raises(
        ImportError, match=r"cannot import name 'nothing' from 'robertakit\.modeling_outputs'"
    ):
        exec("from robertakit.modeling_outputs import nothing")
    with pytest.raises(ModuleNotFoundError, match=r"No module named 'robertakit\.modeling_gpt2'"):
        importlib.import_module("robertakit.modeling_gpt2")
    with pytest.raises(AttributeError, match=r"module 'robertakit\.models' has no attribute 'gpt2'"):
        importlib.import_module("robertakit.models").gpt2  # noqa: B018
    assert spec_of("robertakit.models.gpt2") is None
    assert spec_of("elsewhere.modeling_outputs") is None


def test_they_are_reached_as_attributes() -> None:
    assert robertakit.modeling_outputs.MaskedLMOutput is robertakit.MaskedLMOutput
    assert robertakit.models.roberta.configuration_roberta.RobertaConfig is robertakit.RobertaConfig


def test_parts_of_xlm_roberta_are_robertas() -> None:
    torch_parts = pytest.importorskip("robertakit.torch.sequence_models", exc_type=ImportError)
    ours = importlib.import_module("robertakit.models.xlm_roberta.modeling_xlm_roberta")
    assert ours.XLMRobertaClassificationHead is torch_parts.RobertaClassificationHead
    assert ours.XLMRobertaModel is not ours.RobertaModel


@pytest.mark.parametrize(("framework", "prefix"), [("tensorflow", "TF"), ("jax", "Flax")])
def test_parts_in_the_other_frameworks(framework: str, prefix: str) -> None:
    pytest.importorskip(framework)
    short = {"tensorflow": "tf", "jax": "flax"}[framework]
    ours = importlib.import_module(f"robertakit.models.xlm_roberta.modeling_{short}_xlm_roberta")
    theirs = importlib.import_module(f"robertakit.{framework}.language_models")
    assert getattr(ours, f"{prefix}XLMRobertaLMHead") is getattr(theirs, f"{prefix}RobertaLMHead")
    assert getattr(ours, f"{prefix}XLMRobertaModel") is getattr(robertakit, f"{prefix}XLMRobertaModel")
    outputs = importlib.import_module(f"robertakit.modeling_{short}_outputs")
    assert getattr(outputs, f"{prefix}MaskedLMOutput") is robertakit.MaskedLMOutput


def test_renamed_functions_do_the_same() -> None:
    torch = pytest.importorskip("torch")
    module = importlib.import_module("robertakit.models.roberta.modeling_roberta")
    positions = module.create_position_ids_from_input_ids(torch.tensor([[0, 7, 2, 1, 1]]), 1)
    assert positions.tolist() == [[2, 3, 4, 1, 1]]
    activations = importlib.import_module("robertakit.activations")
    assert activations.ACT2FN["relu"](torch.tensor([-1.0, 2.0])).tolist() == [0.0, 2.0]
    assert activations.get_activation("relu")(torch.tensor(-1.0)).item() == 0.0


def test_an_alias_imports_what_is_asked_for_alone() -> None:
    code = (
        "import sys, robertakit.models.roberta.modeling_roberta, robertakit.models.roberta.modeling_tf_roberta\n"
        "print(bool({'torch', 'tensorflow', 'jax'} & set(sys.modules)))\n"
        "print('numpy' in sys.modules, 'robertakit.outputs' in sys.modules)\n"
        "from robertakit.modeling_outputs import MaskedLMOutput\n"
        "print('torch' in sys.modules)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout.split() == ["False", "False", "False", "False"]
