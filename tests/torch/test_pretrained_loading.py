"""Where weights come from: the arguments of `from_pretrained`, state dicts of every release, dtypes, memory."""

import copy
import logging
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, load_model, save_model
from torch import nn

from robertakit import RobertaConfig
from robertakit import torch as family
from robertakit.architecture import HEADS
from robertakit.checkpoints import StoredTensor
from robertakit.errors import ArgumentError, ConfigError, InputError, NotFound, TensorMismatch
from robertakit.torch import RobertaForMaskedLM, RobertaForSequenceClassification, RobertaModel
from robertakit.torch.values import copy_into


def kind_of(head):
    return getattr(family, f"Roberta{HEADS[head].class_suffix}")


def equal(model, other):
    ours, theirs = model.state_dict(), other.state_dict()
    return list(ours) == list(theirs) and all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.fixture
def masked_lm(tiny, tmp_path):
    """A checkpoint of the family, and its model."""
    model = RobertaForMaskedLM(tiny()).eval()
    model.save_pretrained(tmp_path / "mlm")
    return tmp_path / "mlm", model


@pytest.mark.parametrize("head", HEADS)
def test_every_head_comes_back(tiny, tmp_path, head):
    model = kind_of(head)(tiny(is_decoder=head == "causal-lm")).eval()
    model.save_pretrained(tmp_path)
    again, report = kind_of(head).from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report.values())
    assert equal(again, model)
    assert not again.training
    assert again.name_or_path == again.config.name_or_path == str(tmp_path)


# State dicts ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("dialect", ["plain", "ties once", "old", "only the copies"])
def test_a_state_dict_of_any_release_is_taken(tiny, head, dialect):
    torch.manual_seed(1)
    source = kind_of(head)(tiny())
    state = source.state_dict()
    prefix = "" if head == "model" else "roberta."
    if dialect == "ties once":
        state = {name: value for name, value in state.items() if "lm_head.decoder" not in name}
    elif dialect == "only the copies" and "lm_head.decoder.weight" in state:
        del state["roberta.embeddings.word_embeddings.weight"], state["lm_head.bias"]
    elif dialect == "old":
        state = {
            name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
                "LayerNorm.bias", "LayerNorm.beta"
            ): value
            for name, value in state.items()
        }
        state[f"{prefix}embeddings.position_ids"] = torch.arange(20)[None]
    for assign in (False, True):
        model = kind_of(head)(tiny())
        assert not equal(model, source)
        keys = list(state)
        assert model.load_state_dict(state, strict=True, assign=assign)
        assert equal(model, source)
        assert list(state) == keys
        if "lm_head.decoder.weight" in model.state_dict():
            assert model.lm_head.decoder.weight is model.get_input_embeddings().weight
            assert model.lm_head.decoder.bias is model.lm_head.bias


def test_strict_stays_strict(tiny):
    model = RobertaForMaskedLM(tiny())
    state = model.state_dict()
    with pytest.raises(RuntimeError, match="Unexpected"):
        model.load_state_dict(state | {"roberta.more": torch.zeros(1)})
    del state["lm_head.dense.bias"]
    with pytest.raises(RuntimeError, match=r"Missing.*lm_head\.dense\.bias"):
        model.load_state_dict(state)


def test_a_copy_with_other_values_is_told(tiny, caplog):
    model = RobertaForMaskedLM(tiny())
    state = {name: value.clone() for name, value in model.state_dict().items()}
    state["lm_head.decoder.weight"] += 1
    state["lm_head.decoder.bias"] += 1
    words = state["roberta.embeddings.word_embeddings.weight"]
    model.load_state_dict(state)
    assert torch.equal(model.lm_head.decoder.weight, words)
    assert torch.equal(model.lm_head.bias, state["lm_head.decoder.bias"])  # the one that computes
    assert "lm_head.decoder.weight has other values" in caplog.text
    assert "lm_head.bias has other values" in caplog.text
    loaded = RobertaForMaskedLM.from_pretrained(None, config=model.config, state_dict=state)
    assert equal(loaded, model)
    with torch.device("meta"):
        empty = RobertaForMaskedLM(tiny())
    empty.load_state_dict(empty.state_dict())


