"""Saving: what is written comes back, in any memory order, and a save that is cut off is the old one or the new."""

import errno
import json
import os
import random
import re
import resource
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray
from safetensors.numpy import load_file

from robertakit import RobertaConfig
from robertakit.architecture import initial_weights
from robertakit.checkpoints import StoredTensor, load_weights, save_weights
from robertakit.checkpoints.safetensors import read_safetensors
from robertakit.checkpoints.saving import bytes_of
from robertakit.errors import ArgumentError, CorruptFile, SaveFailed, UnsupportedFormat
from robertakit.files import SAVE_ID

# JAX, where other tests of this process have imported it, warns of every fork; a child here writes files and ends.
pytestmark = pytest.mark.filterwarnings("ignore:os.fork:RuntimeWarning")

SOURCE = Path(__file__).resolve().parents[2] / "src"
Array = NDArray[np.generic]
DTYPES = ["<f8", "<f4", "<f2", "<i8", "<i4", "<i2", "i1", "<u8", "<u4", "<u2", "u1", "?"]


def transposed(array: Array) -> Array:
    return array.T


def in_fortran_order(array: Array) -> Array:
    return np.asfortranarray(array) if array.ndim else array


def with_gaps(array: Array) -> Array:
    wide = np.repeat(np.atleast_1d(array), 2, axis=-1)
    return wide[..., ::2]


def backwards(array: Array) -> Array:
    return np.atleast_1d(array)[::-1]


def big_endian(array: Array) -> Array:
    return array.astype(array.dtype.newbyteorder(">"))


