"""Checkpoints of one process: whole or not there, whatever breaks, at every step that a save takes on the disk."""

import contextlib
import errno
import io
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from robertakit.errors import (  # noqa: E402
    ArgumentError,
    CheckpointError,
    CorruptFile,
    NotFound,
    SaveFailed,
    TensorMismatch,
    UnsupportedFormat,
)
from robertakit.training.checkpoints import Checkpoints  # noqa: E402
from robertakit.training.places import Place  # noqa: E402


class Tied(nn.Module):
    """Two names for one matrix, as a masked LM has them."""

    def __init__(self, width: int = 3) -> None:
        super().__init__()
        self.words = nn.Embedding(5, width)
        self.decoder = nn.Linear(width, 5)
        self.decoder.weight = self.words.weight

    def forward(self, ids: Any) -> Any:
        return self.decoder(self.words(ids)).sum()


class State:
    """A step that trains, and the place that it does so in."""

    def __init__(self, folder: Path, keep: int = 2, width: int = 3) -> None:
        torch.manual_seed(1)
        self.place = Place(0, 1, torch.device("cpu"))
        self.step = Tied(width)
        self.optimiser = torch.optim.AdamW(self.step.parameters(), lr=0.1)
        self.folder, self.checkpoints = folder, Checkpoints(folder, self.place, keep)

    def train(self) -> None:
        self.step(torch.tensor([0, 1, 4])).backward()
        self.optimiser.step()
        self.optimiser.zero_grad()

    def save(self, number: int) -> None:
        self.checkpoints.save(number, self.step, self.optimiser, {"saved": number})

    def load(self, number: int | None = None) -> dict[str, object] | None:
        return self.checkpoints.load(self.step, self.optimiser, number)

    def values(self) -> list[Any]:
        """All that a checkpoint has to bring back, to compare bit for bit."""
        moments = self.optimiser.state_dict()["state"]
        return [
            *(tensor.tolist() for tensor in self.step.state_dict().values()),
            *(value.tolist() for of in moments.values() for value in of.values()),
        ]


@pytest.fixture
def state(tmp_path: Path) -> State:
    return State(tmp_path / "checkpoints")


# --- what is saved comes back ---


def test_weights_moments_and_progress_come_back_bit_for_bit(state: State) -> None:
    state.train()
    progress = {"rate": 0.1 + 0.2, "words": ["é", None, True], "deep": {"count": 2**60}}
    state.checkpoints.save(7, state.step, state.optimiser, progress)
    expected = state.values()
    state.train()
    assert state.values() != expected
    assert state.load() == progress
    assert state.values() == expected
    assert state.step.decoder.weight is state.step.words.weight

    other = State(state.folder, width=3)
    assert other.load() == progress
    assert other.values() == expected
    state.train()
    other.train()
    assert other.values() == state.values()


def test_saving_before_the_first_step_leaves_the_optimiser_as_it_is(state: State) -> None:
    state.save(0)
    assert not state.optimiser.state
    state.train()
    expected = state.values()
    assert state.load() == {"saved": 0}
    assert not state.optimiser.state
    state.train()
    assert state.values() == expected


def test_settings_of_the_optimiser_are_the_callers(state: State) -> None:
    state.train()
    state.save(1)
    state.optimiser.param_groups[0]["lr"] = 0.7
    state.load()
    assert state.optimiser.param_groups[0]["lr"] == 0.7


def test_gradients_do_not_survive_a_load(state: State) -> None:
    state.train()
    state.save(1)
    state.step(torch.tensor([2])).backward()
    state.load()
    assert all(parameter.grad is None for parameter in state.step.parameters())


def test_nothing_saved_is_nothing_loaded(state: State) -> None:
    assert state.load() is None
    state.folder.mkdir()
    assert state.load() is None
    assert state.checkpoints.numbers() == []


def test_the_last_ones_are_kept(state: State) -> None:
    for number in (10, 20, 30, 40):
        state.save(number)
    assert state.checkpoints.numbers() == [30, 40]
    assert names(state) == ["000003-step-30", "000004-step-40"]


def test_one_can_be_asked_for_and_what_is_saved_then_is_the_newest(state: State) -> None:
    for number in (10, 20):
        state.save(number)
    assert state.load(10) == {"saved": 10}
    state.save(15)
    assert state.load() == {"saved": 15}
    with pytest.raises(NotFound, match=r"no checkpoint of step 12 .*expected 15, 20"):
        state.load(12)


def test_a_number_can_be_saved_again(state: State) -> None:
    for _ in range(3):
        state.save(5)
    assert names(state) == ["000002-step-5", "000003-step-5"]


