"""The training loop: a task, a step module and a place in, trained weights and a log out; it knows no masked LM."""

import json
import math
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol, cast

from robertakit.errors import TrainingError, require

require("torch", extra="train", needed_for="training")

import torch  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from robertakit.training.devices import peak_flops  # noqa: E402
from robertakit.training.logs import RunLog  # noqa: E402
from robertakit.training.loop_settings import LoopSettings, check_unchanged  # noqa: E402
from robertakit.training.prefetching import Ahead  # noqa: E402
from robertakit.training.progress import Meter, Progress, ProgressLine  # noqa: E402
from robertakit.training.schedule import Schedule  # noqa: E402
from robertakit.training.spikes import LossWatch  # noqa: E402
from robertakit.training.stopping import StopRequest  # noqa: E402
from robertakit.training.updates import Updates, numerics  # noqa: E402

if TYPE_CHECKING:
    from robertakit.training.checkpoints import Checkpoints
    from robertakit.training.places import Place

__all__ = ["Loop", "MicroBatch", "Task"]

#: A batch, as (epoch, number in it).
Position = tuple[int, int]
Micros = Sequence["MicroBatch"]


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

    def micro_batches(self, epoch: int, batch: int, rank: int, processes: int) -> Micros:
        """Return this process's part of one batch, a function of the arguments alone.

        As many micro-batches on every process, one at least. Called, as `batches` is, from a thread of its own, one
        call at a time, while the model computes and while it is evaluated.
        """
        ...

    def loss(self, model: nn.Module, micro: MicroBatch) -> Tensor:
        """Return the SUM over the targets, (), float32 (float64 where the model is); 0 with a graph for none."""
        ...

    def evaluate(self, model: nn.Module) -> Mapping[str, object]:
        """Return figures on held-out data for the log, plain JSON values, the same on every process.

        The model is in eval mode and keeps no gradients. ``"loss"`` is the one whose lowest value is kept as the best.
        """
        ...

    def flops_per_token(self) -> float:
        """Return floating-point operations of one real token, forward and backward, recomputation not counted."""
        ...


