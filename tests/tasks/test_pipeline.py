"""``pipeline()``: every argument changes something or raises one sentence."""

import inspect
import json
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from robertakit import tasks
from robertakit.configuration import RobertaConfig
from robertakit.errors import ArgumentError, CheckpointError, InputError
from robertakit.tasks import FillMaskPipeline, Pipeline, pipeline
from robertakit.tasks.pipeline import TASKS

TEXT = "The capital of France is <mask>."


@pytest.fixture(autouse=True)
def children_see_the_source(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(root / "src"))


@pytest.fixture(scope="module")
def tiny(folder_of: Callable[[str], Path]) -> Path:
    return folder_of("roberta")


def test_arguments_are_the_documented_ones_in_their_order() -> None:
    names = list(inspect.signature(pipeline).parameters)
    assert names[:17] == [
        "task", "model", "config", "tokenizer", "feature_extractor", "image_processor", "processor", "framework",
        "revision", "use_fast", "token", "device", "device_map", "dtype", "trust_remote_code", "model_kwargs",
        "pipeline_class",
    ]  # fmt: skip


def test_the_model_in_the_package_is_the_default() -> None:
    with pipeline("fill-mask") as fill:
        answers = fill(TEXT)
    assert len(answers) == 5
    assert fill.engine.config.model_type == "roberta"


def test_attributes_and_names(fill: FillMaskPipeline) -> None:
    assert isinstance(fill, FillMaskPipeline)
    assert isinstance(fill, Pipeline)
    assert fill.task == "fill-mask"
    assert fill.tokenizer.mask_token == "<mask>"
    assert fill.model is fill.engine.model
    assert fill.device == "cpu"
    assert set(tasks.TASKS) == {"fill-mask"}


def test_task_of_the_model_is_the_default(tiny: Path) -> None:
    with pipeline(model=tiny) as fill:
        assert type(fill) is FillMaskPipeline


def test_options_are_defaults_of_the_calls(tiny: Path) -> None:
    with pipeline("fill-mask", tiny, top_k=1) as fill:
        assert len(fill(TEXT)) == 1
        assert len(fill(TEXT, top_k=2)) == 2


def test_pickles_with_its_engine(fill: FillMaskPipeline) -> None:
    again = pickle.loads(pickle.dumps(fill))
    assert again(TEXT) == fill(TEXT)


def test_model_and_tokenizer_that_are_loaded(fill: FillMaskPipeline) -> None:
    again = pipeline("fill-mask", model=fill.engine, tokenizer=fill.tokenizer)
    assert again(TEXT) == fill(TEXT)
    again = pipeline(model=fill.model, tokenizer=fill.tokenizer)
    assert again(TEXT) == fill(TEXT)
    again = FillMaskPipeline(model=fill.model, tokenizer=fill.tokenizer, top_k=2)
    assert again(TEXT) == fill(TEXT)[:2]
    with pytest.raises(ArgumentError, match="already loaded, with no tokenizer object"):
        pipeline("fill-mask", model=fill.engine)
    with pytest.raises(ArgumentError, match="already loaded, with revision"):
        pipeline("fill-mask", model=fill.engine, tokenizer=fill.tokenizer, revision="main")


def test_dtype_reaches_the_engine(tiny: Path, fill: FillMaskPipeline) -> None:
    with pipeline("fill-mask", tiny, dtype=np.float64) as wide:
        assert wide.engine.model.dtype == np.float64
        assert wide(TEXT)[0]["score"] == pytest.approx(fill(TEXT)[0]["score"], rel=1e-4)
    with pytest.raises(ArgumentError, match="dtype twice"):
        pipeline("fill-mask", tiny, dtype="float32", torch_dtype="float64")


def test_slow_and_fast_tokenizer(tiny: Path, fill: FillMaskPipeline) -> None:
    assert fill.tokenizer.is_fast
    with pipeline("fill-mask", tiny, use_fast=False) as slow:
        assert not slow.tokenizer.is_fast
        assert slow(TEXT) == fill(TEXT)


def test_tokenizer_and_config_of_another_folder(tiny: Path, tmp_path: Path, fill: FillMaskPipeline) -> None:
    weights, words = tmp_path / "weights", tmp_path / "words"
    for folder, names in (
        (weights, ["model.safetensors"]),
        (words, ["vocab.json", "merges.txt", "tokenizer_config.json"]),
    ):
        folder.mkdir()
        for name in names:
            shutil.copy(tiny / name, folder)
    config = RobertaConfig.from_pretrained(tiny)
    with pipeline("fill-mask", weights, config=config, tokenizer=words) as pipe:
        assert pipe(TEXT) == fill(TEXT)
    with pipeline("fill-mask", weights, config=str(tiny), tokenizer=fill.tokenizer) as pipe:
        assert pipe(TEXT) == fill(TEXT)


