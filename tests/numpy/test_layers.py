"""The operations, the scopes, and a trace of everything."""

import numpy as np
import pytest

from robertakit.checkpoints.tensors import StoredTensor, as_stored
from robertakit.numpy.layers import Scope, layer_norm, linear, softmax


def scope_of(**arrays):
    return Scope(
        {name.replace("_", "."): as_stored(value) for name, value in arrays.items()}, np.dtype(np.float64)
    )


def test_linear_is_rows_times_the_transpose_plus_bias():
    weight, bias = np.arange(6.0).reshape(2, 3), np.array([10.0, 20.0])
    x = np.array([[[1.0, 0, 0], [0, 1, 0]], [[0, 0, 1], [1, 1, 1]]])
    found = linear(x, scope_of(a_weight=weight, a_bias=bias).at("a"))
    np.testing.assert_array_equal(found, [[[10, 23], [11, 24]], [[12, 25], [13, 32]]])
    assert linear(np.zeros((2, 0, 3)), scope_of(weight=weight, bias=bias)).shape == (2, 0, 2)


def test_layer_norm_divides_by_the_deviation_of_all_values():
    x = np.random.default_rng(0).standard_normal((2, 3, 8))
    scale, shift = np.linspace(1, 2, 8), np.linspace(-1, 1, 8)
    found = layer_norm(x, scope_of(weight=scale, bias=shift), 0.25)
    deviation = np.sqrt(x.var(axis=-1, keepdims=True) + 0.25)
    np.testing.assert_allclose(found, (x - x.mean(-1, keepdims=True)) / deviation * scale + shift, rtol=1e-12)


def test_softmax_of_large_numbers():
    np.testing.assert_allclose(
        softmax(np.array([[1e5, 1e5 + np.log(3)]], np.float64)), [[0.25, 0.75]], rtol=1e-9
    )


@pytest.mark.parametrize("dtype", ["F32", "F16", "BF16"])
def test_trap_10_half_precision_is_widened_before_anything_is_computed(dtype):
    values = np.array([[1.5, -2.25]], np.float32)
    bits = {
        "F32": values,
        "F16": values.astype(np.float16),
        "BF16": (values.view(np.uint32) >> 16).astype(np.uint16),
    }
    weights = {"weight": StoredTensor(dtype, bits[dtype]), "bias": as_stored(np.zeros(1, np.float32))}
    found = linear(np.ones((1, 2), np.float32), Scope(weights, np.dtype(np.float32)))
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, [[-0.75]])


def test_float32_weights_are_not_copied():
    stored = as_stored(np.ones((4, 4), np.float32))
    scope = Scope({"weight": stored}, np.dtype(np.float32))
    assert np.shares_memory(scope.read("weight"), stored.bits)


@pytest.mark.parametrize(("name", "prefix"), [("RobertaModel", ""), ("RobertaForMaskedLM", "roberta.")])
def test_a_trace_names_every_intermediate_by_its_module(small, padded, name, prefix):
    model = small(name)
    notes = model.trace(*padded)
    layer = f"{prefix}encoder.layer.1"
    expected = {
        f"{prefix}embeddings.word_embeddings": (3, 9, 24),
        f"{prefix}embeddings.LayerNorm": (3, 9, 24),
        f"{layer}.attention.self.query": (3, 9, 24),
        f"{layer}.attention.self.scores": (3, 4, 9, 9),
        f"{layer}.attention.self.probabilities": (3, 4, 9, 9),
        f"{layer}.attention.self": (3, 9, 24),
        f"{layer}.attention.output.dense": (3, 9, 24),
        f"{layer}.attention": (3, 9, 24),
        f"{layer}.intermediate.dense": (3, 9, 37),
        f"{layer}.intermediate": (3, 9, 37),
        f"{layer}.output.dense": (3, 9, 24),
        layer: (3, 9, 24),
    }
    assert {key: notes[key].shape for key in expected} == expected
    output = model(*padded, output_hidden_states=True, output_attentions=True)
    np.testing.assert_array_equal(notes[layer], output.hidden_states[2])
    np.testing.assert_array_equal(notes[f"{layer}.attention.self.probabilities"], output.attentions[1])
    modules = {key.rpartition(".")[0] for key in model.weights} - {f"{layer}.attention.output"}
    assert modules - notes.keys() == set()
    assert model._notes is None, "the model itself takes no notes"


def test_notes_are_copies(small, padded):
    model = small("RobertaModel")
    first = model.trace(*padded)
    for value in first.values():
        value[...] = np.nan
    assert np.isfinite(model(*padded)[0]).all()
