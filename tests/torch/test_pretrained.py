"""Weights: the table's, the seed's, a checkpoint's; loading and saving."""

import json

import numpy as np
import pytest
import torch

from robertakit import numpy as specification
from robertakit.architecture import initial_weights, parameters
from robertakit.errors import ArgumentError, NotFound, TensorMismatch
from robertakit.torch import RobertaForMaskedLM, RobertaModel, XLMRobertaModel


@pytest.mark.parametrize("tie", [True, False])
def test_state_dict_is_the_table(tiny, tie):
    config = tiny(tie_word_embeddings=tie)
    model = RobertaForMaskedLM(config)
    table = parameters(config, "masked-lm")
    state = model.state_dict()
    assert set(state) == set(table)
    assert {name: tuple(value.shape) for name, value in state.items()} == {
        name: row.shape for name, row in table.items()
    }
    assert (model.get_output_embeddings().weight is model.get_input_embeddings().weight) == tie
    assert set(RobertaModel(config).state_dict()) == set(parameters(config, "model"))
    assert set(RobertaModel(config, add_pooling_layer=False).state_dict()) == set(
        parameters(config, "model", add_pooling_layer=False)
    )


def test_initial_weights_are_the_tables_and_follow_the_seed(tiny):
    config = tiny()
    torch.manual_seed(7)
    seed = int(torch.randint(2**31 - 1, ()))
    torch.manual_seed(7)
    model = RobertaForMaskedLM(config)
    after = torch.rand(())
    for name, value in initial_weights(config, "masked-lm", seed).items():
        np.testing.assert_array_equal(model.state_dict()[name].numpy(), value, err_msg=name)
    torch.manual_seed(7)
    bare = RobertaModel(config, add_pooling_layer=False)
    assert torch.rand(()) == after  # one draw from the generator, whatever the class
    for name, value in bare.state_dict().items():
        assert torch.equal(value, model.state_dict()[f"roberta.{name}"]), name


def close(model, reference, ids):
    """The model's logits or states are those of the specification's model."""
    got = model(torch.tensor(ids))[0].detach().double().numpy()
    want = reference(ids)[0]
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-5 * max(1, np.abs(want).max()))


MLM = ["mlm_bin", "mlm_bin_sharded", "mlm_legacy_pickle_bin", "mlm_old_bin", "mlm_safetensors", "mlm_sharded",
       "mlm_bf16_safetensors", "mlm_pruned_safetensors"]  # fmt: skip


@pytest.mark.parametrize("name", MLM)
def test_a_checkpoint_gives_what_it_gives_in_numpy(golden, name):
    folder = golden / "checkpoints" / name
    model, report = RobertaForMaskedLM.from_pretrained(folder, output_loading_info=True)
    assert not model.training
    assert not report["missing_keys"] + report["mismatched_keys"] + report["error_msgs"]
    close(model, specification.load(folder, "masked-lm"), [[0, 9, 11, 4, 2]])
    bare = RobertaModel.from_pretrained(folder, add_pooling_layer=False)
    close(bare, specification.load(folder, "model", add_pooling_layer=False), [[0, 9, 11, 4, 2]])


def test_a_missing_pooler_is_drawn_from_the_seed_and_reported(golden):
    folder = golden / "checkpoints" / "mlm_safetensors"
    torch.manual_seed(3)
    model, report = RobertaModel.from_pretrained(folder, output_loading_info=True)
    after = torch.rand(())
    assert report["missing_keys"] == ["pooler.dense.bias", "pooler.dense.weight"]
    torch.manual_seed(3)
    seed = int(torch.randint(2**31 - 1, ()))
    assert torch.rand(()) == after  # one draw, as a constructor takes
    drawn = initial_weights(model.config, "model", seed)["pooler.dense.weight"]
    np.testing.assert_array_equal(model.pooler.dense.weight.detach().numpy(), drawn)


@pytest.mark.parametrize(
    ("asked", "dtype"),
    [({}, "float32"), ({"dtype": torch.bfloat16}, "bfloat16"), ({"torch_dtype": "float64"}, "float64"),
     ({"dtype": "auto"}, "bfloat16"), ({"dtype": "torch.float16", "torch_dtype": "torch.float16"}, "float16")],
)  # fmt: skip
def test_the_dtype_is_the_one_asked_for(golden, asked, dtype):
    model = RobertaForMaskedLM.from_pretrained(golden / "checkpoints" / "mlm_bf16_safetensors", **asked)
    assert {str(parameter.dtype) for parameter in model.parameters()} == {f"torch.{dtype}"}
    assert model.config.dtype == dtype
    assert model.lm_head.decoder.weight is model.roberta.embeddings.word_embeddings.weight


