"""``pipeline()``: every argument changes something or raises one sentence."""

import inspect
import json
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
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
    again = FillMaskPipeline(model=fill.model, tokenizer=fill.tokenizer, framework="np", device=-1, top_k=2)
    assert again(TEXT) == fill(TEXT)[:2]
    with pytest.raises(InputError, match="device='cuda:0' for the NumPy engine"):
        FillMaskPipeline(model=fill.model, tokenizer=fill.tokenizer, device=0)
    with pytest.raises(ArgumentError, match="already loaded, with no tokenizer"):
        pipeline("fill-mask", model=fill.engine)
    for useless in (
        {"revision": "main"},
        {"config": RobertaConfig()},
        {"model_kwargs": {"strict": False}},
        {"token": "t"},
    ):
        with pytest.raises(
            ArgumentError, match=r"already loaded, with (revision|config|strict|token); expected"
        ):
            pipeline("fill-mask", model=fill.engine, tokenizer=fill.tokenizer, **useless)


def test_tokenizer_by_name_for_a_model_that_is_loaded(
    tiny: Path, tmp_path: Path, fill: FillMaskPipeline
) -> None:
    shutil.copytree(tiny, tmp_path / "sub")
    with_name = pipeline("fill-mask", fill.model, tokenizer=tiny, use_fast=False)
    assert not with_name.tokenizer.is_fast
    assert with_name(TEXT) == fill(TEXT)
    elsewhere = pipeline("fill-mask", fill.model, tokenizer=tmp_path, model_kwargs={"subfolder": "sub"})
    assert elsewhere(TEXT) == fill(TEXT)


def test_a_loaded_model_keeps_its_engine_device_and_dtype(fill: FillMaskPipeline) -> None:
    again = pipeline("fill-mask", fill.model, tokenizer=fill.tokenizer, engine="numpy", framework="np", device=-1,
                     dtype="float32")  # fmt: skip
    assert again(TEXT) == fill(TEXT)
    for arguments, kind, words in (
        (
            {"engine": "torch"},
            ArgumentError,
            r"engine 'torch' for a model of type \w+; expected its own, numpy",
        ),
        ({"device": 0}, InputError, "device='cuda:0' for the NumPy engine"),
        (
            {"torch_dtype": "float64"},
            ArgumentError,
            "dtype='float64' for a model that is already loaded, in float32",
        ),
    ):
        with pytest.raises(kind, match=words):
            pipeline("fill-mask", fill.model, tokenizer=fill.tokenizer, **arguments)


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
        (
            {"device_map": {"a": 0, "b": 1}, "device": 0},
            ArgumentError,
            "device='cuda:0' and device_map=.'a': 0",
        ),
        (
            {"device_map": "auto", "model_kwargs": {"device_map": "sequential"}},
            ArgumentError,
            "device_map twice",
        ),
        ({"device": 0, "engine": "numpy"}, InputError, "'cuda:0' for the NumPy engine"),
        ({"device": "a b"}, InputError, "device='a b'"),
        ({"engine": "abacus"}, InputError, "'abacus'; expected one of jax, numpy, tensorflow, torch"),
        ({"engine": "numpy", "framework": "pt"}, ArgumentError, "two that agree"),
        ({"nonsense": 1}, ArgumentError, "nonsense=1 for fill-mask"),
        ({"model": object()}, ArgumentError, "already loaded, with no tokenizer"),
        ({"dtype": "auto", "torch_dtype": "float32"}, ArgumentError, "dtype twice"),
        ({"dtype": "float32", "model_kwargs": {"torch_dtype": "float64"}}, ArgumentError, "dtype twice"),
        ({"token": "a", "model_kwargs": {"use_auth_token": "b"}}, ArgumentError, "token twice"),
        ({"revision": "a", "model_kwargs": {"revision": "b"}}, ArgumentError, "revision twice"),
        ({"device": 0, "model_kwargs": {"device_map": 1}}, ArgumentError, "device twice"),
        ({"device": 0, "engine": "torch", "framework": "np"}, ArgumentError, "two that agree"),
        ({"engine": "numpy", "dtype": "float16"}, ArgumentError, "'float16'; expected float32 or float64"),
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
        {"device_map": {"": "cpu"}},
        {"device": -1, "device_map": "auto"},
        {"model_kwargs": {"device_map": "cpu"}},
        {"device": -1, "device_map": "cpu"},
    ],
)
def test_ways_to_name_the_processor(tiny: Path, device: dict[str, object]) -> None:
    with pipeline("fill-mask", tiny, **device) as fill:
        assert len(fill(TEXT)) == 5