@given(
    array=st.sampled_from(DTYPES).flatmap(
        lambda dtype: npst.arrays(dtype, npst.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5))
    ),
    order=st.sampled_from([np.asarray, transposed, in_fortran_order, with_gaps, backwards, big_endian]),
    beside=npst.arrays("<f2", npst.array_shapes(max_dims=2, max_side=3)),
)
@settings(max_examples=200)
def test_load_of_save_is_the_same(
    array: Array, order: Callable[[Array], Array], beside: Array, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("round", numbered=True)
    value = order(array)
    save_weights(folder, {"a": value, "b": beside})
    tensors, metadata = read_safetensors(folder / "model.safetensors")
    others = load_file(folder / "model.safetensors")
    for name, expected in (("a", value), ("b", beside)):
        assert tensors[name].shape == expected.shape
        back = tensors[name].bits
        assert back.tobytes() == np.ascontiguousarray(expected, expected.dtype.newbyteorder("<")).tobytes()
        assert others[name].tobytes() == back.tobytes()  # the package reads the same
    assert metadata == {"format": "pt"}
    shutil.rmtree(folder)


def test_bfloat16_goes_through_untouched(tmp_path: Path) -> None:
    bits = np.arange(6, dtype=np.uint16).reshape(2, 3)
    save_weights(tmp_path, {"a": StoredTensor("BF16", bits)})
    tensors, _ = read_safetensors(tmp_path / "model.safetensors")
    assert tensors["a"].dtype == "BF16"
    assert np.array_equal(tensors["a"].bits, bits)


def test_every_value_is_aligned_to_its_size(tmp_path: Path) -> None:
    save_weights(
        tmp_path, {"a": np.ones(3, np.float16), "b": np.ones(3, np.float64), "c": np.ones(3, np.int8)}
    )
    tensors, _ = read_safetensors(tmp_path / "model.safetensors")
    assert all(tensor.bits.flags.aligned for tensor in tensors.values())


@pytest.mark.parametrize("value", [np.array(["text"]), np.array([None]), np.zeros(2, np.longdouble)])
def test_what_no_file_can_hold_is_refused(tmp_path: Path, value: Array) -> None:
    with pytest.raises(UnsupportedFormat, match=re.escape(str(value.dtype))):
        save_weights(tmp_path, {"a": value})
    assert list(tmp_path.iterdir()) == []


def test_equal_weights_give_equal_bytes(tmp_path: Path, config: RobertaConfig) -> None:
    for name in ("a", "b"):
        weights = initial_weights(config, "masked-lm", 5)
        save_weights(tmp_path / name, weights, config_json=config.to_json_string(), max_shard_size="2KB")
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert len(names) > 4
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_config_and_weights_carry_one_id(saved: Path) -> None:
    _, metadata = read_safetensors(saved / "model.safetensors")
    assert json.loads((saved / "config.json").read_text())[SAVE_ID] == metadata[SAVE_ID]
    config = RobertaConfig.from_pretrained(saved)
    assert SAVE_ID not in config.to_dict()  # another save will write this config with an id of its own


def test_shards_keep_to_their_size_and_come_back(tmp_path: Path, config: RobertaConfig) -> None:
    values = initial_weights(config, "masked-lm", 1)
    names = save_weights(tmp_path, values, config_json=config.to_json_string(), max_shard_size="1KB")
    shards = [tmp_path / name for name in names if "-of-" in name]
    assert shards[0].name == f"model-00001-of-{len(shards):05d}.safetensors"
    for shard in shards:
        tensors, _ = read_safetensors(shard)
        assert sum(tensor.nbytes for tensor in tensors.values()) <= 1000 or len(tensors) == 1
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    assert index["weight_map"].keys() == values.keys()
    assert index["metadata"]["total_size"] == sum(value.nbytes for value in values.values())
    weights, _ = load_weights(tmp_path, config, "masked-lm")
    assert all(np.array_equal(weights[name].read(), values[name]) for name in values)


def test_trap_17_one_copy_of_what_is_tied_is_saved(tmp_path: Path, config: RobertaConfig) -> None:
    values = dict(initial_weights(config, "masked-lm", 1))
    values["lm_head.decoder.weight"] = values["roberta.embeddings.word_embeddings.weight"]
    values["lm_head.decoder.bias"] = values["lm_head.bias"]
    save_weights(tmp_path, values, config_json=config.to_json_string())
    tensors, _ = read_safetensors(tmp_path / "model.safetensors")
    assert set(values) - set(tensors) == {"lm_head.decoder.weight", "lm_head.decoder.bias"}
    config.tie_word_embeddings = False
    save_weights(tmp_path, values, config_json=config.to_json_string())
    tensors, _ = read_safetensors(tmp_path / "model.safetensors")
    assert set(values) == set(tensors), "transformers 5 unties the bias with the matrix, and looks for both"


def test_earlier_weights_go_and_all_else_stays(tmp_path: Path, config: RobertaConfig) -> None:
    values = initial_weights(config, "masked-lm", 1)
    save_weights(tmp_path, values, config_json=config.to_json_string(), max_shard_size="2KB")
    kept = [
        "vocab.json",
        "model.fp16.safetensors",
        "README.md",
        "model-notes.txt",
        "optimizer.bin",
        "tf_model.h5",
    ]
    for name in [
        *kept,
        "pytorch_model.bin",
        "pytorch_model-00001-of-00002.bin",
        "pytorch_model.bin.index.json",
    ]:
        (tmp_path / name).write_text("x")
    save_weights(tmp_path, values, config_json=config.to_json_string())
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        [*kept, "config.json", "model.safetensors"]
    )
    weights, _ = load_weights(tmp_path, config, "masked-lm")
    assert len(weights) == len(values)


def test_modes_are_ordinary_or_kept(tmp_path: Path, saved: Path, config: RobertaConfig) -> None:
    old = os.umask(0o027)
    try:
        save_weights(tmp_path / "new", {"a": np.zeros(1)}, config_json="{}")
        assert stat.S_IMODE((tmp_path / "new" / "model.safetensors").stat().st_mode) == 0o640
        (saved / "model.safetensors").chmod(0o604)
        save_weights(saved, initial_weights(config, "masked-lm", 2), config_json=config.to_json_string())
        assert stat.S_IMODE((saved / "model.safetensors").stat().st_mode) == 0o604
    finally:
        os.umask(old)


def test_saving_into_a_snapshot_of_the_cache_leaves_the_blobs(
    tmp_path: Path, saved: Path, config: RobertaConfig
) -> None:
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots" / "main"
    shutil.copytree(saved, blobs)
    snapshot.mkdir(parents=True)
    for path in blobs.iterdir():
        (snapshot / path.name).symlink_to(path)
    before = (blobs / "model.safetensors").read_bytes()
    load_weights(snapshot, config, "masked-lm")  # links are followed
    save_weights(snapshot, initial_weights(config, "masked-lm", 2), config_json=config.to_json_string())
    assert not (snapshot / "model.safetensors").is_symlink()
    assert (blobs / "model.safetensors").read_bytes() == before


