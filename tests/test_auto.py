"""The registry: names of classes, choice of an engine, automatic classes."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from robertakit import auto
from robertakit.architecture import HEADS
from robertakit.auto import choose_engine, device_name, engine_of, load_engine, model_class_name
from robertakit.configuration import AutoConfig, RobertaConfig
from robertakit.errors import ArgumentError, DependencyError, InputError, TensorMismatch
from robertakit.numpy import load
from robertakit.tasks import pipeline
from robertakit.tokenizers import AutoTokenizer


@pytest.fixture(autouse=True)
def children_see_the_source(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(root / "src"))


@pytest.fixture(scope="module")
def tiny(golden: Path) -> Path:
    return golden / "fill_mask" / "roberta"


@pytest.mark.parametrize(
    ("device", "name"),
    [(None, "cpu"), (-1, "cpu"), ("-1", "cpu"), ("cpu", "cpu"), (0, "cuda:0"), ("1", "cuda:1"), ("cuda", "cuda"),
     ("cuda:1", "cuda:1"), ("mps", "mps")],
)  # fmt: skip
def test_devices(device: object, name: str) -> None:
    assert device_name(device) == name


@pytest.mark.parametrize("device", [-2, "-7", "", "a b", "cuda;0", 1.5])
def test_no_such_device(device: object) -> None:
    with pytest.raises(InputError, match="device="):
        device_name(device)


def test_engine_is_the_one_asked_for_else_what_the_device_asks_for() -> None:
    assert choose_engine() == choose_engine(device="cpu") == choose_engine(framework="np") == "numpy"
    assert choose_engine("torch") == choose_engine(framework="pt") == choose_engine(device=0) == "torch"
    assert choose_engine("torch", "pt", -1) == "torch"
    with pytest.raises(ArgumentError, match="'numpy' and framework='pt'"):
        choose_engine("numpy", "pt")
    with pytest.raises(InputError, match="'tensorflow'"):
        choose_engine(framework="tf")


def test_numpy_engine_is_loaded_and_recognised(tiny: Path) -> None:
    engine = load_engine(tiny, "masked-lm")
    assert isinstance(engine, auto.Engine)
    assert engine.head is HEADS["masked-lm"]
    assert engine_of(engine) is engine
    again = engine_of(engine.model)
    assert again.model is engine.model
    with pytest.raises(InputError, match="type dict"):
        engine_of({})


def test_absent_framework_is_one_sentence_that_names_the_extra(tiny: Path) -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from robertakit.auto import load_engine, AutoModelForMaskedLM\n"
        "from robertakit.errors import DependencyError\n"
        f"for call in (lambda: load_engine({str(tiny)!r}, 'masked-lm', engine='torch'),\n"
        f"             lambda: AutoModelForMaskedLM.from_pretrained({str(tiny)!r})):\n"
        "    try: call()\n"
        "    except DependencyError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.count("pip install 'robertakit[torch]'") == 2, done.stdout + done.stderr


def test_class_names() -> None:
    assert model_class_name("roberta", HEADS["model"]) == "RobertaModel"
    assert model_class_name("xlm-roberta", HEADS["masked-lm"]) == "XLMRobertaForMaskedLM"
    assert model_class_name("camembert", HEADS["causal-lm"], "jax") == "FlaxCamembertForCausalLM"
    with pytest.raises(InputError, match="'bert'"):
        model_class_name("bert", HEADS["model"])


@pytest.mark.parametrize("name", [name for name in auto.__all__ if name.startswith("AutoModel")])
def test_automatic_classes_know_their_head_and_are_no_instances(name: str) -> None:
    kind = getattr(auto, name)
    assert kind.head in HEADS
    if name != "AutoModelForPreTraining":
        assert name.removeprefix("Auto") == HEADS[kind.head].class_suffix.replace("Model", "Model", 1) or (
            name == f"AutoModel{HEADS[kind.head].class_suffix}"
        )
    with pytest.raises(ArgumentError, match=rf"{name}\.from_pretrained"):
        kind()


def test_every_head_has_an_automatic_class() -> None:
    assert {getattr(auto, name).head for name in auto.__all__ if name.startswith("AutoModel")} == set(HEADS)


def test_automatic_class_makes_the_class_that_the_configuration_names(tiny: Path) -> None:
    torch = pytest.importorskip("robertakit.torch", reason="PyTorch is not here")
    config = RobertaConfig.from_pretrained(tiny)
    assert type(auto.AutoModelForMaskedLM.from_config(config)) is torch.RobertaForMaskedLM
    assert type(auto.AutoModel.from_config(config, add_pooling_layer=False)) is torch.RobertaModel


class Given:
    """Stands in for a model class, and keeps what it was given."""

    @classmethod
    def from_pretrained(cls, name: object, *inputs: object, **arguments: object) -> tuple[object, ...]:
        return name, inputs, arguments


def test_automatic_class_reads_the_configuration_once_and_hands_on_the_rest(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(auto._AutoModel, "_model_class", classmethod(lambda cls, config: Given))
    name, inputs, arguments = auto.AutoModelForMaskedLM.from_pretrained(
        tiny, num_labels=5, subfolder="", dtype="float64"
    )
    assert (name, inputs, set(arguments)) == (tiny, (), {"config", "dtype", "subfolder"})
    assert arguments["config"].num_labels == 5
    own = RobertaConfig()
    assert auto.AutoModelForMaskedLM.from_pretrained(tiny, config=own)[2] == {"config": own}
    assert auto.AutoModelForMaskedLM.from_pretrained("x", config=tiny)[2]["config"].vocab_size == 417


def test_what_a_framework_lacks_is_one_sentence(tiny: Path) -> None:
    pytest.importorskip("robertakit.torch", reason="PyTorch is not here")
    with pytest.raises(DependencyError, match="RobertaForQuestionAnswering is not part of this version"):
        auto.AutoModelForQuestionAnswering.from_pretrained(tiny)


def test_code_that_comes_with_a_checkpoint_is_never_run(tiny: Path, tmp_path: Path) -> None:
    """One rule for everything that loads: `auto_map` is a note, and asking to follow it raises."""
    folder = shutil.copytree(tiny, tmp_path / "model")
    (folder / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Own: pass\n")
    names = ("AutoConfig", "AutoModelForMaskedLM", "AutoTokenizer")
    for file in ("config.json", "tokenizer_config.json"):
        path = folder / file
        fields = json.loads(path.read_text()) if path.exists() else {}
        path.write_text(json.dumps(fields | {"auto_map": dict.fromkeys(names, "own.Own")}))
    loaders = [
        AutoConfig.from_pretrained,
        RobertaConfig.from_pretrained,
        AutoTokenizer.from_pretrained,
        lambda folder, **arguments: load(folder, "masked-lm", **arguments),
        lambda folder, **arguments: load_engine(folder, "masked-lm", arguments=arguments),
        lambda folder, **arguments: pipeline("fill-mask", folder, **arguments),
    ]
    for loader in loaders:
        loader(folder)
        loader(folder, trust_remote_code=False)
        with pytest.raises(ArgumentError, match="nothing that comes with a checkpoint is ever run"):
            loader(folder, trust_remote_code=True)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert "own" not in sys.modules


@pytest.mark.parametrize("engine", ["numpy", "torch"])
def test_trap_04_an_engine_gives_no_answer_from_a_head_that_was_never_trained(
    engine: str, golden: Path
) -> None:
    """Loading a model announces a new head; a task on it would answer at random."""
    with pytest.raises(
        TensorMismatch, match=r"has no masked-lm head \(.*lm_head.bias.*answers would be random"
    ):
        load_engine(golden / "checkpoints" / "seqcls_safetensors", "masked-lm", engine=engine)
    load_engine(golden / "checkpoints" / "mlm_safetensors", "masked-lm", engine=engine).close()
