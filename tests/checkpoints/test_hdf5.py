"""HDF5: every tensor a stretch of the file. Hostile files: ``attacks/test_framework_attacks.py``."""

import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robertakit.checkpoints.hdf5 import read_hdf5
from robertakit.checkpoints.weight_files import open_weights
from robertakit.errors import CorruptFile, DependencyError, UnsupportedFormat
from robertakit.files import locate

SOURCE = Path(__file__).resolve().parents[2] / "src"
DTYPES = {"f8": "F64", "f4": "F32", "f2": "F16", "i8": "I64", "i4": "I32", "i2": "I16", "i1": "I8",
          "u8": "U64", "u4": "U32", "u2": "U16", "u1": "U8"}  # fmt: skip


def write(path: Path, arrays: dict[str, np.ndarray], **how: object) -> Path:
    with h5py.File(path, "w", **how) as file:
        for name, array in arrays.items():
            file.create_dataset(name, data=array)
    return path


@given(
    arrays=st.dictionaries(
        st.lists(st.text("abcé ", min_size=1, max_size=4), min_size=1, max_size=3).map("/".join),
        st.tuples(st.sampled_from(list(DTYPES)), st.lists(st.integers(1, 4), max_size=3)),
        max_size=8,
    ),
    libver=st.sampled_from(["earliest", "v110", "latest"]),
)
def test_what_h5py_writes_comes_back(
    arrays: dict[str, tuple[str, list[int]]], libver: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Of any version of the format, whole groups of names included."""
    paths = [name for name in arrays if not any(other.startswith(f"{name}/") for other in arrays)]
    generator = np.random.default_rng(len(arrays))
    values = {
        name: (100 * generator.standard_normal(arrays[name][1])).astype(arrays[name][0]) for name in paths
    }
    path = write(tmp_path_factory.mktemp("h5") / "a.h5", values, libver=libver)
    found = read_hdf5(path)
    assert found.keys() == {name.replace("/", ".") for name in values}
    for name, value in values.items():
        tensor = found[name.replace("/", ".")]
        assert (tensor.dtype, tensor.shape) == (DTYPES[arrays[name][0]], value.shape)
        assert np.array_equal(tensor.bits, value)
    path.unlink()


def test_values_are_mapped_not_copied(checkpoints: Path) -> None:
    tensors = read_hdf5(checkpoints / "mlm_tf_h5" / "tf_model.h5")
    value = tensors["roberta.embeddings.word_embeddings.weight"].read()
    assert not value.flags.owndata
    assert not value.flags.writeable


def test_bfloat16_is_known_by_its_bits(tmp_path: Path) -> None:
    kind = h5py.h5t.IEEE_F32LE.copy()
    kind.set_fields(15, 7, 8, 0, 7)
    kind.set_size(2)
    kind.set_ebias(127)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        space = h5py.h5s.create_simple((3,))
        dataset = h5py.h5d.create(file.id, b"kernel:0", kind, space)
        dataset.write(h5py.h5s.ALL, h5py.h5s.ALL, np.array([1, -2, 0.5], np.float32))
    tensor = read_hdf5(tmp_path / "a.h5")["kernel"]
    assert tensor.dtype == "BF16"
    assert tensor.read().tolist() == [1, -2, 0.5]


def test_a_user_block_moves_everything(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5", {"a": np.arange(5.0)}, userblock_size=512)
    assert read_hdf5(path)["a"].bits.tolist() == [0, 1, 2, 3, 4]


def test_names_of_a_layer_and_of_the_model_are_left_out(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for layer, marks in (("roberta", "weight_names"), ("long", "weight_names0"), ("plain", "other")):
            group = file.create_group(layer)
            group.attrs[marks] = [b"x"]
            group["tf_model/pooler/dense/bias:0" if layer == "roberta" else f"tf_model/{layer}/x:0"] = (
                np.zeros(2)
            )
    assert sorted(read_hdf5(tmp_path / "a.h5")) == ["long.x", "plain.tf_model.plain.x", "pooler.dense.bias"]


def test_a_tensor_that_two_layers_share_is_there_once_and_must_agree(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for layer, value in (("roberta", 1.0), ("lm_head", 1.0)):
            group = file.create_group(layer)
            group.attrs["weight_names"] = [b"x"]
            group["tf_model/roberta/embeddings/word_embeddings/weight:0"] = np.full((200, 3), value)
    assert list(read_hdf5(tmp_path / "a.h5")) == ["roberta.embeddings.word_embeddings.weight"]
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        file["lm_head/tf_model/roberta/embeddings/word_embeddings/weight:0"][0] = 2
    with pytest.raises(CorruptFile, match=r"word_embeddings\.weight twice, with other values"):
        read_hdf5(tmp_path / "a.h5")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"data": np.zeros((4, 4)), "chunks": (2, 2)}, "lies in chunks"),
        ({"data": np.zeros((4, 4)), "compression": "gzip"}, "h5repack -l CONTI -f NONE"),
        ({"data": np.zeros(4, ">f4")}, "another dtype; expected little-endian numbers"),
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
        read_hdf5(tmp_path / "a.h5")
    assert words in str(caught.value)


def test_shards_go_by_their_index(golden: Path) -> None:
    stored = open_weights(locate(golden / "frameworks" / "tf_masked_lm_sharded"))
    assert [len(names) for names in stored.files.values()] == [22, 20]
    assert "roberta.encoder.layer.1.output.dense.weight" in stored.tensors


def test_without_h5py_one_sentence_names_the_extra(checkpoints: Path) -> None:
    code = (
        "import sys; sys.modules['h5py'] = None\n"
        "from pathlib import Path\nfrom robertakit.checkpoints.weight_files import read_weight_file\n"
        "from robertakit.errors import DependencyError\n"
        "try: read_weight_file(Path(sys.argv[1]))\n"
        "except DependencyError as error: print(error)"
    )
    command = [sys.executable, "-c", code, str(checkpoints / "mlm_tf_h5" / "tf_model.h5")]
    environment = os.environ | {"PYTHONPATH": str(SOURCE)}
    said = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    assert "needs h5py, which is not installed; install it with: pip install 'robertakit[convert]'" in said
    assert issubclass(DependencyError, ImportError)


def test_neither_h5py_nor_the_reader_is_imported_for_other_files(checkpoints: Path) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom robertakit.checkpoints.weight_files import read_weight_file\n"
        "for name in sys.argv[1:]: read_weight_file(Path(name))\n"
        "print([name for name in ('h5py', 'robertakit.checkpoints.hdf5', 'msgpack') if name in sys.modules])"
    )
    names = (
        "mlm_safetensors/model.safetensors",
        "mlm_bin/pytorch_model.bin",
        "mlm_flax_msgpack/flax_model.msgpack",
    )
    command = [sys.executable, "-c", code, *(str(checkpoints / name) for name in names)]
    environment = os.environ | {"PYTHONPATH": str(SOURCE)}
    said = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    assert said.strip() == "[]"