def test_a_folder_of_a_checkpoint_holds_no_pickle(state: State) -> None:
    state.train()
    state.save(1)
    (folder,) = state.folder.iterdir()
    files = sorted(folder.iterdir())
    assert [path.suffix for path in files] == [".json", ".json", ".safetensors"]
    from safetensors.numpy import load_file

    stored = load_file(files[2])
    assert stored["step/words.weight"].tolist() == state.step.words.weight.tolist()
    assert "step/decoder.weight" not in stored  # a tied matrix is stored once


def test_wrong_arguments_are_refused(state: State) -> None:
    with pytest.raises(ArgumentError, match=r"keep=0; expected 1 or more"):
        Checkpoints(state.folder, state.place, keep=0)
    with pytest.raises(ArgumentError, match=r"progress that JSON cannot hold"):
        state.checkpoints.save(1, state.step, state.optimiser, {"tensor": torch.ones(1)})
    assert not state.folder.exists()


# --- what is damaged, foreign or of another model ---


def names(state: State) -> list[str]:
    return sorted(path.name for path in state.folder.iterdir())


def newest(state: State) -> Path:
    return max(path for path in state.folder.iterdir() if not path.name.startswith("."))


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "a bit of the tensors": lambda folder: flip(next(folder.glob("*.safetensors"))),
    "a bit of the progress": lambda folder: flip(folder / "progress.json"),
    "tensors cut": lambda folder: os.truncate(next(folder.glob("*.safetensors")), 100),
    "tensors empty": lambda folder: os.truncate(next(folder.glob("*.safetensors")), 0),
    "tensors gone": lambda folder: next(folder.glob("*.safetensors")).unlink(),
    "progress gone": lambda folder: (folder / "progress.json").unlink(),
    "manifest gone": lambda folder: (folder / "manifest.json").unlink(),
    "manifest cut": lambda folder: os.truncate(folder / "manifest.json", 30),
    "manifest a list": lambda folder: (folder / "manifest.json").write_text("[]"),
    "manifest without files": lambda folder: (folder / "manifest.json").write_text('{"format": 1, "number": 2}'),
    "a file too many": lambda folder: shutil.copy(
        next(folder.glob("*.safetensors")), folder / "more.safetensors"
    ),
    "empty": lambda folder: [path.unlink() for path in folder.iterdir()],
    "a folder for a file": lambda folder: [
        (folder / "progress.json").unlink(), (folder / "progress.json").mkdir()
    ],
    "of another step": lambda folder: folder.rename(folder.with_name("000009-step-3")),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_newest_is_passed_over_with_a_warning(
    state: State, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    state.train()
    state.save(1)
    expected = state.values()
    state.train()
    state.save(2)
    DAMAGES[damage](newest(state))
    with caplog.at_level(logging.WARNING, "robertakit"):
        logging.getLogger("robertakit").addHandler(caplog.handler)
        try:
            assert state.load() == {"saved": 1}
        finally:
            logging.getLogger("robertakit").removeHandler(caplog.handler)
    assert "Going on from step 1 in its place" in caplog.text
    assert state.values() == expected
    state.save(2)  # and the damaged one goes, not the whole one
    assert state.load() == {"saved": 2}
    assert state.checkpoints.numbers() == [1, 2]


def test_all_damaged_is_an_error_that_names_each(state: State) -> None:
    for number in (1, 2):
        state.save(number)
        flip(newest(state) / "progress.json")
    with pytest.raises(CorruptFile, match=r"no whole checkpoint .*step-2.*step-1.*restore one") as raised:
        state.load()
    assert isinstance(raised.value, CheckpointError)


def test_the_one_that_was_asked_for_is_not_replaced_by_another(state: State) -> None:
    for number in (1, 2):
        state.save(number)
    flip(newest(state) / "progress.json")
    with pytest.raises(CorruptFile):
        state.load(2)


def test_another_model_is_an_error_and_no_damage(state: State) -> None:
    state.train()
    state.save(1)
    state.save(2)
    other = State(state.folder, width=4)
    with pytest.raises(
        TensorMismatch, match=r"\[5, 3\] float32; expected \[5, 4\] float32; go on with the rec"
    ):
        other.load()
    more = State(state.folder)
    more.step.register_parameter("more", nn.Parameter(torch.ones(2)))
    with pytest.raises(TensorMismatch, match=r"it lacks step/more and has nothing besides"):
        more.load()
    half = State(state.folder)
    half.step.bfloat16()
    with pytest.raises(TensorMismatch, match=r"float32; expected .*bfloat16"):
        half.load()


def test_a_later_format_is_refused(state: State) -> None:
    state.save(1)
    path = newest(state) / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 2}))
    with pytest.raises(UnsupportedFormat, match=r"format 2; expected at most 1; update robertakit"):
        state.load()


