"""Where a training step runs: in one process, or in several, of which each has the whole model or a share of it.

The same program is all three; `torchrun` and one setting decide. With `"ddp"` every process has the whole model and
PyTorch's `DistributedDataParallel` averages the gradients; with `"fsdp"` PyTorch's FSDP2 (`fully_shard`) cuts weights,
gradients and the optimiser's moments into as many shares. Each layer of the encoder is a unit that is gathered when it
is needed; what is left, the tied word embeddings and decoder among it, is the root unit, which is there all the time.
Processes speak by gloo on processors and by nccl on GPUs. Nothing below that is ours.

A step is a module around one model, which it has as its attribute `model`; its `forward` gives a loss.
"""

import inspect
import math
import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from functools import partial
from importlib import import_module
from types import TracebackType
from typing import Self, TypeVar, cast

from robertakit.errors import ArgumentError, TrainingError, require

require("torch", extra="train", needed_for="training")

import torch  # noqa: E402
from torch import Tensor, nn  # noqa: E402
from torch import distributed as dist  # noqa: E402
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict  # noqa: E402
from torch.distributed.device_mesh import init_device_mesh  # noqa: E402
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard  # noqa: E402
from torch.distributed.tensor import DTensor  # noqa: E402
from torch.nn.parallel import DistributedDataParallel  # noqa: E402

from robertakit.torch.encoder import RobertaLayer  # noqa: E402

__all__ = ["PARALLEL", "DataParallel", "FullySharded", "Place", "plain_name", "tied_names", "unwrapped"]

#: How several processes may share the work.
PARALLEL = ("auto", "ddp", "fsdp")
#: What gathered weights and passing activations are cast to; None: nothing is cast.
_COMPUTED_IN = {"fp32": None, "tf32": None, "bf16": torch.bfloat16, "fp16": torch.float16}
_LAUNCH = "start it with: torchrun --nproc-per-node 2 -m robertakit pretrain RECIPE"
#: How long processes wait for the first one's own work, which may be to tokenize all text there is.
_PATIENCE = timedelta(days=7)

_Answer = TypeVar("_Answer")


