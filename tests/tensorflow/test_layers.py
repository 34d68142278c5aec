"""What all layers share: saved configurations, policies that reach every child, the row for padding, sizes."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from robertakit import XLMRobertaConfig
from robertakit.tensorflow.attention import TFRobertaAttention, TFRobertaOutput, TFRobertaSelfAttention
from robertakit.tensorflow.embeddings import TFRobertaEmbeddings
from robertakit.tensorflow.encoder import (
    TFRobertaEncoder,
    TFRobertaIntermediate,
    TFRobertaLayer,
    TFRobertaMainLayer,
    TFRobertaPooler,
)
from robertakit.tensorflow.language_models import TFRobertaLMHead
from robertakit.tensorflow.layers import InitialNormal, PaddedEmbedding, sizes
from robertakit.tensorflow.sequence_models import TFRobertaClassificationHead

STATES = np.random.default_rng(0).standard_normal((2, 5, 16)).astype(np.float32)
IDS = np.array([[0, 5, 6, 7, 2], [0, 8, 2, 1, 1]])
LAYERS = [
    (TFRobertaSelfAttention, {"layer": 1, "cross": True}, STATES),
    (TFRobertaAttention, {"layer": 1}, STATES),
    (TFRobertaIntermediate, {}, STATES),
    (TFRobertaLayer, {"layer": 1}, STATES),
    (TFRobertaEncoder, {}, STATES),
    (TFRobertaPooler, {}, STATES),
    (TFRobertaEmbeddings, {}, IDS),
    (TFRobertaMainLayer, {"add_pooling_layer": False}, IDS),
    (TFRobertaLMHead, {}, STATES),
    (TFRobertaClassificationHead, {}, STATES),
]


@pytest.mark.parametrize(("kind", "arguments", "given"), LAYERS, ids=[kind.__name__ for kind, _, _ in LAYERS])
def test_a_layer_comes_back_from_its_saved_configuration(kind, arguments, given, tiny):
    config = tiny(pruned_heads={1: [0, 2]}, num_labels=3, hidden_act="relu")
    config = XLMRobertaConfig(**{**config.to_dict(), "model_type": "xlm-roberta"})
    layer = kind(config, **arguments, name="it")
    found = layer(given)
    saved = keras.saving.serialize_keras_object(layer)
    again = keras.saving.deserialize_keras_object(saved)
    assert again.name == "it"
    assert again.config.to_dict() == config.to_dict()
    assert type(again.config) is XLMRobertaConfig
    assert [tuple(w.shape) for w in again.weights] == [tuple(w.shape) for w in layer.weights]
    again.set_weights(layer.get_weights())
    for ours, theirs in zip(keras.tree.flatten(found), keras.tree.flatten(again(given)), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_projection_comes_back_too(tiny):
    layer = TFRobertaOutput(tiny(), 7)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    again.build(None)
    assert tuple(again.dense.kernel.shape) == (7, 16)


@pytest.mark.parametrize("policy", ["float64", "mixed_float16", "mixed_bfloat16", "bfloat16"])
def test_the_policy_reaches_every_child(policy, tiny):
    config = tiny(add_cross_attention=True, is_decoder=True, position_embedding_type="relative_key")
    layer = TFRobertaMainLayer(config, dtype=policy)
    layer.build(None)
    children = layer._flatten_layers(recursive=True)
    assert {child.dtype_policy.name for child in children} == {policy}
    out = layer(IDS)
    assert out.last_hidden_state.dtype == out.pooler_output.dtype == keras.DTypePolicy(policy).compute_dtype
    exact = TFRobertaMainLayer(config, dtype="float64")
    exact.build(None)
    exact.set_weights([np.asarray(tf.cast(w.value, tf.float64)) for w in layer.weights])
    far = np.abs(tf.cast(out.last_hidden_state, tf.float64) - exact(IDS).last_hidden_state).max()
    assert far <= {"float64": 0, "mixed_float16": 0.02}.get(policy, 0.2)


def test_new_weights_of_a_layer_alone_are_drawn_with_the_configurations_deviation(tiny):
    layer = TFRobertaMainLayer(tiny(hidden_size=64, num_attention_heads=4, initializer_range=0.3))
    layer.build(None)
    values = layer.encoder.layer[0].attention.self_attention.query.kernel.numpy()
    assert abs(values.std() - 0.3) < 0.02
    assert InitialNormal(0.3).get_config() == {"stddev": 0.3, "seed": None}


@pytest.mark.parametrize("xla", [False, True])
def test_the_row_for_padding_learns_nothing_from_being_looked_up(xla):
    table = PaddedEmbedding(4, 2, padding_idx=1)
    table.build(None)

    @tf.function(jit_compile=xla)
    def gradient(ids):
        with tf.GradientTape() as tape:
            total = tf.reduce_sum(table(ids))
        return tf.convert_to_tensor(tape.gradient(total, table.embeddings.value))

    found = gradient(tf.constant([[0, 1, 1], [3, 0, 1]])).numpy()
    assert found[:, 0].tolist() == [2, 0, 0, 1]


def test_sizes_are_numbers_where_they_are_known():
    seen = []

    @tf.function(input_signature=[tf.TensorSpec((None, 3))])
    def look(x):
        seen.extend(sizes(x))
        return tf.stack(sizes(x))

    assert look(tf.ones((2, 3))).numpy().tolist() == [2, 3]
    assert tf.is_tensor(seen[0])
    assert seen[1] == 3
