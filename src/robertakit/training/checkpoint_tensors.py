"""The tensors of a step and its optimiser in a folder of safetensors, cut into shares in any way.

PyTorch's distributed checkpointing (DCP) does the work: its state-dict helpers name weights and moments after the plain
model, whatever is wrapped around it, its planner lets each process write what it has, replicas once, and read what it
needs, and its safetensors storage holds pieces with their offsets. A tied tensor is stored under its first name.
"""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import cast

from robertakit.errors import CorruptFile, TensorMismatch, listed, require

require("torch", extra="train", needed_for="training")

from safetensors import SafetensorError  # noqa: E402
from torch import Tensor, nn  # noqa: E402
from torch.distributed.checkpoint.api import CheckpointException  # noqa: E402
from torch.distributed.checkpoint.hf_storage import (  # noqa: E402
    HuggingFaceStorageReader,
    HuggingFaceStorageWriter,
)
from torch.distributed.checkpoint.metadata import TensorStorageMetadata  # noqa: E402
from torch.distributed.checkpoint.state_dict import (  # noqa: E402
    OptimizerStateType,
    StateDictOptions,
    ValueType,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.checkpoint.state_dict_loader import load  # noqa: E402
from torch.distributed.checkpoint.state_dict_saver import save  # noqa: E402
from torch.optim import Optimizer  # noqa: E402

from robertakit.training.places import tied_names  # noqa: E402

__all__ = ["check_tensors", "load_tensors", "save_tensors"]

_STEP, _OPTIMISER = "step/", "optimiser/"
_FLAT = StateDictOptions(flatten_optimizer_state_dict=True)


def save_tensors(folder: Path, step: nn.Module, optimiser: Optimizer, processes: int) -> None:
    """Write the tensors of a step and its optimiser, each process its part, all of it synced.

    Args:
        folder: there, and empty.
        step: what `Place.prepare` gave.
        optimiser: of its parameters; one that has not stepped yet has no tensors, and is not touched.
        processes: how many call this together.

    Raises:
        OSError: a process could not write.
    """
    tensors = _weights(step) | (_moments(step, optimiser) if optimiser.state else {})
    writer = HuggingFaceStorageWriter(str(folder), save_distributed=True)
    with _plain_errors():
        save(tensors, storage_writer=writer, no_dist=processes == 1)


def check_tensors(folder: Path, step: nn.Module, optimiser: Optimizer) -> None:
    """Compare what a folder holds with what a step and its optimiser need; reads headers alone.

    Raises:
        TensorMismatch: names, shapes or dtypes of another model or optimiser.
        CorruptFile: files that cannot be read, or pieces that do not make up their tensors.
    """
    stored = _stored(folder)
    expected = _weights(step) | (_moments(step, optimiser) if _has_moments(stored) else {})
    missing, unknown = expected.keys() - stored.keys(), stored.keys() - expected.keys()
    if missing or unknown:
        raise TensorMismatch(
            given=f"'{folder}' is of another model or optimiser: it lacks {listed(missing, 5) or 'nothing'} and has "
            f"{listed(unknown, 5) or 'nothing'} besides",
            hint="go on with the recipe that it was made by, or begin in another folder",
        )
    for name, entry in stored.items():
        there = (tuple(entry.size), entry.properties.dtype)
        wanted = (tuple(expected[name].shape), expected[name].dtype)
        if there != wanted:
            raise TensorMismatch(
                given=f"'{folder}' has {name} as {_told(*there)}",
                expected=_told(*wanted),
                hint="go on with the recipe that it was made by, or begin in another folder",
            )
        if sum(chunk.sizes.numel() for chunk in entry.chunks) != entry.size.numel():
            raise CorruptFile(given=f"'{folder}' has pieces of {name} that do not make up the whole")


def load_tensors(folder: Path, step: nn.Module, optimiser: Optimizer, processes: int) -> None:
    """Fill a step and its optimiser; `check_tensors` has passed.

    Args:
        folder: of `save_tensors`, by whatever number of processes.
        step: what `Place.prepare` gave.
        optimiser: of its parameters; it has no gradients now.
        processes: how many call this together.

    Raises:
        OSError: a process could not read.
    """
    has_moments = _has_moments(_stored(folder))
    weights = _weights(step)
    state = get_optimizer_state_dict(step, optimiser, options=_FLAT) if has_moments else {}
    moments = _tensors(_OPTIMISER, state)
    with _plain_errors():
        load(weights | moments, storage_reader=HuggingFaceStorageReader(str(folder)), no_dist=processes == 1)
    tied = tied_names(step)
    # What was read went into these very tensors; the helpers see to it that step and optimiser have them.
    whole: dict[str, ValueType] = {name.removeprefix(_STEP): value for name, value in weights.items()}
    set_model_state_dict(step, whole | {name: whole[source] for name, source in tied.items()})
    if has_moments:
        read = {name.removeprefix(_OPTIMISER): value for name, value in moments.items()}
        filled = cast(OptimizerStateType, {**state, **read})  # flat: a tensor a name
        set_optimizer_state_dict(step, optimiser, filled, options=_FLAT)
    else:
        optimiser.state.clear()


def _weights(step: nn.Module) -> dict[str, Tensor]:
    tied = tied_names(step)
    state = cast(Mapping[str, Tensor], get_model_state_dict(step))
    return {_STEP + name: value for name, value in state.items() if name not in tied}


def _moments(step: nn.Module, optimiser: Optimizer) -> dict[str, Tensor]:
    return _tensors(_OPTIMISER, get_optimizer_state_dict(step, optimiser, options=_FLAT))


def _tensors(prefix: str, state: Mapping[str, object]) -> dict[str, Tensor]:
    """What of a state is a tensor; learning rates and the like are settings, and the caller's."""
    return {prefix + name: value for name, value in state.items() if isinstance(value, Tensor)}


def _has_moments(names: Mapping[str, object]) -> bool:
    return any(name.startswith(_OPTIMISER) for name in names)


def _stored(folder: Path) -> dict[str, TensorStorageMetadata]:
    """What the headers of a folder's files say."""
    try:
        entries = HuggingFaceStorageReader(str(folder)).read_metadata().state_dict_metadata
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise CorruptFile(
            given=f"'{folder}' has files that are no pieces of a checkpoint ({error})"
        ) from error
    return {name: entry for name, entry in entries.items() if isinstance(entry, TensorStorageMetadata)}


def _told(shape: tuple[int, ...], dtype: object) -> str:
    return f"{list(shape)} {str(dtype).removeprefix('torch.')}"


@contextmanager
def _plain_errors() -> Iterator[None]:
    """Let through what a process raised, and not DCP's account of all: that is no Exception, and many lines long."""
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", "torch.distributed is disabled"
        )  # one process may well save by itself
        try:
            yield
        except CheckpointException as error:
            cause = next(iter(error.failures.values()))[0]
            if isinstance(cause, SafetensorError):
                raise OSError(str(cause)) from error
            raise cause from error