class Place:
    """One process of a training run, and what it does together with the others; this class is the only one of its run.

    Attributes:
        rank: which process this is, from 0.
        processes: how many there are.
        device: where this one computes.

    Example:
        >>> with Place.here(device="cpu") as place:
        ...     step = place.prepare(nn.Linear(2, 1))
        ...     place.rank, place.processes, place.first, place.sum(3, 4.5)
        (0, 1, True, (3.0, 4.5))
    """

    def __init__(self, rank: int, processes: int, device: torch.device, *, owns_group: bool = False) -> None:
        self.rank, self.processes, self.device = rank, processes, device
        self._owns_group = owns_group
        self._waits = 0

    @property
    def first(self) -> bool:
        """Whether this is the process that writes, prints and prepares for all."""
        return self.rank == 0

    @staticmethod
    def here(parallel: str = "auto", device: str | None = None) -> "Place":
        """Return the place of this process, as whoever started it laid it out.

        Args:
            parallel: `"ddp"` or `"fsdp"`, which want a start by torchrun; `"auto"`: DDP where torchrun started several
                processes, else one process.
            device: `"cpu"`, `"cuda"`, …; default a GPU where there is one. Under torchrun each process of a machine
                takes a GPU of its own.

        Raises:
            ArgumentError: an unknown way or device, or one that this start or machine does not allow.
            TrainingError: the processes do not find each other, or PyTorch was built without their transport.

        Example:
            >>> Place.here("fdsp")
            Traceback (most recent call last):
            robertakit.errors.ArgumentError: parallel='fdsp'; expected 'auto', 'ddp' or 'fsdp'.
        """
        if parallel not in PARALLEL:
            raise ArgumentError(given=f"parallel={parallel!r}", expected="'auto', 'ddp' or 'fsdp'")
        joined = dist.is_available() and dist.is_initialized()
        launched = _launched()
        if not joined and (launched is None or (parallel == "auto" and launched[1] == 1)):
            if parallel != "auto":
                raise ArgumentError(given=f"parallel={parallel!r} in a process by itself", hint=_LAUNCH)
            return Place(0, 1, _device(device, None))
        local = int(os.environ.get("LOCAL_RANK", "0"))
        own = _device(device, local)
        if not joined:
            _join(own)
        if own.type == "cuda":
            torch.cuda.set_device(own)
        kind = FullySharded if parallel == "fsdp" else DataParallel
        return kind(dist.get_rank(), dist.get_world_size(), own, owns_group=not joined)

    def prepare(self, step: nn.Module, precision: str = "fp32") -> nn.Module:
        """Return a step that runs here: on the device, its weights those of the first process.

        To be called before the optimiser is made, since with FSDP2 the parameters are other ones afterwards. What is
        to be compiled is compiled in place before (`module.compile()`), layer by layer for FSDP2.

        Args:
            step: the module to train.
            precision: `"fp32"`, `"tf32"`, `"bf16"` or `"fp16"`: with FSDP2, in what weights are gathered and layers
                compute; gradients are summed in fp32. Elsewhere autocast, which is the loop's, does that.

        Raises:
            ArgumentError: an unknown precision.
        """
        _check_precision(precision)
        return step.to(self.device)

    def accumulating(self, step: nn.Module, last: bool) -> AbstractContextManager[None]:
        """Return a context for the forward and backward of a micro-batch; processes exchange gradients in the last."""
        return nullcontext()

    def sum(self, *numbers: float) -> tuple[float, ...]:
        """Return the sum over all processes of each number, in float64."""
        return tuple(float(number) for number in numbers)

    def gather(self, answer: _Answer) -> list[_Answer]:
        """Return what every process gives here, in the order of their ranks."""
        return [answer]

    def once(self, work: Callable[[], object]) -> None:
        """Have the first process do something while the others wait, for days if need be; if it fails, all fail.

        Raises:
            TrainingError: on the others, that the first failed.
        """
        work()

    def clip(self, step: nn.Module, most: float) -> float:
        """Shorten the gradient to a norm of `most` where it is longer, and return the norm that it had.

        Args:
            step: what `prepare` gave, after its backward.
            most: the largest norm over all parameters of all processes; 0 and infinity measure only.
        """
        parameters = list(step.parameters())
        norm = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        if 0 < most < math.inf:
            nn.utils.clip_grads_with_norm_(parameters, most, norm)
        return float(norm.full_tensor() if isinstance(norm, DTensor) else norm)

    def state_for_export(self, step: nn.Module) -> dict[str, Tensor] | None:
        """Return the weights of the step's model as the model itself names them: float32, in memory, tied ones shared.

        All processes call it; the first gets the weights, the others None.
        """
        options = StateDictOptions(full_state_dict=True, cpu_offload=True)
        gathered = get_model_state_dict(step, options=options)
        if not self.first:
            return None
        model = unwrapped(step)
        prefix = "model." if isinstance(getattr(model, "model", None), nn.Module) else ""
        tied = tied_names(step)
        whole: dict[str, Tensor] = {}
        for name, value in cast(Mapping[str, Tensor], gathered).items():
            if name.startswith(prefix):
                source = tied.get(name, name).removeprefix(prefix)
                own = whole[source] if source in whole else _exported(value)
                whole[name.removeprefix(prefix)] = own
        return whole

    def close(self) -> None:
        """Leave the other processes; a group that somebody else made stays."""
        if self._owns_group and dist.is_initialized():
            dist.destroy_process_group()
        self._owns_group = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Several(Place):
    """A process among others."""

    def sum(self, *numbers: float) -> tuple[float, ...]:
        total = torch.tensor(numbers, dtype=torch.float64, device=self.device)
        dist.all_reduce(total)
        return tuple(total.tolist())

    def gather(self, answer: _Answer) -> list[_Answer]:
        answers: list[_Answer | None] = [None] * self.processes
        dist.all_gather_object(answers, answer)
        return cast(list[_Answer], answers)

    def once(self, work: Callable[[], object]) -> None:
        # Not a barrier: that gives up after some minutes.
        store = dist.distributed_c10d._get_default_store()
        self._waits += 1
        key = f"robertakit/once/{self._waits}"
        if not self.first:
            store.wait([key], _PATIENCE)
            if said := store.get(key).decode():
                raise TrainingError(given=f"the first process failed: {said}")
            return
        said = "it was ended"
        try:
            work()
            said = ""
        except BaseException as error:
            said = f"{type(error).__name__}: {error}"
            raise
        finally:
            store.set(key, said)


