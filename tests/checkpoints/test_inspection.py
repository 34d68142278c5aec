"""The report: what a checkpoint is, and all trouble in one go."""

import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

from robertakit import RobertaConfig
from robertakit.architecture import initial_weights
from robertakit.checkpoints import inspect_checkpoint, save_weights
from robertakit.errors import NotFound

NO_TOKENIZER = "there are no tokenizer files: a task needs them, a model does not"


def test_sound_checkpoint(checkpoints: Path, tmp_path: Path) -> None:
    shutil.copytree(checkpoints / "seqcls_safetensors", tmp_path / "model")
    for name in ("vocab.json", "merges.txt"):
        (tmp_path / "model" / name).write_text("")
    report = inspect_checkpoint(tmp_path / "model")
    assert (report.trouble, report.notes) == ([], [])
    assert (report.model_type, report.architecture) == ("roberta", "RobertaForSequenceClassification")
    assert report.head == "sequence-classification"
    assert report.sizes["hidden_size"] == 32
    assert report.usable_length == 38
    assert report.parameters == 19277
    assert report.labels == {0: "LABEL_0", 1: "LABEL_1", 2: "LABEL_2"}
    assert report.tokenizer_files == ["vocab.json", "merges.txt"]
    (file,) = report.weight_files
    assert (file.name, file.tensors, file.dtypes) == ("model.safetensors", 41, {"F32": 41})
    assert file.nbytes == (tmp_path / "model" / "model.safetensors").stat().st_size


def test_buffers_and_shards(checkpoints: Path) -> None:
    assert inspect_checkpoint(checkpoints / "mlm_old_bin").harmless == ["roberta.embeddings.position_ids"]
    assert len(inspect_checkpoint(checkpoints / "mlm_sharded").weight_files) == 3
    assert inspect_checkpoint(checkpoints / "mlm_bf16_safetensors").weight_files[0].dtypes == {"BF16": 42}


def test_every_golden_checkpoint_gives_a_report(checkpoints: Path) -> None:
    for path in checkpoints.glob("**/expect.json"):
        report = inspect_checkpoint(path.parent)
        sound = "broken" not in str(path) or path.parent.name == "label_count"
        assert (not report.trouble) == sound, (path.parent.name, report.trouble)
        assert report.notes == [NO_TOKENIZER]


@pytest.mark.parametrize(
    ("name", "files", "architecture"),
    [
        ("frameworks/tf_sequence", [("tf_model.h5", {"F32": 25})], "RobertaForSequenceClassification"),
        ("frameworks/flax_masked_lm_bf16", [("flax_model.msgpack", {"BF16": 26})], "RobertaForMaskedLM"),
        (
            "frameworks/tf_masked_lm_sharded",
            [("tf_model-00001-of-00002.h5", {"F32": 22}), ("tf_model-00002-of-00002.h5", {"F32": 20})],
            "XLMRobertaForMaskedLM",
        ),
        ("checkpoints/fairseq_in_proj", [("model.pt", {"F32": 43})], "RobertaForMaskedLM"),
        ("checkpoints/fairseq_encoder_cfg", [("model.pt", {"F32": 47})], "RobertaForSequenceClassification"),
    ],
)
def test_weights_of_other_frameworks(
    golden: Path, name: str, files: list[tuple[str, dict[str, int]]], architecture: str
) -> None:
    report = inspect_checkpoint(golden / name)
    assert (report.trouble, report.architecture) == ([], architecture)
    assert [(file.name, file.dtypes) for file in report.weight_files] == files


def test_values_of_other_frameworks_are_checked(golden: Path, tmp_path: Path) -> None:
    shutil.copytree(golden / "frameworks" / "tf_span", tmp_path / "model")
    with h5py.File(tmp_path / "model" / "tf_model.h5", "r+") as file:
        file["qa_outputs/tf_roberta_for_question_answering/qa_outputs/kernel:0"][0, 1] = np.nan
    (trouble,) = inspect_checkpoint(tmp_path / "model").trouble
    assert trouble == "1 tensors hold NaN or infinity: qa_outputs.weight"


def test_a_file_that_holds_the_configuration_too_is_told_of_once(checkpoints: Path) -> None:
    (trouble,) = inspect_checkpoint(checkpoints / "broken" / "pickle_fairseq").trouble
    assert "it asks for posix.system" in trouble


def test_architecture_is_guessed_from_the_tensors(tmp_path: Path, config: RobertaConfig) -> None:
    for head, name in (("question-answering", "RobertaForQuestionAnswering"), ("model", "RobertaModel")):
        save_weights(tmp_path / head, initial_weights(config, head, 1), config_json=config.to_json_string())
        assert inspect_checkpoint(tmp_path / head).architecture == name


def test_what_the_config_says_is_told_where_weights_cannot_be_read(
    tmp_path: Path, config: RobertaConfig
) -> None:
    config.architectures = ["RobertaForMaskedLM"]
    config.save_pretrained(tmp_path)
    report = inspect_checkpoint(tmp_path)
    assert (report.architecture, report.head) == ("RobertaForMaskedLM", None)
    assert report.sizes["vocab_size"] == config.vocab_size
    assert "has no weights" in report.trouble[0]


def test_nan_and_infinity_are_named(saved: Path, config: RobertaConfig) -> None:
    values = dict(initial_weights(config, "masked-lm", 1))
    values["lm_head.bias"] = np.full(11, np.nan, np.float32)
    values["lm_head.dense.bias"] = np.full(8, np.inf, np.float16)
    save_weights(saved, values, config_json=config.to_json_string())
    expected = "2 tensors hold NaN or infinity: lm_head.bias, lm_head.dense.bias"
    assert expected in inspect_checkpoint(saved).trouble
    assert expected not in inspect_checkpoint(saved, check_values=False).trouble


def test_trap_17_copy_that_differs_is_named(tmp_path: Path, config: RobertaConfig) -> None:
    values = dict(initial_weights(config, "masked-lm", 1))
    values["lm_head.decoder.weight"] = values["roberta.embeddings.word_embeddings.weight"] + 1
    untied = RobertaConfig(**{**config.to_dict(), "tie_word_embeddings": False})
    save_weights(tmp_path, values, config_json=untied.to_json_string())
    assert inspect_checkpoint(tmp_path).trouble == []
    config.save_pretrained(tmp_path)
    assert any(
        "decoder.weight is stored with other values" in sentence
        for sentence in inspect_checkpoint(tmp_path).trouble
    )


def test_head_that_the_config_names_and_the_file_lacks(tmp_path: Path, config: RobertaConfig) -> None:
    config.architectures = ["RobertaForMaskedLM"]
    save_weights(tmp_path, initial_weights(config, "model", 1), config_json=config.to_json_string())
    assert any(
        "the head of RobertaForMaskedLM is not there" in text for text in inspect_checkpoint(tmp_path).trouble
    )


def test_all_trouble_at_once(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "roberta", "hidden_size": 7}))
    (tmp_path / "model.safetensors").write_bytes(b"")
    assert len(inspect_checkpoint(tmp_path).trouble) == 2
    with pytest.raises(NotFound):
        inspect_checkpoint(tmp_path / "nowhere")
