"""Every checkpoint of the golden set, and the rules of loading one by one."""

import json
import logging
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from robertakit import AutoConfig, RobertaConfig, XLMRobertaConfig
from robertakit.architecture import initial_weights, parameters
from robertakit.checkpoints import LoadingInfo, Weights, load_weights, save_weights
from robertakit.checkpoints.weight_files import open_weights
from robertakit.errors import (
    ArgumentError,
    CheckpointError,
    ConfigError,
    CorruptFile,
    NotFound,
    TensorMismatch,
    UnsupportedFormat,
)
from robertakit.files import locate

GOLDEN = Path(__file__).resolve().parent.parent / "golden" / "checkpoints"
CASES = [
    (str(path.parent.relative_to(GOLDEN)), number)
    for path in sorted(GOLDEN.glob("**/expect.json"))
    for number in range(len(json.loads(path.read_text()).get("loads", [])))
]


def load(folder: Path, name: str, **kwargs: object) -> tuple[Weights, LoadingInfo]:
    ours = {key: kwargs.pop(key) for key in ("strict", "ignore_mismatched_sizes") if key in kwargs}
    config_class = XLMRobertaConfig if name.startswith("XLM") else RobertaConfig
    return load_weights(folder, config_class.from_pretrained(folder, **kwargs), name, **ours)


@pytest.mark.parametrize(("name", "number"), CASES, ids=[f"{name}-{number}" for name, number in CASES])
def test_golden_checkpoint(name: str, number: int) -> None:
    case = json.loads((GOLDEN / name / "expect.json").read_text())["loads"][number]
    if case["result"] == "error":
        with pytest.raises((CheckpointError, ConfigError)):
            load(GOLDEN / name, case["class"], **case["kwargs"])
        return
    weights, info = load(GOLDEN / name, case["class"], **case["kwargs"])
    for key in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        assert info.as_dict()[key] == case["reference"].get(key, []), key
    assert all(np.isfinite(tensor.read()).all() for tensor in weights.values())


@pytest.mark.parametrize(
    "name",
    [
        "mlm_sharded",
        "mlm_bin",
        "mlm_bin_sharded",
        "mlm_old_bin",
        "mlm_legacy_pickle_bin",
        "mlm_tf_h5",
        "mlm_flax_msgpack",
    ],
)
def test_every_container_gives_the_same_bits(name: str) -> None:
    expected, _ = load(GOLDEN / "mlm_safetensors", "RobertaForMaskedLM")
    weights, info = load(GOLDEN / name, "RobertaForMaskedLM")
    assert sorted(weights) == sorted(expected)
    assert all(np.array_equal(weights[key].read(), expected[key].read()) for key in expected)
    assert info.as_dict() == {
        "missing_keys": [],
        "unexpected_keys": [],
        "mismatched_keys": [],
        "error_msgs": [],
    }


def test_bfloat16_is_the_upper_half_of_float32() -> None:
    half, _ = load(GOLDEN / "mlm_bf16_safetensors", "RobertaForMaskedLM")
    full, _ = load(GOLDEN / "mlm_safetensors", "RobertaForMaskedLM")
    for name, tensor in half.items():
        assert tensor.dtype == "BF16"
        np.testing.assert_allclose(tensor.read(), full[name].read(), rtol=2**-8)
        assert not (tensor.read().view(np.uint32) & 0xFFFF).any()