class DataParallel(_Several):
    """Every process has the whole model; gradients are averaged (PyTorch's DDP)."""

    _wrapped: tuple[DistributedDataParallel, ...] = ()

    def prepare(self, step: nn.Module, precision: str = "fp32") -> nn.Module:
        """Return the step inside `DistributedDataParallel`, which begins with the first process's weights."""
        _check_precision(precision)
        devices = [self.device.index] if self.device.type == "cuda" else None
        wrap = partial(DistributedDataParallel, device_ids=devices, gradient_as_bucket_view=True)
        # Buffers are position ids, the same everywhere, for ever: nothing to send. PyTorch 2.13 renamed the setting.
        if "forward_sync_buffers" in inspect.signature(DistributedDataParallel).parameters:
            wrapper = wrap(step.to(self.device), forward_sync_buffers=False)
        else:
            wrapper = wrap(step.to(self.device), broadcast_buffers=False)
        self._wrapped += (wrapper,)
        return wrapper

    def accumulating(self, step: nn.Module, last: bool) -> AbstractContextManager[None]:
        """Return a context in which gradients stay here unless it is the last."""
        assert isinstance(step, DistributedDataParallel)
        return nullcontext() if last else cast(AbstractContextManager[None], step.no_sync())

    def close(self) -> None:
        """Leave the other processes; what `prepare` gave can be saved afterwards, and not called."""
        # Who lets go of the group last waits for its threads, which may wait for Python's lock; the reducer would keep
        # that meanwhile, so it goes first (pytorch/pytorch#56297).
        for wrapper in self._wrapped if self._owns_group else ():
            del wrapper.reducer, wrapper.logger, wrapper.process_group
        self._wrapped = ()
        super().close()


class FullySharded(_Several):
    """Every process has a share of each tensor (PyTorch's FSDP2)."""

    def prepare(self, step: nn.Module, precision: str = "fp32") -> nn.Module:
        """Return the step itself, sharded: a unit for each layer of the encoder, and the root."""
        _check_precision(precision)
        step = step.to(self.device)
        with torch.no_grad():
            for tensor in (*step.parameters(), *step.buffers()):
                dist.broadcast(tensor.detach(), src=0)
        computed_in = _COMPUTED_IN[precision]
        summed_in = None if computed_in is None else torch.float32
        policy = MixedPrecisionPolicy(param_dtype=computed_in, reduce_dtype=summed_in)
        mesh = init_device_mesh(self.device.type, (self.processes,), mesh_dim_names=("data",))
        for module in list(step.modules()):
            if isinstance(module, RobertaLayer):
                fully_shard(module, mesh=mesh, mp_policy=policy)
        fully_shard(step, mesh=mesh, mp_policy=policy)
        return step

    def accumulating(self, step: nn.Module, last: bool) -> AbstractContextManager[None]:
        """Have gradients stay here, whole, unless it is the last."""
        root = unwrapped(step)
        assert isinstance(root, FSDPModule)
        root.set_requires_gradient_sync(last)
        return nullcontext()


def unwrapped(step: nn.Module) -> nn.Module:
    """Return the step itself, out of DDP and `torch.compile`."""
    while True:
        inner = getattr(step, "_orig_mod", step.module if isinstance(step, DistributedDataParallel) else None)
        if not isinstance(inner, nn.Module):
            return step
        step = inner


def plain_name(name: str) -> str:
    """Return a tensor's name without what `torch.compile` puts in.

    Example:
        >>> plain_name("model._orig_mod.roberta.encoder.layer.0._orig_mod.output.dense.bias")
        'model.roberta.encoder.layer.0.output.dense.bias'
    """
    return name.replace("_orig_mod.", "")


