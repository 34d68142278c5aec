"""Variables that get another shape: who holds them sees it, and what was compiled is dropped."""

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import robertakit.tensorflow as models
from robertakit import RobertaConfig
from robertakit.resizing import new_rows
from robertakit.tensorflow.construction import drawn_seed
from robertakit.tensorflow.contents import contents_of
from robertakit.tensorflow.resizing import forget_compiled, give_value, prune_heads, resize_vocabulary

SIZES: dict[str, Any] = {
    "vocab_size": 29,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 24,
    "max_position_embeddings": 20,
    "initializer_range": 0.2,
}
IDS = np.array([[0, 5, 6, 2], [0, 7, 2, 1]])


def test_a_variable_of_another_shape() -> None:
    layer = keras.layers.Dense(2)
    layer.build((None, 3))
    variable = layer.kernel
    give_value(variable, np.ones((5, 2), np.float64))
    assert layer.kernel is variable
    assert layer.weights[0] is variable
    assert (tuple(variable.shape), variable.dtype, variable.trainable) == ((5, 2), "float32", True)
    layer.input_spec = None
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(layer(np.ones((1, 5), np.float32)))
    assert tape.gradient(total, variable.value).shape == (5, 2)
    variable.assign(np.zeros((5, 2), np.float32))
    assert not variable.numpy().any()


def test_new_rows_are_those_of_every_framework() -> None:
    model = models.TFRobertaForMaskedLM(RobertaConfig(**SIZES))
    old = model.get_input_embeddings().embeddings.numpy()
    bias = model.lm_head.bias.numpy()
    tf.random.set_seed(6)
    seed = drawn_seed()
    tf.random.set_seed(6)
    assert resize_vocabulary(contents_of(model), 33, None, True) == 33
    table = contents_of(model).variables["roberta.embeddings.word_embeddings.weight"].numpy()
    np.testing.assert_array_equal(table[:29], old)
    expected = new_rows(old, 4, "embeddings.weight", seed, mean_resizing=True, deviation=0.2)
    np.testing.assert_array_equal(table[29:], expected)
    added = new_rows(bias, 4, "decoder.bias", seed, mean_resizing=True, deviation=0.2)
    np.testing.assert_array_equal(model.lm_head.bias.numpy(), np.concatenate([bias, added]))


def test_pruned_heads_are_cut_out_of_four_matrices() -> None:
    model = models.TFRobertaModel(RobertaConfig(**SIZES))
    before = {name: variable.numpy() for name, variable in contents_of(model).variables.items()}
    assert prune_heads(contents_of(model), {1: [0, 2]}) == {1: [0, 2]}
    kept = [*range(4, 8), *range(12, 16)]
    name = "encoder.layer.1.attention"
    after = contents_of(model).variables
    np.testing.assert_array_equal(
        after[f"{name}.self.query.weight"].numpy(), before[f"{name}.self.query.weight"][:, kept]
    )
    np.testing.assert_array_equal(
        after[f"{name}.self.value.bias"].numpy(), before[f"{name}.self.value.bias"][kept]
    )
    np.testing.assert_array_equal(
        after[f"{name}.output.dense.weight"].numpy(), before[f"{name}.output.dense.weight"][kept]
    )
    name = "encoder.layer.0.attention.self.query.weight"
    np.testing.assert_array_equal(after[name].numpy(), before[name])


def test_what_was_compiled_is_dropped() -> None:
    model = models.TFRobertaForMaskedLM(RobertaConfig(**SIZES | {"num_hidden_layers": 1}))
    model.compile("sgd")
    model.fit({"input_ids": IDS, "labels": IDS}, verbose=0)
    forget_compiled(model)
    with pytest.raises(ValueError, match="compile"):
        model.fit({"input_ids": IDS, "labels": IDS}, verbose=0)
