"""How far a run is: what a checkpoint stores of it, how fast it goes, and the line on the terminal."""

import dataclasses
import math
import sys
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TextIO

from robertakit.errors import TrainingError

__all__ = ["Meter", "Progress", "ProgressLine"]


@dataclass(slots=True)
class Progress:
    """Where a run stands, apart from weights and moments; the same on every process.

    Attributes:
        step: updates so far.
        epoch: passes over the data so far.
        batch: the next batch in this pass.
        tokens: real tokens of the batches that were applied.
        seconds: wall-clock time of the run, resumed ones added up, mean over the processes.
        skipped: batches as (epoch, batch) that are passed over, because they spoiled the weights once.
        refused: batches that were refused so far.
        judged: the step of the last evaluation.
        best: lowest held-out loss so far.
        best_step: where it was.
        losses: the last losses, which the next ones are judged by.
        unlogged: those since the last line of the log, which gives their mean.
        scaler: state of the loss's scale in fp16.
        log_lines: lines of the log that belong to this state.
        stopped: why the run ended before its time, or None.
    """

    step: int = 0
    epoch: int = 0
    batch: int = 0
    tokens: int = 0
    seconds: float = 0.0
    skipped: list[tuple[int, int]] = field(default_factory=list)
    refused: int = 0
    judged: int | None = None
    best: float | None = None
    best_step: int | None = None
    losses: list[float] = field(default_factory=list)
    unlogged: list[float] = field(default_factory=list)
    scaler: dict[str, float] = field(default_factory=dict)
    log_lines: int = 0
    stopped: str | None = None

    @property
    def position(self) -> tuple[int, int]:
        """The next batch, as (epoch, batch)."""
        return self.epoch, self.batch

    def go_to(self, position: tuple[int, int]) -> None:
        """Have this batch come next."""
        self.epoch, self.batch = position

    def stored(self) -> dict[str, object]:
        """Return this as plain JSON values."""
        return dataclasses.asdict(self)

    @classmethod
    def restored(cls, stored: object) -> "Progress":
        """Return what `stored` gave.

        Raises:
            TrainingError: it is something else, of another version for example.
        """
        names = {entry.name for entry in dataclasses.fields(cls)}
        if not isinstance(stored, Mapping) or set(stored) != names:
            raise TrainingError(
                given="the checkpoint's progress has other fields than this version writes",
                hint="go on with the version of robertakit that wrote it, or begin in another folder",
            )
        progress = cls(**stored)
        progress.skipped = [(epoch, batch) for epoch, batch in progress.skipped]
        return progress


class Meter:
    """Speed and mean loss between two lines of the log.

    Args:
        flops_per_token: operations that one token needs, forward and backward.
        peak: operations a second of all devices together, None where that is not known.

    Attributes:
        losses: those since the last line of the log.

    Example:
        >>> meter = Meter(flops_per_token=6e6, peak=1e12)
        >>> meter.add(tokens=100_000, seconds=2.0, loss=3.0)
        >>> meter.figures()
        {'loss': 3.0, 'tokens_per_second': 50000.0, 'mfu': 0.3}
    """

    def __init__(self, flops_per_token: float, peak: float | None) -> None:
        self._flops, self._peak = flops_per_token, peak
        self.reset()

    def reset(self, losses: Sequence[float] = ()) -> None:
        """Begin anew behind a line of the log, with the losses since then of a run that goes on."""
        self.losses = list(losses)
        self._tokens, self._seconds = 0, 0.0

    def add(self, tokens: int, seconds: float, loss: float) -> None:
        """Count a step: its real tokens on all processes, the time that it took, the mean loss of its targets."""
        self._tokens += tokens
        self._seconds += seconds
        self.losses.append(loss)

    def figures(self) -> dict[str, float]:
        """Return mean loss, tokens a second, and MFU where the peak is known; those that there are steps for."""
        figures: dict[str, float] = {}
        if self.losses:
            figures["loss"] = math.fsum(self.losses) / len(self.losses)
        if self._seconds:
            rate = self._tokens / self._seconds
            figures["tokens_per_second"] = rate
            if self._peak:
                figures["mfu"] = rate * self._flops / self._peak
        return figures


