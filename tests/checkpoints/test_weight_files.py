"""Which file is taken, how it is read, and what an index may say. Loading as a whole: ``test_loading.py``."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from robertakit.checkpoints.weight_files import (
    container_asked,
    open_weights,
    read_weight_file,
    weight_names,
)
from robertakit.errors import ArgumentError, CorruptFile, NotFound
from robertakit.files import SAVE_ID, locate


def test_names_and_their_order() -> None:
    safetensors = ["model.safetensors", "model.safetensors.index.json"]
    others = ["pytorch_model.bin", "pytorch_model.bin.index.json", "tf_model.h5", "tf_model.h5.index.json"]
    others += ["flax_model.msgpack", "flax_model.msgpack.index.json", "model.pt"]
    assert weight_names() == safetensors + others
    assert weight_names(use_safetensors=True) == weight_names(container="safetensors") == safetensors
    assert weight_names(use_safetensors=False) == others
    assert weight_names(container="fairseq") == ["model.pt"]
    assert weight_names(container="bin", variant="x") == [
        "pytorch_model.x.bin",
        "pytorch_model.bin.index.x.json",
    ]
    assert weight_names(container="fairseq", variant="x") == []


def test_documented_arguments_are_containers() -> None:
    assert container_asked() is container_asked(use_safetensors=False) is None
    assert container_asked(use_safetensors=True) == "safetensors"
    assert container_asked(from_tf=True) == container_asked(from_tf=True, container="h5") == "h5"
    assert container_asked(from_flax=True, use_safetensors=False) == "msgpack"
    with pytest.raises(ArgumentError, match="from_tf=True and from_flax=True; expected one of them"):
        container_asked(from_tf=True, from_flax=True)


@pytest.mark.parametrize("name", ["mlm_sharded", "mlm_bin_sharded"])
def test_shards_are_read_where_the_index_says(checkpoints: Path, name: str) -> None:
    stored = open_weights(locate(checkpoints / name))
    index = json.loads(next((checkpoints / name).glob("*.index.json")).read_text())["weight_map"]
    assert {tensor: file for file, tensors in stored.files.items() for tensor in tensors} == index
    assert stored.save_id is None


def test_shards_of_the_cache_are_links(checkpoints: Path, tmp_path: Path) -> None:
    for number, path in enumerate((checkpoints / "mlm_sharded").iterdir()):
        blob = tmp_path / "blobs" / str(number)
        blob.parent.mkdir(exist_ok=True)
        shutil.copy(path, blob)
        (tmp_path / "snapshot").mkdir(exist_ok=True)
        (tmp_path / "snapshot" / path.name).symlink_to(f"../blobs/{number}")
    assert len(open_weights(locate(tmp_path / "snapshot")).tensors) == 42


def test_shard_of_another_save_is_refused(checkpoints: Path, tmp_path: Path) -> None:
    shutil.copytree(checkpoints / "mlm_sharded", tmp_path / "model")
    path = tmp_path / "model" / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    shard = tmp_path / "model" / next(iter(index["weight_map"].values()))
    data = shard.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    for index_id, shard_id, sound in (("a", "a", True), ("a", "b", False), ("a", None, True)):
        index["metadata"][SAVE_ID] = index_id
        path.write_text(json.dumps(index))
        header["__metadata__"] = {"format": "pt"} | ({SAVE_ID: shard_id} if shard_id else {})
        text = json.dumps(header).encode()
        shard.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + length :])
        if sound:
            assert open_weights(locate(tmp_path / "model")).save_id == "a"
        else:
            with pytest.raises(CorruptFile, match="two different saves"):
                open_weights(locate(tmp_path / "model"))


def test_an_index_may_be_named_itself(checkpoints: Path) -> None:
    path = checkpoints / "mlm_sharded" / "model.safetensors.index.json"
    assert len(open_weights(locate(path)).tensors) == 42


@pytest.mark.parametrize(
    ("start", "error", "words"),
    [
        (b"", CorruptFile, "is empty"),
        (b"version https://git-lfs.github.com/spec/v1\n", CorruptFile, "git lfs pull"),
        (b"\x89HDF\r\n\x1a\n", CorruptFile, "no whole HDF5 file"),
        (b"\x81\xa1a\xc0", CorruptFile, r"no weights of Flax's \(a is no array\)"),
        (b"<!DOCTYPE html>", CorruptFile, "of no format that is known"),
        (b"\x80\x05N.", CorruptFile, "is a pickle"),
    ],
)
def test_first_bytes_decide(tmp_path: Path, start: bytes, error: type[Exception], words: str) -> None:
    path = tmp_path / "pytorch_model.bin"
    path.write_bytes(start)
    with pytest.raises(error, match=words):
        read_weight_file(path)


def test_folder_without_weights_lists_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "vocab.json").write_text("{}")
    with pytest.raises(NotFound, match=r"none of model\.safetensors, .* it holds vocab\.json"):
        open_weights(locate(tmp_path))


def test_values_are_those_of_the_one_file(checkpoints: Path) -> None:
    one = open_weights(locate(checkpoints / "mlm_safetensors")).tensors
    many = open_weights(locate(checkpoints / "mlm_sharded")).tensors
    assert one.keys() == many.keys()
    assert all(np.array_equal(one[name].bits, many[name].bits) for name in one)
