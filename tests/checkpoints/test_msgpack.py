"""Msgpack as Flax uses it, against the package. Hostile files: ``attacks/test_framework_attacks.py``."""

from pathlib import Path

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robertakit.archives.mapped import map_file
from robertakit.checkpoints.msgpack import _Reader, read_msgpack
from robertakit.errors import CorruptFile, UnsupportedFormat

NAMES = {"float64": "F64", "float32": "F32", "float16": "F16", "int64": "I64", "int32": "I32", "int16": "I16",
         "int8": "I8", "uint64": "U64", "uint32": "U32", "uint16": "U16", "uint8": "U8", "bool": "BOOL"}  # fmt: skip
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(max_size=300),
    lambda inner: st.lists(inner, max_size=20) | st.dictionaries(st.text(max_size=40), inner, max_size=20),
    max_leaves=40,
)


def packed(array: np.ndarray, dtype: str = "", code: int = 1) -> msgpack.ExtType:
    """An array as ``flax.serialization`` packs it."""
    fields = (array.shape, dtype or array.dtype.name, array.tobytes("C"))
    return msgpack.ExtType(code, msgpack.packb(fields, use_bin_type=True))


def write(folder: Path, tree: object) -> Path:
    path = folder / "flax_model.msgpack"
    path.write_bytes(msgpack.packb(tree, use_bin_type=True))
    return path


