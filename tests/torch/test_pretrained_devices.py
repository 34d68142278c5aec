"""Where the parts of a model go: devices, and maps of them. Several devices: `test_peers_training.py`."""

import sys

import pytest
import torch
from torch import nn

from robertakit.errors import ArgumentError, DependencyError, InputError
from robertakit.torch import RobertaForMaskedLM
from robertakit.torch.device_maps import Placement, placement

IDS = torch.tensor([[0, 5, 9, 2]])


@pytest.fixture
def without_accelerate(monkeypatch):
    """As if accelerate were not installed."""
    monkeypatch.setitem(sys.modules, "accelerate", None)


@pytest.fixture
def masked_lm(tiny, tmp_path):
    """A checkpoint, and its model."""
    model = RobertaForMaskedLM(tiny()).eval()
    model.save_pretrained(tmp_path / "mlm")
    return tmp_path / "mlm", model


@pytest.mark.parametrize(
    "device_map",
    ["cpu", "auto", "balanced", "balanced_low_0", "sequential", torch.device("cpu"), {"": "cpu"},
     {"roberta": "cpu", "lm_head": torch.device("cpu")}],
)  # fmt: skip
def test_one_device_needs_nobody(masked_lm, device_map, monkeypatch):
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    folder, source = masked_lm
    model = RobertaForMaskedLM.from_pretrained(folder, device_map=device_map)
    assert {tensor.device.type for tensor in model.state_dict().values()} == {"cpu"}
    assert {str(device) for device in model.hf_device_map.values()} == {"cpu"}
    assert torch.equal(model(IDS).logits, source(IDS).logits)
    assert model.lm_head.decoder.weight is model.get_input_embeddings().weight
    model.save_pretrained(folder.parent / "again")
    assert not hasattr(RobertaForMaskedLM.from_pretrained(folder), "hf_device_map")


def test_a_device_that_is_not_there_is_one_sentence(masked_lm):
    for device in ("cuda:7", 7, torch.device("cuda", 7), {"": "cuda:7"}):
        with pytest.raises(InputError, match="on which PyTorch computes nothing here"):
            RobertaForMaskedLM.from_pretrained(masked_lm[0], device_map=device)
    with pytest.raises(InputError, match="the device 'nowhere'"):
        RobertaForMaskedLM.from_pretrained(masked_lm[0], device_map="nowhere")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"device_map": {"roberta": "cpu"}}, "without a device for lm_head.bias"),
        ({"device_map": {"bert": "cpu", "": "cpu"}}, "bert, which RobertaForMaskedLM has not"),
        ({"device_map": {"roberta": "disk", "lm_head": "cpu"}}, "expected offload_folder"),
        ({"device_map": "cpu", "offload_folder": "x"}, "offload_folder and device_map='cpu'"),
        ({"device_map": "cpu", "max_memory": {"cpu": "1GB"}}, "max_memory and device_map='cpu'"),
        ({"device_map": {"": "cpu"}, "offload_buffers": True}, "offload_buffers"),
    ],
)
def test_maps_that_do_not_say_all_are_refused(masked_lm, arguments, words):
    with pytest.raises(ArgumentError, match=words):
        RobertaForMaskedLM.from_pretrained(masked_lm[0], **arguments)


@pytest.mark.usefixtures("without_accelerate")
@pytest.mark.parametrize(
    "arguments",
    [
        {"device_map": {"roberta": "disk", "lm_head": "cpu"}},
        {"device_map": "auto", "max_memory": {"cpu": "9KB"}},
    ],
)
def test_several_devices_need_accelerate(masked_lm, tmp_path, arguments):
    with pytest.raises(DependencyError, match="pip install accelerate"):
        RobertaForMaskedLM.from_pretrained(masked_lm[0], offload_folder=tmp_path / "off", **arguments)


def test_the_innermost_part_says_where_a_tensor_is_made():
    placed = Placement({"": "cpu", "a": "meta", "a.b": "disk", "ab.weight": "meta"})
    found = {name: placed.device_of(name).type for name in ("x", "a.c", "a.b.c", "ab.c", "ab.weight")}
    assert found == {"x": "cpu", "a.c": "meta", "a.b.c": "cpu", "ab.c": "cpu", "ab.weight": "meta"}


class Machine:
    """Stands for a machine with accelerators of so much free memory."""

    def __init__(self, monkeypatch, count, free):
        monkeypatch.setattr(torch.accelerator, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.accelerator, "device_count", lambda: count)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (free, free))
        monkeypatch.setattr("robertakit.torch.device_maps._check_device", lambda device: None)


def test_automatic_takes_the_one_accelerator_where_the_model_fits(monkeypatch):
    model = nn.Linear(10, 10)  # 440 bytes
    Machine(monkeypatch, 1, 500)
    placed = placement(model, "auto", unsplit=[])
    assert placed is not None
    assert placed.devices == {"": 0}


@pytest.mark.usefixtures("without_accelerate")
@pytest.mark.parametrize(("count", "free"), [(1, 450), (2, 10_000)])
def test_automatic_asks_accelerate_where_it_does_not(monkeypatch, count, free):
    Machine(monkeypatch, count, free)
    with pytest.raises(DependencyError, match="accelerate"):
        placement(nn.Linear(10, 10), "auto", unsplit=[])


def test_a_map_to_the_meta_device_reads_nothing(masked_lm):
    model = RobertaForMaskedLM.from_pretrained(masked_lm[0], device_map="meta")
    assert all(tensor.is_meta for tensor in model.state_dict().values())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("device_map", [0, "cuda", "auto", {"": "cuda:0"}, torch.device("cuda", 0)])
def test_on_a_gpu(masked_lm, device_map):
    folder, source = masked_lm
    model = RobertaForMaskedLM.from_pretrained(folder, device_map=device_map, dtype="float64")
    assert {str(tensor.device) for tensor in model.state_dict().values()} == {"cuda:0"}
    torch.testing.assert_close(model(IDS.cuda()).logits.cpu(), source.double()(IDS).logits, rtol=0, atol=1e-9)
    with torch.device("cuda"):
        inside = RobertaForMaskedLM.from_pretrained(folder, dtype=torch.bfloat16)
        torch.manual_seed(1)
        drawn = RobertaForMaskedLM(source.config)
    assert {str(tensor.device) for tensor in inside.parameters()} == {"cuda:0"}
    assert drawn.lm_head.decoder.weight is drawn.get_input_embeddings().weight
    torch.manual_seed(1)
    on_cpu = RobertaForMaskedLM(source.config)
    assert all(
        torch.equal(value.cpu(), on_cpu.state_dict()[name]) for name, value in drawn.state_dict().items()
    )
    drawn.resize_token_embeddings(60)
    assert drawn.lm_head.bias.device.type == "cuda"
    drawn.save_pretrained(folder.parent / "gpu")
    again = RobertaForMaskedLM.from_pretrained(folder.parent / "gpu")
    assert torch.equal(again.lm_head.decoder.weight, drawn.lm_head.decoder.weight.cpu())
