"""What every model is beside its call: dtypes, attributes, the two families."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from robertakit import XLMRobertaConfig
from robertakit import jax as family
from robertakit.architecture import HEADS
from robertakit.errors import ArgumentError

IDS = np.array([[0, 9, 8, 2], [0, 7, 2, 1]], np.int32)


def close(one, other, limit):
    return float(np.abs(np.asarray(one) - np.asarray(other)).max()) <= limit


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_a_dtype_is_the_computations_and_not_the_parameters(tiny, dtype):
    model = family.FlaxRobertaModel(tiny(), dtype=dtype)
    assert {leaf.dtype.name for leaf in jax.tree.leaves(model.params)} == {"float32"}
    assert model(IDS).last_hidden_state.dtype == dtype
    assert close(model(IDS).last_hidden_state, family.FlaxRobertaModel(tiny())(IDS).last_hidden_state, 0.05)


def test_float64_goes_all_the_way(tiny):
    with jax.enable_x64(True):
        model = family.FlaxRobertaModel(tiny(), dtype="float64")
        assert {leaf.dtype.name for leaf in jax.tree.leaves(model.params)} == {"float64"}
        assert model(IDS).last_hidden_state.dtype == np.float64
    with pytest.raises(ArgumentError, match="jax_enable_x64"):
        family.FlaxRobertaModel(tiny(), dtype="float64")


def test_xlm_roberta_is_roberta_with_another_configuration(tiny):
    for head in HEADS:
        kind = getattr(family, f"FlaxXLMRoberta{HEADS[head].class_suffix}")
        assert kind.config_class is XLMRobertaConfig
        assert kind.module_class is getattr(family, f"FlaxRoberta{HEADS[head].class_suffix}").module_class
        assert kind.base_model_prefix == "roberta"


def test_what_people_ask_of_a_model(tiny):
    words = family.FlaxRobertaForMaskedLM(tiny())
    writer = family.FlaxRobertaForCausalLM(tiny(is_decoder=True))
    assert (words.framework, words.main_input_name) == ("flax", "input_ids")
    assert words.base_model_prefix == "roberta"
    assert words.input_shape == (1, 1)
    assert not words.can_generate()
    assert writer.can_generate()
    assert words.dtype == jnp.float32
    assert jnp.array_equal(words.key, jax.random.PRNGKey(0))
    again = type(words).from_config(words.config, seed=4)
    assert again.seed == 4
    assert not again.contents.table.keys() - words.contents.table.keys()
