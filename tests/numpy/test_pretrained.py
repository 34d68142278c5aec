"""Building a model: weights, ties, dtypes, seeds; flags of a call."""

import copy

import numpy as np
import pytest

import robertakit.numpy as family
from robertakit import RobertaConfig
from robertakit.architecture import initial_weights
from robertakit.checkpoints import save_weights
from robertakit.errors import ArgumentError, ConfigError, NotFound, TensorMismatch
from robertakit.outputs import BaseModelOutputWithPoolingAndCrossAttentions, MaskedLMOutput

TINY = RobertaConfig(
    vocab_size=11,
    hidden_size=8,
    num_hidden_layers=1,
    num_attention_heads=2,
    intermediate_size=5,
    type_vocab_size=1,
)


def test_new_weights_come_from_the_seed():
    ids = [[0, 5, 2]]
    first, same, other = (family.RobertaModel(TINY, seed=seed)(ids)[0] for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, same)
    assert not np.array_equal(first, other)


def test_the_decoder_is_tied_to_the_word_embeddings_or_not():
    weights = initial_weights(TINY, "masked-lm", seed=0)
    model = family.RobertaForMaskedLM(TINY, weights=weights)
    words, decoder = "roberta.embeddings.word_embeddings.weight", "lm_head.decoder.weight"
    assert model.weights[decoder].bits is model.weights[words].bits
    untied = RobertaConfig(**{**TINY.to_dict(), "tie_word_embeddings": False})
    with pytest.raises(TensorMismatch, match=r"missing lm_head\.decoder\.weight"):
        family.RobertaForMaskedLM(untied, weights=weights)
    free = family.RobertaForMaskedLM(untied, weights=weights | {decoder: np.zeros((11, 8), np.float32)})
    np.testing.assert_allclose(free([[0, 5]]).logits, np.broadcast_to(weights["lm_head.bias"], (1, 2, 11)))


def test_missing_and_misshapen_weights_are_all_named():
    weights = initial_weights(TINY, "model", seed=0)
    weights.pop("pooler.dense.bias")
    weights["encoder.layer.0.output.dense.weight"] = np.zeros((8, 4), np.float32)
    with pytest.raises(
        TensorMismatch, match=r"missing pooler\.dense\.bias; misshapen .*\(8, 4\) instead of \(8, 5\)"
    ):
        family.RobertaModel(TINY, weights=weights)
    weights.pop("pooler.dense.weight")
    weights["encoder.layer.0.output.dense.weight"] = np.zeros((8, 5), np.float32)
    assert family.RobertaModel(TINY, add_pooling_layer=False, weights=weights)([[0]]).pooler_output is None


@pytest.mark.parametrize("dtype", ["float16", "int32", "bfloat16", np.float16, 3, "torch.bfloat16"])
def test_a_dtype_that_is_not_computed_in(dtype):
    with pytest.raises(ArgumentError, match="expected float32 or float64"):
        family.RobertaModel(TINY, dtype=dtype)


def test_the_configuration_is_validated_again_when_a_model_is_built():
    config = copy.copy(TINY)
    config.num_attention_heads = 3
    with pytest.raises(ConfigError, match="hidden_size=8 and num_attention_heads=3"):
        family.RobertaModel(config)


def test_flags_of_a_call_win_over_the_configuration():
    config = RobertaConfig(**{**TINY.to_dict(), "output_hidden_states": True, "return_dict": False})
    model = family.RobertaModel(config)
    plain = model([[0, 5]])
    assert isinstance(plain, tuple)
    assert len(plain) == 3
    output = model([[0, 5]], return_dict=True, output_hidden_states=False, output_attentions=True)
    assert isinstance(output, BaseModelOutputWithPoolingAndCrossAttentions)
    assert list(output) == ["last_hidden_state", "pooler_output", "attentions"]


