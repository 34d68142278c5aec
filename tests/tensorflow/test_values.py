"""Stored values into variables and back: layouts, dtypes, ranges."""

import keras
import numpy as np
import pytest

from robertakit.checkpoints import StoredTensor
from robertakit.checkpoints.tensors import as_stored as of_array
from robertakit.errors import TensorMismatch
from robertakit.tensorflow.values import as_stored, copy_into

MATRIX = np.arange(6, dtype=np.float32).reshape(2, 3)


@pytest.mark.parametrize(("kind", "shape"), [("matrix", (3, 2)), ("embedding", (2, 3))])
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
def test_there_and_back(kind: str, shape: tuple[int, int], dtype: str) -> None:
    variable = keras.Variable(np.zeros(shape, np.float32), dtype=dtype)
    copy_into(variable, kind, of_array(MATRIX))
    stored = of_array(as_stored(variable, kind))
    assert stored.dtype == {"float32": "F32", "float64": "F64", "float16": "F16", "bfloat16": "BF16"}[dtype]
    assert stored.bits.flags.c_contiguous
    np.testing.assert_array_equal(stored.read(np.float32), MATRIX)


def test_half_of_the_brain_goes_in_exactly() -> None:
    bits = np.array([0x3F81, 0x7F80, 0xC0A1], np.uint16)
    variable = keras.Variable(np.zeros(3, np.float32), dtype="bfloat16")
    copy_into(variable, "bias", StoredTensor("BF16", bits))
    back = as_stored(variable, "bias")
    assert isinstance(back, StoredTensor)
    np.testing.assert_array_equal(back.bits, bits)


def test_integers_of_layers_of_ones_own() -> None:
    counter = keras.Variable(np.array(0), dtype="int32", trainable=False)
    copy_into(counter, "bias", of_array(np.array(7)))
    assert int(counter.value) == 7
    with pytest.raises(TensorMismatch, match="values for int32"):
        copy_into(counter, "bias", of_array(np.array(0.5)))


def test_what_float16_cannot_hold() -> None:
    variable = keras.Variable(np.zeros(2, np.float32), dtype="float16")
    copy_into(variable, "bias", of_array(np.array([65519.0, np.inf], np.float32)))
    assert variable.numpy().tolist() == [65504.0, np.inf]
    with pytest.raises(TensorMismatch, match="65520, which float16 cannot hold"):
        copy_into(variable, "bias", of_array(np.array([1.0, -65520.0], np.float32)))
