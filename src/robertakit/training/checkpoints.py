"""Checkpoints of a training run: saved by any number of processes, resumed by any other, whole or not there at all.

A checkpoint is a folder, `000012-step-3000`: the running number of the save, and the step. PyTorch's distributed
checkpointing (DCP) writes into it one safetensors file for each process and reads what any other process needs; beside
them lie `progress.json`, and `manifest.json` with the size and CRC-32 of each file. Nothing is a pickle, and nothing is
believed: file names must be plain, the folder must hold what the manifest names and nothing else, the tensors must be
those of the model and cover it, and JSON is bounded. What a stranger's checkpoint can do is bring other numbers.

A save writes into a hidden folder, syncs every file and the folder, and renames it once; older checkpoints go last. The
running number makes every name new: nothing is ever replaced, and the newest save counts, whatever its step.
"""

import json
import os
import re
import secrets
import shutil
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple, TypeVar, cast

from robertakit.errors import (
    ArgumentError,
    CorruptFile,
    NotFound,
    RobertakitError,
    SaveFailed,
    UnsupportedFormat,
    listed,
    require,
)

require("torch", extra="train", needed_for="training")

from torch import nn  # noqa: E402
from torch.optim import Optimizer  # noqa: E402

from robertakit.files import is_plain_name, read_json, sync_folder  # noqa: E402
from robertakit.logging import get_logger  # noqa: E402
from robertakit.training.checkpoint_tensors import check_tensors, load_tensors, save_tensors  # noqa: E402
from robertakit.training.places import Place  # noqa: E402

__all__ = ["Checkpoints"]

_logger = get_logger(__name__)

_MANIFEST = "manifest.json"
_PROGRESS = "progress.json"
_FORMAT = 1
#: Largest progress and manifest; a manifest has a line for each process.
_JSON_LIMIT = 64 << 20
_NAME = re.compile(r"(\d{6,})-step-(\d+)")
#: Suffixes of hidden folders: a save that is not done yet, a checkpoint that is being removed.
_DRAFT, _DISCARDED = ".part", ".old"
_CHUNK = 1 << 22

_Answer = TypeVar("_Answer")


class _Saved(NamedTuple):
    """One checkpoint in the folder."""

    serial: int
    number: int
    path: Path


