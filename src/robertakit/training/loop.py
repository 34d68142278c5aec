"""The training loop: a task, a step module and a place in, trained weights and a log out; it knows no masked LM."""

from collections.abc import Sequence
from typing import Protocol

from robertakit.errors import require

require("torch", extra="train", needed_for="training")

from torch import Tensor, nn  # noqa: E402

__all__ = ["MicroBatch", "Task"]


class MicroBatch(Protocol):
    """What one forward and backward pass takes: rows of one process, of one share of a batch.

    Attributes:
        targets: how many positions the loss sums over; 0 for one that only keeps step with other processes.
        tokens: real tokens, padding never counted.
    """

    @property
    def targets(self) -> int:
        """Number of positions that the loss sums over."""
        ...

    @property
    def tokens(self) -> int:
        """Number of real tokens."""
        ...


class Task(Protocol):
    """What is learnt: batches, their loss, and the judgement of held-out data."""

    def batches(self, epoch: int) -> int:
        """Return the number of batches of an epoch (0, 1, ...), the same on every process."""
        ...

    def micro_batches(self, epoch: int, batch: int, rank: int, processes: int) -> Sequence[MicroBatch]:
        """Return this process's part of one batch, a function of the arguments alone.

        As many micro-batches on every process, one at least. The loop calls it from a thread of its own, one call at
        a time, while the device computes.
        """
        ...

    def loss(self, model: nn.Module, micro: MicroBatch) -> Tensor:
        """Return the SUM over the targets, (), float32 (float64 where the model is); 0 with a graph for none."""
        ...

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Return figures on held-out data, ``"loss"`` among them; the model is in eval mode, on every process."""
        ...

    def flops_per_token(self) -> float:
        """Return floating-point operations of one real token, forward and backward, recomputation not counted."""
        ...
