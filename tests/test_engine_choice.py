"""The choice of an engine: by what was asked for, what is installed, and what there is to gain."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from robertakit import embedded, engine_choice
from robertakit.architecture import HEADS, count_parameters
from robertakit.configuration import AutoConfig, RobertaConfig
from robertakit.engine import Engine
from robertakit.engine_choice import LARGEST_ON_NUMPY, choose_engine, device_name, engine_of, load_engine
from robertakit.errors import ArgumentError, InputError, TensorMismatch


@pytest.fixture(autouse=True)
def children_see_the_source(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(root / "src"))


@pytest.fixture(scope="module")
def tiny(golden: Path) -> Path:
    return golden / "fill_mask" / "roberta"


@pytest.mark.parametrize(
    ("device", "name"),
    [(None, "auto"), ("auto", "auto"), (-1, "cpu"), ("-1", "cpu"), ("cpu", "cpu"), (0, "cuda:0"), ("1", "cuda:1"),
     ("cuda", "cuda"), ("cuda:1", "cuda:1"), ("mps", "mps")],
)  # fmt: skip
def test_devices(device: object, name: str) -> None:
    assert device_name(device) == name


@pytest.mark.parametrize("device", [-2, "-7", "", "a b", "cuda;0", 1.5])
def test_no_such_device(device: object) -> None:
    with pytest.raises(InputError, match="device="):
        device_name(device)


def test_engine_is_the_one_asked_for_else_what_the_device_asks_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_choice, "_installed", lambda framework: False)
    assert choose_engine() == choose_engine(device="cpu") == choose_engine(framework="np") == "numpy"
    assert choose_engine("torch") == choose_engine(framework="pt") == choose_engine(device=0) == "torch"
    assert choose_engine("torch", "pt", -1) == "torch"
    assert choose_engine("jax") == choose_engine(framework="jax") == choose_engine(framework="flax") == "jax"
    assert choose_engine("tensorflow") == choose_engine(framework="tf") == "tensorflow"
    with pytest.raises(ArgumentError, match="'numpy' and framework='pt'"):
        choose_engine("numpy", "pt")
    with pytest.raises(InputError, match="'mlx'; expected one of jax, numpy, tensorflow, torch"):
        choose_engine(framework="mlx")


@pytest.mark.parametrize(
    ("there", "first"),
    [
        ({"torch", "jax", "tensorflow"}, "torch"),
        ({"jax", "tensorflow"}, "jax"),
        ({"tensorflow"}, "tensorflow"),
    ],
)
def test_of_what_is_installed_the_first_is_taken(
    there: set[str], first: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_choice, "_installed", lambda framework: framework in there)
    assert choose_engine(parameters=LARGEST_ON_NUMPY + 1) == choose_engine(device="auto") == first
    assert choose_engine(device=0) == choose_engine(dtype="bfloat16") == first
    assert choose_engine(parameters=LARGEST_ON_NUMPY) == choose_engine(device=-1) == "numpy"


@pytest.mark.parametrize(
    ("asked", "with_torch", "without"),
    [
        ({}, "numpy", "numpy"),
        ({"parameters": LARGEST_ON_NUMPY}, "numpy", "numpy"),
        ({"parameters": LARGEST_ON_NUMPY + 1}, "torch", "numpy"),
        ({"parameters": LARGEST_ON_NUMPY + 1, "device": -1}, "torch", "numpy"),
        ({"parameters": LARGEST_ON_NUMPY + 1, "engine": "numpy"}, "numpy", "numpy"),
        ({"parameters": LARGEST_ON_NUMPY + 1, "framework": "np"}, "numpy", "numpy"),
        ({"device": "auto"}, "torch", "numpy"),
        ({"device": "cuda"}, "torch", "torch"),
        ({"dtype": "float64"}, "numpy", "numpy"),
        ({"dtype": "auto"}, "numpy", "numpy"),
        ({"dtype": np.float64}, "numpy", "numpy"),
        ({"dtype": "float16"}, "torch", "torch"),
        ({"dtype": "torch.bfloat16"}, "torch", "torch"),
        ({"dtype": "float16", "engine": "numpy"}, "numpy", "numpy"),
    ],
)
def test_torch_where_it_gains_or_nothing_else_can(
    asked: dict[str, object], with_torch: str, without: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for there, chosen in ((True, with_torch), (False, without)):
        monkeypatch.setattr(engine_choice, "_installed", lambda framework, there=there: there)
        assert choose_engine(**asked) == chosen


def test_the_model_in_the_package_stays_on_numpy_and_roberta_base_does_not() -> None:
    embedded_model = AutoConfig.from_pretrained(embedded.folder())
    assert count_parameters(embedded_model, "masked-lm") < LARGEST_ON_NUMPY
    assert count_parameters(RobertaConfig.preset("roberta-base"), "masked-lm") > LARGEST_ON_NUMPY


def test_what_is_installed_is_found_out_without_an_import() -> None:
    code = (
        "import sys; from robertakit.engine_choice import _installed, choose_engine\n"
        "print(*map(_installed, ('torch', 'jax', 'tensorflow')), choose_engine(parameters=10**9))\n"
        "print(bool({'torch', 'jax', 'flax', 'tensorflow', 'keras'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    names = ("torch", "jax", "tensorflow")
    there = [importlib.util.find_spec(name) is not None for name in names]
    chosen = next((name for name, is_there in zip(names, there, strict=True) if is_there), "numpy")
    assert done.stdout.split() == [*map(str, there), chosen, "False"]


def test_a_larger_checkpoint_is_run_by_torch_before_its_weights_are_looked_at(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = []

    class Loading:
        @classmethod
        def from_pretrained(cls, name: object, head: str, **arguments: object) -> object:
            loaded.append((name, head, arguments))
            return "an engine"

    monkeypatch.setattr(engine_choice, "_installed", lambda framework: True)
    monkeypatch.setattr(engine_choice, "_engine_class", lambda name: loaded.append(name) or Loading)
    large = RobertaConfig.preset("roberta-base")
    for arguments, where in (
        ({"config": large}, {"device": "auto"}),
        ({"dtype": "bfloat16"}, {"device": "auto"}),
        ({"low_cpu_mem_usage": True}, {"device": "auto"}),
        ({"attn_implementation": "sdpa"}, {"device": "auto"}),
        ({"device_map": "auto"}, {"device": "auto"}),
        ({"device_map": {"roberta": 0, "lm_head": 1}}, {"device": "auto"}),
    ):
        assert load_engine(tiny, "masked-lm", arguments=arguments) == "an engine"
        assert loaded[-2:] == ["torch", (tiny, "masked-lm", {**arguments, **where})]
    load_engine(tiny, "masked-lm", device=-1, arguments={"hidden_size": 1024, "intermediate_size": 1 << 16})
    assert loaded[-2] == "torch"
    assert loaded[-1][2]["device"] == "cpu"
    load_engine(tiny, "masked-lm", arguments={"revision": "main"})
    assert loaded[-2:] == ["numpy", (tiny, "masked-lm", {"revision": "main"})]

    monkeypatch.setattr(engine_choice, "_installed", lambda framework: False)
    load_engine(tiny, "masked-lm", arguments={"config": large, "device_map": "auto"})
    assert loaded[-2:] == ["numpy", (tiny, "masked-lm", {"config": large})]
    load_engine(tiny, "masked-lm", arguments={"device_map": {"roberta": 0, "lm_head": 1}})
    assert loaded[-2] == "torch"  # whose absence the real one tells


def test_numpy_engine_is_loaded_and_recognised(tiny: Path) -> None:
    engine = load_engine(tiny, "masked-lm")
    assert isinstance(engine, Engine)
    assert engine.head is HEADS["masked-lm"]
    assert engine_of(engine) is engine
    again = engine_of(engine.model)
    assert again.model is engine.model
    assert engine_of(engine.model, "numpy", "np", "cpu").model is engine.model
    assert engine_of(engine, device=-1) is engine
    with pytest.raises(InputError, match="type dict"):
        engine_of({})
    with pytest.raises(ArgumentError, match="device=0 with an engine on 'cpu'"):
        engine_of(engine, device=0)
    with pytest.raises(InputError, match="device='cuda:0' for the NumPy engine"):
        engine_of(engine.model, device=0)
    for model in (engine, engine.model):
        with pytest.raises(
            ArgumentError, match=r"engine 'torch' for a model of type .*; expected its own, numpy"
        ):
            engine_of(model, framework="pt")
    with pytest.raises(ArgumentError, match="engine 'numpy' for a model of type dict; expected none"):
        engine_of({}, engine="numpy")


@pytest.mark.parametrize("engine", ["numpy", "torch"])
def test_trap_04_an_engine_gives_no_answer_from_a_head_that_was_never_trained(
    engine: str, golden: Path
) -> None:
    """Loading a model announces a new head; a task on it would answer at random."""
    if engine != "numpy":
        pytest.importorskip(engine)
    with pytest.raises(
        TensorMismatch, match=r"has no masked-lm head \(.*lm_head.bias.*answers would be random"
    ):
        load_engine(golden / "checkpoints" / "seqcls_safetensors", "masked-lm", engine=engine)
    load_engine(golden / "checkpoints" / "mlm_safetensors", "masked-lm", engine=engine).close()
