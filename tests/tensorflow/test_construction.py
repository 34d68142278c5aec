"""Where values come from: one draw of TensorFlow's generator, or a checkpoint."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

import robertakit.tensorflow as models
from robertakit import RobertaConfig
from robertakit.tensorflow.construction import draw, drawn_seed, is_loading, loading
from robertakit.tensorflow.contents import contents_of

SIZES: dict[str, Any] = {
    "vocab_size": 29,
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "intermediate_size": 24,
    "max_position_embeddings": 20,
}


def test_the_seed_follows_the_frameworks() -> None:
    found = []
    for seed in (tf.random.set_seed, keras.utils.set_random_seed):
        seed(3)
        found.append((drawn_seed(), drawn_seed()))
    assert found[0] == found[1]
    assert found[0][0] != found[0][1]
    assert isinstance(tf.function(lambda: tf.constant(drawn_seed()))().numpy(), np.integer), "also in a graph"


def test_nothing_is_drawn_while_loading() -> None:
    assert not is_loading()
    with loading():
        assert is_loading()
        model = models.TFRobertaModel(RobertaConfig(**SIZES))
    assert not is_loading()
    assert all(np.isin(variable.numpy(), (0, 1)).all() for variable in model.weights)


def test_a_draw_depends_on_seed_and_name_alone() -> None:
    model = models.TFRobertaModel(RobertaConfig(**SIZES))
    contents = contents_of(model)
    draw(contents, contents.variables, 1)
    before = {name: variable.numpy() for name, variable in contents.variables.items()}
    draw(contents, contents.variables, 2)
    draw(contents, reversed(list(contents.variables)), 1)
    for name, variable in contents.variables.items():
        np.testing.assert_array_equal(variable.numpy(), before[name])
    assert not before["embeddings.word_embeddings.weight"][1].any(), "the row for padding"
