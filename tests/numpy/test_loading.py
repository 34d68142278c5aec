"""Every checkpoint folder of the fixtures through ``robertakit.numpy.load``: outputs, reports, errors."""

import json
import logging
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

import robertakit.numpy as family
from robertakit.architecture import HEADS, heads_with
from robertakit.errors import ArgumentError, NotFound
from robertakit.numpy.loading import class_for, load

GOLDEN = Path(__file__).resolve().parent.parent / "golden"
CHECKPOINTS = GOLDEN / "checkpoints"
FOLDERS = sorted(
    path.parent.relative_to(GOLDEN).as_posix()
    for pattern in ("checkpoints/**/expect.json", "frameworks/*/expected.safetensors")
    for path in GOLDEN.glob(pattern)
)


def load_class(class_name, folder, **arguments):
    return load(folder, class_name, output_loading_info=True, **arguments)


def weights_of(model):
    return {name: tensor.read() for name, tensor in model.weights.items()}


@pytest.mark.parametrize("name", FOLDERS)
def test_a_checkpoint_folder_does_what_is_asked(name, stored_checkpoints, tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.ERROR)
    monkeypatch.chdir(tmp_path)
    folder = GOLDEN / name
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    todo = stored_checkpoints.entries(folder)
    tracemalloc.start()
    started = time.perf_counter()
    try:
        for entry in todo:
            stored_checkpoints.check(entry, load_class, lambda model, inputs: model(**inputs), weights_of)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert todo
    assert peak < 64 * 2**20
    assert time.perf_counter() - started < 60, "nothing here may hang"
    assert not list(tmp_path.iterdir()), "nothing may be created"
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_every_kind_of_folder_is_among_them(stored_checkpoints):
    assert stored_checkpoints.folders(GOLDEN) == FOLDERS
    formats = {
        name: len([each for each in FOLDERS if name in each]) for name in ("tf_", "flax", "fairseq", "broken")
    }
    assert formats == {"tf_": 8, "flax": 11, "fairseq": 4, "broken": 26}


def test_the_folders_are_all_that_there_are(shared):
    """The copy is whole: each folder of ``../shared``, and each of its files."""
    root = shared / "fixtures" / "checkpoints"
    names = {
        entry if isinstance(entry, str) else entry["name"]
        for entry in json.loads((root / "index.json").read_text())
    }
    assert {f"checkpoints/{name}" for name in names} == {
        name for name in FOLDERS if name.startswith("checkpoints")
    }
    for path in root.rglob("*"):
        if path.is_file() and path.name != "index.json":
            assert (CHECKPOINTS / path.relative_to(root)).read_bytes() == path.read_bytes()


@pytest.mark.parametrize("name", ["tf_model", "flax_model", "tf_span", "flax_token", "tf_choice"])
def test_heads_and_bare_models_load_from_each_other_in_every_format(name, caplog):
    """A head that is not there is announced; one of another task, or a pooler, is listed; the backbone is the same."""
    folder = GOLDEN / "frameworks" / name
    caplog.set_level(logging.ERROR)
    backbones = []
    for head in ("model", "masked-lm", "sequence-classification", "question-answering"):
        model, report = load(folder, head, output_loading_info=True)
        own = {key for key in model.weights if heads_with(key)}
        assert set(report["missing_keys"]) <= own
        assert all(heads_with(key) for key in report["unexpected_keys"])
        assert not report["mismatched_keys"]
        backbones.append(
            {key.removeprefix("roberta."): model.weights[key].read() for key in model.weights.keys() - own}
        )
    first = backbones[0]
    assert all(other.keys() == first.keys() for other in backbones)
    assert all(np.array_equal(other[key], first[key]) for other in backbones for key in first)


def test_the_format_may_be_chosen(tmp_path):
    for name in ("tf_token", "flax_token"):
        for path in (GOLDEN / "frameworks" / name).iterdir():
            (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "config.json").write_bytes(
        (GOLDEN / "frameworks" / "flax_token" / "config.json").read_bytes()
    )
    models = [
        load(tmp_path, "token-classification", **way) for way in ({}, {"from_tf": True}, {"from_flax": True})
    ]
    plain, tensorflow, flax = (model.weights["classifier.weight"].read() for model in models)
    assert np.array_equal(plain, tensorflow)
    assert not np.array_equal(plain, flax)
    with pytest.raises(ArgumentError, match="from_tf=True and from_flax=True"):
        load(tmp_path, "token-classification", from_tf=True, from_flax=True)
    with pytest.raises(ArgumentError, match="use_safetensors=True and from_tf=True"):
        load(tmp_path, "token-classification", from_tf=True, use_safetensors=True)
    with pytest.raises(NotFound, match=r"none of model\.safetensors"):
        load(tmp_path, "token-classification", use_safetensors=True)


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
