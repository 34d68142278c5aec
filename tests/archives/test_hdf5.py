"""The directory of an HDF5 file, against h5py. Hostile files: ``attacks/test_framework_attacks.py``."""

from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robertakit.archives.hdf5 import Dataset, Hdf5, open_hdf5
from robertakit.errors import CorruptFile, UnsupportedFormat

DTYPES = {"f8": "F64", "f4": "F32", "f2": "F16", "i8": "I64", "i4": "I32", "i2": "I16", "i1": "I8",
          "u8": "U64", "u4": "U32", "u2": "U16", "u1": "U8"}  # fmt: skip


def write(path: Path, arrays: dict[str, np.ndarray], **how: object) -> Path:
    with h5py.File(path, "w", **how) as file:
        for name, array in arrays.items():
            file.create_dataset(name, data=array)
    return path


def values_of(file: Hdf5, name: str, kind: str) -> np.ndarray:
    dataset = file.datasets[tuple(name.split("/"))]
    count = dataset.nbytes // np.dtype(kind).itemsize
    return np.frombuffer(file.data, kind, count, dataset.first).reshape(dataset.shape)


@given(
    arrays=st.dictionaries(
        st.lists(st.text("abcé ", min_size=1, max_size=4), min_size=1, max_size=3).map("/".join),
        st.tuples(st.sampled_from(list(DTYPES)), st.lists(st.integers(1, 4), max_size=3)),
        max_size=8,
    ),
)
def test_what_h5py_writes_comes_back(
    arrays: dict[str, tuple[str, list[int]]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    paths = [name for name in arrays if not any(other.startswith(f"{name}/") for other in arrays)]
    generator = np.random.default_rng(len(arrays))
    values = {
        name: (100 * generator.standard_normal(arrays[name][1])).astype(arrays[name][0]) for name in paths
    }
    path = write(tmp_path_factory.mktemp("h5") / "a.h5", values)
    found = open_hdf5(path)
    assert found.datasets.keys() == {tuple(name.split("/")) for name in values}
    for name, value in values.items():
        dataset = found.datasets[tuple(name.split("/"))]
        assert (dataset.dtype, dataset.shape) == (DTYPES[arrays[name][0]], value.shape)
        assert np.array_equal(values_of(found, name, arrays[name][0]), value)
    path.unlink()


def test_bfloat16_is_known_by_its_bits(tmp_path: Path) -> None:
    kind = h5py.h5t.IEEE_F32LE.copy()
    kind.set_fields(15, 7, 8, 0, 7)
    kind.set_size(2)
    kind.set_ebias(127)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        space = h5py.h5s.create_simple((3,))
        dataset = h5py.h5d.create(file.id, b"kernel:0", kind, space)
        dataset.write(h5py.h5s.ALL, h5py.h5s.ALL, np.array([1, -2, 0.5], np.float32))
    file = open_hdf5(tmp_path / "a.h5")
    dataset = file.datasets[("kernel:0",)]
    assert dataset == Dataset("BF16", (3,), dataset.first, 6)
    assert values_of(file, "kernel:0", "u2").tolist() == [0x3F80, 0xC000, 0x3F00]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"data": np.zeros((4, 4)), "chunks": (2, 2)}, "lies in chunks"),
        ({"data": np.zeros((4, 4)), "compression": "gzip"}, "is data behind a filter"),
        ({"data": np.zeros(4, ">f4")}, "has another dtype than little-endian numbers"),
        ({"data": np.zeros(4, np.complex64)}, "another dtype"),
        ({"data": "a text"}, "another dtype"),
        ({"shape": (4,), "dtype": "f4"}, "of shape (4,) has no values"),
        ({"shape": (0,), "dtype": "f4"}, "of shape (0,) has no values"),
    ],
)
def test_what_is_no_stretch_of_numbers_is_refused(
    tmp_path: Path, arguments: dict[str, object], words: str
) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("a", **arguments)
    with pytest.raises((UnsupportedFormat, CorruptFile)) as caught:
        open_hdf5(tmp_path / "a.h5")
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("how", "words"),
    [
        (
            {"libver": "v108"},
            "superblock version 2; expected version 0, which h5py writes unless it is told otherwise",
        ),
        ({"libver": "latest"}, "superblock version 3"),
        ({"track_order": True}, "is of the newer form"),
        ({"userblock_size": 512}, "does not begin as an HDF5 file"),
    ],
)
def test_other_forms_of_the_format_are_refused(tmp_path: Path, how: dict[str, object], words: str) -> None:
    with pytest.raises((UnsupportedFormat, CorruptFile), match=words):
        open_hdf5(write(tmp_path / "a.h5", {"a": np.arange(5.0)}, **how))


def test_many_names_in_one_group(tmp_path: Path) -> None:
    """A tree of several levels, and tables out of the order in which they were filled."""
    arrays = {f"group/{number * 7919 % 3000}": np.full(2, number, "f4") for number in range(3000)}
    found = open_hdf5(write(tmp_path / "a.h5", arrays))
    assert all(np.array_equal(values_of(found, name, "f4"), value) for name, value in arrays.items())
    assert len(found.datasets) == 3000


def test_headers_that_go_on_elsewhere(tmp_path: Path) -> None:
    """Attributes that came later do not fit beside the first ones."""
    path = write(tmp_path / "a.h5", {"layer/model/a": np.arange(3.0)})
    with h5py.File(path, "r+") as file:
        for number in range(40):
            file["layer"].attrs[f"note {number}"] = "x" * 500
            file["layer/model/a"].attrs[f"note {number}"] = "y" * 500
        file["layer"].attrs["weight_names"] = [b"a"]
    found = open_hdf5(path)
    assert list(found.datasets) == [("layer", "model", "a")]
    assert found.attributes[("layer",)] == {"weight_names", *(f"note {number}" for number in range(40))}
    assert found.attributes[()] == found.attributes[("layer", "model")] == frozenset()
