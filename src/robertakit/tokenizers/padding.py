"""Padding as pure functions, and the step from lists to arrays and tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import TYPE_CHECKING, TypeVar

from robertakit.errors import ArgumentError, BadShape, require

if TYPE_CHECKING:
    import numpy as np

T = TypeVar("T")


class PaddingStrategy(str, Enum):
    """The values of the argument `padding`."""

    LONGEST = "longest"
    MAX_LENGTH = "max_length"
    DO_NOT_PAD = "do_not_pad"


class TensorType(str, Enum):
    """The values of the argument `return_tensors`."""

    NUMPY = "np"
    PYTORCH = "pt"
    TENSORFLOW = "tf"
    JAX = "jax"


def padding_strategy(value: object) -> PaddingStrategy:
    """Return the strategy that a documented spelling names: a bool, a string, or an enum of any library."""
    if value is True:
        return PaddingStrategy.LONGEST
    if value is False or value is None:
        return PaddingStrategy.DO_NOT_PAD
    try:
        return PaddingStrategy(getattr(value, "value", value))
    except ValueError:
        raise ArgumentError(
            given=f"padding={value!r}",
            expected="True, False, " + ", ".join(repr(each.value) for each in PaddingStrategy),
        ) from None


def tensor_type(value: object) -> TensorType:
    """Return the kind of tensor that a documented spelling names."""
    try:
        return TensorType(getattr(value, "value", value))
    except ValueError:
        raise ArgumentError(
            given=f"return_tensors={value!r}", expected=", ".join(repr(each.value) for each in TensorType)
        ) from None


def side_of(value: str, name: str) -> str:
    """Check `padding_side` or `truncation_side`."""
    if value not in ("left", "right"):
        raise ArgumentError(given=f"{name}={value!r}", expected="'left' or 'right'")
    return value


def width(
    lengths: Sequence[int], strategy: PaddingStrategy, max_length: int | None, multiple: int | None
) -> int | None:
    """Return the length that rows are padded to, or None where there is no padding.

    Example:
        >>> width([3, 5], PaddingStrategy.LONGEST, None, 8)
        8
    """
    if strategy is PaddingStrategy.DO_NOT_PAD:
        return None
    target = (
        max(lengths, default=0) if strategy is PaddingStrategy.LONGEST or max_length is None else max_length
    )
    if multiple and target % multiple:
        target += multiple - target % multiple
    return target


def padded(values: Sequence[T], target: int | None, filler: T, side: str) -> list[T]:
    """Return `values` filled up to `target` on one side; longer ones stay as they are."""
    missing = 0 if target is None else target - len(values)
    if missing <= 0:
        return list(values)
    return [*values, *[filler] * missing] if side == "right" else [*[filler] * missing, *values]


def to_tensors(
    columns: Mapping[str, object], kind: TensorType, *, add_batch_axis: bool = False
) -> dict[str, object]:
    """Turn lists of numbers into arrays or tensors (floats in float32).

    Integers are int64; int32 in TensorFlow, as in the reference, and in JAX unless it is told to compute in 64 bits.

    Raises:
        BadShape: rows of unequal length, or a column that holds no numbers.
        DependencyError: the framework is not installed.
    """
    import numpy as np

    result: dict[str, object] = {}
    for name, values in columns.items():
        rows = [values] if add_batch_axis else values
        try:
            array = values if isinstance(values, np.ndarray) and not add_batch_axis else np.asarray(rows)
        except ValueError:
            array = None
        if array is None or array.dtype == object or array.dtype.kind not in "iufb":
            raise BadShape(
                given=f"{name!r} with rows of unequal length, or without numbers",
                expected="rows of equal length",
                hint="pass padding=True, and truncation=True where rows may be too long",
            )
        result[name] = _tensor(_narrowed(array), kind)
    return result


def _narrowed(array: np.ndarray) -> np.ndarray:
    import numpy as np

    if array.size == 0 and array.dtype.kind == "f":
        return array.astype(np.int64)  # NumPy calls an empty list float64
    return array.astype(np.float32) if array.dtype == np.float64 else array


def _tensor(array: np.ndarray, kind: TensorType) -> object:
    if kind is TensorType.NUMPY:
        return array
    needed = f"return_tensors={kind.value!r}"
    if kind is TensorType.PYTORCH:
        torch = require("torch", extra="torch", needed_for=needed)
        return torch.from_numpy(array.copy())
    if kind is TensorType.TENSORFLOW:
        native = array.astype("int32") if array.dtype == "int64" else array
        return require("tensorflow", extra="tensorflow", needed_for=needed).constant(native)
    return require("jax", extra="jax", needed_for=needed).numpy.array(array)  # a copy, whatever its size