def test_trap_04_new_head_is_announced_once_and_classed(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        _, info = load(GOLDEN / "bare_safetensors", "RobertaForSequenceClassification")
    assert len(caplog.records) == 1
    assert "classifier.dense.weight" in caplog.text
    assert "pooler" not in caplog.text  # spare, harmless, listed only
    assert info.new_head == info.missing_keys == sorted(name for name in info.newly_initialised)
    assert info.harmless == ["pooler.dense.bias", "pooler.dense.weight"]
    assert info.suspicious == []


def test_trap_04_nothing_is_announced_when_all_is_there(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        load(GOLDEN / "mlm_old_bin", "RobertaForMaskedLM")
    assert caplog.records == []


def test_trap_04_pooler_is_not_missed_when_not_asked_for() -> None:
    config = RobertaConfig.from_pretrained(GOLDEN / "mlm_safetensors")
    weights, info = load_weights(GOLDEN / "mlm_safetensors", config, "model", add_pooling_layer=False)
    assert info.missing_keys == []
    assert "embeddings.word_embeddings.weight" in weights


def test_trap_17_decoder_copy_is_neither_missed_nor_needed(saved: Path, config: RobertaConfig) -> None:
    weights, info = load_weights(saved, config, "masked-lm")
    assert info.missing_keys == []
    assert "lm_head.decoder.weight" not in weights
    assert {"lm_head.dense.weight", "lm_head.layer_norm.weight", "lm_head.bias"} <= weights.keys()


def test_trap_17_decoder_copy_stands_in_for_what_it_is_tied_to(tmp_path: Path, config: RobertaConfig) -> None:
    values = dict(initial_weights(config, "masked-lm", 1))
    embedding = values.pop("roberta.embeddings.word_embeddings.weight")
    values["lm_head.decoder.weight"] = embedding
    values["lm_head.decoder.bias"] = values.pop("lm_head.bias") + 1
    save_weights(tmp_path, values)
    weights, info = load_weights(tmp_path, config, "masked-lm")
    assert info.missing_keys == []
    assert np.array_equal(weights["roberta.embeddings.word_embeddings.weight"].read(), embedding)
    assert weights["lm_head.bias"].read().all()


def test_trap_17_untied_decoder_is_kept_and_asked_for(tmp_path: Path, config: RobertaConfig) -> None:
    config.tie_word_embeddings = False
    values = initial_weights(config, "masked-lm", 1)
    save_weights(tmp_path / "a", values, config_json=config.to_json_string())
    weights, _ = load_weights(tmp_path / "a", config, "masked-lm")
    assert np.array_equal(weights["lm_head.decoder.weight"].read(), values["lm_head.decoder.weight"])
    del values["lm_head.decoder.weight"]
    save_weights(tmp_path / "b", values, config_json=config.to_json_string())
    with pytest.raises(TensorMismatch, match=r"1 missing: lm_head\.decoder\.weight"):
        load_weights(tmp_path / "b", config, "masked-lm")


def test_trap_17_a_copy_that_differs_is_announced(
    tmp_path: Path, config: RobertaConfig, caplog: pytest.LogCaptureFixture
) -> None:
    config.tie_word_embeddings = False
    values = initial_weights(config, "masked-lm", 1)
    save_weights(tmp_path, values, config_json=config.to_json_string())
    config.tie_word_embeddings = True
    weights, _ = load_weights(tmp_path, config, "masked-lm")
    name = "roberta.embeddings.word_embeddings.weight"
    assert np.array_equal(weights[name].read(), values[name])
    assert "lm_head.decoder.weight is stored with other values" in caplog.text
    assert "tie_word_embeddings=False" in caplog.text
    assert len(caplog.records) == 1


def test_trap_17_of_two_biases_the_decoders_counts(
    tmp_path: Path, config: RobertaConfig, caplog: pytest.LogCaptureFixture
) -> None:
    """transformers 5 trains it apart from `lm_head.bias` where the matrix is untied, and adds the decoder's."""
    config.tie_word_embeddings = False
    values = {**initial_weights(config, "masked-lm", 1), "lm_head.decoder.bias": np.ones(11, np.float32)}
    save_file(values, tmp_path / "model.safetensors")
    weights, info = load_weights(tmp_path, config, "masked-lm")
    assert np.array_equal(weights["lm_head.bias"].read(), np.ones(11))
    assert "lm_head.bias is stored with other values than lm_head.decoder.bias" in caplog.text
    assert "tie_word_embeddings" not in caplog.text
    assert not info.missing_keys
    assert len(caplog.records) == 1


def test_half_a_head_is_damage_not_a_new_head(tmp_path: Path, config: RobertaConfig) -> None:
    values = initial_weights(config, "masked-lm", 1)
    del values["lm_head.layer_norm.weight"]
    save_weights(tmp_path, values)
    with pytest.raises(TensorMismatch, match=r"lm_head\.layer_norm\.weight"):
        load_weights(tmp_path, config, "masked-lm")


@pytest.mark.parametrize("prefix", ["module.", "model.", "_orig_mod.module."])
def test_wrapper_prefix_is_an_error_that_names_the_way_out(
    tmp_path: Path, config: RobertaConfig, caplog: pytest.LogCaptureFixture, prefix: str
) -> None:
    values = initial_weights(config, "masked-lm", 1)
    save_weights(tmp_path, {prefix + name: value for name, value in values.items()})
    with pytest.raises(TensorMismatch, match=f"'{re.escape(prefix)}': strict=False takes it off"):
        load_weights(tmp_path, config, "masked-lm")
    weights, info = load_weights(tmp_path, config, "masked-lm", strict=False)
    assert all(np.array_equal(weights[name].read(), values[name]) for name in values)
    assert info.suspicious == info.missing_keys == info.unexpected_keys == []
    assert caplog.records == []


@pytest.mark.parametrize("prefix", ["bert.", "roberta.roberta."])
def test_misprefixed_checkpoint_is_an_error(tmp_path: Path, config: RobertaConfig, prefix: str) -> None:
    values = initial_weights(config, "masked-lm", 1)
    save_weights(tmp_path, {name.replace("roberta.", prefix): value for name, value in values.items()})
    with pytest.raises(TensorMismatch, match="missing"):
        load_weights(tmp_path, config, "masked-lm")


FOREIGN = {
    "Longformer's global attention": (
        "",
        "attention.self.query_global.weight",
        "attention.self.value.weight",
    ),
    "X-MOD's adapters": ("", "output.adapter_modules.en_XX.dense1.weight", "intermediate.dense.weight"),
    "a decoder's cross-attention": ("", "crossattention.self.key.bias", "attention.self.key.bias"),
    "RoBERTa-PreLayerNorm's": (
        "roberta_prelayernorm.",
        "attention.LayerNorm.weight",
        "attention.output.LayerNorm.bias",
    ),
    "XLM-R XL's": ("", "attention.self_attn_layer_norm.weight", "attention.output.LayerNorm.weight"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_another_architecture_under_this_config_is_named(
    tmp_path: Path, config: RobertaConfig, name: str
) -> None:
    """Also where all names begin alike, which else would be a wrapper's prefix."""
    prefix, part, like = FOREIGN[name]
    values = dict(initial_weights(config, "masked-lm", 1))
    for layer in range(config.num_hidden_layers):
        stem = f"roberta.encoder.layer.{layer}."
        values[stem + part] = values[stem + like]
    if prefix:
        values = {key.replace("roberta.", prefix): value for key, value in values.items()}
    save_weights(tmp_path, values)
    words = re.escape(
        f"its layers have parts that such a model has not ({part}): it is of another architecture"
    )
    with pytest.raises(TensorMismatch, match=words):
        load_weights(tmp_path, config, "masked-lm")


@pytest.mark.parametrize(
    "model_type", ["xlm-roberta-xl", "roberta-prelayernorm", "longformer", "xmod", "bert"]
)
def test_another_architecture_by_its_config_is_one_sentence(saved: Path, model_type: str) -> None:
    fields = json.loads((saved / "config.json").read_text())
    (saved / "config.json").write_text(json.dumps(fields | {"model_type": model_type}))
    words = f"model_type '{model_type}'.*; expected .*one of camembert, roberta, xlm-roberta"
    for kind in (RobertaConfig, XLMRobertaConfig, AutoConfig):
        with pytest.raises(ConfigError, match=words):
            kind.from_pretrained(saved)


def test_head_under_the_backbones_prefix_is_an_error(tmp_path: Path, config: RobertaConfig) -> None:
    values = initial_weights(config, "token-classification", 1)
    save_weights(
        tmp_path, {name.replace("classifier", "roberta.classifier"): values[name] for name in values}
    )
    with pytest.raises(TensorMismatch, match=r"unexpected: roberta\.classifier"):
        load_weights(tmp_path, config, "token-classification")


def test_all_problems_come_in_one_error(tmp_path: Path, config: RobertaConfig) -> None:
    values = initial_weights(config, "masked-lm", 1)
    del values["roberta.embeddings.LayerNorm.bias"]
    values["stray"] = np.zeros(1, np.float32)
    values["roberta.encoder.layer.0.output.dense.bias"] = np.zeros(9, np.float32)
    save_weights(tmp_path, values)
    with pytest.raises(TensorMismatch) as caught:
        load_weights(tmp_path, config, "RobertaForMaskedLM")
    text = str(caught.value)
    assert "1 missing: roberta.embeddings.LayerNorm.bias" in text
    assert "1 unexpected: stray" in text
    assert "1 of another shape: roberta.encoder.layer.0.output.dense.bias ([9] in the file; [8]" in text
    assert "strict=False" in text


def test_long_lists_are_sorted_and_counted(tmp_path: Path, config: RobertaConfig) -> None:
    values = initial_weights(config, "masked-lm", 1)
    save_weights(tmp_path, {"roberta.embeddings.LayerNorm.bias": values["roberta.embeddings.LayerNorm.bias"]})
    with pytest.raises(TensorMismatch, match=r"\d\d missing: .* \(\+\d+ more\)"):
        load_weights(tmp_path, config, "masked-lm")


def test_not_strict_loads_what_fits_and_warns_once(
    tmp_path: Path, config: RobertaConfig, caplog: pytest.LogCaptureFixture
) -> None:
    values = initial_weights(config, "masked-lm", 1)
    del values["roberta.encoder.layer.1.output.dense.weight"]
    values["my_head.weight"] = np.zeros((2, 2), np.float32)
    save_weights(tmp_path, values)
    weights, info = load_weights(tmp_path, config, "masked-lm", strict=False)
    assert info.missing_keys == ["roberta.encoder.layer.1.output.dense.weight"]
    assert info.unexpected_keys == ["my_head.weight"]
    assert info.suspicious == ["my_head.weight", "roberta.encoder.layer.1.output.dense.weight"]
    assert len(weights) == len(values) - 1
    assert len(caplog.records) == 1


def test_not_strict_still_refuses_what_does_not_fit_at_all(tmp_path: Path, config: RobertaConfig) -> None:
    save_weights(tmp_path, {"conv1.weight": np.zeros((2, 2), np.float32)})
    with pytest.raises(TensorMismatch, match="nothing of it fits"):
        load_weights(tmp_path, config, "masked-lm", strict=False)


def test_another_known_head_is_listed_not_refused(tmp_path: Path, config: RobertaConfig) -> None:
    save_weights(tmp_path, initial_weights(config, "token-classification", 1))
    _, info = load_weights(tmp_path, config, "question-answering")
    assert info.unexpected_keys == info.harmless == ["classifier.bias", "classifier.weight"]


def test_more_layers_than_the_config_says_is_an_error(saved: Path, config: RobertaConfig) -> None:
    config.num_hidden_layers = 1
    with pytest.raises(TensorMismatch, match=r"unexpected: roberta\.encoder\.layer\.1\."):
        load_weights(saved, config, "masked-lm")


def test_integers_are_no_weights(tmp_path: Path, config: RobertaConfig) -> None:
    values = dict(initial_weights(config, "masked-lm", 1))
    name = "roberta.embeddings.LayerNorm.bias"
    save_weights(tmp_path, values | {name: values[name].astype(np.int64)})
    with pytest.raises(TensorMismatch, match="I64 in the file"):
        load_weights(tmp_path, config, "masked-lm")


def test_one_tensor_under_an_old_and_a_new_name_is_an_error(tmp_path: Path, config: RobertaConfig) -> None:
    values = dict(initial_weights(config, "masked-lm", 1))
    values["roberta.embeddings.LayerNorm.gamma"] = values["roberta.embeddings.LayerNorm.weight"]
    save_weights(tmp_path, values)
    with pytest.raises(CorruptFile, match="twice"):
        load_weights(tmp_path, config, "masked-lm")


def test_pruned_heads_of_the_config_narrow_the_layers() -> None:
    weights, _ = load(GOLDEN / "mlm_pruned_safetensors", "RobertaForMaskedLM")
    assert weights["roberta.encoder.layer.0.attention.self.query.weight"].shape == (16, 32)
    assert weights["roberta.encoder.layer.1.attention.output.dense.weight"].shape == (32, 24)


def test_order_of_preference_and_ways_to_choose(saved: Path, config: RobertaConfig) -> None:
    shutil.copy(GOLDEN / "mlm_bin" / "pytorch_model.bin", saved)  # another model: loading it here must fail
    load_weights(saved, config, "masked-lm")
    with pytest.raises(TensorMismatch):
        load_weights(saved, config, "masked-lm", use_safetensors=False)
    save_weights(saved, initial_weights(config, "masked-lm", 2), variant="fp16")
    first, _ = load_weights(saved, config, "masked-lm")
    second, _ = load_weights(saved, config, "masked-lm", variant="fp16")
    name = "roberta.encoder.layer.0.output.dense.weight"
    assert not np.array_equal(first[name].read(), second[name].read())
    with pytest.raises(NotFound, match=r"model\.int8\.safetensors.*it holds .*model\.fp16\.safetensors"):
        load_weights(saved, config, "masked-lm", variant="int8")


def test_a_file_may_be_named_itself(saved: Path, config: RobertaConfig) -> None:
    weights, _ = load_weights(saved / "model.safetensors", config, "masked-lm")
    assert weights.keys() == initial_weights(config, "masked-lm", 1).keys()


def test_signature_decides_not_the_suffix(tmp_path: Path, saved: Path, config: RobertaConfig) -> None:
    shutil.copy(saved / "model.safetensors", tmp_path / "pytorch_model.bin")
    found, _ = load_weights(tmp_path, config, "masked-lm")
    assert found.keys() == load_weights(saved, config, "masked-lm")[0].keys()
    shutil.copy(GOLDEN / "mlm_bin" / "pytorch_model.bin", tmp_path / "model.safetensors")
    pickled = RobertaConfig.from_pretrained(GOLDEN / "mlm_bin")
    found, _ = load_weights(tmp_path, pickled, "masked-lm")
    for name, tensor in load_weights(GOLDEN / "mlm_bin", pickled, "masked-lm")[0].items():
        np.testing.assert_array_equal(found[name].read(), tensor.read())


CONTAINERS = {
    "safetensors": "mlm_safetensors/model.safetensors",
    "bin": "mlm_bin/pytorch_model.bin",
    "h5": "mlm_tf_h5/tf_model.h5",
    "msgpack": "mlm_flax_msgpack/flax_model.msgpack",
    "fairseq": "fairseq_in_proj/model.pt",
}


def test_containers_are_taken_in_order_or_as_asked(tmp_path: Path) -> None:
    config = RobertaConfig.from_pretrained(GOLDEN / "mlm_safetensors")
    for name, file in CONTAINERS.items():
        shutil.copy(GOLDEN / file, tmp_path)
        assert list(open_weights(locate(tmp_path), container=name).files) == [Path(file).name]  # type: ignore[arg-type]
    for name, file in CONTAINERS.items():
        assert list(open_weights(locate(tmp_path)).files) == [Path(file).name]
        load_weights(tmp_path, config, "masked-lm")
        (tmp_path / Path(file).name).unlink()
        with pytest.raises(NotFound, match=f"none of {Path(file).name}.* it holds|has no weights"):
            load_weights(tmp_path, config, "masked-lm", container=name)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"use_safetensors": True, "container": "h5"}, "use_safetensors=True and container='h5'"),
        ({"use_safetensors": False, "container": "safetensors"}, "use_safetensors=False and container"),
        ({"container": "onnx"}, "container='onnx'; expected None or one of bin, fairseq, h5, msgpack"),
    ],
)
def test_containers_that_contradict(
    saved: Path, config: RobertaConfig, arguments: object, words: str
) -> None:
    with pytest.raises(ArgumentError, match=re.escape(words)):
        load_weights(saved, config, "masked-lm", **arguments)  # type: ignore[arg-type]