def test_arguments_go_where_they_belong(golden):
    folder = golden / "checkpoints" / "mlm_safetensors"
    model = RobertaModel.from_pretrained(
        folder, False, attn_implementation="eager", chunk_size_feed_forward=2
    )
    assert model.pooler is None
    assert model.config.attn_implementation == "eager"
    assert model.encoder.layer[0].chunk_size_feed_forward == 2
    given = RobertaModel.from_pretrained(folder).config
    again = RobertaModel.from_pretrained(folder, config=given, attn_implementation="sdpa")
    assert (again.config.attn_implementation, given.attn_implementation) == ("sdpa", None)
    assert RobertaModel.from_pretrained(folder.parent, subfolder=folder.name, local_files_only=True)
    assert RobertaModel.from_pretrained(folder, config=str(folder)).config == given


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"low_cpu_memory": True}, "low_cpu_memory"),
        ({"ouput_loading_info": True}, "'ouput_loading_info' of .*; expected 'output_loading_info'"),
        ({"add_pooling_layer": False}, "add_pooling_layer"),
        ({"dtype": "int8"}, "int8"),
        ({"dtype": "float16", "torch_dtype": "float32"}, "one of the two names"),
    ],
)
def test_unknown_arguments_of_loading_raise(golden, arguments, words):
    with pytest.raises(ArgumentError, match=words):
        RobertaForMaskedLM.from_pretrained(golden / "checkpoints" / "mlm_safetensors", **arguments)


def test_unknown_arguments_beside_a_config_raise(tiny, golden):
    with pytest.raises(ArgumentError, match=r"num_labels .*; .*set fields on the config itself"):
        RobertaModel.from_pretrained(golden / "checkpoints" / "mlm_safetensors", config=tiny(), num_labels=3)


def test_what_does_not_fit_raises(tiny, golden):
    folder = golden / "checkpoints" / "mlm_safetensors"
    with pytest.raises(NotFound):
        RobertaModel.from_pretrained(folder / "nowhere")
    with pytest.raises(TensorMismatch, match=r"embeddings\.word_embeddings\.weight"):
        RobertaModel.from_pretrained(folder, config=tiny())
    with pytest.raises(TensorMismatch):
        RobertaModel.from_pretrained(folder, hidden_size=48, ignore_mismatched_sizes=True)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("shards", ["5GB", "4KB"])
def test_load_of_save_is_the_model(tiny, tmp_path, dtype, shards):
    model = RobertaForMaskedLM(tiny(pruned_heads={0: [1]}, classifier_dropout=0.25)).to(getattr(torch, dtype))
    files = model.save_pretrained(tmp_path, max_shard_size=shards)
    assert ("model.safetensors" in files) == (shards == "5GB")
    stored = json.loads((tmp_path / "config.json").read_text())
    assert (stored["architectures"], stored["dtype"]) == (["RobertaForMaskedLM"], dtype)
    again = RobertaForMaskedLM.from_pretrained(tmp_path, dtype="auto")
    assert again.config.classifier_dropout == 0.25
    for name, value in model.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name
    assert model.config.architectures is None  # saving does not touch the model's own


def test_untied_weights_and_a_given_state_dict_are_saved(tiny, tmp_path):
    model = RobertaForMaskedLM(tiny(tie_word_embeddings=False))
    with torch.no_grad():
        model.lm_head.decoder.weight.add_(1)
    doubled = {name: value * 2 for name, value in model.state_dict().items()}
    model.save_pretrained(tmp_path, state_dict=doubled)
    again = RobertaForMaskedLM.from_pretrained(tmp_path)
    for name, value in doubled.items():
        assert torch.equal(again.state_dict()[name], value), name


@pytest.mark.parametrize(
    "arguments",
    [
        {"safe_serialization": False},
        {"save_peft_format": False},
        {"tokens": None},
        {"token": "x"},
        {"commit_message": "x"},
        {"max_shard_size": "many"},
    ],
)
def test_saving_refuses_what_it_does_not_do(tiny, tmp_path, arguments):
    with pytest.raises(ArgumentError, match=next(iter(arguments))):
        RobertaModel(tiny()).save_pretrained(tmp_path, **arguments)
    assert not list(tmp_path.iterdir())


def test_another_process_writes_nothing(tiny, tmp_path):
    assert RobertaModel(tiny()).save_pretrained(tmp_path / "new", is_main_process=False) == []
    assert not (tmp_path / "new").exists()


def test_a_subclass_with_arguments_of_its_own_loads(golden):
    class Scaled(RobertaModel):
        def __init__(self, config, scale=1.0):
            super().__init__(config, add_pooling_layer=False)
            self.scale = scale

    assert Scaled.from_pretrained(golden / "checkpoints" / "mlm_safetensors", scale=2.5).scale == 2.5


def test_an_xlm_roberta_checkpoint_keeps_its_kind(golden):
    folder = golden / "fill_mask" / "xlm-roberta"
    assert type(XLMRobertaModel.from_pretrained(folder).config).__name__ == "XLMRobertaConfig"
