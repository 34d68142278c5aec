"""The learning rate over a run: a linear rise, then a fall (Liu et al. 2019, section 2.4)."""

import math
from dataclasses import dataclass

from robertakit.training.loop_settings import LoopSettings

__all__ = ["Schedule"]


@dataclass(frozen=True, slots=True)
class Schedule:
    """The rate of each update, by its number or by the clock.

    By number, the first update has the first share of the rise, and the rate would reach 0 one update behind the
    last, so that none is without effect.

    Attributes:
        settings: ``learning_rate``, ``warm_up``, ``decay``, and ``steps`` or ``minutes``.

    Example:
        >>> schedule = Schedule(LoopSettings(steps=6, warm_up=2, learning_rate=1.0))
        >>> [round(schedule.rate(step, seconds=0.0), 2) for step in range(6)]
        [0.5, 1.0, 0.8, 0.6, 0.4, 0.2]
        >>> half = Schedule(LoopSettings(minutes=1.0, warm_up=0.5, learning_rate=1.0))
        >>> half.rate(7, seconds=15.0), half.rate(7, seconds=45.0), half.is_over(7, seconds=61.0)
        (0.5, 0.5, True)
    """

    settings: LoopSettings

    def rate(self, step: int, seconds: float) -> float:
        """Return the learning rate of the update behind ``step`` others, ``seconds`` into the run."""
        settings = self.settings
        if settings.steps is None:
            done, total = seconds, self.total
            warm = settings.warm_up * total
        else:
            done, total = step + 1.0, settings.steps + 1.0
            warm = settings.warm_up
            warm = round(warm * settings.steps) if warm < 1 else warm
        if done < warm:
            return settings.learning_rate * done / warm
        left = max(0.0, (total - done) / (total - warm))
        if settings.decay == "cosine":
            left = (1 - math.cos(math.pi * left)) / 2
        return settings.learning_rate * (1.0 if settings.decay == "constant" else left)

    @property
    def total(self) -> float:
        """Length of the run, in updates or seconds."""
        settings = self.settings
        return float(settings.steps) if settings.steps is not None else 60 * (settings.minutes or 0.0)

    def done(self, step: int, seconds: float) -> float:
        """Return how much of `total` lies behind."""
        return float(step) if self.settings.steps is not None else seconds

    def is_over(self, step: int, seconds: float) -> bool:
        """Whether the run has had all its updates, or all its time."""
        return self.done(step, seconds) >= self.total
