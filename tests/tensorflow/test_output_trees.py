"""The output containers as trees of Keras and of TensorFlow."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from robertakit import outputs
from robertakit.outputs import MaskedLMOutput, ModelOutput
from robertakit.tensorflow.output_trees import register_outputs


@pytest.mark.parametrize("kind", ModelOutput.registry, ids=lambda kind: kind.__name__)
def test_every_container_is_a_tree(kind: type[ModelOutput[object]]) -> None:
    register_outputs()  # a second time is no fault
    names = kind.field_names
    output = kind(dict(zip(names, range(1, 9), strict=False)))
    for structure in (keras.tree, tf.nest):
        doubled = structure.map_structure(lambda value: value * 2, output)
        assert type(doubled) is kind
        assert list(doubled.items()) == [(name, value * 2) for name, value in output.items()]
        assert getattr(doubled, names[0]) == 2


def test_fields_that_are_none_are_no_leaves() -> None:
    output = MaskedLMOutput(logits=1, hidden_states=(2, 3))
    assert keras.tree.flatten(output) == [1, 2, 3]
    again = keras.tree.map_structure(str, output)
    assert (again.loss, again.logits, again.hidden_states) == (None, "1", ("2", "3"))


def test_out_of_a_function() -> None:
    @tf.function
    def compute(x: object) -> ModelOutput[object]:
        return MaskedLMOutput(loss=tf.reduce_sum(x), logits=x, hidden_states=(x, x))

    output = compute(tf.ones((2, 3)))
    assert type(output) is MaskedLMOutput
    assert list(output) == ["loss", "logits", "hidden_states"]
    np.testing.assert_array_equal(output.hidden_states[1], np.ones((2, 3)))


def test_the_names_of_tensorflows_reference() -> None:
    assert outputs.TFMaskedLMOutput is MaskedLMOutput