def test_a_model_inside_a_plain_module_takes_old_state_dicts_too(tiny):
    class Around(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = RobertaForMaskedLM(tiny())

    source = Around()
    state = source.state_dict() | {"inner.roberta.embeddings.position_ids": torch.arange(20)}
    del state["inner.lm_head.decoder.bias"]
    module = Around()
    module.load_state_dict(state)
    assert equal(module.inner, source.inner)


def test_one_name_of_what_is_tied_is_enough_and_safetensors_own_loading_agrees(tiny, tmp_path):
    """`safetensors.torch.load_model`, and so accelerate's `load_state`, wants to be told of the names left out."""
    model = RobertaForMaskedLM(tiny())
    save_model(model, tmp_path / "model.safetensors")
    other = RobertaForMaskedLM(tiny())
    assert load_model(other, tmp_path / "model.safetensors") == (set(), [])
    stored = load_file(tmp_path / "model.safetensors")
    left_out = set(model.state_dict()) - set(stored)
    assert len(left_out) == 2
    assert RobertaForMaskedLM(tiny()).load_state_dict(stored) == ([], [])
    found = RobertaForMaskedLM(tiny()).load_state_dict(stored, strict=False)
    assert set(found.missing_keys) == left_out
    assert all(torch.equal(a, b) for a, b in zip(other.parameters(), model.parameters(), strict=True))


def test_a_given_state_dict_is_loaded_in_place_of_the_files(masked_lm):
    folder, source = masked_lm
    doubled = {name: value * 2 for name, value in source.state_dict().items()}
    model = RobertaForMaskedLM.from_pretrained(folder, state_dict=doubled)
    assert torch.equal(model.lm_head.dense.weight, source.lm_head.dense.weight * 2)
    alone = RobertaForMaskedLM.from_pretrained(None, config=source.config, state_dict=doubled)
    assert equal(alone, model)
    assert alone.lm_head.dense.weight.data_ptr() != doubled["lm_head.dense.weight"].data_ptr()
    with pytest.raises(TensorMismatch, match="the checkpoint in state_dict does not fit"):
        RobertaForMaskedLM.from_pretrained(None, config=source.config, state_dict={})
    for arguments in ({}, {"config": source.config}, {"state_dict": doubled}):
        with pytest.raises(ArgumentError, match="None is for config and state_dict"):
            RobertaForMaskedLM.from_pretrained(None, **arguments)


# Arguments -------------------------------------------------------------------------------------------------------


def test_names_of_tensors_may_be_mapped(masked_lm, tmp_path):
    folder, source = masked_lm
    state = {f"module.model.{name}": value for name, value in source.state_dict().items()}
    with pytest.raises(TensorMismatch, match="strict=False takes it off"):
        RobertaForMaskedLM.from_pretrained(folder, state_dict=state)
    mapped = RobertaForMaskedLM.from_pretrained(
        folder, state_dict=state, key_mapping={r"^module\.model\.": ""}
    )
    assert equal(mapped, source)
    with pytest.raises(ArgumentError, match="two tensors 'x'"):
        RobertaForMaskedLM.from_pretrained(folder, key_mapping={".*LayerNorm.*": "x"})
    with pytest.raises(ArgumentError, match="regular expressions"):
        RobertaForMaskedLM.from_pretrained(folder, key_mapping={"(": ""})


def test_check_inputs_is_asked_of_all_parts(masked_lm):
    ids = torch.tensor([[0, 5, 2]])
    model = RobertaForMaskedLM.from_pretrained(masked_lm[0])
    assert model.check_inputs
    assert model.roberta.check_inputs
    with pytest.raises(InputError):
        model(ids, token_type_ids=torch.full((1, 3), 4))
    trusting = RobertaForMaskedLM.from_pretrained(masked_lm[0], check_inputs=False)
    assert not trusting.roberta.check_inputs
    with pytest.raises(IndexError):  # PyTorch's own, where it looks
        trusting(ids, token_type_ids=torch.full((1, 3), 4))
    trusting.check_inputs = True
    assert trusting.roberta.check_inputs


@pytest.mark.parametrize(
    "arguments",
    [
        {"quantization_config": {"load_in_8bit": True}},
        {"load_in_8bit": True},
        {"load_in_4bit": True},
        {"gguf_file": "x.gguf"},
        {"tp_plan": "auto"},
        {"tp_size": 2},
        {"device_mesh": "mesh"},
        {"adapter_kwargs": {"token": "x"}},
        {"adapter_name": "x"},
        {"use_kernels": True},
        {"kernel_config": "x"},
        {"code_revision": "x"},
        {"mirror": "tuna"},
        {"offload_state_dict": True},
        {"_fast_init": False},
        {"trust_remote_code": True},
        {"proxies": {"https": "x"}},
        {"max_memory": {"cpu": "1GB"}},
        {"offload_folder": "x"},
        {"offload_buffers": True},
        {"from_tf": True, "from_flax": True},
    ],
)
def test_what_is_documented_and_not_done_says_what_to_do(masked_lm, arguments):
    with pytest.raises(ArgumentError, match=next(iter(arguments))):
        RobertaForMaskedLM.from_pretrained(masked_lm[0], **arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        {"weights_only": False},
        {"weights_only": True},
        {"low_cpu_mem_usage": True},
        {"low_cpu_mem_usage": False},
        {
            "trust_remote_code": False,
            "quantization_config": None,
            "load_in_8bit": False,
            "adapter_kwargs": {},
            "_fast_init": True,
        },
        {"use_safetensors": True, "local_files_only": True, "force_download": True, "resume_download": True},
    ],
)
def test_what_asks_for_nothing_else_gives_the_same(masked_lm, arguments):
    torch.manual_seed(4)
    model = RobertaForMaskedLM.from_pretrained(masked_lm[0], **arguments)
    assert equal(model, masked_lm[1])
    after = torch.rand(())
    torch.manual_seed(4)
    torch.randint(2**31 - 1, ())
    assert torch.rand(()) == after