def test_model_kwargs_reach_the_loading(tiny: Path, tmp_path: Path) -> None:
    sub = tmp_path / "sub"
    shutil.copytree(tiny, sub)
    with pipeline("fill-mask", tmp_path, model_kwargs={"subfolder": "sub"}) as fill:
        assert len(fill(TEXT)) == 5
    with pytest.raises(ArgumentError, match="nonsense"):
        pipeline("fill-mask", tiny, model_kwargs={"nonsense": 1})


@pytest.mark.parametrize(
    ("arguments", "kind", "words"),
    [
        ({"task": "fill-mas"}, InputError, "did you mean fill-mask"),
        ({"task": "text-generation"}, InputError, "'text-generation'; expected one of: fill-mask"),
        ({"task": None, "model": None}, ArgumentError, "neither task nor model"),
        ({"model": None, "revision": "main"}, ArgumentError, "no model, but its revision"),
        ({"feature_extractor": "x"}, ArgumentError, "tasks here are on text"),
        ({"trust_remote_code": True}, ArgumentError, "nothing that comes with a checkpoint is ever run"),
        ({"device": "cpu", "device_map": 0}, ArgumentError, "device twice"),
        ({"device_map": {"a": 0, "b": 1}}, InputError, "never split"),
        ({"device": 0, "engine": "numpy"}, InputError, "'cuda:0' for the NumPy engine"),
        ({"device": "a b"}, InputError, "device='a b'"),
        ({"engine": "abacus"}, InputError, "'abacus'; expected one of numpy, torch"),
        ({"engine": "numpy", "framework": "pt"}, ArgumentError, "two that agree"),
        ({"nonsense": 1}, ArgumentError, "nonsense=1 for fill-mask"),
        ({"model": object()}, ArgumentError, "no tokenizer object"),
    ],
)
def test_bad_arguments(tiny: Path, arguments: dict[str, object], kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words):
        pipeline(**{"task": "fill-mask", "model": tiny, **arguments})


@pytest.mark.parametrize(
    "device",
    [
        {"device": -1},
        {"device": "cpu"},
        {"device_map": "auto"},
        {"device_map": {"": "cpu"}},
        {"device": -1, "device_map": "cpu"},
    ],
)
def test_ways_to_name_the_processor(tiny: Path, device: dict[str, object]) -> None:
    with pipeline("fill-mask", tiny, **device) as fill:
        assert len(fill(TEXT)) == 5


def test_where_a_checkpoint_is_concerns_model_and_tokenizer(
    fill: FillMaskPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, dict[str, object]] = {}

    def load_engine(name: str, head: str, *, arguments: dict[str, object], **choice: object) -> object:
        asked["model"] = {"name": name, "head": head, **choice, **arguments}
        return fill.engine

    def load_tokenizer(name: str, **arguments: object) -> object:
        asked["tokenizer"] = {"name": name, **arguments}
        return fill.tokenizer

    module = sys.modules["robertakit.tasks.pipeline"]
    monkeypatch.setattr(module, "load_engine", load_engine)
    monkeypatch.setattr(module.AutoTokenizer, "from_pretrained", load_tokenizer)
    where = {"revision": "v1", "token": "t", "cache_dir": "c", "local_files_only": True}
    pipeline(
        "fill-mask", "org/name", revision="v1", token="t", use_fast=False, engine="numpy", device=-1,
        model_kwargs={"cache_dir": "c", "local_files_only": True, "strict": False, "revision": "v1"},
    )  # fmt: skip
    assert asked["tokenizer"] == {"name": "org/name", "use_fast": False, **where}
    assert asked["model"] == {
        "name": "org/name", "head": "masked-lm", "engine": "numpy", "framework": None, "device": "cpu",
        "strict": False, **where,
    }  # fmt: skip


def test_one_pipeline_serves_several_threads(fill: FillMaskPipeline) -> None:
    texts = [TEXT, "I love <mask> and I like pasta.", "The cat <mask> on the mat"]
    expected = [fill(text, targets=["Paris", "New York"]) for text in texts]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda i: fill(texts[i % 3], targets=["Paris", "New York"]), range(60)))
    assert found == [expected[i % 3] for i in range(60)]


def test_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="nowhere"):
        pipeline("fill-mask", tmp_path / "nowhere")


def test_no_framework_is_imported(tiny: Path) -> None:
    code = (
        "import sys; from robertakit.tasks import pipeline; "
        f"print(len(pipeline('fill-mask', {str(tiny)!r})({TEXT!r}))); "
        "print(sorted({'torch', 'tensorflow', 'jax', 'huggingface_hub', 'transformers'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["5", "[]"], done.stderr


def test_registry_names_each_class_by_its_task() -> None:
    assert {name: kind.task for name, kind in TASKS.items()} == {name: name for name in TASKS}
    assert json.dumps(sorted(TASKS)) == '["fill-mask"]'
