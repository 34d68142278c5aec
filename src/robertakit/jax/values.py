"""Values on their way: from files and from the table's draws into arrays, and back; dtypes and their names."""

from typing import Final

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from robertakit.architecture import Kind
from robertakit.checkpoints.dialects import FLAX
from robertakit.checkpoints.rounding import DTYPES
from robertakit.checkpoints.tensors import StoredTensor
from robertakit.checkpoints.tensors import as_stored as of_array
from robertakit.errors import ArgumentError, TensorMismatch, listed
from robertakit.field_values import dtype_name

__all__ = ["as_stored", "cast", "dtype_named", "from_stored", "parameter_dtype"]

_BFLOAT16: Final[np.dtype[np.generic]] = np.dtype(jnp.bfloat16)
_STORED: Final[dict[str, np.dtype[np.generic]]] = {
    stored: np.dtype(getattr(jnp, name)) for name, stored in DTYPES.items()
}


def dtype_named(dtype: object) -> np.dtype[np.generic]:
    """Return a dtype that a model can have, from itself, its name in JAX, NumPy or PyTorch, or a file's name of it.

    Raises:
        ArgumentError: no such dtype, or float64 where JAX has none.

    Example:
        >>> dtype_named(jnp.bfloat16).name, dtype_named("float16").name, dtype_named("F32").name
        ('bfloat16', 'float16', 'float32')
    """
    name = str(dtype_name(dtype))
    found = _STORED.get(DTYPES.get(name, name))
    if found is None:
        raise ArgumentError(given=f"dtype={dtype!r}", expected=f"one of {listed(DTYPES)}, or 'auto'")
    if jax.dtypes.canonicalize_dtype(found) != found:
        raise ArgumentError(
            given=f"dtype={name}, which JAX makes float32",
            expected="JAX with 64 bits",
            hint='jax.config.update("jax_enable_x64", True) gives it them, before the first array',
        )
    return found


def parameter_dtype(dtype: DTypeLike) -> np.dtype[np.generic]:
    """Return the dtype of parameters under one to compute in: float32, as everywhere in Flax, and float64's own."""
    return np.dtype(np.float64) if np.dtype(dtype) == np.float64 else np.dtype(np.float32)


def from_stored(tensor: StoredTensor, kind: Kind, dtype: DTypeLike) -> jax.Array:
    """Return a tensor in the layout of its kind, in memory of its own.

    Args:
        tensor: as a file has it.
        kind: of its row.
        dtype: the one that it gets.

    Raises:
        TensorMismatch: a value beyond the range of float16.
        UnsupportedFormat: stored in a dtype that has no values here.
    """
    if tensor.dtype == "BF16":
        values: np.ndarray[tuple[int, ...], np.dtype[np.generic]] = tensor.bits.view(_BFLOAT16)
    else:
        values = tensor.read(tensor.bits.dtype)
    wide = np.dtype(dtype).itemsize > values.dtype.itemsize
    native = FLAX.layout(kind, values)
    # A copy, always: JAX would look into a mapped file, or into memory that somebody changes.
    return cast(jnp.array(native, dtype=dtype if wide else None), dtype)


def as_stored(array: jax.Array, kind: Kind) -> StoredTensor:
    """Return a parameter as a file has it: in the layout of the table, in C order."""
    values = np.asarray(array)
    if values.dtype == _BFLOAT16:
        return StoredTensor("BF16", FLAX.stored(kind, values.view("<u2")))
    return of_array(FLAX.stored(kind, values))


def cast(array: jax.Array, dtype: DTypeLike) -> jax.Array:
    """Return an array in another dtype.

    Raises:
        TensorMismatch: a value that became infinite in float16. Inside `jit` nobody can look.
    """
    other = array.astype(dtype)
    if np.dtype(dtype) == np.float16 and other is not array and not isinstance(array, jax.core.Tracer):
        lost = jnp.isinf(other) & jnp.isfinite(array)
        if bool(lost.any()):
            raise TensorMismatch(
                given=f"{float(jnp.abs(jnp.where(lost, array, 0)).max()):g}, which float16 cannot hold",
                expected="values below 65520",
                hint="load the model in bfloat16 or float32",
            )
    return other
