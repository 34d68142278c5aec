"""`from_pretrained`: every container and every golden checkpoint, what must fit, dtypes, reports."""

import logging
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import robertakit.tensorflow as models
from robertakit import RobertaConfig
from robertakit.architecture import initial_weights
from robertakit.checkpoints import save_weights
from robertakit.errors import ArgumentError, CheckpointError, NotFound, TensorMismatch
from robertakit.tensorflow.contents import contents_of
from robertakit.tensorflow.loading import dtype_asked
from robertakit.tensorflow.saving import tensors_to_save

SIZES: dict[str, Any] = {
    "vocab_size": 29,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 24,
    "max_position_embeddings": 20,
    "num_labels": 2,
}
IDS = np.array([[0, 5, 6, 2], [0, 7, 2, 1]])
GOLDEN = Path(__file__).resolve().parents[1] / "golden"
FOLDERS = sorted(
    path.parent.relative_to(GOLDEN).as_posix()
    for path in [
        *GOLDEN.glob("checkpoints/**/expect.json"),
        *GOLDEN.glob("frameworks/*/expected.safetensors"),
    ]
)


def make(name: str = "TFRobertaForMaskedLM", **fields: Any) -> Any:
    tf.random.set_seed(5)
    return getattr(models, name)(RobertaConfig(**(SIZES | fields)))


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved")
    make().save_pretrained(folder)
    return folder


@pytest.mark.parametrize("folder", FOLDERS)
def test_golden_checkpoints(folder: str, stored_checkpoints: ModuleType) -> None:
    def load(class_name: str, place: Path, **arguments: Any) -> Any:
        kind = getattr(models, f"TF{class_name}")
        model, report = kind.from_pretrained(place, output_loading_info=True, **arguments)
        assert type(model).__name__ == f"TF{class_name}"
        # under the class name that the expectations spell, which is PyTorch's
        return type(class_name, (), {"model": model, "config": model.config})(), report

    def call(model: Any, inputs: Mapping[str, np.ndarray]) -> Mapping[str, Any]:
        return model.model(**inputs)

    def weights(model: Any) -> Mapping[str, np.ndarray]:
        return tensors_to_save(contents_of(model.model))

    for entry in stored_checkpoints.entries(GOLDEN / folder):
        stored_checkpoints.check(entry, load, call, weights)


def test_a_round_trip(saved: Path) -> None:
    model, report = models.TFRobertaForMaskedLM.from_pretrained(saved, output_loading_info=True)
    assert report == {"missing_keys": [], "unexpected_keys": [], "mismatched_keys": [], "error_msgs": []}
    np.testing.assert_array_equal(model(IDS).logits, make()(IDS).logits)
    assert model.config.name_or_path == str(saved)
    assert model.name_or_path == str(saved)
    assert model.config.dtype == "float32"