def test_where_files_are_looked_for(masked_lm, tmp_path):
    folder, source = masked_lm
    with pytest.raises(NotFound):
        RobertaForMaskedLM.from_pretrained(folder, variant="fp16")
    source.save_pretrained(
        folder, variant="fp16", state_dict={n: t + 1 for n, t in source.state_dict().items()}
    )
    model = RobertaForMaskedLM.from_pretrained(folder.parent, subfolder="mlm", variant="fp16")
    assert torch.equal(model.lm_head.dense.weight, source.lm_head.dense.weight + 1)
    with pytest.raises(NotFound):
        RobertaForMaskedLM.from_pretrained(folder, from_tf=True)
    with pytest.raises(NotFound):
        RobertaForMaskedLM.from_pretrained(folder, use_safetensors=False)


def test_the_configuration_is_the_callers_and_not_changed(masked_lm, tiny):
    folder, _ = masked_lm
    given = tiny(attention_probs_dropout_prob=0.5)
    before = given.to_dict()
    model = RobertaForMaskedLM.from_pretrained(
        folder, config=given, attn_implementation="eager", dtype="float64"
    )
    assert given.to_dict() == before
    assert model.config.attention_probs_dropout_prob == 0.5
    assert model.config.attn_implementation == "eager"
    with pytest.raises(ConfigError, match="attn_implementation='flash_attention_2'"):
        RobertaForMaskedLM.from_pretrained(folder, config=given, attn_implementation="flash_attention_2")
    with pytest.raises(ConfigError, match="attn_implementation='flash_attention_2'"):
        RobertaForMaskedLM.from_pretrained(folder, attn_implementation="flash_attention_2")


def test_a_new_head_is_announced_once(masked_lm, caplog):
    caplog.set_level(logging.WARNING)
    RobertaForSequenceClassification.from_pretrained(masked_lm[0])
    assert len(caplog.records) == 1
    assert "classifier.dense.bias" in caplog.text


