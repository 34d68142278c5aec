"""Wrong inputs end in one sentence, also while a function is traced, where the shapes tell."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from robertakit.errors import ArgumentError, BadShape, InputError
from robertakit.jax.inputs import kind_of, position_ids

IDS = np.array([[0, 5, 2]], np.int32)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({}, InputError, "neither input_ids nor inputs_embeds"),
        ({"input_ids": IDS, "inputs_embeds": np.zeros((1, 3, 24))}, InputError, "both input_ids"),
        ({"input_ids": IDS, "attention_mask": np.ones((1, 4))}, BadShape, "attention_mask of shape"),
        ({"input_ids": IDS, "head_mask": np.ones(3)}, BadShape, "head_mask"),
        ({"input_ids": IDS[0]}, BadShape, r"input_ids of shape \(3,\); expected \(batch, length\)"),
        ({"input_ids": IDS[:, :0]}, BadShape, "at least one token"),
        ({"input_ids": IDS * 0.5}, InputError, "input_ids of dtype float"),
        ({"input_ids": IDS, "position_ids": IDS[:, :2]}, BadShape, r"position_ids of shape \(1, 2\)"),
        ({"input_ids": IDS, "labels": IDS[0]}, BadShape, r"labels of shape \(3,\); expected \(1, 3\)"),
        ({"input_ids": IDS, "labels": IDS * 0.5}, InputError, "labels of dtype float"),
    ],
)
def test_wrong_shapes_raise_one_sentence_in_a_trace_too(models, arguments, error, words):
    module = models.build("masked-lm").module
    variables = {"params": models.build("masked-lm").params}
    with pytest.raises(error, match=words):
        module.apply(variables, **arguments)
    with pytest.raises(error, match=words):
        jax.eval_shape(module.apply, variables, **arguments)


def test_lists_are_no_arrays_to_a_module(models):
    model = models.build("model")
    with pytest.raises(InputError, match="input_ids of type list"):
        model.module.apply({"params": model.params}, [[0, 2]])


def test_choices_have_an_axis_of_their_own(models):
    model = models.build("multiple-choice")
    with pytest.raises(BadShape, match=r"expected \(batch, choices, length\)"):
        model.module.apply({"params": model.params}, IDS)
    with pytest.raises(InputError, match="neither"):
        model.module.apply({"params": model.params})


def test_an_encoder_takes_no_cache_and_leaves_encoder_states_aside(models):
    model = models.build("model")
    with pytest.raises(ArgumentError, match="past_key_values with is_decoder=False"):
        model.module.apply({"params": model.params, "cache": {"cache_index": jnp.zeros((), int)}}, IDS)
    given = {"encoder_hidden_states": np.ones((1, 3, 24), np.float32)}
    found = model(IDS, **given, use_cache=True)
    assert (found.last_hidden_state == model(IDS).last_hidden_state).all()
    assert found.past_key_values is None


def test_a_decoder_without_cross_attention_takes_no_states(models):
    model = models.build("model", is_decoder=True)
    with pytest.raises(InputError, match="without cross-attention"):
        model(IDS, encoder_hidden_states=np.ones((1, 3, 24), np.float32))


def test_positions_are_counted_over_the_ids_that_are_no_padding():
    found = position_ids(jnp.array([[1, 1, 0, 9, 1, 2]]), 1, 3)
    assert found.tolist() == [[1, 1, 5, 6, 1, 7]]
    assert found.dtype == jnp.int32


def test_kinds():
    kinds = [kind_of(value) for value in (jnp.ones(1, jnp.bfloat16), IDS, np.ones(1, bool), [1], None)]
    assert kinds == ["real", "integer", "bool", None, None]