def test_weights_that_are_mapped_survive_their_file(saved: Path, config: RobertaConfig) -> None:
    weights, _ = load_weights(saved, config, "masked-lm")
    save_weights(saved, weights, config_json=config.to_json_string())  # over the file that they are read from
    again, _ = load_weights(saved, config, "masked-lm")
    assert all(np.array_equal(weights[name].read(), again[name].read()) for name in weights)


@pytest.mark.parametrize(
    ("text", "size"),
    [("5GB", 5 * 10**9), ("1.5 MB", 1500000), ("2KiB", 2048), ("7B", 7), (9, 9), ("1gb", 10**9)],
)
def test_sizes(text: str | int, size: int) -> None:
    assert bytes_of(text) == size


@pytest.mark.parametrize("text", ["", "GB", "-1GB", "0", 0, -5, "5 giga", "5PB", True, "5IB"])
def test_what_is_no_size(text: str | int) -> None:
    with pytest.raises(ArgumentError, match="max_shard_size"):
        bytes_of(text)


# --- a save that is cut off ---


def fingerprint(folder: Path, config: RobertaConfig) -> float:
    """Which of the numbered saves a folder holds; all tensors must come from one."""
    weights, info = load_weights(folder, config, "masked-lm")
    assert info.newly_initialised == []
    values = {float(value) for tensor in weights.values() for value in np.unique(tensor.read())}
    assert len(values) == 1, f"a mix of saves: {values}"
    number = values.pop()
    assert json.loads((folder / "config.json").read_text())["number"] == number
    return number


def numbered(config: RobertaConfig, number: float) -> dict[str, Array]:
    return {
        name: np.full_like(value, number) for name, value in initial_weights(config, "masked-lm", 0).items()
    }


def save_numbered(folder: Path, config: RobertaConfig, number: float, max_shard_size: str) -> None:
    fields = json.loads(config.to_json_string()) | {"number": number}
    save_weights(
        folder, numbered(config, number), config_json=json.dumps(fields), max_shard_size=max_shard_size
    )


def leftovers(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name.startswith("."))


FAULTS = ["os.open", "os.fsync", "os.replace", "os.unlink", "os.fchmod"]


class Fault:
    """Lets a function of ``os`` fail at its n-th call."""

    def __init__(self, name: str, at: int) -> None:
        self.real = getattr(os, name.removeprefix("os."))
        self.at, self.calls = at, 0

    def __call__(self, *args: object, **kwargs: object) -> object:
        self.calls += 1
        if self.calls == self.at:
            raise OSError(errno.ENOSPC, "no space left on device")
        return self.real(*args, **kwargs)


@pytest.mark.parametrize("sizes", [("5GB", "5GB"), ("5GB", "2KB"), ("2KB", "5GB"), ("2KB", "1KB")])
@pytest.mark.parametrize("name", FAULTS)
def test_fault_at_every_call_leaves_the_old_or_the_new(
    tmp_path: Path, config: RobertaConfig, name: str, sizes: tuple[str, str]
) -> None:
    seen = set()
    for at in range(1, 200):
        folder = tmp_path / str(at)
        save_numbered(folder, config, 1, sizes[0])
        with mock.patch(name, Fault(name, at)) as fault:
            try:
                save_numbered(folder, config, 2, sizes[1])
            except SaveFailed as error:
                text = str(error)
            else:
                text = ""
        seen.add(fingerprint(folder, config))
        if fault.calls < at:
            break
        assert text
        assert ("untouched" in text) == (fingerprint(folder, config) == 1)
        save_numbered(folder, config, 3, sizes[1])  # and the next save is none the worse for it
        assert fingerprint(folder, config) == 3
        assert leftovers(folder) == []
    else:
        pytest.fail("the save never came to its end")
    assert 2 in seen