@given(value=VALUES)
def test_plain_values_are_those_of_the_package(
    value: object, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = write(tmp_path_factory.mktemp("msgpack"), value)
    data = map_file(path)
    reader = _Reader(data, 0, len(data))
    assert reader.value() == value
    assert reader.position == len(data)


@given(data=st.binary(min_size=1, max_size=300))
def test_any_bytes_end_in_an_error_of_ours(data: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("msgpack") / "flax_model.msgpack"
    path.write_bytes(data)
    try:
        tensors = read_msgpack(path)
    except (CorruptFile, UnsupportedFormat):
        return
    assert tensors == {} or data[0] & 0xF0 == 0x80


@given(
    tree=st.dictionaries(
        st.text("abcé", min_size=1, max_size=5),
        st.tuples(st.sampled_from(list(NAMES)), st.lists(st.integers(0, 300), max_size=2)),
        max_size=8,
    ),
    depth=st.integers(0, 5),
)
def test_arrays_come_back(
    tree: dict[str, tuple[str, list[int]]], depth: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Of every length class: extensions of 8, 16 and 32 bits, and of fixed lengths."""
    generator = np.random.default_rng(len(tree))
    arrays = {
        key: (100 * generator.standard_normal(shape)).astype(dtype) for key, (dtype, shape) in tree.items()
    }
    nested: object = {key: packed(array) for key, array in arrays.items()}
    for _ in range(depth):
        nested = {"x": nested}
    found = read_msgpack(write(tmp_path_factory.mktemp("msgpack"), nested))
    assert list(found) == [".".join(["x"] * depth + [key]) for key in arrays]
    for tensor, array, (dtype, _) in zip(found.values(), arrays.values(), tree.values(), strict=True):
        assert (tensor.dtype, tensor.shape) == (NAMES[dtype], array.shape)
        assert np.array_equal(tensor.bits, array)


def test_values_are_mapped_and_aligned_when_they_are_read(checkpoints: Path) -> None:
    for tensor in read_msgpack(checkpoints / "mlm_flax_msgpack" / "flax_model.msgpack").values():
        assert not tensor.bits.flags.owndata
        assert not tensor.bits.flags.writeable
        assert tensor.read().flags.aligned
        assert tensor.read().flags.c_contiguous


def test_scalars_of_numpy_and_names_of_old_flax(tmp_path: Path) -> None:
    old = msgpack.ExtType(
        1, msgpack.packb(([2], b"float32", np.float32([1, 2]).tobytes()), use_bin_type=True)
    )
    found = read_msgpack(write(tmp_path, {"a": packed(np.float32(3), code=3), "b": old}))
    assert found["a"].read() == 3
    assert found["b"].read().tolist() == [1, 2]


def test_an_array_in_pieces_is_joined(tmp_path: Path) -> None:
    whole = np.arange(12, dtype=np.int16).reshape(3, 4)
    for pieces in ([whole[:0], whole[:1], whole[1:]], [whole]):
        tree = {
            "__msgpack_chunked_array__": True,
            "shape": {"0": 3, "1": 4},
            "chunks": {str(number): packed(piece.reshape(-1)) for number, piece in enumerate(pieces)},
        }
        tensor = read_msgpack(write(tmp_path, {"a": tree}))["a"]
        assert np.array_equal(tensor.bits, whole)
        assert tensor.bits.base is not None


def piece(**fields: object) -> dict[str, object]:
    whole: dict[str, object] = {"__msgpack_chunked_array__": True, "shape": {"0": 2}}
    return whole | {"chunks": {"0": packed(np.zeros(1)), "1": packed(np.zeros(1))}} | fields


@pytest.mark.parametrize(
    ("tree", "words"),
    [
        ({"a": 1}, "a is no array"),
        ({"a": {"b": [packed(np.zeros(1))]}}, "a/b is no array"),
        ({"a": msgpack.ExtType(2, b"\x92\xcb" + b"\0" * 8 + b"\xcb" + b"\0" * 8)}, "a is no array"),
        ({"a": msgpack.ExtType(1, b"")}, "0 bytes are announced|ends|announced"),
        ({"a": msgpack.ExtType(1, msgpack.packb([1, 2]))}, "a is no array of shape, dtype and bytes"),
        ({"a": msgpack.ExtType(1, msgpack.packb([[1], "float32", b"\0" * 4]) + b"\0")}, "a is no array of shape"),
        ({"a": msgpack.ExtType(1, msgpack.packb([[1], "float32", b"\0" * 5]))}, "5 bytes for float32"),
        ({"a": msgpack.ExtType(1, msgpack.packb([[-1], "float32", b""]))}, "no shape"),
        ({"a": msgpack.ExtType(1, msgpack.packb([[True], "float32", b"\0" * 4]))}, "no shape"),
        ({"a": msgpack.ExtType(1, msgpack.packb([[0, 2**47, 2**47], "float32", b""]))}, "the shape"),
        ({"a": msgpack.ExtType(1, msgpack.packb([[1] * 9, "float32", b"\0" * 4]))}, "has no shape"),
        ({"a": msgpack.ExtType(1, msgpack.packb([3, "float32", b""]))}, "has no shape"),
        ({"a": piece(shape={"0": 3})}, "do not make the shape"),
        ({"a": piece(shape={"1": 2})}, "without an order"),
        ({"a": piece(chunks={})}, "pieces that are no arrays"),
        ({"a": piece(chunks={"0": packed(np.zeros(1)), "1": packed(np.zeros(1, np.float32))})}, "several dtypes"),
        ({"a": piece(chunks={"0": packed(np.zeros(1)), "1": 7})}, "pieces that are no arrays"),
        ({"embeddings": {"LayerNorm": {"bias": packed(np.zeros(1))}}, "embeddings.LayerNorm": {
            "bias": packed(np.zeros(1))}}, "stands in it twice"),
        ([1], "not one map"),
    ],
)  # fmt: skip
def test_what_holds_no_weights(tmp_path: Path, tree: object, words: str) -> None:
    with pytest.raises(CorruptFile, match=words):
        read_msgpack(write(tmp_path, tree))


def test_a_dtype_that_is_not_known(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedFormat, match="'a/b' has dtype 'float8_e4m3fn'"):
        read_msgpack(write(tmp_path, {"a": {"b": packed(np.zeros(3, np.int8), "float8_e4m3fn")}}))