def test_the_tuple_of_a_bare_model_keeps_the_place_of_its_pooler():
    model = family.RobertaModel(TINY, add_pooling_layer=False)
    assert [item is None for item in model([[0, 5]], return_dict=False)] == [False, True]


def test_a_cache_is_given_by_decoders_that_are_asked():
    config = RobertaConfig(**{**TINY.to_dict(), "is_decoder": True})
    model = family.RobertaForCausalLM(config)
    assert "past_key_values" in model([[0, 5]])
    assert "past_key_values" not in model([[0, 5]], use_cache=False)
    assert "past_key_values" not in model([[0, 5]], labels=[[0, 5]])
    assert "past_key_values" not in family.RobertaForCausalLM(TINY)([[0, 5]], use_cache=True)


def test_from_pretrained_on_a_class(tmp_path):
    weights = initial_weights(TINY, "masked-lm", seed=3)
    save_weights(tmp_path, weights, config_json=TINY.to_json_string())
    model = family.RobertaForMaskedLM.from_pretrained(tmp_path)
    output = model([[0, 5]])
    assert isinstance(output, MaskedLMOutput)
    np.testing.assert_array_equal(
        output.logits, family.RobertaForMaskedLM(TINY, weights=weights)([[0, 5]]).logits
    )
    assert model.config == TINY
    assert model.config.name_or_path == str(tmp_path)
    own = copy.copy(TINY)
    own.hidden_act = "relu"
    assert family.RobertaForMaskedLM.from_pretrained(tmp_path, config=own).config is own
    with pytest.raises(ArgumentError, match="config, and hidden_act"):
        family.RobertaForMaskedLM.from_pretrained(tmp_path, config=own, hidden_act="gelu")
    with pytest.raises(ArgumentError, match="unknown argument 'low_cpu_mem'"):
        family.RobertaForMaskedLM.from_pretrained(tmp_path, low_cpu_mem=True)
    with pytest.raises(
        ArgumentError, match=r"'strct' of RobertaForMaskedLM.from_pretrained; expected 'strict'"
    ):
        family.RobertaForMaskedLM.from_pretrained(tmp_path, strct=False)


def test_every_argument_of_from_pretrained_does_something(tmp_path):
    weights = initial_weights(TINY, "masked-lm", seed=3)
    save_weights(tmp_path / "saved", weights, config_json=TINY.to_json_string(), variant="fp16")
    own = RobertaConfig(**{**TINY.to_dict(), "hidden_act": "relu"})
    own.save_pretrained(tmp_path / "own")

    def load(**arguments):
        return family.load(tmp_path / "saved", "masked-lm", **{"variant": "fp16"} | arguments)

    assert load(config=tmp_path / "own").config.hidden_act == "relu"
    assert load(hidden_act="relu").config.hidden_act == "relu"
    for names in ({"dtype": "float64"}, {"torch_dtype": "torch.float64"}, {"dtype": float}):
        assert load(**names).dtype == np.float64
    assert load(dtype="auto").dtype == load().dtype == load(dtype=None).dtype == np.float32
    with pytest.raises(ArgumentError, match="dtype='float64' and torch_dtype='float32'"):
        load(dtype="float64", torch_dtype="float32")
    with pytest.raises(NotFound, match=r"model\.safetensors"):
        load(variant=None)
    with pytest.raises(NotFound, match=r"none of pytorch_model\.fp16\.bin"):
        load(use_safetensors=False)
    with pytest.raises(NotFound, match="no subfolder 'other'"):
        load(subfolder="other")


def test_weights_are_read_when_they_are_used_and_not_kept(tmp_path):
    weights = initial_weights(TINY, "masked-lm", seed=3)
    save_weights(tmp_path, weights, config_json=TINY.to_json_string())
    model = family.RobertaForMaskedLM.from_pretrained(tmp_path)
    tensor = model.weights["lm_head.dense.weight"]
    assert isinstance(tensor.bits.base, np.memmap) or not tensor.bits.flags.owndata
