"""The activations against the reference's recorded values."""

import json

import numpy as np
import pytest
import tensorflow as tf

from robertakit import configuration
from robertakit.tensorflow.activations import ACTIVATIONS, activation


def test_the_names_are_those_of_the_configuration():
    assert set(ACTIVATIONS) == set(configuration.ACTIVATIONS)


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_values_of_the_reference(name, golden):
    recorded = json.loads((golden / "activations.json").read_text())
    values = ACTIVATIONS[name](tf.constant(recorded["x"], tf.float64))
    np.testing.assert_allclose(values, recorded["values"][name], rtol=1e-12, atol=1e-12)


def test_a_function_of_ones_own_is_taken_as_it_is():
    assert activation(tf.sin) is tf.sin
