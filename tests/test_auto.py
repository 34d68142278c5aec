"""The registry of model classes: the automatic classes of three frameworks."""

import importlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from robertakit import auto
from robertakit.architecture import HEADS
from robertakit.configuration import AutoConfig, RobertaConfig, XLMRobertaConfig
from robertakit.engine_choice import load_engine
from robertakit.errors import ArgumentError, InputError
from robertakit.numpy import load
from robertakit.tasks import pipeline
from robertakit.tokenizers import AutoTokenizer


@pytest.fixture(autouse=True)
def children_see_the_source(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(root / "src"))


@pytest.fixture(scope="module")
def tiny(golden: Path) -> Path:
    return golden / "fill_mask" / "roberta"


def test_absent_framework_is_one_sentence_that_names_the_extra(tiny: Path) -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from robertakit.auto import AutoModelForMaskedLM\n"
        "from robertakit.engine_choice import load_engine\n"
        "from robertakit.errors import DependencyError\n"
        f"for call in (lambda: load_engine({str(tiny)!r}, 'masked-lm', engine='torch'),\n"
        f"             lambda: AutoModelForMaskedLM.from_pretrained({str(tiny)!r})):\n"
        "    try: call()\n"
        "    except DependencyError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.count("pip install 'robertakit[torch]'") == 2, done.stdout + done.stderr


@pytest.mark.parametrize("name", auto.__all__)
def test_automatic_classes_know_their_head_and_are_no_instances(name: str) -> None:
    kind = getattr(auto, name)
    assert kind.head in HEADS
    assert kind.framework == {"T": "tensorflow", "F": "jax", "A": "torch"}[name[0]]
    framework_prefix = {"tensorflow": "TF", "jax": "Flax", "torch": ""}[kind.framework]
    name = name.removeprefix(framework_prefix)
    other = {"AutoModel": "Model", "AutoModelForPreTraining": "ForMaskedLM", "AutoModelWithLMHead": "ForMaskedLM",
             "AutoModelForTextEncoding": "Model"}  # fmt: skip
    assert HEADS[kind.head].class_suffix == other.get(name, name.removeprefix("AutoModel"))
    with pytest.raises(ArgumentError, match=rf"{framework_prefix}{name}\.from_pretrained"):
        kind()


@pytest.mark.parametrize("framework", ["torch", "tensorflow", "jax"])
def test_every_head_has_an_automatic_class(framework: str) -> None:
    kinds = [getattr(auto, name) for name in auto.__all__]
    assert {kind.head for kind in kinds if kind.framework == framework} == set(HEADS)


FAMILIES = [("roberta", "Roberta"), ("xlm-roberta", "XLMRoberta"), ("camembert", "Roberta")]


@pytest.mark.parametrize(("model_type", "prefix"), FAMILIES)
@pytest.mark.parametrize("name", [name for name in auto.__all__ if name.startswith("AutoModel")])
@pytest.mark.filterwarnings("ignore:AutoModelWithLMHead:FutureWarning")
def test_automatic_class_makes_the_class_that_the_configuration_names(
    name: str, model_type: str, prefix: str, tmp_path: Path
) -> None:
    torch = pytest.importorskip("robertakit.torch", exc_type=ImportError)
    config = AutoConfig.for_model(
        model_type, vocab_size=60, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=9,
        max_position_embeddings=20, num_labels=2,
    )  # fmt: skip
    kind = getattr(auto, name)
    model = kind.from_config(config)
    assert type(model) is getattr(torch, prefix + HEADS[kind.head].class_suffix)
    model.save_pretrained(tmp_path)
    again, report = kind.from_pretrained(tmp_path, output_loading_info=True, torch_dtype="float64")
    assert type(again) is type(model)
    assert type(again.config) is type(config)
    assert not any(report.values())
    assert str(again.dtype) == "torch.float64"
    for key, value in model.state_dict().items():
        assert (again.state_dict()[key] == value.double()).all(), key