@pytest.mark.parametrize("given", [{}, {"dtype": "float16"}, {"torch_dtype": torch.float64}])
def test_a_model_is_made_of_a_configuration_alone(tiny, given):
    config = tiny(dtype="bfloat16")
    model = RobertaModel.from_config(config, attn_implementation="sdpa", add_pooling_layer=False, **given)
    expected = {"dtype": torch.float16, "torch_dtype": torch.float64}
    assert model.dtype == next((expected[name] for name in given), torch.bfloat16)
    assert model.pooler is None
    assert model.config is config
    assert config.attn_implementation == "sdpa"
    assert RobertaModel._from_config(tiny()).dtype == torch.float32
    with pytest.raises(ConfigError):
        RobertaModel.from_config(tiny(), attn_implementation="magic")
    with pytest.raises(ArgumentError, match="one of the two names"):
        RobertaModel.from_config(tiny(), dtype="float16", torch_dtype="float32")


# The meta device, other devices ------------------------------------------------------------------------------------


@pytest.mark.parametrize("head", HEADS)
def test_on_the_meta_device_a_model_has_shapes_alone(tiny, head):
    state = torch.get_rng_state()
    with torch.device("meta"):
        model = kind_of(head)(tiny())
    assert all(tensor.is_meta for tensor in model.state_dict().values())
    real = kind_of(head)(tiny())
    assert {n: t.shape for n, t in model.state_dict().items()} == {
        n: t.shape for n, t in real.state_dict().items()
    }
    model.to_empty(device="cpu")
    if head.endswith("lm"):
        assert model.lm_head.decoder.weight is model.get_input_embeddings().weight
    model.load_state_dict(real.state_dict())
    assert equal(model, real)
    del state


def test_an_empty_model_can_be_drawn(tiny):
    torch.manual_seed(3)
    real = RobertaForMaskedLM(tiny())
    torch.manual_seed(3)
    with torch.device("meta"):
        model = RobertaForMaskedLM(tiny())
    model.init_weights()
    assert next(model.parameters()).is_meta
    model.to_empty(device="cpu")
    model.init_weights()
    assert equal(model, real)


def test_loading_on_the_meta_device_looks_and_does_not_read(masked_lm):
    with torch.device("meta"):
        model, report = RobertaForMaskedLM.from_pretrained(masked_lm[0], output_loading_info=True)
        assert all(tensor.is_meta for tensor in model.state_dict().values())
        assert not any(report.values())
        with pytest.raises(TensorMismatch):
            RobertaForMaskedLM.from_pretrained(masked_lm[0], hidden_size=32)
    with pytest.raises(ArgumentError, match="on the meta device, without values"):
        model.save_pretrained(masked_lm[0].parent / "new")
    assert not (masked_lm[0].parent / "new").exists()
    model.to_empty(device="cpu").init_weights()
    assert torch.equal(model.lm_head.layer_norm.weight, torch.ones(16))
    assert model.get_input_embeddings().weight.std() > 0.2


def test_inside_a_device_context_the_model_is_on_the_device(masked_lm):
    with torch.device("cpu"):
        assert equal(RobertaForMaskedLM.from_pretrained(masked_lm[0]), masked_lm[1])


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_device_map_wins_over_the_context(masked_lm, dtype):
    with torch.device("meta"):
        model = RobertaForMaskedLM.from_pretrained(masked_lm[0], device_map="cpu", dtype=dtype)
    assert equal(model, copy.deepcopy(masked_lm[1]).to(getattr(torch, dtype)))


def test_the_default_dtype_is_the_one_that_new_models_have(tiny):
    torch.set_default_dtype(torch.float64)
    try:
        torch.manual_seed(2)
        wide = RobertaForMaskedLM(tiny())
    finally:
        torch.set_default_dtype(torch.float32)
    torch.manual_seed(2)
    assert wide.dtype == torch.float64
    assert equal(wide.float(), RobertaForMaskedLM(tiny()))


MOVES = {
    "to": lambda model: model.to(torch.float64),
    "half": lambda model: model.half(),
    "bfloat16": lambda model: model.bfloat16(),
    "meta": lambda model: model.to("meta"),
    "to_empty": lambda model: model.to_empty(device="cpu"),
    "deepcopy": copy.deepcopy,
}