class ProgressLine:
    """One line that tells how a run goes: on a terminal rewritten in place, elsewhere a new one now and then.

    Args:
        total: updates, or seconds, of the whole run.
        shown: whether anything is shown at all: the first process alone does.
        by_clock: whether ``total`` is seconds.
        stream: where; default the standard error of that moment.

    Example:
        >>> line = ProgressLine(total=200.0, shown=True, stream=sys.stdout)
        >>> line.tell(10.0, 10, {"loss": 2.5, "tokens_per_second": 12_345.0, "mfu": 0.412}, seconds=30.0)
        step 10/200  loss 2.500  12.3k tokens/s  MFU 41.2 %  9 min 30 s left
    """

    #: Seconds between two changes of the line on a terminal.
    EVERY = 0.5
    #: Lines that the time left is reckoned by: a machine that slept, or a run taken up on another, tells no more after.
    REMEMBERED = 10

    def __init__(
        self, total: float, *, shown: bool, by_clock: bool = False, stream: TextIO | None = None
    ) -> None:
        self._total, self._shown, self._by_clock, self._stream = total, shown, by_clock, stream
        self._told, self._open = 0.0, False
        self._marks: deque[tuple[float, float]] = deque(maxlen=self.REMEMBERED)

    def tell(
        self, done: float, step: int, figures: Mapping[str, float], seconds: float, *, passing: bool = False
    ) -> None:
        """Show where the run is.

        Args:
            done: of ``total``.
            step: updates so far.
            figures: of `Meter.figures`.
            seconds: that the run has taken for ``done``.
            passing: one that only a terminal shows, and not too often.
        """
        stream = self._stream or sys.stderr
        if not self._shown or stream is None:
            return
        terminal = stream.isatty()
        if passing and not (terminal and time.monotonic() - self._told >= self.EVERY):
            return
        self._told = time.monotonic()
        parts = [f"step {step:,}" if self._by_clock else f"step {step:,}/{self._total:,.0f}"]
        if "loss" in figures:
            parts.append(f"loss {figures['loss']:.3f}")
        if "tokens_per_second" in figures:
            parts.append(f"{_short(figures['tokens_per_second'])} tokens/s")
        if "mfu" in figures:
            parts.append(f"MFU {100 * figures['mfu']:.1f} %")
        if done > 0:
            left = self._total - done if self._by_clock else (self._total - done) * self._pace(done, seconds)
            parts.append(f"{_duration(left)} left")
        if not passing:
            self._marks.append((done, seconds))
        text = "  ".join(parts)
        stream.write(f"\r{text}\x1b[K" if terminal else f"{text}\n")
        stream.flush()
        self._open = terminal

    def goes_on(self, done: float, step: int, seconds: float) -> None:
        """Say that a run is taken up, the arguments as for `tell`; its pace here is reckoned from this on."""
        self._marks.append((done, seconds))
        self.say(f"Goes on at step {step:,}.")

    def _pace(self, done: float, seconds: float) -> float:
        """Seconds for one update of late; for all so far where there is no line before this one."""
        if self._marks and self._marks[-1][0] > done:  # the run was rolled back
            self._marks.clear()
        for then, at in self._marks:
            if then < done:
                return (seconds - at) / (done - then)
        return seconds / done

    def say(self, sentence: str) -> None:
        """Write a sentence that stays."""
        stream = self._stream or sys.stderr
        if self._shown and stream is not None:
            stream.write(f"\n{sentence}\n" if self._open else f"{sentence}\n")
            stream.flush()
            self._open = False


def _short(number: float) -> str:
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.1f}{letter}"
    return f"{number:.0f}"


def _duration(seconds: float) -> str:
    """Return two units at most.

    Example:
        >>> _duration(59.6), _duration(3725), _duration(200_000)
        ('1 min 0 s', '1 h 2 min', '2 d 7 h')
    """
    whole = max(0, round(seconds))
    units = ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))
    for (size, name), (below, small) in pairwise(units):
        if whole >= size:
            return f"{whole // size} {name} {whole % size // below} {small}"
    return f"{whole} s"
