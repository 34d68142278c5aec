"""Every checkpoint folder of the fixtures through ``robertakit.numpy.load``: outputs, reports, errors."""

import json
import logging
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

import robertakit.numpy as family
from robertakit.architecture import HEADS
from robertakit.errors import ArgumentError, CheckpointError, ConfigError, NotFound, RobertakitError
from robertakit.numpy.loading import class_for, load

CHECKPOINTS = Path(__file__).resolve().parent.parent / "golden" / "checkpoints"
LOADS = [
    pytest.param(path.parent, entry, id=f"{path.parent.name}-{entry['class']}-{number}")
    for path in sorted(CHECKPOINTS.rglob("expect.json"))
    for number, entry in enumerate(json.loads(path.read_text()).get("loads", ()))
]


def outputs_agree(model, folder, entry):
    root = CHECKPOINTS
    expected = load_file(root / "_expected" / f"{entry['expected']}.safetensors")
    output = model(**load_file(root / "inputs.safetensors"))
    for field in entry["fields"]:
        np.testing.assert_allclose(
            output[field], expected[field], rtol=0, atol=1e-4, err_msg=f"{folder.name} {field}"
        )


@pytest.mark.parametrize(("folder", "entry"), LOADS)
def test_a_checkpoint_folder_does_what_is_asked(folder, entry, tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.ERROR)
    monkeypatch.chdir(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    tracemalloc.start()
    started = time.perf_counter()
    try:
        if entry["result"] == "error":
            with pytest.raises(RobertakitError) as caught:
                load(folder, entry["class"], **entry["kwargs"])
            assert isinstance(caught.value, CheckpointError | ConfigError)
            assert type(caught.value) is not CheckpointError, "a leaf of the tree"
            assert caught.value.given
        else:
            model, report = load(folder, entry["class"], output_loading_info=True, **entry["kwargs"])
            assert type(model).__name__ == entry["class"]
            if entry.get("expected"):
                outputs_agree(model, folder, entry)
            if entry["result"] == "report" or entry["kwargs"].get("strict") is False:
                for key in ("mismatched_keys", "unexpected_keys"):
                    assert sorted(report[key]) == sorted(entry["reference"][key])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 64 * 2**20
    assert time.perf_counter() - started < 60, "nothing here may hang"
    assert not list(tmp_path.iterdir()), "nothing may be created"
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_every_kind_of_folder_is_among_them():
    folders = {param.values[0].relative_to(CHECKPOINTS).as_posix() for param in LOADS}
    assert {"mlm_safetensors", "mlm_sharded", "mlm_bin", "mlm_bin_sharded", "mlm_old_bin"} <= folders
    assert {
        "mlm_pruned_safetensors",
        "mlm_bf16_safetensors",
        "broken/truncated",
        "broken/pickle_zip",
    } <= folders


def test_the_shared_folders_too(shared, tmp_path, monkeypatch, caplog):
    """All folders of ``../shared`` in the formats that this package reads, in one go."""
    caplog.set_level(logging.ERROR)
    monkeypatch.chdir(tmp_path)
    root = shared / "fixtures" / "checkpoints"
    names = [
        entry if isinstance(entry, str) else entry["name"]
        for entry in json.loads((root / "index.json").read_text())
    ]
    tried = 0
    for name in names:
        if name in ("mlm_tf_h5", "mlm_flax_msgpack"):  # the readers of a later part
            continue
        for entry in json.loads((root / name / "expect.json").read_text()).get("loads", ()):
            tried += 1
            if entry["result"] == "error":
                with pytest.raises(RobertakitError):
                    load(root / name, entry["class"], **entry["kwargs"])
                continue
            model = load(root / name, entry["class"], **entry["kwargs"])
            if entry.get("expected"):
                outputs_agree(model, root / name, entry)
    assert tried > 40
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("head", HEADS)
def test_heads_are_named_as_the_reference_names_its_classes(head):
    suffix = HEADS[head].class_suffix
    assert class_for(head) is class_for(f"Roberta{suffix}") is getattr(family, f"Roberta{suffix}")
    assert class_for(f"TFXLMRoberta{suffix}", "xlm-roberta") is getattr(family, f"XLMRoberta{suffix}")


def test_the_class_follows_the_checkpoints_family(tmp_path):
    assert type(load(CHECKPOINTS / "mlm_safetensors", "masked-lm")) is family.RobertaForMaskedLM
    for path in (CHECKPOINTS / "mlm_safetensors").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"model_type": "xlm-roberta"}))
    model = load(tmp_path, "masked-lm")
    assert type(model) is family.XLMRobertaForMaskedLM
    assert model.config.model_type == "xlm-roberta"


def test_fields_of_the_configuration_may_be_given(caplog):
    caplog.set_level(logging.ERROR)
    model = load(
        CHECKPOINTS / "mlm_safetensors", "RobertaForSequenceClassification", num_labels=5, hidden_act="relu"
    )
    assert model.config.num_labels == 5
    assert model.config.hidden_act == "relu"
    assert model([[0, 5, 2]]).logits.shape == (1, 5)


def test_an_argument_that_nothing_knows():
    with pytest.raises(ArgumentError, match=r"unknown argument 'num_label'.*'num_labels'"):
        load(CHECKPOINTS / "mlm_safetensors", "masked-lm", num_label=5)


def test_a_head_that_does_not_exist_and_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(ArgumentError, match="head 'RobertaForSpeech'"):
        load(CHECKPOINTS / "mlm_safetensors", "RobertaForSpeech")
    with pytest.raises(NotFound):
        load(tmp_path / "nothing", "masked-lm")


def test_a_new_head_is_the_same_for_the_same_seed(caplog):
    caplog.set_level(logging.ERROR)
    folder = CHECKPOINTS / "mlm_safetensors"
    first, same, other = (load(folder, "sequence-classification", seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(first([[0, 5, 2]]).logits, same([[0, 5, 2]]).logits)
    assert not np.array_equal(first([[0, 5, 2]]).logits, other([[0, 5, 2]]).logits)
