"""`save_pretrained`: PyTorch's names and layout, C order, shards, the configuration that stands beside them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from safetensors.numpy import load_file

import robertakit.numpy as specification
import robertakit.tensorflow as models
from robertakit import RobertaConfig, XLMRobertaConfig
from robertakit.architecture import HEADS, initial_weights, parameters
from robertakit.checkpoints import save_weights
from robertakit.errors import ArgumentError
from robertakit.tensorflow.construction import drawn_seed
from robertakit.tensorflow.contents import contents_of

TOKEN = "hf_write"
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


@pytest.mark.parametrize("name", [f"TFRoberta{head.class_suffix}" for head in HEADS.values()])
@pytest.mark.parametrize("tied", [True, False])
def test_the_file_holds_the_tensors_of_the_table(name: str, tied: bool, tmp_path: Path) -> None:
    config = RobertaConfig(**SIZES, tie_word_embeddings=tied)
    tf.random.set_seed(4)
    seed = drawn_seed()
    tf.random.set_seed(4)
    model = getattr(models, name)(config)
    files = model.save_pretrained(tmp_path)
    assert set(files) - {"generation_config.json"} == {"model.safetensors", "config.json"}
    assert ("generation_config.json" in files) == model.can_generate()
    stored = load_file(tmp_path / "model.safetensors")
    expected = initial_weights(config, name, seed)
    if not tied and "lm_head.bias" in expected:
        expected["lm_head.decoder.bias"] = expected["lm_head.bias"]
    assert set(stored) == set(expected)
    for tensor, value in expected.items():
        np.testing.assert_array_equal(stored[tensor], value)
    table = parameters(config, name)
    assert all(stored[tensor].shape == table[tensor].shape for tensor in stored)


def test_the_same_bytes_as_the_library_writes_without_a_framework(tmp_path: Path) -> None:
    """What stands in the files depends on weights and configuration alone, in whatever memory order they lie."""
    config = RobertaConfig(**SIZES)
    tf.random.set_seed(4)
    seed = drawn_seed()
    tf.random.set_seed(4)
    models.TFRobertaForMaskedLM(config).save_pretrained(tmp_path / "keras")
    config.architectures, config.dtype = ["RobertaForMaskedLM"], "float32"
    weights = initial_weights(config, "masked-lm", seed)
    save_weights(tmp_path / "plain", weights, config_json=config.to_json_string())
    for name in ("model.safetensors", "config.json"):
        assert (tmp_path / "keras" / name).read_bytes() == (tmp_path / "plain" / name).read_bytes()


def test_the_specification_answers_alike_from_the_folder(tmp_path: Path) -> None:
    model = models.TFXLMRobertaForQuestionAnswering(XLMRobertaConfig(**SIZES))
    model.save_pretrained(tmp_path)
    answer = specification.load(tmp_path, "question-answering")(IDS)
    np.testing.assert_allclose(model(IDS).start_logits, answer.start_logits, atol=2e-6)


def test_the_configuration_tells_the_truth(tmp_path: Path) -> None:
    model = models.TFRobertaForMaskedLM(RobertaConfig(**SIZES), dtype="bfloat16")
    model.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["architectures"] == ["RobertaForMaskedLM"], "one checkpoint for all frameworks"
    assert config["dtype"] == "bfloat16"
    assert model.config.architectures is None, "the caller's stays as it was"
    again = models.TFRobertaForMaskedLM.from_pretrained(tmp_path, dtype="bfloat16")
    for one, other in zip(model.weights, again.weights, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_dtypes_are_kept_to_the_bit(dtype: str, tmp_path: Path) -> None:
    model = models.TFRobertaForTokenClassification(RobertaConfig(**SIZES), dtype=dtype)
    model.save_pretrained(tmp_path / "one")
    models.TFRobertaForTokenClassification.from_pretrained(tmp_path / "one", dtype=dtype).save_pretrained(
        tmp_path / "two"
    )
    first, second = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("one", "two"))
    # the header holds the id of the save, which the name of the place in the configuration is part of
    length = int.from_bytes(first[:8], "little")
    assert first[8 + length :] == second[8 + int.from_bytes(second[:8], "little") :]


def test_shards_and_variants(tmp_path: Path) -> None:
    model = models.TFRobertaModel(RobertaConfig(**SIZES))
    files = model.save_pretrained(tmp_path, max_shard_size="8KB")
    assert len([name for name in files if name.endswith(".safetensors")]) > 1
    np.testing.assert_array_equal(models.TFRobertaModel.from_pretrained(tmp_path)(IDS)[0], model(IDS)[0])
    assert model.save_pretrained(tmp_path, variant="mine")[0] == "model.mine.safetensors"
    assert models.TFRobertaModel.from_pretrained(tmp_path, variant="mine")(IDS)[0].shape == (2, 4, 16)


def test_what_is_refused(tmp_path: Path) -> None:
    model = models.TFRobertaModel(RobertaConfig(**SIZES))
    with pytest.raises(ArgumentError, match="safe_serialization=False"):
        model.save_pretrained(tmp_path, safe_serialization=False)
    with pytest.raises(ArgumentError, match="max_shard_size"):
        model.save_pretrained(tmp_path, max_shard_size="many")
    assert not list(tmp_path.iterdir())


def test_a_saved_model_beside_the_weights(tmp_path: Path) -> None:
    model = models.TFRobertaModel(RobertaConfig(**SIZES))
    model.save_pretrained(tmp_path, saved_model=True)
    served = tf.saved_model.load(str(tmp_path / "saved_model" / "1"))
    given = {"input_ids": IDS.astype(np.int32), "attention_mask": np.ones((2, 4), np.int32)}
    if "token_type_ids" in model.input_signature:
        given["token_type_ids"] = np.zeros((2, 4), np.int32)
    found = served.serve({name: tf.constant(value) for name, value in given.items()})
    np.testing.assert_allclose(found["last_hidden_state"], model(given)[0], atol=2e-6)


@pytest.mark.filterwarnings("ignore:Use .content=:DeprecationWarning")  # of the Hub's client
def test_pushing(hub: Any, tmp_path: Path) -> None:
    model = models.TFRobertaForMaskedLM(RobertaConfig(**SIZES))
    model.push_to_hub("me/tiny", token=TOKEN)
    again = models.TFRobertaForMaskedLM.from_pretrained("me/tiny", token=TOKEN)
    np.testing.assert_array_equal(again(IDS).logits, model(IDS).logits)


def test_contents_and_file_agree_after_training(tmp_path: Path) -> None:
    model = models.TFRobertaForMaskedLM(RobertaConfig(**SIZES))
    model.compile("sgd")
    model.fit({"input_ids": IDS, "labels": IDS}, verbose=0)
    model.save_pretrained(tmp_path)
    stored = load_file(tmp_path / "model.safetensors")
    kernel = contents_of(model).variables["roberta.encoder.layer.0.attention.self.query.weight"].numpy()
    np.testing.assert_array_equal(stored["roberta.encoder.layer.0.attention.self.query.weight"], kernel.T)
