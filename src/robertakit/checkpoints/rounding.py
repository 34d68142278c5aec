"""Tensors in another floating-point type: rounding to the nearest value, and what rounding may have changed."""

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from robertakit.checkpoints.tensors import BITS, FLOATS, StoredTensor
from robertakit.errors import UnsupportedFormat, listed

__all__ = ["DTYPES", "ROUNDING", "largest_error", "rounded"]

#: The names of dtypes that people use -> those of files.
DTYPES: Final = {"float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16"}
#: Stored dtype -> largest relative error of rounding to it, and the absolute one of values near zero.
ROUNDING: Final = {
    "F64": (2.0**-53, 2.0**-1074),
    "F32": (2.0**-24, 2.0**-150),
    "F16": (2.0**-11, 2.0**-25),
    "BF16": (2.0**-8, 2.0**-134),
}
#: As many values are widened at a time.
_CHUNK: Final = 1 << 20


def rounded(tensor: StoredTensor, dtype: str, name: str = "a tensor") -> StoredTensor:
    """Return a tensor in another dtype, each value rounded to the nearest, ties to even.

    Args:
        tensor: of a dtype in ``FLOATS``.
        dtype: file's name of a dtype in ``FLOATS``.
        name: what to call the tensor in an error.

    Raises:
        UnsupportedFormat: a value that the dtype cannot hold, or no such dtype.

    Example:
        >>> rounded(StoredTensor("F32", np.float32([1, 1.001, 3.1])), "BF16").read()
        array([1.     , 1.     , 3.09375], dtype=float32)
    """
    if dtype not in FLOATS or tensor.dtype not in FLOATS:
        raise UnsupportedFormat(
            given=f"{name} of {tensor.dtype} as {dtype}", expected=f"one of {listed(FLOATS)}"
        )
    if dtype == tensor.dtype:
        return tensor
    bits = np.empty(tensor.shape, BITS[dtype])
    flat = bits.reshape(-1)
    for start, values in _chunks(tensor):
        part = flat[start : start + len(values)]
        with np.errstate(over="ignore"):  # told below
            part[:] = _to_bfloat16(values) if dtype == "BF16" else values.astype(BITS[dtype])
        lost = np.isfinite(values) & ~np.isfinite(StoredTensor(dtype, part).read(np.float64))
        if lost.any():
            raise UnsupportedFormat(
                given=f"{name} holds {values[lost][0]:.6g}, which no {dtype} can be",
                hint="a dtype with a wider range, such as bfloat16 or float32, takes it",
            )
    return StoredTensor(dtype, bits)


def largest_error(source: StoredTensor, written: StoredTensor) -> float:
    """Return how far values are from their source, as a part of what rounding to their dtype may change.

    Returns:
        0 where all are equal, at most 1 where rounding explains the differences, infinity for another shape and for
        NaN or infinity in other places.
    """
    if source.shape != written.shape:
        return np.inf
    if source.dtype == written.dtype and np.array_equal(source.bits, written.bits):
        return 0.0
    relative, absolute = ROUNDING[written.dtype]
    worst = 0.0
    pairs = zip(_chunks(source), _chunks(written), strict=True)
    for (_, before), (_, after) in pairs:
        finite = np.isfinite(before)
        if not np.array_equal(finite, np.isfinite(after)):
            return np.inf
        if not np.array_equal(before[~finite], after[~finite], equal_nan=True):
            return np.inf
        off = np.abs(after[finite] - before[finite]) / (np.abs(before[finite]) * relative + absolute)
        worst = max(worst, float(off.max(initial=0.0)))
    return worst


def _chunks(tensor: StoredTensor) -> Iterator[tuple[int, NDArray[np.float64]]]:
    """Yield the values in C order, a million at a time, each with the number of values before it."""
    flat = np.ascontiguousarray(tensor.bits).reshape(-1)
    for start in range(0, flat.size, _CHUNK):
        part = StoredTensor(tensor.dtype, flat[start : start + _CHUNK])
        yield start, np.asarray(part.read(np.float64), np.float64)


def _to_bfloat16(values: NDArray[np.float64]) -> NDArray[np.uint16]:
    """The upper half of a float32's bits, rounded to the nearest, ties to even; a NaN stays one."""
    words = values.astype(np.float32).view(np.uint32)
    half = ((words + 0x7FFF + ((words >> 16) & 1)) >> 16).astype(np.uint16)
    return np.where(np.isnan(values), np.uint16(0x7FC0), half)
