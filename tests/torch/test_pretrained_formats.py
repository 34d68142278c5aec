"""Every golden checkpoint in every format through the classes of PyTorch: outputs, reports, errors."""

import logging
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from robertakit import AutoModelForMaskedLM, AutoModelForMultipleChoice
from robertakit import torch as family
from robertakit.errors import ArgumentError, NotFound

GOLDEN = Path(__file__).resolve().parent.parent / "golden"
FOLDERS = sorted(
    path.parent.relative_to(GOLDEN).as_posix()
    for pattern in ("checkpoints/**/expect.json", "frameworks/*/expected.safetensors")
    for path in GOLDEN.glob(pattern)
)


def load_class(class_name, folder, **arguments):
    return getattr(family, class_name).from_pretrained(folder, output_loading_info=True, **arguments)


@torch.no_grad()
def call(model, inputs):
    answer = model(**{name: torch.from_numpy(value) for name, value in inputs.items()})
    return {name: value for name, value in answer.items() if torch.is_tensor(value)}


@pytest.mark.parametrize("implementation", ["eager", "sdpa", "packed"])
@pytest.mark.parametrize("name", FOLDERS)
def test_a_checkpoint_folder_does_what_is_asked(
    name, implementation, stored_checkpoints, tmp_path, monkeypatch, caplog
):
    caplog.set_level(logging.ERROR)
    monkeypatch.chdir(tmp_path)

    def load(class_name, folder, **arguments):
        return load_class(class_name, folder, attn_implementation=implementation, **arguments)

    for entry in stored_checkpoints.entries(GOLDEN / name):
        if implementation == "packed":  # computes real tokens alone
            entry = replace(entry, real_only=True)
        stored_checkpoints.check(entry, load, call, lambda model: model.state_dict())
    assert not list(tmp_path.iterdir()), "nothing may be created"


def test_the_format_may_be_chosen(tmp_path):
    folder = tmp_path / "all"
    folder.mkdir()
    for name in ("mlm_safetensors", "mlm_tf_h5"):
        for path in (GOLDEN / "checkpoints" / name).iterdir():
            (folder / path.name).write_bytes(path.read_bytes())
    plain = family.RobertaForMaskedLM.from_pretrained(folder)
    of_tensorflow = family.RobertaForMaskedLM.from_pretrained(folder, from_tf=True)
    assert all(
        torch.equal(value, of_tensorflow.state_dict()[name]) for name, value in plain.state_dict().items()
    )
    with pytest.raises(NotFound, match=r"none of flax_model\.msgpack"):
        family.RobertaForMaskedLM.from_pretrained(folder, from_flax=True)
    (folder / "tf_model.h5").unlink()
    with pytest.raises(NotFound, match=r"none of tf_model\.h5"):
        family.RobertaForMaskedLM.from_pretrained(folder, from_tf=True)
    with pytest.raises(ArgumentError, match="from_tf=True and from_flax=True"):
        family.RobertaForMaskedLM.from_pretrained(folder, from_tf=True, from_flax=True)


def test_auto_classes_take_every_format_and_family():
    """CamemBERT has no classes of its own; fairseq's file holds the configuration, too."""
    model = AutoModelForMultipleChoice.from_pretrained(GOLDEN / "frameworks" / "tf_choice")
    assert (type(model).__name__, model.config.model_type) == ("RobertaForMultipleChoice", "camembert")
    model = AutoModelForMaskedLM.from_pretrained(GOLDEN / "frameworks" / "flax_masked_lm_sharded")
    assert (type(model).__name__, model.config.model_type) == ("XLMRobertaForMaskedLM", "xlm-roberta")
    model = AutoModelForMaskedLM.from_pretrained(GOLDEN / "checkpoints" / "fairseq_encoder_cfg")
    assert (type(model).__name__, model.config.num_labels) == ("RobertaForMaskedLM", 3)