def forge(folder: Path, **files: object) -> None:
    """Let the manifest of a checkpoint be true of whatever its files are."""
    import zlib

    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["files"] = {
        other.name: {"bytes": other.stat().st_size, "crc32": zlib.crc32(other.read_bytes())}
        for other in folder.iterdir()
        if other != path
    } | files
    path.write_text(json.dumps(manifest))


def test_a_foreign_checkpoint_runs_nothing_and_reads_nothing_outside(state: State, tmp_path: Path) -> None:
    class Harm:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(tmp_path / "harm"),)

    import pickle

    state.save(1)
    folder = newest(state)
    tensors = next(folder.glob("*.safetensors"))
    for name in (tensors.name, ".metadata", "__0_0.distcp", "progress.json"):
        whole = (folder / name).read_bytes() if (folder / name).exists() else None
        (folder / name).write_bytes(pickle.dumps(Harm()))
        forge(folder)
        with pytest.raises(CorruptFile):
            state.load()
        (folder / name).unlink() if whole is None else (folder / name).write_bytes(whole)
    assert not (tmp_path / "harm").exists()
    forge(folder, **{"../../outside.safetensors": {"bytes": 1, "crc32": 1}})
    with pytest.raises(CorruptFile, match=r"lacks ../../outside.safetensors"):
        state.load()
    (tmp_path / "elsewhere").write_bytes(tensors.read_bytes())
    (folder / "link.safetensors").symlink_to(tmp_path / "elsewhere")
    forge(folder, **{"link.safetensors": {"bytes": 1, "crc32": 1}})
    with pytest.raises(CorruptFile, match=r"is no file"):
        state.load()


def test_pieces_that_leave_holes_are_refused(state: State) -> None:
    from safetensors import safe_open
    from safetensors.torch import save_file

    state.save(1)
    path = next(newest(state).glob("*.safetensors"))
    with safe_open(path, "pt") as file:
        metadata, tensors = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    sharding = json.loads(metadata["DCP_SHARDING_INFO"])
    tensors["step/words.weight"] = tensors["step/words.weight"][2:].contiguous()
    sharding["step/words.weight"]["saved_offsets"] = [2, 0]
    save_file(tensors, path, metadata | {"DCP_SHARDING_INFO": json.dumps(sharding)})
    forge(newest(state))
    with pytest.raises(CorruptFile, match=r"pieces of step/words.weight that do not make up the whole"):
        state.load()


# --- faults: at each step that a save takes on the disk ---


class Killed(BaseException):
    """The process is gone: from here on nothing that it does reaches the disk."""


class Disk:
    """The disk, with a fault at one step: the process killed there, or an error once."""

    def __init__(self, at: int | None = None, error: OSError | None = None) -> None:
        self.at, self.error = at, error
        self.steps: list[tuple[str, str]] = []
        self.dead = False
        self._paths: dict[int, str] = {}

    def take(self, kind: str, path: object) -> None:
        if self.dead:
            raise Killed
        self.steps.append((kind, os.fspath(path) if isinstance(path, str | os.PathLike) else str(path)))
        if len(self.steps) - 1 == self.at:
            if self.error is not None:
                raise self.error
            self.dead = True
            raise Killed

    @contextlib.contextmanager
    def watched(self) -> Iterator["Disk"]:
        disk, opened = self, Path.open
        before = {
            name: getattr(os, name)
            for name in ("fsync", "mkdir", "rename", "replace", "unlink", "rmdir", "open")
        }

        class File(io.RawIOBase):
            """Unbuffered: what was written is there, what was not is lost."""

            def __init__(self, path: Path, mode: str) -> None:
                self.path, self.raw = str(path), io.FileIO(path, mode.replace("b", ""))
                disk._paths[self.raw.fileno()] = self.path

            def write(self, content: Any) -> int:
                half = bytes(content)[: len(content) // 2]
                self.raw.write(half)
                disk.take("write", self.path)
                self.raw.write(bytes(content)[len(half) :])
                return len(content)

            def fileno(self) -> int:
                return self.raw.fileno()

            def tell(self) -> int:
                return self.raw.tell()

            def seekable(self) -> bool:
                return True

            def writable(self) -> bool:
                return True

            def close(self) -> None:
                self.raw.close()
                super().close()

        def open_path(path: Path, mode: str = "r", *args: Any, **keywords: Any) -> Any:
            if "w" not in mode and "x" not in mode:
                return opened(path, mode, *args, **keywords)
            disk.take("create", path)
            return File(path, mode)

        def open_descriptor(path: Any, *args: Any, **keywords: Any) -> int:
            descriptor: int = before["open"](path, *args, **keywords)
            disk._paths[descriptor] = str(path)
            return descriptor

        def counted(name: str) -> Callable[..., Any]:
            def call(first: Any, *args: Any, **keywords: Any) -> Any:
                disk.take(name, disk._paths[first] if name == "fsync" else first)
                return before[name](first, *args, **keywords)

            return call

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Path, "open", open_path)
            for name in before:
                patch.setattr(os, name, open_descriptor if name == "open" else counted(name))
            yield self


