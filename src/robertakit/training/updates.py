"""One update of the weights: the exact gradient of a batch, however it is cut up, and AdamW's step with it."""

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

import numpy as np

from robertakit.errors import require

require("torch", extra="train", needed_for="training")

import torch  # noqa: E402
from torch import Tensor, nn  # noqa: E402
from torch.distributed.tensor import DTensor  # noqa: E402

from robertakit.training.loop_settings import LoopSettings  # noqa: E402
from robertakit.training.optimisers import adamw  # noqa: E402

if TYPE_CHECKING:
    from robertakit.training.loop import MicroBatch, Task
    from robertakit.training.places import Place

__all__ = ["Updates", "accumulate", "numerics", "seed_of"]


class Updates:
    """A module as its place prepared it, its optimiser, and its precision.

    Args:
        task: gives the loss.
        step: the module that is trained.
        settings: of the loop.
        place: where this runs.

    Attributes:
        step: the module as the place prepared it.
        optimiser: AdamW over it.
        autocast: what forward passes run in.
    """

    def __init__(self, task: "Task", step: nn.Module, settings: LoopSettings, place: "Place") -> None:
        if settings.deterministic:
            # cuBLAS is deterministic with a fixed workspace alone, and reads this when it is first used.
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        self._task, self._settings, self._place = task, settings, place
        self.step = place.prepare(step, "fp32" if settings.precision == "tf32" else settings.precision)
        self.optimiser = adamw(self.step, settings)
        half = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(settings.precision)
        self.autocast = torch.autocast(place.device.type, dtype=half, enabled=half is not None)
        self._scaler = torch.amp.GradScaler(place.device.type, enabled=half is torch.float16)

    def attempt(self, micros: Sequence["MicroBatch"], targets: float, number: int) -> tuple[float, float]:
        """Compute the gradient of a batch, and apply nothing; return its loss and the gradient's norm.

        Args:
            micros: this process's part.
            targets: number of targets of the whole batch.
            number: of the update, which seeds what is drawn.
        """
        while True:
            self.optimiser.zero_grad(set_to_none=True)
            torch.manual_seed(seed_of(self._settings.seed, number, self._place.rank))
            loss = accumulate(
                self._task, self.step, micros, self._place,
                targets=targets, autocast=self.autocast, scaler=self._scaler,
            )  # fmt: skip
            self._scaler.unscale_(self.optimiser)
            norm = self._place.clip(self.step, self._settings.clip)
            scale = self._scaler.get_scale()
            if math.isfinite(norm) or not math.isfinite(loss) or not self._scaler.is_enabled() or scale <= 1:
                return loss, norm
            # The scale made it overflow, and not the batch: once more, with half of it. The norm, which is the same
            # on every process, decides, and not what the scaler saw of it here.
            self._scaler.update(scale / 2)
            self._scaler.load_state_dict(self._scaler.state_dict() | {"_growth_tracker": 0})

    def apply(self, rate: float) -> None:
        """Update the weights with the gradient that was computed last."""
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self._scaler.step(self.optimiser)
        self._scaler.update()

    def drop(self) -> None:
        """Take it that the gradient will not be applied."""
        if self._scaler.is_enabled():
            self._scaler.update(self._scaler.get_scale())

    def scale(self) -> dict[str, float]:
        """Return the state of the loss's scale, as plain JSON values; {} where it is not scaled."""
        return dict(self._scaler.state_dict())

    def load_scale(self, state: Mapping[str, float]) -> None:
        """Go on with a scale that `scale` gave."""
        if self._scaler.is_enabled():
            self._scaler.load_state_dict(dict(state))

    def are_finite(self) -> bool:
        """Whether all weights and moments are numbers, on every process."""
        moments = (value for state in self.optimiser.state.values() for value in state.values())
        own = [
            (tensor.to_local() if isinstance(tensor, DTensor) else tensor).detach()
            for tensor in (*self.step.parameters(), *moments)
            if isinstance(tensor, Tensor)
        ]
        (total,) = self._place.sum(float(nn.utils.get_total_norm(own)))
        return math.isfinite(total)


def accumulate(
    task: "Task",
    step: nn.Module,
    micros: Sequence["MicroBatch"],
    place: "Place",
    *,
    targets: float,
    autocast: torch.autocast | None = None,
    scaler: torch.amp.GradScaler | None = None,
) -> float:
    """Add the gradient of one batch to the parameters' own, and return its loss: both means over all its targets.

    However a batch is cut into micro-batches and spread over processes, the gradient is the sum over all divided by
    the targets of all: that number is known before the first backward pass.

    Args:
        task: gives the loss of a micro-batch, a sum.
        step: what ``place.prepare`` gave.
        micros: those of this process.
        place: where this runs. DDP and FSDP take the mean over processes; the factor here undoes that.
        targets: number of targets of all micro-batches of all processes.
        autocast: what the forward passes run in.
        scaler: scales the gradient, not the loss that is returned.
    """
    factor = place.processes / targets
    losses = []
    for index, micro in enumerate(micros):
        with place.accumulating(step, last=index == len(micros) - 1):
            with autocast or nullcontext():
                loss = task.loss(step, micro)
            share = loss * factor
            torch.autograd.backward(share if scaler is None else scaler.scale(share))
        losses.append(loss.detach())
    (total,) = place.sum(sum(float(loss) for loss in torch.stack(losses).cpu().unbind()))
    return total / targets


def seed_of(seed: int, step: int, rank: int) -> int:
    """Return what the generators of one process are seeded with for one update.

    Example:
        >>> seed_of(1, step=0, rank=0) == seed_of(1, step=0, rank=0) != seed_of(1, step=0, rank=1)
        True
    """
    return int(np.random.SeedSequence((seed, step, rank)).generate_state(1, np.uint64)[0])


@contextmanager
def numerics(settings: LoopSettings) -> Iterator[None]:
    """Set how PyTorch computes, and put back what was there."""
    products, deterministic = (
        torch.get_float32_matmul_precision(),
        torch.are_deterministic_algorithms_enabled(),
    )
    warns = torch.is_deterministic_algorithms_warn_only_enabled()
    torch.set_float32_matmul_precision("high" if settings.precision == "tf32" else "highest")
    if settings.deterministic:
        torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(products)
        torch.use_deterministic_algorithms(deterministic, warn_only=warns)