def tied_names(step: nn.Module) -> dict[str, str]:
    """Return each further name of a parameter of a step -> its first."""
    first: dict[int, str] = {}
    tied = {}
    for name, parameter in unwrapped(step).named_parameters(remove_duplicate=False):
        source = first.setdefault(id(parameter), plain_name(name))
        if source != plain_name(name):
            tied[plain_name(name)] = source
    return tied


def _exported(value: Tensor) -> Tensor:
    """A copy in float32, so that what training does next does not change what was exported; whole numbers as such."""
    copy = value.detach().clone()
    return copy.float() if copy.is_floating_point() else copy


def _check_precision(precision: str) -> None:
    if precision not in _COMPUTED_IN:
        raise ArgumentError(given=f"precision={precision!r}", expected="'fp32', 'tf32', 'bf16' or 'fp16'")


def _launched() -> tuple[int, int] | None:
    """Rank and number of processes, as torchrun and its like say in the environment; None for a process by itself."""
    said = {name: os.environ.get(name) for name in ("RANK", "WORLD_SIZE")}
    if all(value is None for value in said.values()):
        return None
    written = ", ".join(f"{name}={value}" if value else f"no {name}" for name, value in said.items())
    given = f"{written} in the environment"
    hint = f"unset them, or {_LAUNCH}"
    try:
        rank, processes = (int(value or "") for value in said.values())
    except ValueError:
        raise ArgumentError(given=given, expected="both, whole numbers", hint=hint) from None
    if not 0 <= rank < processes:
        raise ArgumentError(given=given, expected="ranks below WORLD_SIZE", hint=hint)
    return rank, processes


def _device(asked: str | None, local: int | None) -> torch.device:
    """The device of a process; `local` is which of its machine's processes it is, None for a process by itself."""
    try:
        device = torch.device(asked or ("cuda" if torch.cuda.is_available() else "cpu"))
    except RuntimeError:
        raise ArgumentError(given=f"device={asked!r}", expected="'cpu', 'cuda' or 'cuda:0', …") from None
    if device.type == "cuda":
        there, named = torch.cuda.device_count(), cast("int | None", device.index)
        if local is not None and named is not None:
            raise ArgumentError(
                given=f"device={asked!r} under torchrun",
                expected="'cuda'",
                hint="each process takes a GPU of its own; CUDA_VISIBLE_DEVICES says of which",
            )
        index = named if named is not None else local or 0
        if index >= there:
            raise ArgumentError(
                given=f"GPU {index}, of {there} that PyTorch sees here",
                hint="start as many processes as there are GPUs, or set device to 'cpu'",
            )
        return torch.device("cuda", index)
    if local is not None and device.type != "cpu":
        raise ArgumentError(given=f"device={asked!r} under torchrun", expected="'cpu' or 'cuda'")
    return device


def _join(device: torch.device) -> None:
    """Find the other processes."""
    if not dist.is_available():
        given = "this PyTorch was built without torch.distributed"
        raise TrainingError(given=given, hint="train in one process")
    if not dist.is_gloo_available() or (device.type == "cuda" and not dist.is_nccl_available()):
        lacking = "gloo" if not dist.is_gloo_available() else "nccl"
        raise TrainingError(
            given=f"this PyTorch was built without {lacking}, by which its processes would speak on {device.type}",
            hint="train in one process, or install a build of PyTorch that has it",
        )
    # Its functions have the group there is when it is imported as a default, and would keep ours for ever.
    import_module("torch.distributed.nn.functional")
    try:
        # Both on GPUs: checkpoints and counts go through the processor.
        if device.type == "cuda":
            dist.init_process_group("cpu:gloo,cuda:nccl", device_id=device)
        else:
            dist.init_process_group("gloo")
    except (ValueError, RuntimeError) as error:  # dist's own errors are RuntimeErrors
        raise TrainingError(
            given=f"this process and the others did not find each other ({str(error).splitlines()[0]})",
            hint="check MASTER_ADDR and MASTER_PORT, or " + _LAUNCH,
        ) from error