def saved_twice(folder: Path) -> tuple[State, Disk]:
    """A run whose third save is watched; it has to remove the first."""
    state = State(folder)
    for number in (1, 2):
        state.train()
        state.save(number)
    state.train()
    disk = Disk()
    with disk.watched():
        state.save(3)
    return state, disk


def draft_of(disk: Disk) -> str:
    """The hidden folder that a save wrote into."""
    return next(path for kind, path in disk.steps if kind == "mkdir" and path.endswith(".part"))


def test_everything_is_synced_before_the_one_rename_and_removed_after_it(tmp_path: Path) -> None:
    state, disk = saved_twice(tmp_path / "run")
    kinds = [kind for kind, _ in disk.steps]
    draft = draft_of(disk)
    renamed = disk.steps.index(("rename", draft))
    written = {path for kind, path in disk.steps[:renamed] if kind == "write"}
    assert len(written) == 3  # tensors, progress, manifest: the counting sees them all
    for path in written:
        last = max(i for i, step in enumerate(disk.steps) if step == ("write", path))
        assert last < disk.steps.index(("fsync", path)) < renamed, path
        assert ("fsync", draft) in disk.steps[last:renamed]
    behind = disk.steps[renamed + 1 :]
    assert behind[0] == ("fsync", str(state.folder))
    assert {"rename", "unlink", "rmdir"} <= {kind for kind, _ in behind}  # the oldest goes, last
    assert not {"unlink", "rmdir"} & set(kinds[:renamed])
    assert behind[-1] == ("fsync", str(state.folder))


def test_a_kill_at_any_step_of_a_save_leaves_the_one_before_or_the_new_one(tmp_path: Path) -> None:
    base, disk = saved_twice(tmp_path / "whole")
    renamed = disk.steps.index(("rename", draft_of(disk)))
    new = base.values()
    outcomes = []
    for at in range(len(disk.steps)):
        state = State(tmp_path / f"killed {at}")
        for number in (1, 2):
            state.train()
            state.save(number)
        old = state.values()
        state.train()
        with Disk(at).watched(), pytest.raises(Killed):
            state.save(3)
        again = State(state.folder)
        outcomes.append(again.load())
        assert outcomes[-1] == {"saved": 3 if at > renamed else 2}, disk.steps[at]
        assert again.values() == (new if at > renamed else old), disk.steps[at]
        again.save(4)  # goes on, and tidies up
        assert again.checkpoints.numbers()[-1] == 4
        assert len(names(again)) == 2, disk.steps[at]
    assert {"saved": 2} in outcomes
    assert {"saved": 3} in outcomes


@pytest.mark.parametrize("number", [errno.ENOSPC, pytest.param(errno.EIO, marks=pytest.mark.slow)])
def test_an_error_at_any_step_of_a_save_is_said_and_takes_nothing(tmp_path: Path, number: int) -> None:
    _, disk = saved_twice(tmp_path / "whole")
    renamed = disk.steps.index(("rename", draft_of(disk)))
    for at, step in enumerate(disk.steps):
        if step[0] == "mkdir" and step in disk.steps[:at]:  # DCP makes sure of a folder that is there
            continue
        state = State(tmp_path / f"failed {at}")
        for saved in (1, 2):
            state.train()
            state.save(saved)
        state.train()
        failing = Disk(at, OSError(number, os.strerror(number)))
        with failing.watched():
            if at <= renamed + 1:  # the last of them: whether the rename lasts is not known
                with pytest.raises(SaveFailed, match=f"saving step 3 .*{os.strerror(number)}"):
                    state.save(3)
            else:
                state.save(3)  # only what is older could not be removed
        assert not [name for name in names(state) if name.endswith(".part")], disk.steps[at]
        again = State(state.folder)
        assert again.load() == {"saved": 3 if at > renamed else 2}, disk.steps[at]
        state.save(4)
        assert State(state.folder).load() == {"saved": 4}
        assert len(names(state)) == 2, disk.steps[at]


def test_the_names_of_new_folders_are_synced_too(tmp_path: Path) -> None:
    state, disk = State(tmp_path / "a" / "b"), Disk()
    with disk.watched():
        state.save(1)
    synced = [path for kind, path in disk.steps if kind == "fsync"]
    assert {str(tmp_path), str(tmp_path / "a"), str(tmp_path / "a" / "b")} <= set(synced)


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    state = State(tmp_path / "file" / "checkpoints")
    with pytest.raises(SaveFailed, match=r"saving step 1 into .* failed"):
        state.save(1)