@pytest.mark.parametrize("name", [name for name in auto.__all__ if not name.startswith("AutoModel")])
@pytest.mark.filterwarnings("ignore:TFAutoModelWithLMHead:FutureWarning")
def test_the_other_frameworks_classes_are_chosen_alike(name: str, tmp_path: Path) -> None:
    """The same checkpoint, by the class of the head in the framework of the automatic class."""
    kind = getattr(auto, name)
    pytest.importorskip(kind.framework)
    package = importlib.import_module(f"robertakit.{kind.framework}")
    prefix = {"tensorflow": "TF", "jax": "Flax"}[kind.framework]
    config = XLMRobertaConfig(
        vocab_size=60, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=9,
        max_position_embeddings=20, num_labels=2,
    )  # fmt: skip
    model = kind.from_config(config)
    wanted = getattr(package, f"{prefix}XLMRoberta{HEADS[kind.head].class_suffix}")
    assert type(model) is wanted
    assert model.config is not config
    model.save_pretrained(tmp_path)
    again, report = kind.from_pretrained(tmp_path, output_loading_info=True)
    assert type(again) is wanted
    assert not any(report.values())
    with pytest.raises(ArgumentError, match="nonsense"):
        kind.from_pretrained(tmp_path, nonsense=1)


def test_arguments_pass_through_the_automatic_class(tiny: Path) -> None:
    torch = pytest.importorskip("robertakit.torch", exc_type=ImportError)
    load = auto.AutoModelForMaskedLM.from_pretrained
    model = load(tiny, attn_implementation="eager", dtype="bfloat16", trust_remote_code=False, num_hidden_layers=1,
                 strict=False)  # fmt: skip
    assert isinstance(model, torch.RobertaForMaskedLM)
    assert (model.config.attn_implementation, str(model.dtype)) == ("eager", "torch.bfloat16")
    assert len(model.roberta.encoder.layer) == 1
    assert auto.AutoModel.from_pretrained(tiny, add_pooling_layer=False).pooler is None
    for arguments, words in (
        ({"trust_remote_code": True}, "nothing that comes with a checkpoint is ever run"),
        ({"nonsense": 1}, "nonsense"),
        ({"quantization_config": {"load_in_8bit": True}}, "quantization_config"),
    ):
        with pytest.raises(ArgumentError, match=words):
            load(tiny, **arguments)


def test_new_weights_by_the_automatic_class(tiny: Path) -> None:
    pytest.importorskip("robertakit.torch", exc_type=ImportError)
    config = RobertaConfig.from_pretrained(tiny)
    model = auto.AutoModelForMaskedLM.from_config(config, torch_dtype="bfloat16", attn_implementation="eager")
    assert (str(model.dtype), model.config.attn_implementation) == ("torch.bfloat16", "eager")
    assert config.attn_implementation is None  # the caller's own is as it was
    assert auto.AutoModel.from_config(config, add_pooling_layer=False, trust_remote_code=False).pooler is None
    with pytest.raises(ArgumentError, match="nothing that comes with a checkpoint is ever run"):
        auto.AutoModel.from_config(config, trust_remote_code=True)


def test_the_old_name_warns(tiny: Path) -> None:
    pytest.importorskip("robertakit.torch", exc_type=ImportError)
    with pytest.warns(FutureWarning, match="AutoModelForMaskedLM") as told:
        auto.AutoModelWithLMHead.from_pretrained(tiny)
    assert told[0].filename == __file__


def test_a_class_of_ones_own(tiny: Path, tmp_path: Path) -> None:
    torch = pytest.importorskip("robertakit.torch", exc_type=ImportError)

    class OwnConfig(RobertaConfig):
        model_type = "own-roberta"

    class OwnModel(torch.RobertaModel):  # type: ignore[name-defined,misc]
        config_class = OwnConfig

    class Kind(auto.AutoModel):
        """Registering is forgotten with the class, here."""

    try:
        Kind.register(OwnConfig, OwnModel)
        with pytest.raises(InputError, match="model_type 'own-roberta'"):
            auto.AutoModel.from_config(OwnConfig())
        config = OwnConfig(
            vocab_size=60, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=9
        )
        Kind.from_config(config).save_pretrained(tmp_path)
        assert type(Kind.from_pretrained(tmp_path)) is OwnModel
        for known, words in (
            (OwnConfig, "OwnConfig, which Kind knows"),
            (RobertaConfig, "config_class OwnConfig"),
        ):
            with pytest.raises(ArgumentError, match=words):
                Kind.register(known, OwnModel)
        with pytest.raises(ArgumentError, match="RobertaConfig, which Kind knows"):
            Kind.register(RobertaConfig, torch.RobertaModel)
        Kind.register(RobertaConfig, torch.RobertaForMaskedLM, exist_ok=True)
        assert type(Kind.from_pretrained(tiny)) is torch.RobertaForMaskedLM
    finally:
        del OwnConfig.families["own-roberta"]


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