class Checkpoints:
    """The checkpoints of one run in one folder; every process has such an object, and all call its methods together.

    Args:
        folder: made where it is not there; all processes see it.
        place: where the run is.
        keep: how many whole checkpoints stay.

    Raises:
        ArgumentError: `keep` below 1.

    Example:
        >>> import tempfile
        >>> import torch
        >>> step = nn.Linear(2, 1)
        >>> optimiser = torch.optim.AdamW(step.parameters())
        >>> with tempfile.TemporaryDirectory() as folder, Place.here(device="cpu") as place:
        ...     checkpoints = Checkpoints(Path(folder), place)
        ...     nothing = checkpoints.load(step, optimiser)
        ...     checkpoints.save(100, step, optimiser, {"tokens": 5})
        ...     nothing, checkpoints.numbers(), checkpoints.load(step, optimiser)
        (None, [100], {'tokens': 5})
    """

    def __init__(self, folder: Path, place: Place, keep: int = 2) -> None:
        if keep < 1:
            raise ArgumentError(given=f"keep={keep}", expected="1 or more")
        self._folder, self._place, self._keep = Path(folder), place, keep
        self._damaged: set[str] = set()

    def numbers(self) -> list[int]:
        """Return the steps of the checkpoints that are there, oldest save first."""
        return [saved.number for saved in self._saved()]

    def save(
        self, number: int, step: nn.Module, optimiser: Optimizer, progress: Mapping[str, object]
    ) -> None:
        """Write a checkpoint, then remove what is older than the last `keep`.

        Args:
            number: the step.
            step: what `place.prepare` gave.
            optimiser: of its parameters. Its tensors are saved; rates and other settings are the caller's.
            progress: what else the run has to know when it goes on, as JSON has it.

        Raises:
            SaveFailed: the disk is full or refuses; the checkpoints before stand, and no part of this one stays.
            ArgumentError: progress that JSON cannot hold.
        """
        written = _written(progress)
        before = self._saved()
        serial = max((saved.serial for saved in before), default=0) + 1
        target = self._folder / f"{serial:06d}-step-{number}"
        draft = self._folder / f".{target.name}.{secrets.token_hex(4)}{_DRAFT}"
        target, draft, before = self._place.gather((target, draft, before))[0]
        try:
            self._together(lambda: self._begin(draft))
            save_tensors(draft, step, optimiser, self._place.processes)
            files = self._sums(draft)
            self._together(lambda: self._commit(number, draft, target, written, files))
        except OSError as error:
            self._together(lambda: self._discard([draft]))
            raise SaveFailed(
                given=f"saving step {number} into '{self._folder}' failed ({error}); the checkpoints before it stand",
                hint="make room there and go on from the last one",
            ) from error
        self._together(lambda: self._remove_older(before))

    def load(
        self, step: nn.Module, optimiser: Optimizer, number: int | None = None
    ) -> dict[str, object] | None:
        """Fill a step and its optimiser from the newest whole checkpoint, whatever number of processes wrote it.

        A damaged one is passed over with a warning.

        Args:
            step: what `place.prepare` gave.
            optimiser: of its parameters; its gradients are dropped.
            number: the step of the checkpoint to take, and no other; None: the newest.

        Returns:
            Its progress; None where there is no checkpoint.

        Raises:
            NotFound: no checkpoint of that number.
            CorruptFile: all are damaged, or that one is.
            TensorMismatch: the checkpoint is of another model or optimiser.
            UnsupportedFormat: a later release wrote it.
        """
        saved = self._place.gather(self._saved())[0]
        wanted = [one for one in reversed(saved) if number in (None, one.number)]
        if number is not None and not wanted:
            there = listed({one.number for one in saved})
            raise NotFound(
                given=f"no checkpoint of step {number} in '{self._folder}'",
                expected=there or "one to be saved",
            )
        optimiser.zero_grad(set_to_none=True)
        problems = []
        for one in wanted:
            try:
                progress = self._load(one, step, optimiser)
            except CorruptFile as error:
                problems.append(error)
                self._damaged.add(one.path.name)
                continue
            if problems and self._place.first:
                _logger.warning(
                    "%s Going on from step %d in its place.", " ".join(map(str, problems)), one.number
                )
            return progress
        if problems:
            raise CorruptFile(
                given=f"no whole checkpoint in '{self._folder}': " + " ".join(map(str, problems)),
                hint="restore one, or begin again in another folder",
            )
        return None

    # --- saving ---

    def _begin(self, draft: Path) -> None:
        """Make the folder of a save, and remove what saves left that were cut off."""
        if self._place.first:
            made = [path for path in (self._folder, *self._folder.parents) if not path.exists()]
            if made:
                self._folder.mkdir(parents=True)
            for path in made:
                sync_folder(path.parent)
            for path in list(self._folder.iterdir()):
                if path.name.startswith(".") and path.name.endswith((_DRAFT, _DISCARDED)):
                    shutil.rmtree(path)
            draft.mkdir()

    def _commit(
        self, number: int, draft: Path, target: Path, progress: bytes, files: dict[str, dict[str, int]]
    ) -> None:
        if not self._place.first:
            return
        _write(draft / _PROGRESS, progress)
        files = files | {_PROGRESS: {"bytes": len(progress), "crc32": zlib.crc32(progress)}}
        manifest = {"format": _FORMAT, "number": number, "processes": self._place.processes, "files": files}
        _write(draft / _MANIFEST, json.dumps(manifest, indent=1).encode())
        sync_folder(draft)
        draft.rename(target)
        sync_folder(self._folder)

    def _remove_older(self, before: list[_Saved]) -> None:
        """Keep the one just saved and the last whole ones before it."""
        if not self._place.first:
            return
        whole = [one for one in before if one.path.name not in self._damaged]
        kept = whole[len(whole) - (self._keep - 1) :]
        try:
            for one in before:
                if one not in kept:  # renamed first, so that no half of it is ever taken for a checkpoint
                    discarded = one.path.with_name(f".{one.path.name}{_DISCARDED}")
                    one.path.rename(discarded)
                    shutil.rmtree(discarded)
            sync_folder(self._folder)
        except OSError as error:
            _logger.warning("An older checkpoint could not be removed (%s): the folder will grow.", error)

    def _discard(self, paths: list[Path]) -> None:
        if self._place.first:
            for path in paths:
                shutil.rmtree(path, ignore_errors=True)

    # --- loading ---

    def _saved(self) -> list[_Saved]:
        """The checkpoints in the folder, oldest first."""
        if not self._folder.is_dir():
            return []
        found = [(path, _NAME.fullmatch(path.name)) for path in self._folder.iterdir()]
        return sorted(_Saved(int(match[1]), int(match[2]), path) for path, match in found if match)

    def _load(self, one: _Saved, step: nn.Module, optimiser: Optimizer) -> dict[str, object]:
        self._together(lambda: self._check_files(one))
        self._together(lambda: check_tensors(one.path, step, optimiser))
        try:
            load_tensors(one.path, step, optimiser, self._place.processes)
        except OSError as error:
            raise CorruptFile(given=f"'{one.path}' cannot be read ({error})") from error
        return self._together(lambda: _read(one.path / _PROGRESS))[0]

    def _check_files(self, one: _Saved) -> None:
        """Compare a checkpoint's files with its manifest, this process a share of them.

        Raises:
            CorruptFile: a file is missing, too many, of another size or content.
            UnsupportedFormat: a later release wrote it.
        """
        manifest = _read(one.path / _MANIFEST)
        form, files = manifest.get("format"), manifest.get("files")
        if isinstance(form, int) and form > _FORMAT:
            raise UnsupportedFormat(
                given=f"'{one.path}' has format {form}",
                expected=f"at most {_FORMAT}",
                hint="update robertakit",
            )
        if form != _FORMAT or manifest.get("number") != one.number or not isinstance(files, dict):
            raise CorruptFile(given=f"'{one.path / _MANIFEST}' is no manifest of step {one.number}")
        there = {path.name for path in one.path.iterdir()}
        named = {_MANIFEST, *files}
        if there != named or not all(map(_is_ours, files)) or _PROGRESS not in files:
            raise CorruptFile(
                given=f"'{one.path}' lacks {listed(named - there) or 'nothing'} and has "
                f"{listed(there - named) or 'nothing'} besides",
                expected="what its manifest names",
            )
        for name in sorted(files)[self._place.rank :: self._place.processes]:
            if (found := _sum(one.path / name)) != files[name]:
                raise CorruptFile(
                    given=f"'{one.path / name}' has {found}", expected=f"{files[name]}, as it was written"
                )

    # --- all processes ---

    def _sums(self, folder: Path) -> dict[str, dict[str, int]]:
        """Size and CRC-32 of each file of a folder, each process a share of them."""

        def own() -> dict[str, dict[str, int]]:
            names = sorted(path.name for path in folder.iterdir())
            return {name: _sum(folder / name) for name in names[self._place.rank :: self._place.processes]}

        return {name: found for share in self._together(own) for name, found in share.items()}

    def _together(self, work: Callable[[], _Answer]) -> list[_Answer]:
        """Do something on every process and return what each gives; where one fails, all raise its error."""
        answer: tuple[_Answer] | Exception
        try:
            answer = (work(),)
        except (OSError, RobertakitError) as error:
            answer = error
        answers = self._place.gather(answer)
        for given in answers:
            if isinstance(given, Exception):
                raise given
        return [given[0] for given in answers if isinstance(given, tuple)]


