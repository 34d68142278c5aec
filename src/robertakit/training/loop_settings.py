"""What a run of the training loop is told, and what of it may change when a run goes on."""

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from robertakit.errors import TrainingError, listed

__all__ = ["MAY_CHANGE", "LoopSettings", "check_unchanged"]

Precision = Literal["fp32", "tf32", "bf16", "fp16"]
Decay = Literal["linear", "cosine", "constant"]
PRECISIONS = ("fp32", "tf32", "bf16", "fp16")
DECAYS = ("linear", "cosine", "constant")

#: Settings that leave the weights of a run as they are: these may differ when it goes on.
MAY_CHANGE = frozenset(
    {"log_every", "evaluate_every", "save_every", "keep", "tensorboard", "most_rollbacks", "prefetch"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopSettings:
    """Settings of the loop; the defaults are RoBERTa's (Liu et al. 2019, section 2.4, 3.1 and table 9).

    Attributes:
        steps: updates of the weights in all; or None, and ``minutes`` says how long.
        minutes: wall-clock minutes in all, in which case the schedule follows the clock, so that a run ends with a
            decayed rate on whatever machine it is: such a run cannot be reproduced, and its log says so.
        learning_rate: peak of the schedule.
        warm_up: updates in which the rate rises from 0 to the peak; below 1, a share of the whole run (the only form
            where ``minutes`` is given).
        decay: how the rate falls behind the peak: ``"linear"`` to 0, as published, ``"cosine"`` to 0, ``"constant"``.
        weight_decay: AdamW's, for matrices and embeddings; biases and LayerNorm have none.
        betas: AdamW's; 0.98 is what made large batches stable (section 3.1).
        epsilon: AdamW's.
        clip: largest norm of the gradient over all parameters; 0, as published, for none.
        precision: ``"fp32"``; ``"tf32"``, float32 with TF32 products on a CUDA device; ``"bf16"`` or ``"fp16"``
            autocast, the latter with a scaled loss.
        seed: of all that a step draws.
        deterministic: the same bits each time on the same machine, with algorithms that may be slower.
        log_every: steps between two lines of the log.
        evaluate_every: steps between two evaluations; 0 for those at the start and the end alone.
        save_every: steps between two checkpoints; 0 for those at the start and the end alone.
        keep: checkpoints that are kept.
        tensorboard: whether the log is written for TensorBoard, too.
        spike_deviations: a loss is a spike above median + this many deviations of the losses before it; 0 for never.
        spike_window: how many losses before it are looked at.
        rollback_after: refused batches in a row after which the weights, and not the batches, are taken for bad.
        most_rollbacks: refused batches in all after which the run stops with an error.
        prefetch: prepare the next batch while the device computes.

    Raises:
        TrainingError: a value that makes no sense, all of them in one message.

    Example:
        >>> LoopSettings(steps=1000, learning_rate=6e-4, warm_up=0.06).betas
        (0.9, 0.98)
        >>> LoopSettings(steps=0, clip=-1.0)
        Traceback (most recent call last):
        robertakit.errors.TrainingError: settings: clip=-1.0 (expected at least 0), steps=0 (expected at least 1).
    """

    steps: int | None = None
    minutes: float | None = None
    learning_rate: float = 6e-4
    warm_up: float = 0.06
    decay: Decay = "linear"
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.98)
    epsilon: float = 1e-6
    clip: float = 0.0
    precision: Precision = "fp32"
    seed: int = 1
    deterministic: bool = False
    log_every: int = 50
    evaluate_every: int = 1000
    save_every: int = 1000
    keep: int = 2
    tensorboard: bool = False
    spike_deviations: float = 10.0
    spike_window: int = 128
    rollback_after: int = 3
    most_rollbacks: int = 20
    prefetch: bool = True

    def __post_init__(self) -> None:
        wrong = self._problems()
        if wrong:
            raise TrainingError(given=f"settings: {', '.join(sorted(wrong))}")

    def stored(self) -> dict[str, object]:
        """Return these as a checkpoint stores them: plain JSON values, equal to what is read back."""
        plain: dict[str, object] = json.loads(json.dumps(dataclasses.asdict(self)))
        return plain

    def _problems(self) -> list[str]:
        """Say everything that is wrong at once."""
        wrong = []

        def need(name: str, right: bool, expected: str) -> None:
            if not right:
                wrong.append(f"{name}={getattr(self, name)!r} (expected {expected})")

        if (self.steps is None) == (self.minutes is None):
            wrong.append(f"steps={self.steps} and minutes={self.minutes} (expected one of them)")
        need("steps", self.steps is None or self.steps >= 1, "at least 1")
        need("minutes", self.minutes is None or 0 < self.minutes < math.inf, "above 0")
        if self.minutes is not None:
            need("warm_up", 0 <= self.warm_up < 1, "a share below 1 where minutes are given")
        else:
            need("warm_up", 0 <= self.warm_up <= max(1, self.steps or 0), "0 to the number of steps")
        for name in ("learning_rate", "epsilon"):
            need(name, 0 < getattr(self, name) < math.inf, "above 0")
        for name in ("weight_decay", "clip", "spike_deviations"):
            need(name, 0 <= getattr(self, name) < math.inf, "at least 0")
        need("betas", [0 <= beta < 1 for beta in self.betas] == [True, True], "two from 0 to 1")
        need("decay", self.decay in DECAYS, f"one of {listed(DECAYS)}")
        need("precision", self.precision in PRECISIONS, f"one of {listed(PRECISIONS)}")
        need("seed", 0 <= self.seed < 2**32, "0 to 2**32 - 1")
        for name in ("log_every", "keep", "rollback_after"):
            need(name, getattr(self, name) >= 1, "at least 1")
        for name in ("evaluate_every", "save_every", "most_rollbacks"):
            need(name, getattr(self, name) >= 0, "at least 0")
        need("spike_window", self.spike_window >= 8, "at least 8")
        return wrong


def check_unchanged(before: Mapping[str, object], now: Mapping[str, object]) -> list[str]:
    """Compare what a checkpoint was made with and what a run is told; both flat, of plain JSON values.

    Args:
        before: name -> value, as the checkpoint has them.
        now: the same of this run.

    Returns:
        What differs and may, in words, for the log.

    Raises:
        TrainingError: something differs that would change the weights; each is named with both values.

    Example:
        >>> check_unchanged({"log_every": 5, "seed": 1}, {"log_every": 9, "seed": 1})
        ['log_every was 5 and is 9']
    """
    differing = {
        name: f"{name} was {before.get(name)!r} and is {now.get(name)!r}"
        for name in sorted({*before, *now})
        if name not in before or name not in now or before[name] != now[name]
    }
    fatal = [words for name, words in differing.items() if name not in MAY_CHANGE]
    if fatal:
        raise TrainingError(
            given=f"the checkpoint was made with other settings: {'; '.join(fatal)}",
            hint="set them back to go on, or begin in another folder",
        )
    return list(differing.values())