@pytest.mark.parametrize("move", MOVES)
def test_what_is_tied_stays_tied(tiny, move):
    model = MOVES[move](RobertaForMaskedLM(tiny()))
    assert model.lm_head.decoder.weight is model.roberta.embeddings.word_embeddings.weight
    assert model.lm_head.decoder.bias is model.lm_head.bias


# Values ------------------------------------------------------------------------------------------------------------


def bits_of_bfloat16(values):
    return StoredTensor("BF16", (np.asarray(values, np.float32).view(np.uint32) >> 16).astype("<u2"))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("stored", ["F16", "BF16", "F32", "F64"])
def test_values_are_converted_as_pytorch_converts_them(stored, dtype):
    values = np.random.default_rng(0).standard_normal((3, 300_001)).astype(np.float32)
    half = {"F16": np.float16, "F32": np.float32, "F64": np.float64}
    tensor = (
        bits_of_bfloat16(values) if stored == "BF16" else StoredTensor(stored, values.astype(half[stored]))
    )
    source = torch.tensor(tensor.read(np.float64))
    for target in (torch.empty(3, 300_001, dtype=dtype), torch.empty(300_001, 3, dtype=dtype).T):
        copy_into(target, tensor)
        assert torch.equal(target, source.to(dtype))
    turned = StoredTensor(tensor.dtype, np.asfortranarray(tensor.bits))
    target = torch.empty(3, 300_001, dtype=dtype)
    copy_into(target, turned)
    assert torch.equal(target, source.to(dtype))


def test_a_value_that_float16_cannot_hold_is_an_error():
    target = torch.empty(3, dtype=torch.float16)
    copy_into(target, StoredTensor("F32", np.array([np.inf, -65519.0, 1.0], np.float32)))
    assert target.tolist() == [np.inf, -65504.0, 1.0]
    with pytest.raises(TensorMismatch, match="70000, which float16 cannot hold"):
        copy_into(target, StoredTensor("F32", np.array([7e4, 1.0, 2.0], np.float32)))
    with pytest.raises(TensorMismatch, match="float16 cannot hold"):
        copy_into(target, bits_of_bfloat16([1.0, 2.0, 1e9]))


def test_loading_imports_no_compiler(masked_lm):
    code = (
        "import sys, torch\nfrom robertakit import RobertaForMaskedLM\n"
        "before = set(sys.modules)\n"
        f"RobertaForMaskedLM.from_pretrained({str(masked_lm[0])!r})\n"
        "print(*(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"sympy", "torch._dynamo", "torch._inductor", "torch._refs"} & set(done.stdout.split())


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc tells it on Linux")
@pytest.mark.parametrize(
    ("sizes", "arguments"),
    [
        ({"vocab_size": 60_000, "hidden_size": 512, "num_hidden_layers": 1}, ""),  # one large tensor
        (
            {"vocab_size": 99, "hidden_size": 256, "num_hidden_layers": 14},
            ", dtype='bfloat16'",
        ),  # many small ones
    ],
)
def test_no_weight_is_in_memory_twice(tmp_path, sizes, arguments):
    config = RobertaConfig(**sizes, num_attention_heads=8, intermediate_size=4096)
    RobertaForMaskedLM(config).save_pretrained(tmp_path)
    code = (
        "import re, torch\nfrom pathlib import Path\nfrom robertakit import RobertaForMaskedLM\n"
        "import robertakit.checkpoints.safetensors\n"
        "peak = lambda: int(re.search(r'VmHWM:\\s+(\\d+)', Path('/proc/self/status').read_text())[1]) * 1024\n"
        "before = peak()\n"
        f"model = RobertaForMaskedLM.from_pretrained({str(tmp_path)!r}{arguments})\n"
        "print(peak() - before, model.get_memory_footprint())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    taken, size = map(int, done.stdout.split())
    stored = (tmp_path / "model.safetensors").stat().st_size
    assert taken < size + stored / 2  # reading all of the file first would take both
