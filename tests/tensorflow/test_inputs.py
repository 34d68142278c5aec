"""What a call means: positions, masks, and what is refused, in eager use and while a graph is made."""

import numpy as np
import pytest
import tensorflow as tf

from robertakit import batch
from robertakit.errors import ArgumentError, BadShape, InputError, TooLong
from robertakit.tensorflow.encoder import TFRobertaMainLayer
from robertakit.tensorflow.inputs import default_positions, kind_of, position_ids

IDS = np.array([[0, 5, 6, 2], [0, 7, 2, 1]])


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint8"])
@pytest.mark.parametrize("pad", [0, 1, 5])
def test_positions_are_counted_as_in_numpy(pad, dtype):
    found = position_ids(tf.constant(IDS, dtype), pad, 3)
    assert found.numpy().tolist() == batch.position_ids(IDS, pad, 3).tolist()
    embeds = tf.zeros((2, 4, 16))
    assert default_positions(pad, None, embeds, 3).numpy().tolist() == (
        batch.sequential_position_ids(4, pad, 3).tolist()
    )


def test_kinds_of_tensors():
    assert [kind_of(tf.constant(x)) for x in (1, 1.0, True)] == ["integer", "real", "bool"]
    assert kind_of([1]) is None


WRONG = [
    ({"input_ids": IDS + 50}, InputError, "50"),
    ({"input_ids": np.zeros((1, 19), int)}, TooLong, "19|positions"),
    ({"input_ids": IDS, "token_type_ids": IDS * 0 + 1}, InputError, "token_type_id"),
    ({"input_ids": IDS, "attention_mask": IDS * 0 + 2}, InputError, "attention_mask with 2"),
    ({"input_ids": IDS, "attention_mask": np.ones((2, 3), int)}, BadShape, "attention_mask of shape"),
    ({"input_ids": IDS.astype(np.float32)}, InputError, "input_ids of dtype float32"),
    ({"input_ids": IDS, "head_mask": np.ones(3)}, BadShape, "head_mask of shape"),
    ({"input_ids": IDS, "inputs_embeds": np.zeros((2, 4, 16))}, InputError, "both"),
    ({"inputs_embeds": np.zeros((2, 4, 15))}, BadShape, "inputs_embeds of shape"),
    (
        {"input_ids": IDS, "past_key_values": ((np.zeros((2, 4, 3, 4)),) * 2,) * 2},
        ArgumentError,
        "is_decoder",
    ),
]


@pytest.mark.parametrize(("given", "error", "words"), WRONG)
def test_a_wrong_call_raises_before_anything_is_computed(given, error, words, tiny):
    with pytest.raises(error, match=words):
        TFRobertaMainLayer(tiny())(**given)


def test_values_are_looked_at_where_that_is_wanted_and_possible(tiny):
    layer = TFRobertaMainLayer(tiny(), add_pooling_layer=False)
    strange = np.where(IDS == 7, 0, 1) * 2
    with pytest.raises(InputError, match="attention_mask with 2"):
        layer(IDS, attention_mask=strange)
    want = layer(IDS, attention_mask=strange // 2).last_hidden_state
    traced = tf.function(lambda ids, mask: layer(ids, attention_mask=mask).last_hidden_state)
    np.testing.assert_allclose(traced(IDS, strange), want, rtol=0, atol=1e-5)
    layer.check_inputs = False
    np.testing.assert_array_equal(layer(IDS, attention_mask=strange).last_hidden_state, want)


def test_shapes_are_checked_while_a_graph_is_made(tiny):
    layer = TFRobertaMainLayer(tiny())

    @tf.function(
        input_signature=[tf.TensorSpec((None, None), tf.int32), tf.TensorSpec((None, None, 3), tf.int32)]
    )
    def open_lengths(ids, mask):
        return layer(ids, attention_mask=mask).last_hidden_state

    assert open_lengths(IDS[:, :3], np.ones((2, 3, 3))).shape == (2, 3, 16)
    wrong = tf.function(lambda ids: layer(ids, attention_mask=tf.ones((2, 3))).last_hidden_state)
    with pytest.raises(BadShape, match="attention_mask of shape"):
        wrong(IDS)