def in_a_child(action: Callable[[], None]) -> int:
    """Run in a forked process; return its exit code, negative where a signal ended it."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            action()
            code = 0
        except SaveFailed:
            code = 3
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def killed_before(step: int, action: Callable[[], None]) -> None:
    """Run, and be killed just before the n-th open, fsync, rename or unlink."""
    count = 0

    def counted(real: Callable[..., object]) -> Callable[..., object]:
        def function(*args: object, **kwargs: object) -> object:
            nonlocal count
            count += 1
            if count == step:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **kwargs)

        return function

    for name in ("open", "fsync", "replace", "unlink"):
        setattr(os, name, counted(getattr(os, name)))
    action()


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("sizes", [("5GB", "5GB"), ("2KB", "2KB"), ("2KB", "5GB")])
def test_kill_before_every_open_fsync_rename_and_unlink(
    tmp_path: Path, config: RobertaConfig, sizes: tuple[str, str]
) -> None:
    found = []
    for step in range(1, 200):
        folder = tmp_path / str(step)
        save_numbered(folder, config, 1, sizes[0])
        save = partial(save_numbered, folder, config, 2, sizes[1])
        code = in_a_child(partial(killed_before, step, save))
        found.append(fingerprint(folder, config))
        assert code in (0, -signal.SIGKILL)
        if code == 0:
            break
    assert found == sorted(found)  # old, old, ..., new, new: one step decides
    assert set(found) == {1, 2}
    assert len(found) > 10


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_write_that_stops_at_any_byte_leaves_the_old(tmp_path: Path, config: RobertaConfig) -> None:
    """The disk is full after n bytes of a file: the kernel cuts the write there."""
    save_numbered(tmp_path, config, 1, "2KB")

    def save(limit: int) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        save_numbered(tmp_path, config, 2, "2KB")

    for limit in (0, 1, 7, 8, 100, 1000, 2000, 2500):
        assert in_a_child(partial(save, limit)) == 3
        assert fingerprint(tmp_path, config) == 1
        assert leftovers(tmp_path) == []
    assert in_a_child(partial(save, 10**6)) == 0
    assert fingerprint(tmp_path, config) == 2


SAVER = """
import json, sys
import numpy as np
from pathlib import Path
from robertakit import RobertaConfig
from robertakit.architecture import initial_weights
from robertakit.checkpoints import save_weights
folder, size = Path(sys.argv[1]), sys.argv[2]
config = RobertaConfig.from_pretrained(folder)
zeros = initial_weights(config, "masked-lm", 0)
fields = json.loads((folder / "config.json").read_text())
print("ready", flush=True)
for number in range(2, 10**9):
    weights = {name: np.full_like(value, number) for name, value in zeros.items()}
    save_weights(folder, weights, config_json=json.dumps(fields | {"number": number}), max_shard_size=size)
    print(number, flush=True)
"""


@pytest.mark.parametrize("size", ["5GB", "2KB"])
def test_killed_at_ten_random_moments(tmp_path: Path, config: RobertaConfig, size: str) -> None:
    moments = random.Random(size)
    folder = tmp_path / "model"
    save_numbered(folder, config, 1, size)
    number = 1.0
    environment = os.environ | {"PYTHONPATH": str(SOURCE), "OPENBLAS_NUM_THREADS": "1"}
    for _ in range(10):
        process = subprocess.Popen(
            [sys.executable, "-c", SAVER, str(folder), size],
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        with process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            time.sleep(moments.uniform(0.001, 0.06))
            process.kill()
            finished = [1, *map(int, process.stdout.read().split())][-1]
        old = number if finished == 1 else finished
        number = fingerprint(folder, config)
        assert number in (old, finished + 1)
        assert not [name for name in leftovers(folder) if name.endswith("commit")]
    save_numbered(folder, config, 1, size)
    assert leftovers(folder) == []


def test_interrupted_save_whose_temporaries_are_gone_is_refused(
    tmp_path: Path, config: RobertaConfig
) -> None:
    """The new config alone was copied away: two ids, and nothing to finish the save from."""
    save_numbered(tmp_path / "a", config, 1, "5GB")
    save_numbered(tmp_path / "b", config, 2, "5GB")
    shutil.copy(tmp_path / "b" / "config.json", tmp_path / "a")
    with pytest.raises(CorruptFile, match="two different saves"):
        load_weights(tmp_path / "a", config, "masked-lm")


def test_full_disk_is_one_sentence_and_leaves_nothing(tmp_path: Path, config: RobertaConfig) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(SaveFailed, match="failed"):
        save_weights(tmp_path / "file", numbered(config, 1))
    full = OSError(errno.ENOSPC, "no space left on device")
    with mock.patch("os.fsync", side_effect=full), pytest.raises(SaveFailed, match="no space left"):
        save_weights(tmp_path / "new", numbered(config, 1))
    assert not (tmp_path / "new").exists()