@pytest.mark.parametrize(
    ("arguments", "device", "dtype"),
    [
        ({}, None, None),
        ({"device_map": "auto", "device": 1}, "cuda:1", None),
        ({"device_map": {"roberta": 1, "lm_head": 1}}, "cuda:1", None),
        ({"model_kwargs": {"device_map": {"": "cuda:3"}}, "device": 3}, "cuda:3", None),
        ({"dtype": "auto"}, None, "auto"),
        ({"dtype": np.float16}, None, "float16"),
        ({"torch_dtype": "torch.bfloat16", "dtype": "bfloat16"}, None, "bfloat16"),
        ({"model_kwargs": {"torch_dtype": "float16"}}, None, "float16"),
    ],
)
def test_what_the_engine_is_told(
    tiny: Path,
    fill: FillMaskPipeline,
    monkeypatch: pytest.MonkeyPatch,
    arguments: dict[str, object],
    device: str | None,
    dtype: str | None,
) -> None:
    told: dict[str, object] = {}

    def load_engine(name: str, head: str, *, arguments: dict[str, object], **choice: object) -> object:
        told.update(choice, **arguments)
        return fill.engine

    monkeypatch.setattr(sys.modules["robertakit.tasks.pipeline"], "load_engine", load_engine)
    pipeline("fill-mask", tiny, **arguments)
    assert (told["device"], told.get("dtype")) == (device, dtype)


@pytest.mark.parametrize("device_map", ["auto", "sequential", {"roberta": 0, "lm_head": "cpu"}, {"": "disk"}])
@pytest.mark.parametrize("in_kwargs", [False, True])
def test_a_map_that_leaves_more_open_than_a_device_goes_to_the_loading(
    tiny: Path, fill: FillMaskPipeline, monkeypatch: pytest.MonkeyPatch, device_map: object, in_kwargs: bool
) -> None:
    told: dict[str, object] = {}

    def load_engine(name: str, head: str, *, arguments: dict[str, object], **choice: object) -> object:
        told.update(choice, **arguments)
        return fill.engine

    monkeypatch.setattr(sys.modules["robertakit.tasks.pipeline"], "load_engine", load_engine)
    given = {"device_map": device_map}
    pipeline("fill-mask", tiny, **({"model_kwargs": given} if in_kwargs else given))
    assert (told["device"], told["device_map"]) == (None, device_map)


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


# With PyTorch.


@pytest.fixture(scope="module")
def torch_fill(tiny: Path) -> Iterator[FillMaskPipeline]:
    pytest.importorskip("torch", reason="PyTorch is not here")
    with pipeline("fill-mask", tiny, framework="pt", device="cpu") as made:
        yield made


def same_answers(found: object, wanted: object) -> None:
    assert [answer["token"] for answer in found] == [answer["token"] for answer in wanted]
    scores = [[answer["score"] for answer in answers] for answers in (found, wanted)]
    np.testing.assert_allclose(*scores, rtol=0, atol=1e-6)


def test_torch_answers_in_the_reference_s_words(
    tiny: Path, fill: FillMaskPipeline, torch_fill: FillMaskPipeline
) -> None:
    import torch

    same_answers(torch_fill(TEXT), fill(TEXT))
    assert isinstance(torch_fill.model, torch.nn.Module)
    with pipeline("fill-mask", tiny, engine="torch", device=torch.device("cpu")) as again:
        assert again(TEXT) == torch_fill(TEXT)
    for device_map in ("auto", {"roberta.embeddings": "cpu", "roberta": "cpu", "lm_head": "cpu"}):
        with pipeline("fill-mask", tiny, device_map=device_map, engine="torch") as placed:
            assert isinstance(placed.model, torch.nn.Module)
            same_answers(placed(TEXT), fill(TEXT))
    with pipeline("fill-mask", tiny, device_map="auto") as placed:
        assert placed.model.hf_device_map
    with pipeline("fill-mask", tiny, device_map="auto", engine="numpy") as placed:
        assert placed(TEXT) == fill(TEXT)
    with pipeline("fill-mask", tiny, torch_dtype=torch.float32) as narrow:
        assert not isinstance(narrow.model, torch.nn.Module)  # NumPy computes in float32 too