def _is_ours(name: str) -> bool:
    return is_plain_name(name) and (name == _PROGRESS or name.endswith(".safetensors"))


def _written(progress: Mapping[str, object]) -> bytes:
    try:
        text = json.dumps(dict(progress), indent=1).encode()
    except (TypeError, ValueError) as error:
        raise ArgumentError(given=f"progress that JSON cannot hold ({error})") from error
    if len(text) > _JSON_LIMIT:
        raise ArgumentError(given=f"progress of {len(text):,} bytes", expected=f"at most {_JSON_LIMIT:,}")
    return text


def _read(path: Path) -> dict[str, object]:
    try:
        content = read_json(path, limit=_JSON_LIMIT)
    except CorruptFile:
        raise
    except OSError as error:
        raise CorruptFile(given=f"'{path}' cannot be read ({error})") from error
    if not isinstance(content, dict):
        raise CorruptFile(given=f"'{path}' holds {type(content).__name__}", expected="an object")
    return cast(dict[str, object], content)


def _sum(path: Path) -> dict[str, int]:
    """Size and CRC-32 of a file."""
    try:
        if path.is_symlink() or not path.is_file():
            raise CorruptFile(given=f"'{path}' is no file")
        size = crc = 0
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                size, crc = size + len(chunk), zlib.crc32(chunk, crc)
    except CorruptFile:
        raise
    except OSError as error:
        raise CorruptFile(given=f"'{path}' cannot be read ({error})") from error
    return {"bytes": size, "crc32": crc}


def _write(path: Path, content: bytes) -> None:
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
