"""Stored values into variables and back, in the layout of each: a matrix is the transpose of the checkpoint's."""

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from robertakit.architecture import Kind
from robertakit.checkpoints import StoredTensor
from robertakit.checkpoints.dialects import KERAS
from robertakit.checkpoints.tensors import FLOATS
from robertakit.errors import TensorMismatch

__all__ = ["as_stored", "copy_into"]


def copy_into(variable: keras.Variable, kind: Kind, stored: StoredTensor) -> None:
    """Write stored values into a variable, in its layout and dtype.

    Args:
        variable: of the same sizes, but for the layout.
        kind: of the row.
        stored: in PyTorch's layout.

    Raises:
        TensorMismatch: a value beyond the range of the variable's dtype, or numbers with a fraction for integers.

    Example:
        >>> variable = keras.Variable(np.zeros((3, 2), np.float32))
        >>> copy_into(variable, "matrix", StoredTensor("F32", np.arange(6, dtype=np.float32).reshape(2, 3)))
        >>> variable.numpy().tolist()
        [[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]]
    """
    dtype = tf.as_dtype(variable.dtype)
    if dtype.is_floating != (stored.dtype in FLOATS):
        raise TensorMismatch(given=f"{stored.dtype} in the file", expected=f"values for {variable.dtype}")
    if not dtype.is_floating:
        variable.assign(KERAS.layout(kind, stored.read(dtype.as_numpy_dtype)))
        return
    values = stored.read(np.float64 if dtype == tf.float64 else np.float32)
    if dtype == tf.float16 and stored.dtype != "F16":
        _check_range(values)
    variable.assign(tf.cast(KERAS.layout(kind, values), dtype))


def _check_range(values: NDArray[np.generic]) -> None:
    """Raise for a value that float16 would make infinite."""
    largest = np.abs(values, where=np.isfinite(values), out=np.zeros_like(values)).max(initial=0)
    if largest >= 65520:
        raise TensorMismatch(
            given=f"{float(largest):g}, which float16 cannot hold",
            expected="values below 65520",
            hint="load the model in bfloat16 or float32",
        )


def as_stored(variable: keras.Variable, kind: Kind) -> StoredTensor | NDArray[np.generic]:
    """Return a variable's values for a file, in PyTorch's layout; bfloat16, which NumPy has not, by its bits."""
    array: NDArray[np.generic] = variable.numpy()
    if tf.as_dtype(variable.dtype) == tf.bfloat16:
        return StoredTensor("BF16", KERAS.stored(kind, array.view(np.uint16)))
    return KERAS.stored(kind, array)