def test_a_dtype_of_torch_s_own_asks_for_torch(
    tiny: Path, tmp_path: Path, torch_fill: FillMaskPipeline
) -> None:
    import torch

    with pipeline("fill-mask", tiny, torch_dtype=torch.bfloat16, device=-1) as half:
        assert half.model.dtype == torch.bfloat16
        score = half(TEXT)[0]["score"]
        assert score == np.float32(score)  # softmax in float32
        assert 0 < abs(score - torch_fill(TEXT)[0]["score"]) < 0.05
        half.model.save_pretrained(tmp_path)
    shutil.copy(tiny / "vocab.json", tmp_path)
    shutil.copy(tiny / "merges.txt", tmp_path)
    for dtype, wanted in ((None, torch.float32), ("auto", torch.bfloat16), ("float64", torch.float64)):
        with pipeline("fill-mask", tmp_path, engine="torch", dtype=dtype, device=-1) as kept:
            assert kept.model.dtype == wanted


def test_a_torch_model_that_is_there(tiny: Path, torch_fill: FillMaskPipeline) -> None:
    import torch

    model, tokenizer = torch_fill.model, torch_fill.tokenizer
    again = pipeline(
        "fill-mask", model=model, tokenizer=tokenizer, device="cpu", torch_dtype=torch.float32, framework="pt"
    )
    assert again.model is model
    assert again(TEXT) == torch_fill(TEXT)
    assert pipeline(model=model, tokenizer=str(tiny))(TEXT) == torch_fill(TEXT)
    for arguments, kind, words in (
        ({"torch_dtype": torch.float16}, ArgumentError, "dtype='float16' for a model that is already loaded"),
        ({"framework": "np"}, ArgumentError, "engine 'numpy' for a model of type RobertaForMaskedLM"),
        ({"device": "cuda:9"}, InputError, "device='cuda:9', on which PyTorch computes nothing here"),
    ):
        with pytest.raises(kind, match=words):
            pipeline("fill-mask", model=model, tokenizer=tokenizer, **arguments)


def test_arguments_of_torch_s_loading(tiny: Path) -> None:
    pytest.importorskip("torch", reason="PyTorch is not here")
    with pipeline("fill-mask", tiny, model_kwargs={"attn_implementation": "eager"}) as fill:
        assert fill.model.config.attn_implementation == "eager"
        assert type(fill.model).__module__.startswith("robertakit.torch")
    with pytest.raises(ArgumentError, match="nonsense"):
        pipeline("fill-mask", tiny, engine="torch", model_kwargs={"nonsense": 1})


def test_with_torch_too_a_pipeline_pickles_and_serves_threads(torch_fill: FillMaskPipeline) -> None:
    texts = [TEXT, "I love <mask> and I like pasta.", "The cat <mask> on the mat"]
    expected = [torch_fill(text, targets=["Paris", "New York"]) for text in texts]
    again = pickle.loads(pickle.dumps(torch_fill))
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda i: again(texts[i % 3], targets=["Paris", "New York"]), range(30)))
    assert found == [expected[i % 3] for i in range(30)]


def test_a_larger_model_is_torch_s_where_it_is_installed(tmp_path: Path, tiny: Path) -> None:
    """A model of 8.4 million parameters, told by its configuration."""
    torch = pytest.importorskip("robertakit.torch", exc_type=ImportError)
    config = RobertaConfig.from_pretrained(tiny)
    config.intermediate_size = (1 << 23) // (2 * config.hidden_size * config.num_hidden_layers)
    torch.RobertaForMaskedLM(config).save_pretrained(tmp_path)
    for name in ("vocab.json", "merges.txt"):
        shutil.copy(tiny / name, tmp_path)
    with (
        pipeline("fill-mask", tmp_path) as fill,
        pipeline("fill-mask", tmp_path, engine="numpy") as reference,
    ):
        assert isinstance(fill.model, torch.RobertaForMaskedLM)
        assert not isinstance(reference.model, torch.RobertaForMaskedLM)
        same_answers(fill(TEXT), reference(TEXT))
