"""The activations against the reference's values, and the error function against the standard library's."""

import json
import math

import numpy as np
import pytest

from robertakit import configuration
from robertakit.errors import ConfigError
from robertakit.numpy.activations import ACTIVATIONS, activation, erf, gelu


def test_the_names_are_those_of_the_configuration():
    assert set(ACTIVATIONS) == set(configuration.ACTIVATIONS)


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_values_of_the_reference(name, golden):
    recorded = json.loads((golden / "activations.json").read_text())
    x = np.array(recorded["x"])
    np.testing.assert_allclose(ACTIVATIONS[name](x), recorded["values"][name], rtol=1e-12, atol=1e-12)
    narrow = ACTIVATIONS[name](x.astype(np.float32))
    assert narrow.dtype == np.float32
    np.testing.assert_allclose(narrow, recorded["values"][name], rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_nothing_overflows_and_the_argument_is_left_alone(name):
    x = np.array([-1e4, -90.0, 0.0, 90.0, 1e4], np.float32)
    kept = x.copy()
    with np.errstate(all="raise", under="ignore"):
        assert np.isfinite(ACTIVATIONS[name](x)).all()
    np.testing.assert_array_equal(x, kept)


def test_erf_in_float64_is_the_standard_librarys():
    x = np.linspace(-7, 7, 4001)
    np.testing.assert_array_equal(erf(x), [math.erf(value) for value in x])


def test_erf_in_float32_within_its_bound():
    x = np.linspace(-7, 7, 40001).astype(np.float32).reshape(-1, 1)  # more than one block
    exact = np.array([[math.erf(value)] for value in x[:, 0]])
    assert erf(x).dtype == np.float32
    assert np.abs(erf(x) - exact).max() < 4e-7
    assert (np.abs(erf(x)) <= 1 + 4e-7).all()


def test_gelu_in_float32_within_rounding_of_the_exact_one():
    x = np.linspace(-9, 9, 40001)
    exact = x * 0.5 * (1 + np.array([math.erf(value / math.sqrt(2)) for value in x]))
    assert np.abs(gelu(x.astype(np.float32)) - exact).max() < 1.2e-6


def test_shapes_and_strides_do_not_matter():
    x = np.random.default_rng(0).standard_normal((3, 200, 70)).astype(np.float32)
    np.testing.assert_array_equal(gelu(x.transpose(2, 0, 1)), gelu(x).transpose(2, 0, 1))
    assert gelu(x[:0]).shape == (0, 200, 70)


def test_a_function_is_its_own_activation_and_an_unknown_name_is_refused():
    assert activation(np.tanh) is np.tanh
    with pytest.raises(ConfigError, match="hidden_act='geluu'; expected one of gelu"):
        activation("geluu")
