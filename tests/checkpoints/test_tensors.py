"""Stored tensors: widening, gathering rows, views of storages."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from robertakit.checkpoints.tensors import StoredTensor, as_stored, strided_view
from robertakit.errors import CorruptFile, UnsupportedFormat

torch = pytest.importorskip("torch")


@given(bits=npst.arrays(np.uint16, npst.array_shapes(min_dims=0, max_side=4)))
def test_bfloat16_widens_as_torch_does(bits: np.ndarray) -> None:
    expected = torch.from_numpy(bits.astype(np.int16)).view(torch.bfloat16).float().numpy()
    value = StoredTensor("BF16", bits).read()
    assert value.dtype == np.float32
    assert value.shape == bits.shape
    assert value.tobytes() == expected.tobytes()  # NaN payloads too


def test_bfloat16_widens_across_blocks() -> None:
    bits = np.arange((1 << 20) + 5, dtype=np.uint32).astype(np.uint16).reshape(1, -1)
    value = StoredTensor("BF16", bits).read()
    assert np.array_equal(value.view(np.uint32) >> 16, bits)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_read_gives_the_dtype_asked_for(dtype: type) -> None:
    for tensor in (
        as_stored(np.array([[0.5, -2.0]], np.float16)),
        StoredTensor("BF16", np.array([[0x3F00, 0xC000]], "<u2")),
    ):
        value = tensor.read(dtype)
        assert value.dtype == dtype
        assert value.tolist() == [[0.5, -2.0]]


def test_read_is_c_ordered() -> None:
    value = as_stored(np.arange(6.0, dtype=np.float32).reshape(2, 3).T).read()
    assert value.flags.c_contiguous
    assert value.tolist() == [[0, 3], [1, 4], [2, 5]]


def test_scalar() -> None:
    tensor = as_stored(np.float32(3))
    assert tensor.shape == ()
    assert tensor.read().shape == ()
    assert tensor.read() == 3


@given(ids=npst.arrays(np.int64, npst.array_shapes(max_dims=2, max_side=5), elements=st.integers(0, 6)))
def test_trap_19_rows_are_gathered_then_widened(ids: np.ndarray) -> None:
    table = np.arange(21, dtype=np.float16).reshape(7, 3)
    assert np.array_equal(as_stored(table).rows(ids), table[ids].astype(np.float32))
    halves = StoredTensor(
        "BF16", (np.arange(21, dtype=np.float32).view(np.uint32) >> 16).astype(np.uint16).reshape(7, 3)
    )
    assert np.array_equal(halves.rows(ids), halves.read()[ids])


def test_eight_bit_floats_are_refused_in_a_sentence() -> None:
    with pytest.raises(UnsupportedFormat, match="F8_E4M3; expected one of BF16, F16, F32, F64; convert"):
        StoredTensor("F8_E4M3", np.zeros(3, np.uint8)).read()


@given(
    size=st.integers(0, 12),
    offset=st.integers(0, 12),
    shape=st.lists(st.integers(0, 5), max_size=3),
    data=st.data(),
)
def test_view_is_torchs_or_an_error(size: int, offset: int, shape: list[int], data: st.DataObject) -> None:
    strides = data.draw(st.lists(st.integers(0, 6), min_size=len(shape), max_size=len(shape)))
    storage = np.arange(size, dtype=np.float32)
    count = int(np.prod(shape))
    last = offset + sum((extent - 1) * step for extent, step in zip(shape, strides, strict=True))
    sound = count == 0 or (last < size and count <= size)
    try:
        view = strided_view("F32", storage, offset, shape, strides, "a")
    except CorruptFile:
        assert not sound
        return
    assert sound
    expected = (
        torch.as_strided(torch.from_numpy(storage), shape, strides, offset) if count else torch.zeros(shape)
    )
    assert np.array_equal(view.read(), expected.numpy())
