"""Tensors as a file stores them: dtype names, the bytes behind them, and widening on demand.

The readers of the containers make these; nothing here knows a file format.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import DTypeLike, NDArray

from robertakit.errors import CorruptFile, UnsupportedFormat, listed

__all__ = [
    "BITS",
    "FLOATS",
    "ITEM_SIZES",
    "MOST_VALUES",
    "StoredTensor",
    "agree",
    "as_stored",
    "strided_view",
]

#: Name of a dtype (safetensors' spelling) -> NumPy type of its bits. BF16 has none in NumPy: its bits are u16.
BITS: Final[dict[str, np.dtype[np.generic]]] = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype("<u2"),
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
    "I16": np.dtype("<i2"),
    "I8": np.dtype("i1"),
    "U64": np.dtype("<u8"),
    "U32": np.dtype("<u4"),
    "U16": np.dtype("<u2"),
    "U8": np.dtype("u1"),
    "BOOL": np.dtype("?"),
    # stored by quantised checkpoints of other libraries: their size is known, their values are not read
    "F8_E4M3": np.dtype("u1"),
    "F8_E5M2": np.dtype("u1"),
    "C64": np.dtype("<c8"),
}
#: Bytes of one value.
ITEM_SIZES: Final[dict[str, int]] = {name: bits.itemsize for name, bits in BITS.items()}
#: Dtypes that a weight may have.
FLOATS: Final = frozenset({"F64", "F32", "F16", "BF16"})
#: No shape is larger; an empty one has no bytes that would bound it.
MOST_VALUES: Final = 1 << 48
#: As many values are widened at a time, so that a conversion never holds a second copy of a large matrix.
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True, eq=False)
class StoredTensor:
    """A tensor as it stands in a file, not read before it is asked for.

    Attributes:
        dtype: safetensors' name of the stored dtype, for example ``"F32"``, ``"F16"``, ``"BF16"``.
        bits: read-only array over the file's bytes, in the stored shape; for BF16 its 16 bits as integers.
    """

    dtype: str
    bits: NDArray[np.generic]

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes, in PyTorch's order."""
        return self.bits.shape

    @property
    def size(self) -> int:
        """Number of values."""
        return math.prod(self.bits.shape)

    @property
    def nbytes(self) -> int:
        """Bytes that the values take in the file."""
        return self.size * ITEM_SIZES[self.dtype]

    def c_bytes(self) -> memoryview:
        """Return the values' bytes in C order, copied only where they lie in another."""
        return np.ascontiguousarray(self.bits).reshape(-1).view(np.uint8).data

    def read(self, dtype: DTypeLike = np.float32) -> NDArray[np.generic]:
        """Return the values, C-ordered; a read-only view of the file where the dtype is the stored one.

        Args:
            dtype: NumPy dtype to convert to, default float32.

        Raises:
            UnsupportedFormat: the stored dtype has no values that NumPy knows (8-bit floats).
        """
        return self._convert(self.bits, np.dtype(dtype))

    def rows(self, ids: NDArray[np.integer], dtype: DTypeLike = np.float32) -> NDArray[np.generic]:
        """Return the rows of a matrix that ``ids`` names, gathered first and widened after.

        Args:
            ids: (...) row numbers.
            dtype: NumPy dtype to convert to, default float32.

        Returns:
            (..., *shape[1:]) values.
        """
        return self._convert(self.bits[ids], np.dtype(dtype))

    def _convert(self, bits: NDArray[np.generic], dtype: np.dtype[np.generic]) -> NDArray[np.generic]:
        if self.dtype.startswith("F8"):
            raise UnsupportedFormat(
                given=f"a tensor of dtype {self.dtype}",
                expected=f"one of {listed(FLOATS)}",
                hint="convert it first",
            )
        if self.dtype != "BF16":
            # aligned too: msgpack puts values anywhere, and not every reader of raw memory minds that
            with np.errstate(invalid="ignore"):  # a NaN of any kind stays one
                return np.require(bits, dtype, ["C_CONTIGUOUS", "ALIGNED"])
        values = np.empty(bits.shape, np.float32 if dtype.itemsize <= 4 else dtype)
        flat, source = values.reshape(-1), np.ascontiguousarray(bits).reshape(-1)
        for start in range(0, flat.size, _CHUNK):
            part = source[start : start + _CHUNK].astype(np.uint32) << 16
            flat[start : start + _CHUNK] = part.view(np.float32)
        return values.astype(dtype, copy=False)


def as_stored(value: "NDArray[np.generic] | StoredTensor") -> StoredTensor:
    """Return an array of any memory order as a tensor that can be stored, little-endian; not copied if it is.

    Raises:
        UnsupportedFormat: a dtype that no container has (objects, strings, long double).
    """
    if isinstance(value, StoredTensor):
        return value
    array = np.asarray(value)
    little = array.dtype.newbyteorder("<")
    for name, bits in BITS.items():
        if bits == little and name != "BF16":
            return StoredTensor(name, array.astype(little, copy=False))
    raise UnsupportedFormat(given=f"an array of dtype {array.dtype}", expected=f"one of {listed(BITS)}")


def agree(one: StoredTensor, other: StoredTensor) -> bool:
    """Whether two tensors of one shape agree in 64 rows spread over them; training that parts copies changes every row.

    Example:
        >>> row = StoredTensor("F32", np.zeros(3, np.float32))
        >>> agree(row, StoredTensor("F32", np.ones(3, np.float32)))
        False
    """
    step = max(1, len(one.bits) // 64) if one.bits.ndim else 1
    ours, theirs = (
        StoredTensor(tensor.dtype, tensor.bits[::step] if tensor.bits.ndim else tensor.bits).read(np.float64)
        for tensor in (one, other)
    )
    return np.array_equal(ours, theirs, equal_nan=True)


def strided_view(
    dtype: str,
    storage: NDArray[np.generic],
    offset: int,
    shape: Sequence[int],
    strides: Sequence[int],
    what: str,
) -> StoredTensor:
    """Return a view of a storage as PyTorch describes one, in units of values.

    Args:
        dtype: name of the dtype.
        storage: (N,) all values of the storage.
        offset: first value.
        shape: sizes.
        strides: steps between neighbours of each axis.
        what: the tensor's description for the error.

    Raises:
        CorruptFile: the view leaves its storage, or repeats its values.
    """
    size = math.prod(shape)
    last = offset + sum((size - 1) * step for size, step in zip(shape, strides, strict=True)) if size else -1
    negative = min(offset, 0, *shape, *strides) < 0
    if (
        negative
        or last >= storage.size
        or size > storage.size
        or math.prod(filter(None, shape)) >= MOST_VALUES
    ):
        raise CorruptFile(
            given=f"{what} asks for values {offset} to {last} as {tuple(shape)} of a storage of {storage.size}",
            expected="a view inside its storage",
        )
    if size == 0:
        return StoredTensor(dtype, np.empty(tuple(shape), BITS[dtype]))
    # an axis of one value has any stride at all, a number too large for NumPy included
    steps = tuple(
        step * storage.itemsize if size > 1 else 0 for size, step in zip(shape, strides, strict=True)
    )
    return StoredTensor(
        dtype, np.lib.stride_tricks.as_strided(storage[offset:], shape, steps, writeable=False)
    )