class Loop:
    """Trains a module: updates, evaluations, checkpoints and the log, from where the last checkpoint ends.

    **The same weights however often it was killed.** All that an update draws is seeded just before it, from (seed,
    step, rank); all else that it depends on is in the checkpoint. With ``deterministic``, and as many processes, a
    resumed run ends with the bits of an uninterrupted one.

    **Refused batches.** A batch is judged before its gradient is applied, so that the last good state is the one that
    is there: a refused batch costs no memory and leaves no trace in weights, moments or random draws. Where
    ``rollback_after`` batches in a row are refused, the weights themselves are taken for bad: the last checkpoint comes
    back, the refused batches and the one applied before them are passed over from then on, and the rest is done again.
    After ``most_rollbacks`` refusals the run ends with an error.

    Args:
        task: what is learnt.
        step: the module that is trained; ``place.prepare`` moves and wraps it.
        settings: of the loop.
        place: one process, DDP or FSDP2.
        checkpoints: where states are kept.
        logs: the log of the run.
        identity: all else that the weights depend on (data, model, masks), as plain JSON values: a run that goes on
            must have the same.
        shown: whether the first process shows its progress on the standard error.

    Attributes:
        step: the module as the place prepared it; `Place.state_for_export` takes it.
        optimiser: AdamW over it.
    """

    def __init__(
        self,
        task: Task,
        step: nn.Module,
        settings: LoopSettings,
        place: "Place",
        checkpoints: "Checkpoints",
        logs: RunLog,
        *,
        identity: Mapping[str, object] | None = None,
        shown: bool = True,
    ) -> None:
        self.task, self.settings, self.place = task, settings, place
        self.checkpoints, self.logs = checkpoints, logs
        self.identity: dict[str, object] = json.loads(
            json.dumps(dict(identity or {}))
        )  # as it will come back
        self.progress = Progress()
        self._updates = Updates(task, step, settings, place)
        self.step, self.optimiser = self._updates.step, self._updates.optimiser
        self._schedule = Schedule(settings)
        self._peak = _peak(place, settings.precision)
        self._meter = Meter(task.flops_per_token(), self._peak)
        self._line = ProgressLine(
            self._schedule.total, shown=shown and place.first, by_clock=settings.steps is None
        )
        self._watch = LossWatch(settings.spike_deviations, settings.spike_window)
        self._refused: list[Position] = []  # in a row
        self._applied: Position | None = None
        self._started = time.monotonic()
        self._start_line = 0
        self._stored: float | None = None

    def run(self) -> Progress:
        """Train to the end, or until SIGINT or SIGTERM, which save and stop; ``stopped`` of what is returned says so.

        Raises:
            TrainingError: a changed setting, a run whose batches were refused too often, a log that cannot be written.
            CheckpointError: a checkpoint that cannot be read or written; the one before is whole.
        """
        settings = self.settings
        with numerics(settings), StopRequest() as stop, Ahead(self._fetch, settings.prefetch) as ahead:
            try:
                self._begin()
                ended = False
                while not ended:
                    if self._over() or not self._advance(ahead, stop):
                        ended = self._end()
            finally:
                self.logs.close()
        return self.progress

    # --- one batch ---

    def _advance(self, ahead: Ahead[Micros], stop: StopRequest) -> bool:
        """Take the next batch; False where some process was asked to stop."""
        progress, begun = self.progress, time.perf_counter()
        micros, behind = ahead.take(progress.position)
        targets, tokens, stops, seconds = self.place.sum(
            sum(micro.targets for micro in micros),
            sum(micro.tokens for micro in micros),
            stop.asked is not None,
            time.monotonic() - self._started,
        )
        progress.seconds = seconds / self.place.processes  # one clock for all: the schedule may follow it
        if stops:
            progress.stopped = stop.asked or "a signal to another process"
            return False
        if self._over():
            return True
        if progress.position in progress.skipped:
            progress.go_to(behind)
            return True
        complaint: str | None = "it has no targets"
        loss = norm = 0.0
        if targets:
            loss, norm = self._updates.attempt(micros, targets, progress.step)
            complaint = self._watch.complaint(loss, norm)
        if complaint is not None:
            self._refuse(complaint, behind)
            return True
        rate = self._schedule.rate(progress.step, progress.seconds)
        self._updates.apply(rate)
        self._watch.accept(loss)
        progress.step, progress.tokens = progress.step + 1, progress.tokens + int(tokens)
        self._refused, self._applied = [], progress.position
        progress.go_to(behind)
        self._meter.add(int(tokens), time.perf_counter() - begun, loss)
        self._after_update(norm, rate)
        return True

    def _fetch(self, position: Position) -> tuple[Micros, Position]:
        """Return this process's part of a batch, and the position behind it."""
        epoch, batch = position
        count = self.task.batches(epoch)
        if count <= batch:
            raise TrainingError(
                given=f"epoch {epoch} has {count} batches, and batch {batch} of it comes next",
                hint="check that there is text enough for one batch",
            )
        micros = self.task.micro_batches(epoch, batch, self.place.rank, self.place.processes)
        if not micros:
            raise TrainingError(given=f"batch {batch} of epoch {epoch} has no micro-batches on a process")
        return micros, (epoch, batch + 1) if batch + 1 < count else (epoch + 1, 0)

    def _after_update(self, norm: float, rate: float) -> None:
        """Tell, judge and store, each at its steps, in this order: a checkpoint counts the lines before it."""
        progress, settings, figures = self.progress, self.settings, self._meter.figures()
        logs = progress.step % settings.log_every == 0
        self._line.tell(
            self._done(), progress.step, figures, progress.seconds, passing=not logs,
        )  # fmt: skip
        if logs:
            self._write("step", **figures, learning_rate=rate, gradient_norm=norm)
            self._meter.reset()
        if self._over():
            return  # `_end` judges and stores what there is
        if settings.evaluate_every and progress.step % settings.evaluate_every == 0:
            self._evaluate()
        if settings.save_every and progress.step % settings.save_every == 0:
            self._save()

    # --- what is refused ---

    def _refuse(self, complaint: str, behind: Position) -> None:
        """Pass over a batch whose gradient was not applied, or take the weights for bad if that goes on."""
        progress = self.progress
        self._refused.append(progress.position)
        progress.refused += 1
        self._updates.drop()
        if len(self._refused) >= self.settings.rollback_after:
            self._restore(complaint)
        else:
            self._rolled_back(complaint, progress.step, [progress.position])
            progress.go_to(behind)

    def _restore(self, complaint: str) -> None:
        """Go back to the last checkpoint, and pass over what led to this."""
        before = self.progress
        bad = self._refused + ([] if self._applied is None else [self._applied])
        if not self._load():
            raise TrainingError(given=f"{complaint}, and there is no checkpoint to go back to")
        self.progress.skipped = sorted({*self.progress.skipped, *before.skipped, *bad})
        self.progress.refused = before.refused
        if self._start_line >= self.progress.log_lines:
            self._write_start(resumed=True)  # this process began behind that checkpoint: its line was cut
        self._rolled_back(complaint, before.step, bad)

    def _rolled_back(self, complaint: str, from_step: int, batches: Sequence[Position]) -> None:
        progress = self.progress
        self._write("rollback", from_step=from_step, reason=complaint, batches=sorted(batches))
        named = ", ".join(f"{epoch}:{batch}" for epoch, batch in sorted(batches))
        self._line.say(
            f"Step {from_step:,}: {complaint}. Back at step {progress.step:,}; skipped (epoch:batch): {named}."
        )
        if progress.refused > self.settings.most_rollbacks:
            raise TrainingError(
                given=f"{progress.refused} batches were refused, the last ({named}) since {complaint}",
                expected=f"at most {self.settings.most_rollbacks} (most_rollbacks)",
                hint="lower learning_rate, set clip, or look at the text of these batches",
            )

    # --- beginning, judging, storing, ending ---

    def _begin(self) -> None:
        self.step.train()
        resumed = self._load()
        if not resumed:
            self.logs.cut(0, 0)
        self._started = time.monotonic() - self.progress.seconds
        self._write_start(resumed)
        if resumed:
            self._line.goes_on(self._done(), self.progress.step, self.progress.seconds)
        else:
            self._evaluate()
            self._save()

    def _write_start(self, resumed: bool) -> None:
        self._start_line = self.logs.lines
        device = self.place.device
        self._write(
            "start",
            resumed=resumed,
            settings=self.settings.stored(),
            identity=self.identity,
            processes=self.place.processes,
            device=torch.cuda.get_device_name(device) if device.type == "cuda" else str(device),
            torch=torch.__version__,
            peak_flops=self._peak,
            reproducible=self.settings.deterministic and self.settings.steps is not None,
        )

    def _load(self) -> bool:
        """Set weights, moments and progress to those of the last checkpoint; False where there is none."""
        stored = self.checkpoints.load(self.step, self.optimiser)
        if stored is None:
            return False
        parts = [stored.get(name) for name in ("settings", "identity")]
        if not all(isinstance(part, dict) for part in parts):
            raise TrainingError(
                given="the checkpoint was not made by this loop", hint="begin in another folder"
            )
        was, of = cast(list[dict[str, object]], parts)
        for words in check_unchanged(was | of, self.settings.stored() | self.identity):
            self._line.say(f"Setting {words}.")
        self.progress = Progress.restored(stored.get("progress"))
        self.progress.stopped = None
        self.logs.cut(self.progress.log_lines, self.progress.step)
        self._write("save")  # cut with the rest, where a kill did not come before it
        self._watch = LossWatch(
            self.settings.spike_deviations, self.settings.spike_window, self.progress.losses
        )
        self._updates.load_scale(self.progress.scaler)
        self._meter.reset(self.progress.unlogged)
        self._refused, self._applied = [], None
        self._stored = self._done()
        return True

    def _evaluate(self) -> None:
        """Judge held-out data, for the log."""
        progress = self.progress
        self.step.eval()
        with torch.no_grad(), self._updates.autocast:
            figures = self.task.evaluate(self.step)
        self.step.train()
        progress.judged, loss = progress.step, figures.get("loss")
        if isinstance(loss, float) and loss < (math.inf if progress.best is None else progress.best):
            progress.best, progress.best_step = loss, progress.step
        self._write("evaluate", **figures, best=progress.best, best_step=progress.best_step)

    def _save(self) -> None:
        """Store the state, unless it is not one to go back to."""
        progress = self.progress
        if not self._updates.are_finite():
            progress.refused += 1
            self._restore("weights or moments are no longer finite")
            return
        progress.losses, progress.unlogged = list(self._watch.losses), list(self._meter.losses)
        progress.scaler = self._updates.scale()
        progress.log_lines = self.logs.lines
        self.logs.sync()
        content = {
            "settings": self.settings.stored(), "identity": self.identity, "progress": progress.stored(),
        }  # fmt: skip
        self.checkpoints.save(progress.step, self.step, self.optimiser, content)
        self._write("save")
        self._stored = self._done()

    def _end(self) -> bool:
        """Judge and store what a run ends with; False where that brought an earlier state back instead."""
        progress = self.progress
        if progress.stopped is None and progress.judged != progress.step:
            self._evaluate()
        if self._stored != self._done():
            self._save()
        if progress.stopped is None and not self._over():
            return False
        self._write("end", stopped=progress.stopped)
        if progress.stopped is not None:
            self._line.say(
                f"Stopped by {progress.stopped} at step {progress.step:,}, which is saved: started again, the run "
                "goes on from there."
            )
        return True

    def _done(self) -> float:
        return self._schedule.done(self.progress.step, self.progress.seconds)

    def _over(self) -> bool:
        return self._schedule.is_over(self.progress.step, self.progress.seconds)

    def _write(self, event: str, **fields: object) -> None:
        progress = self.progress
        self.logs.write(
            event, step=progress.step, epoch=progress.epoch, batch=progress.batch,
            tokens=progress.tokens, seconds=round(progress.seconds, 3), **fields,
        )  # fmt: skip


def _peak(place: "Place", precision: str) -> float | None:
    """Return operations a second of all devices together, where a GPU of a known kind is used."""
    if place.device.type != "cuda":
        return None
    peak = peak_flops(torch.cuda.get_device_name(place.device), precision)
    return None if peak is None else peak * place.processes
