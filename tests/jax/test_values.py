"""Values between files and arrays, and dtypes by their names."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from robertakit.checkpoints.tensors import StoredTensor
from robertakit.errors import ArgumentError, TensorMismatch
from robertakit.jax.values import as_stored, cast, dtype_named, from_stored, parameter_dtype


@pytest.mark.parametrize(
    ("given", "name"),
    [
        (jnp.float32, "float32"),
        (np.float16, "float16"),
        (np.dtype("float32"), "float32"),
        ("bfloat16", "bfloat16"),
        ("torch.float16", "float16"),
        ("BF16", "bfloat16"),
        (jnp.dtype(jnp.bfloat16), "bfloat16"),
    ],
)
def test_a_dtype_has_many_names(given, name):
    assert dtype_named(given).name == name
    assert dtype_named(given) == jnp.dtype(name)


@pytest.mark.parametrize("given", ["int32", "float8", None, 3, jnp.int32])
def test_no_other_dtype_is_taken(given):
    with pytest.raises(ArgumentError, match="expected one of bfloat16, float16, float32, float64"):
        dtype_named(given)


def test_float64_needs_jax_to_have_it():
    with pytest.raises(ArgumentError, match="jax_enable_x64"):
        dtype_named("float64")
    with jax.enable_x64(True):
        assert parameter_dtype(dtype_named("float64")) == np.float64
    assert parameter_dtype(jnp.bfloat16) == np.float32


@pytest.mark.parametrize("stored", ["F32", "F16", "BF16", "F64"])
@pytest.mark.parametrize("kind", ["matrix", "embedding"])
def test_values_keep_their_bits_there_and_back(stored, kind):
    values = np.random.default_rng(0).standard_normal((3, 5)).astype(np.float32)
    bits = {
        "F32": values,
        "F16": values.astype(np.float16),
        "F64": values.astype(np.float64),
        "BF16": values.astype(jnp.bfloat16).view(np.uint16),
    }[stored]
    dtype = "float32" if stored == "F64" else dtype_named(stored)
    array = from_stored(StoredTensor(stored, bits), kind, dtype)
    assert array.shape == ((5, 3) if kind == "matrix" else (3, 5))
    back = as_stored(array, kind)
    assert back.dtype == ("F32" if stored == "F64" else stored)
    assert back.bits.flags.c_contiguous
    assert np.array_equal(back.bits, bits.astype(np.float32) if stored == "F64" else bits)
    wide = from_stored(StoredTensor(stored, bits), kind, jnp.float32)
    assert np.array_equal(as_stored(wide, kind).bits, StoredTensor(stored, bits).read())


def test_an_array_never_shares_the_memory_that_it_was_made_of():
    values = np.zeros((64, 64), np.float32)
    array = from_stored(StoredTensor("F32", values), "embedding", jnp.float32)
    values += 1
    assert not array.any()


def test_float16_loses_nothing_in_silence():
    with pytest.raises(TensorMismatch, match="70000, which float16 cannot hold"):
        cast(jnp.array([1.0, 70000.0]), jnp.float16)
    kept = cast(jnp.array([jnp.inf, 1.0]), jnp.float16)  # what was infinite is
    assert kept.dtype == jnp.float16
    assert jax.jit(lambda x: cast(x, jnp.float16))(jnp.ones(2)).dtype == jnp.float16