def test_an_adapter_alone_is_named(tmp_path: Path, config: RobertaConfig) -> None:
    (tmp_path / "adapter_model.safetensors").write_bytes(b"x")
    with pytest.raises(UnsupportedFormat, match="without its base model"):
        load_weights(tmp_path, config, "masked-lm")


def test_config_and_weights_of_two_saves_are_refused(
    tmp_path: Path, saved: Path, config: RobertaConfig
) -> None:
    other = tmp_path / "other"
    save_weights(other, initial_weights(config, "masked-lm", 2), config_json=config.to_json_string())
    shutil.copy(other / "model.safetensors", saved)
    with pytest.raises(CorruptFile, match="two different saves"):
        load_weights(saved, config, "masked-lm")
    config.save_pretrained(saved)  # a config without an id is believed
    load_weights(saved, config, "masked-lm")


def test_weights_are_views_of_the_file(saved: Path, config: RobertaConfig) -> None:
    weights, _ = load_weights(saved, config, "masked-lm")
    value = weights["roberta.embeddings.word_embeddings.weight"].read()
    assert not value.flags.owndata
    assert not value.flags.writeable
    assert np.shares_memory(value, weights["roberta.embeddings.word_embeddings.weight"].read())


def test_every_head_loads_its_own_save(tmp_path: Path, config: RobertaConfig) -> None:
    config.is_decoder = config.add_cross_attention = True
    config.position_embedding_type = "relative_key_query"
    for head in ("model", "causal-lm", "masked-lm", "sequence-classification", "multiple-choice"):
        values = initial_weights(config, head, 3)
        save_weights(tmp_path / head, values, config_json=config.to_json_string())
        weights, info = load_weights(tmp_path / head, config, head)
        assert weights.keys() == values.keys()
        assert info.newly_initialised == info.unexpected_keys == []
        assert set(weights) == {name for name, row in parameters(config, head).items() if row.tied_to is None}
