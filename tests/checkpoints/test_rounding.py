"""Rounding to another dtype: bit by bit as PyTorch does it, and never further off than the bounds say."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from robertakit.checkpoints.rounding import DTYPES, ROUNDING, largest_error, rounded
from robertakit.checkpoints.tensors import FLOATS, StoredTensor
from robertakit.errors import UnsupportedFormat

torch = pytest.importorskip("torch")

NUMPY = {"F64": np.float64, "F32": np.float32, "F16": np.float16}
floats = arrays.arrays(
    np.float32, st.integers(0, 40), elements=st.floats(width=32, max_value=6e4, min_value=-6e4)
)


def in_torch(values: np.ndarray, dtype: str) -> np.ndarray:
    tensor = torch.from_numpy(values)
    return (
        tensor.bfloat16().view(torch.int16).numpy().view("<u2") if dtype == "BF16" else tensor.half().numpy()
    )


@pytest.mark.parametrize("dtype", ["F16", "BF16"])
@given(values=floats)
def test_rounding_is_pytorchs(dtype: str, values: np.ndarray) -> None:
    narrow = rounded(StoredTensor("F32", values), dtype)
    assert narrow.dtype == dtype
    assert np.array_equal(narrow.bits, in_torch(values, dtype))
    assert largest_error(StoredTensor("F32", values), narrow) <= 1


@pytest.mark.parametrize("dtype", ["F16", "BF16"])
def test_ties_small_values_and_what_is_no_number(dtype: str) -> None:
    values = np.float32(
        [1 + 2**-9, 1 + 3 * 2**-9, 1 + 2**-12, 1e-40, 3e-8, 2**-25, -0.0, np.inf, -np.inf, np.nan]
    )
    narrow = rounded(StoredTensor("F32", values), dtype)
    ours = narrow.read(np.float32)
    theirs = StoredTensor(dtype, in_torch(values, dtype)).read(np.float32)
    assert np.array_equal(ours, theirs, equal_nan=True)
    assert np.array_equal(np.signbit(ours[:-1]), np.signbit(theirs[:-1]))
    assert largest_error(StoredTensor("F32", values), narrow) <= 1


@given(values=floats)
def test_widening_changes_nothing(values: np.ndarray) -> None:
    for narrow in ("F16", "BF16", "F32"):
        stored = rounded(StoredTensor("F32", values), narrow)
        for wide in ("F32", "F64"):
            widened = rounded(stored, wide)
            assert widened.dtype == wide
            assert largest_error(stored, widened) == 0
            assert np.array_equal(widened.bits.astype(np.float32), stored.read(np.float32))


def test_the_own_dtype_is_no_copy() -> None:
    tensor = StoredTensor("F16", np.ones((2, 3), np.float16))
    assert rounded(tensor, "F16") is tensor


def test_any_memory_order_and_more_than_one_chunk() -> None:
    values = np.random.default_rng(0).standard_normal((1100, 1000), np.float32)
    turned = rounded(StoredTensor("F32", values.T), "BF16")
    assert np.array_equal(turned.bits, rounded(StoredTensor("F32", values), "BF16").bits.T)
    assert 0.9 < largest_error(StoredTensor("F32", values.T), turned) <= 1


def test_what_a_dtype_cannot_hold_is_refused() -> None:
    tensor = StoredTensor("F32", np.float32([1, 70000]))
    with pytest.raises(UnsupportedFormat, match=r"tensor 'a' holds 70000, which no F16 can be; .*bfloat16"):
        rounded(tensor, "F16", "tensor 'a'")
    assert rounded(tensor, "BF16").read(np.float32)[1] == 70144
    with pytest.raises(UnsupportedFormat, match="which no F32 can be"):
        rounded(StoredTensor("F64", np.array([1e300])), "F32")
    with pytest.raises(UnsupportedFormat, match="which no BF16 can be"):
        rounded(StoredTensor("F32", np.float32([3.4e38])), "BF16")
    with pytest.raises(UnsupportedFormat, match="I64 as F32"):
        rounded(StoredTensor("I64", np.zeros(1, np.int64)), "F32")


@pytest.mark.parametrize("dtype", sorted(FLOATS))
def test_an_error_is_seen(dtype: str) -> None:
    source = StoredTensor("F32", np.linspace(-2, 2, 101, dtype=np.float32).reshape(1, 101))
    good = rounded(source, dtype)
    values = good.read(np.float64).copy()
    values[0, 3] += values[0, 3] * 2.1 * ROUNDING[dtype][0]
    assert largest_error(source, rounded(StoredTensor("F64", values), dtype)) > 1
    values[0, 3] = np.nan
    assert largest_error(source, rounded(StoredTensor("F64", values), dtype)) == np.inf
    assert largest_error(rounded(StoredTensor("F64", values), dtype), source) == np.inf
    assert largest_error(source, StoredTensor(dtype, good.bits.reshape(101, 1))) == np.inf


def test_names_are_those_of_files() -> None:
    assert set(DTYPES.values()) == set(FLOATS) == set(ROUNDING)
    for name, relative in ((name, ROUNDING[name][0]) for name in NUMPY):
        assert relative == np.finfo(NUMPY[name]).eps / 2
    assert ROUNDING["BF16"][0] == torch.finfo(torch.bfloat16).eps / 2
