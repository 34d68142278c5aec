"""HDF5: every tensor a stretch of the file. Hostile files: ``attacks/test_framework_attacks.py``."""

import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from robertakit.checkpoints.hdf5 import read_hdf5
from robertakit.checkpoints.weight_files import open_weights
from robertakit.errors import CorruptFile
from robertakit.files import locate

SOURCE = Path(__file__).resolve().parents[2] / "src"


def test_values_are_mapped_not_copied(checkpoints: Path) -> None:
    tensors = read_hdf5(checkpoints / "mlm_tf_h5" / "tf_model.h5")
    value = tensors["roberta.embeddings.word_embeddings.weight"].read()
    assert not value.flags.owndata
    assert not value.flags.writeable


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


def test_shards_go_by_their_index(golden: Path) -> None:
    stored = open_weights(locate(golden / "frameworks" / "tf_masked_lm_sharded"))
    assert [len(names) for names in stored.files.values()] == [22, 20]
    assert "roberta.encoder.layer.1.output.dense.weight" in stored.tensors


def test_no_package_of_theirs_is_needed_and_no_reader_imported_in_vain(checkpoints: Path) -> None:
    code = (
        "import sys\n"
        "for name in ('h5py', 'msgpack', 'tensorflow', 'jax', 'flax', 'torch'): sys.modules[name] = None\n"
        "from pathlib import Path\nfrom robertakit.checkpoints.weight_files import read_weight_file\n"
        "readers = ('hdf5', 'msgpack', 'fairseq', 'torch_files')\n"
        "for name in sys.argv[1:]:\n"
        "    print(len(read_weight_file(Path(name))[0]), end=' ')\n"
        "    print(*(reader for reader in readers if f'robertakit.checkpoints.{reader}' in sys.modules))"
    )
    names = ("mlm_safetensors/model.safetensors", "mlm_tf_h5/tf_model.h5", "mlm_flax_msgpack/flax_model.msgpack",
             "mlm_bin/pytorch_model.bin", "fairseq_in_proj/model.pt")  # fmt: skip
    command = [sys.executable, "-c", code, *(str(checkpoints / name) for name in names)]
    environment = os.environ | {"PYTHONPATH": str(SOURCE)}
    said = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    assert said.splitlines() == [
        "42 ",
        "42 hdf5",
        "42 hdf5 msgpack",
        "44 hdf5 msgpack torch_files",
        "43 hdf5 msgpack fairseq torch_files",
    ]