def test_nothing_is_drawn_that_the_checkpoint_has(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[str] = []

    def note(row: Any, config: Any, seed: int) -> np.ndarray:
        drawn.append(row.name)
        return np.zeros(row.shape, np.float32)

    monkeypatch.setattr("robertakit.tensorflow.construction.initial_value", note)
    models.TFRobertaForMaskedLM.from_pretrained(saved)
    assert drawn == []
    models.TFRobertaForTokenClassification.from_pretrained(saved)
    assert drawn == ["classifier.weight", "classifier.bias"]


def test_a_new_head_is_drawn_from_the_seed_and_announced(
    saved: Path, caplog: pytest.LogCaptureFixture
) -> None:
    found = []
    for _ in range(2):
        tf.random.set_seed(8)
        with caplog.at_level(logging.WARNING):
            model, report = models.TFRobertaForSequenceClassification.from_pretrained(
                saved, num_labels=3, output_loading_info=True
            )
        found.append(model.classifier.out_proj.kernel.numpy())
    assert found[0].shape == (16, 3)
    assert found[0].std() > 0
    np.testing.assert_array_equal(*found)
    assert report["missing_keys"] == [
        "classifier.dense.bias", "classifier.dense.weight", "classifier.out_proj.bias", "classifier.out_proj.weight",
    ]  # fmt: skip
    assert "newly initialised" in caplog.text


def test_sizes_that_differ(saved: Path, tmp_path: Path) -> None:
    make("TFRobertaForSequenceClassification").save_pretrained(tmp_path)
    load: Callable[..., Any] = models.TFRobertaForSequenceClassification.from_pretrained
    with pytest.raises(TensorMismatch, match="ignore_mismatched_sizes=True"):
        load(tmp_path, num_labels=5)
    model, report = load(tmp_path, num_labels=5, ignore_mismatched_sizes=True, output_loading_info=True)
    assert model(IDS).logits.shape == (2, 5)
    assert report["mismatched_keys"] == ["classifier.out_proj.bias", "classifier.out_proj.weight"]
    with pytest.raises(TensorMismatch):
        models.TFRobertaModel.from_pretrained(saved, vocab_size=30, ignore_mismatched_sizes=True)


def test_strictness(tmp_path: Path) -> None:
    config = RobertaConfig(**SIZES)
    weights = initial_weights(config, "masked-lm", 1) | {"stray.weight": np.ones(3, np.float32)}
    save_weights(tmp_path, weights, config_json=config.to_json_string())
    with pytest.raises(TensorMismatch, match=r"stray\.weight"):
        models.TFRobertaForMaskedLM.from_pretrained(tmp_path)
    _, report = models.TFRobertaForMaskedLM.from_pretrained(tmp_path, strict=False, output_loading_info=True)
    assert report["unexpected_keys"] == ["stray.weight"]


def test_names_that_a_wrapper_changed(tmp_path: Path) -> None:
    config = RobertaConfig(**SIZES)
    weights = initial_weights(config, "masked-lm", 1)
    wrapped = {f"student.{name}": value for name, value in weights.items()}
    save_weights(tmp_path, wrapped, config_json=config.to_json_string())
    model = models.TFRobertaForMaskedLM.from_pretrained(tmp_path, key_mapping={"^student\\.": ""})
    np.testing.assert_array_equal(
        tensors_to_save(contents_of(model))["lm_head.bias"], weights["lm_head.bias"]
    )


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64", "mixed_bfloat16", "auto", None])
def test_dtypes(saved: Path, dtype: str | None) -> None:
    model = models.TFRobertaModel.from_pretrained(saved, dtype=dtype)
    expected = {"auto": "float32", None: "float32", "mixed_bfloat16": "float32"}.get(dtype, dtype)
    assert {variable.dtype for variable in model.weights} == {expected}
    assert model.config.dtype == expected
    assert models.TFRobertaModel.from_pretrained(saved, torch_dtype=dtype).dtype == expected


def test_auto_takes_the_stored_dtype(tmp_path: Path) -> None:
    models.TFRobertaModel(RobertaConfig(**SIZES), dtype="bfloat16").save_pretrained(tmp_path)
    assert models.TFRobertaModel.from_pretrained(tmp_path, dtype="auto").dtype == "bfloat16"
    assert models.TFRobertaModel.from_pretrained(tmp_path).dtype == "float32"


def test_a_value_that_half_cannot_hold(tmp_path: Path) -> None:
    model = make()
    model.lm_head.bias.assign(np.full(29, 7e4, np.float32))
    model.save_pretrained(tmp_path)
    with pytest.raises(TensorMismatch, match="70000, which float16 cannot hold"):
        models.TFRobertaForMaskedLM.from_pretrained(tmp_path, dtype="float16")
    assert models.TFRobertaForMaskedLM.from_pretrained(tmp_path, dtype="bfloat16").lm_head.bias[0] > 6e4


def test_dtype_names() -> None:
    assert dtype_asked(tf.float16) == dtype_asked(None, "torch.float16") == "float16"
    assert dtype_asked(np.float32) == "float32"
    assert dtype_asked(None) is None
    with pytest.raises(ArgumentError, match="one of the two names"):
        dtype_asked("float16", "float32")
    with pytest.raises(ArgumentError, match="expected one of"):
        dtype_asked("int8")


def test_one_containers_weights_only(saved: Path, tmp_path: Path) -> None:
    both = tmp_path / "both"
    shutil.copytree(GOLDEN / "checkpoints" / "mlm_bin", both)
    for name in ("tf_model.h5", "flax_model.msgpack"):
        shutil.copyfile(next((GOLDEN / "checkpoints").glob(f"mlm_*/{name}")), both / name)
    load: Callable[..., Any] = models.TFRobertaForMaskedLM.from_pretrained
    answers = [load(both, **{name: True})(IDS).logits for name in ("from_pt", "from_tf", "from_flax")]
    for answer in answers[1:]:
        np.testing.assert_allclose(answer, answers[0], atol=1e-5)
    assert load(saved, from_pt=True)(IDS).logits.shape == (2, 4, 29)
    with pytest.raises(NotFound):
        load(GOLDEN / "checkpoints" / "mlm_tf_h5", from_pt=True)
    with pytest.raises(NotFound):
        load(saved, from_flax=True)
    with pytest.raises(ArgumentError, match="from_pt"):
        load(both, from_pt=True, from_tf=True)


def test_fields_and_keywords(saved: Path) -> None:
    load: Callable[..., Any] = models.TFRobertaModel.from_pretrained
    model = load(saved, output_hidden_states=True, add_pooling_layer=False, name="mine", check_inputs=False)
    assert (model.name, model.roberta.pooler, model.check_inputs) == ("mine", None, False)
    assert not model.roberta.check_inputs
    assert len(model(IDS).hidden_states) == 3
    config = RobertaConfig.from_pretrained(saved)
    assert load(saved, config=config).config is not config
    with pytest.raises(ArgumentError, match="'output_hidden_states', which is near it"):
        load(saved, output_hiden_states=True)
    with pytest.raises(ArgumentError, match="device_map"):
        load(saved, device_map="auto")
    with pytest.raises(CheckpointError):
        load(saved / "nowhere")
