"""The safetensors container against the package that defines it; hostile files stand in ``tests/attacks``."""

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from safetensors.numpy import save, save_file

from robertakit.checkpoints.safetensors import HEADER_LIMIT, read_safetensors, write_safetensors
from robertakit.checkpoints.tensors import as_stored
from robertakit.errors import CorruptFile

ARRAYS = st.dictionaries(
    st.text(min_size=1, max_size=8).filter(lambda name: name != "__metadata__"),
    st.sampled_from(["f8", "f4", "f2", "i8", "i4", "u1", "?"]).flatmap(
        lambda dtype: npst.arrays(dtype, npst.array_shapes(min_dims=0, min_side=0, max_side=4))
    ),
    max_size=4,
)


@given(arrays=ARRAYS, metadata=st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=2))
def test_reads_what_the_package_writes(
    arrays: dict[str, np.ndarray], metadata: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("st") / "a.safetensors"
    save_file(
        {name: np.ascontiguousarray(array).reshape(array.shape) for name, array in arrays.items()},
        path,
        metadata or None,  # an empty table spoils an empty file (0.8.0)
    )
    tensors, found = read_safetensors(path)
    assert found == metadata
    assert tensors.keys() == arrays.keys()
    for name, array in arrays.items():
        assert tensors[name].bits.dtype == array.dtype
        assert tensors[name].shape == array.shape
        assert bytes(tensors[name].c_bytes()) == array.tobytes()
    path.unlink()


def test_writes_the_bytes_that_the_package_writes() -> None:
    arrays = {"b": np.arange(6, dtype=np.float32).reshape(2, 3), "a": np.ones(3, np.float16), "c": np.ones(2)}
    file = io.BytesIO()
    write_safetensors(file, {name: as_stored(array) for name, array in arrays.items()}, {"format": "pt"})
    assert file.getvalue() == save(arrays, {"format": "pt"})


def test_file_may_go_while_its_tensors_live(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_file({"a": np.arange(5.0)}, path)
    tensors, _ = read_safetensors(path)
    path.unlink()
    assert tensors["a"].read().tolist() == [0, 1, 2, 3, 4]


def test_header_of_the_largest_published_model_fits() -> None:
    """XLM-R XXL: 48 layers of 16 tensors, with the longest name and offsets of 11 digits."""
    entry = '"roberta.encoder.layer.47.attention.output.LayerNorm.weight":{"dtype":"F32","shape":[4096,4096],'
    assert 48 * 16 * (len(entry) + len('"data_offsets":[42000000000,42000000000]},')) < HEADER_LIMIT / 10


def test_reading_needs_an_ordinary_file(tmp_path: Path) -> None:
    with pytest.raises(CorruptFile, match="no ordinary file"):
        read_safetensors(tmp_path)
