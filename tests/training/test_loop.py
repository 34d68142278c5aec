"""The loop on a run of a second: refused batches, rollbacks, resumed runs, what is said and what is refused."""

import errno
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("torch")

import torch
from torch import Tensor

from robertakit.errors import SaveFailed, TrainingError
from robertakit.training.logs import LOG, read_log
from robertakit.training.loop import Loop
from robertakit.training.loop_settings import LoopSettings

from . import toy_run
from .toy_run import ACCIDENTS, BATCHES, Accident, Kept, Micro, ToyTask, curve, spoil, times, weights

SHORT = {"steps": 20, "evaluate_every": 0, "save_every": 5, "log_every": 2}
NAN = times(float("nan"))


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Without(ToyTask):
    """A task whose first epoch lacks some batches: those that the loop should have passed over."""

    def __init__(self, *lacking: int) -> None:
        super().__init__()
        self.there = [batch for batch in range(BATCHES) if batch not in lacking]

    def batches(self, epoch: int) -> int:
        return BATCHES if epoch else len(self.there)

    def micro_batches(self, epoch: int, batch: int, rank: int, processes: int) -> list[Micro]:
        return super().micro_batches(epoch, batch if epoch else self.there[batch], rank, processes)


def events(folder: Path, name: str) -> list[dict[str, object]]:
    return [row for row in read_log(folder / LOG) if row["event"] == name]


def same(first: Loop, second: Loop) -> bool:
    one, other = weights(first), weights(second)
    return one.keys() == other.keys() and all(one[name].equal(other[name]) for name in one)


_kept: dict[Path, Kept] = {}


def a_loop(folder: Path, task: ToyTask | None = None, **changed: object) -> Loop:
    return toy_run.a_loop(
        folder, task or ToyTask(), checkpoints=_kept.setdefault(folder, Kept()), **SHORT | changed
    )


def ran(folder: Path, task: ToyTask | None = None, **changed: object) -> Loop:
    loop = a_loop(folder, task, **changed)
    loop.run()
    return loop


# --- an undisturbed run ---


def test_a_run_learns_and_says_so(tmp_path: Path) -> None:
    loop = ran(tmp_path, steps=60, evaluate_every=20, learning_rate=3e-2)
    judged = events(tmp_path, "evaluate")
    assert [row["step"] for row in judged] == [0, 20, 40, 60]
    losses = [row["loss"] for row in judged]
    assert losses[-1] < losses[0] - 0.1
    assert (judged[-1]["best"], judged[-1]["best_step"]) == min((row["loss"], row["step"]) for row in judged)
    assert [row["step"] for row in events(tmp_path, "step")] == list(range(2, 61, 2))
    assert [row["step"] for row in events(tmp_path, "save")] == list(range(0, 61, 5))
    assert [row["stopped"] for row in events(tmp_path, "end")] == [None]
    assert loop.progress.tokens == 60 * 4 * 8
    assert loop.progress.position == (60 // BATCHES, 60 % BATCHES)
    assert not (start := events(tmp_path, "start")[0])["resumed"]
    assert start["settings"]["learning_rate"] == 3e-2
    assert start["identity"] == {"corpus": "toy"}


def test_the_lines_mean_is_over_all_steps_since_the_last(tmp_path: Path) -> None:
    ran(tmp_path / "each", log_every=1)
    ran(tmp_path / "some", log_every=4)
    each = {row["step"]: row["loss"] for row in events(tmp_path / "each", "step")}
    for row in events(tmp_path / "some", "step"):
        wanted = sum(each[row["step"] - back] for back in range(4)) / 4
        assert row["loss"] == pytest.approx(wanted, rel=1e-12)


def test_preparing_ahead_changes_nothing(tmp_path: Path) -> None:
    assert same(ran(tmp_path / "a", prefetch=True), ran(tmp_path / "b", prefetch=False))


def test_the_seed_and_nothing_around_it_decides(tmp_path: Path) -> None:
    first = ran(tmp_path / "a")
    torch.manual_seed(99)
    torch.rand(1000)
    assert same(first, ran(tmp_path / "b"))
    assert not same(first, ran(tmp_path / "c", seed=4))


def test_judging_and_storing_more_often_changes_no_weight(tmp_path: Path) -> None:
    often = ran(tmp_path / "a", evaluate_every=1, save_every=1, log_every=1, keep=1)
    seldom = ran(tmp_path / "b", evaluate_every=0, save_every=0, log_every=50)
    assert same(often, seldom)
    assert [row["step"] for row in events(tmp_path / "b", "save")] == [0, 20]
    assert [row["step"] for row in events(tmp_path / "b", "evaluate")] == [0, 20]


def test_by_the_clock_it_ends_in_time_and_says_that_it_cannot_be_repeated(tmp_path: Path) -> None:
    loop = ran(tmp_path, steps=None, minutes=0.01, warm_up=0.5)
    assert 0.6 <= loop.progress.seconds < 30
    assert loop.progress.step > 0
    assert events(tmp_path, "start")[0]["reproducible"] is False
    rates = [row["learning_rate"] for row in events(tmp_path, "step")]
    assert max(rates) <= 1e-2
    ran(tmp_path, steps=None, minutes=0.01, warm_up=0.5)  # its time is over
    assert loop.progress.step == events(tmp_path, "end")[-1]["step"]


@pytest.mark.parametrize("precision", ["bf16", "fp16", "tf32"])
def test_other_precisions_learn_alike_and_are_put_back(tmp_path: Path, precision: str) -> None:
    before = torch.get_float32_matmul_precision(), torch.are_deterministic_algorithms_enabled()
    seen = []

    def look(model: torch.nn.Module, loss: Tensor) -> Tensor:
        seen.append((torch.get_float32_matmul_precision(), torch.are_deterministic_algorithms_enabled()))
        return loss

    half = ran(tmp_path / "half", ToyTask({(0, 3): look}), precision=precision)
    assert seen[0] == ("high" if precision == "tf32" else "highest", True)
    assert (torch.get_float32_matmul_precision(), torch.are_deterministic_algorithms_enabled()) == before
    full = ran(tmp_path / "full")
    for name, value in half.step.named_parameters():
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, dict(full.step.named_parameters())[name], rtol=0.05, atol=0.05)


# --- refused batches ---


def test_a_refused_batch_leaves_no_trace(tmp_path: Path) -> None:
    loop = ran(tmp_path / "a", ToyTask({(0, 3): NAN}))
    assert same(loop, ran(tmp_path / "b", Without(3)))
    (event,) = events(tmp_path / "a", "rollback")
    assert (event["reason"], event["batches"], event["step"]) == ("the loss is nan", [[0, 3]], 3)
    assert loop.progress.refused == 1


def test_a_gradient_without_a_number_is_refused_too(tmp_path: Path) -> None:
    def root_of_nothing(model: torch.nn.Module, loss: Tensor) -> Tensor:
        return loss + (loss * 0).sqrt()  # 0, with a gradient of inf * 0

    loop = ran(tmp_path / "a", ToyTask({(0, 3): root_of_nothing}))
    assert events(tmp_path / "a", "rollback")[0]["reason"] == "the norm of the gradient is nan"
    assert same(loop, ran(tmp_path / "b", Without(3)))


def test_batches_refused_in_a_row_bring_the_last_checkpoint_back(tmp_path: Path) -> None:
    loop = ran(tmp_path / "a", ToyTask(dict.fromkeys([(0, 6), (0, 7), (0, 8)], NAN)))
    (event,) = events(tmp_path / "a", "rollback")
    assert (event["from_step"], event["step"]) == (6, 5)
    assert event["batches"] == [[0, 5], [0, 6], [0, 7], [0, 8]]  # the one applied last among them
    assert same(loop, ran(tmp_path / "b", Without(5, 6, 7, 8)))


def test_the_curve_of_a_rolled_back_run_has_no_doubles(tmp_path: Path) -> None:
    ran(tmp_path, ToyTask(ACCIDENTS), steps=60, log_every=1)
    steps = [row["step"] for row in events(tmp_path, "step")]
    assert steps == list(range(1, 61))
    assert len(events(tmp_path, "rollback")) == 3


def test_weights_that_an_update_spoiled_come_back(tmp_path: Path) -> None:
    loop = ran(tmp_path / "a", ToyTask({(0, 6): spoil, (1, 2): NAN}, micro_rows=4))
    assert [row["from_step"] for row in events(tmp_path / "a", "rollback")] == [7, 7]
    first, second = (row["batches"] for row in events(tmp_path / "a", "rollback"))
    assert first == [[0, 6], [0, 7], [0, 8], [1, 0]]
    assert second == [[1, 2]]
    assert all(value.isfinite().all() for value in weights(loop).values())


@pytest.mark.parametrize("at", [(0, 9 // 2), (2, 1)], ids=["at a save", "at the end"])
def test_weights_that_are_no_numbers_are_never_stored(tmp_path: Path, at: tuple[int, int]) -> None:
    loop = ran(tmp_path, ToyTask({at: spoil}, micro_rows=4))
    assert loop.progress.step == 20
    assert "no longer finite" in str(events(tmp_path, "rollback")[0]["reason"])
    assert loop.progress.skipped == [at]
    assert all(value.isfinite().all() for value in weights(loop).values())
    assert [row["step"] for row in events(tmp_path, "step")] == list(range(2, 21, 2))


def test_a_rollback_to_the_first_checkpoint_has_no_moments_of_later(tmp_path: Path) -> None:
    loop = ran(tmp_path / "a", ToyTask(dict.fromkeys([(0, 2), (0, 3), (0, 4)], NAN)))
    assert same(loop, ran(tmp_path / "b", Without(1, 2, 3, 4)))


def test_too_many_refusals_end_the_run_and_leave_a_whole_checkpoint(tmp_path: Path) -> None:
    bad: dict[tuple[int, int], Accident] = dict.fromkeys(
        [(epoch, batch) for epoch in range(9) for batch in range(9)][9:], NAN
    )
    loop = a_loop(tmp_path, ToyTask(bad), most_rollbacks=7)
    with pytest.raises(TrainingError, match=r"8 batches were refused.*at most 7.*lower learning_rate"):
        loop.run()
    assert loop.checkpoints.numbers() == [0, 5]
    assert events(tmp_path, "rollback")[-1]["reason"] == "the loss is nan"


def test_batches_without_targets_are_refused(tmp_path: Path) -> None:
    class Hidden(ToyTask):
        def micro_batches(self, *given: int) -> list[Micro]:
            micros = super().micro_batches(*given)
            for micro in micros:
                micro.targets, micro.labels = 0, torch.full_like(micro.labels, -100)
            return micros

    with pytest.raises(TrainingError, match="it has no targets"):
        ran(tmp_path, Hidden(), most_rollbacks=2)


# --- in fp16 ---


def test_a_scale_that_overflows_is_halved_and_costs_no_batch(tmp_path: Path) -> None:
    loop = ran(
        tmp_path / "a", ToyTask({(0, 3): times(1e3)}), precision="fp16", spike_deviations=0.0, clip=0.0
    )
    assert loop.progress.refused == 0
    assert 1 <= loop.progress.scaler["scale"] < 65536.0
    assert loop.progress.step == 20
    again = a_loop(
        tmp_path / "a", ToyTask({(0, 3): times(1e3)}), precision="fp16", spike_deviations=0.0, clip=0.0
    )
    assert again.run().scaler == loop.progress.scaler
    assert same(loop, again)


# --- going on ---


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_stops_in_a_sentence_and_the_run_goes_on(
    tmp_path: Path, number: signal.Signals, capsys: pytest.CaptureFixture[str]
) -> None:
    sent = []

    def stop(model: torch.nn.Module, loss: Tensor) -> Tensor:
        if not sent:
            sent.append(number)
            signal.raise_signal(number)
        return loss

    loop = a_loop(tmp_path / "a", ToyTask({(1, 4): stop}))
    loop._line._shown = True
    progress = loop.run()
    assert (progress.stopped, progress.step) == (number.name, 14)
    assert (
        f"Stopped by {number.name} at step 14, which is saved: started again, the run goes on from there."
        in capsys.readouterr().err
    )
    assert events(tmp_path / "a", "end")[-1]["stopped"] == number.name
    assert loop.checkpoints.numbers()[-1] == 14
    assert same(ran(tmp_path / "a"), ran(tmp_path / "b"))
    assert [row["step"] for row in events(tmp_path / "a", "step")] == list(range(2, 21, 2))
    assert len(events(tmp_path / "a", "end")) == 1


def test_a_finished_run_has_nothing_left_to_do(tmp_path: Path) -> None:
    first = ran(tmp_path)
    before, task = curve(tmp_path), ToyTask()
    assert same(first, ran(tmp_path, task))
    assert task.fetched.count((0, 0)) == 0
    assert curve(tmp_path) == before


def test_changed_settings_are_named_and_nothing_is_touched(tmp_path: Path) -> None:
    ran(tmp_path)
    log = (tmp_path / LOG).read_bytes()
    loop = a_loop(tmp_path, ToyTask(), steps=30, learning_rate=0.5, log_every=1)
    loop.identity["corpus"] = "another"
    with pytest.raises(TrainingError) as caught:
        loop.run()
    said = str(caught.value)
    assert (
        "corpus was 'toy' and is 'another'; learning_rate was 0.01 and is 0.5; steps was 20 and is 30" in said
    )
    assert "log_every" not in said
    assert (tmp_path / LOG).read_bytes() == log


def test_what_may_change_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ran(tmp_path)
    loop = a_loop(tmp_path, ToyTask(), log_every=9, keep=5)
    loop._line._shown = True
    loop.run()
    said = capsys.readouterr().err
    assert "Setting keep was 2 and is 5." in said
    assert "Setting log_every was 2 and is 9." in said
    assert "Goes on at step 20." in said


def test_a_checkpoint_of_something_else_is_refused(tmp_path: Path) -> None:
    loop = a_loop(tmp_path)
    loop.checkpoints.save(0, loop.step, loop.optimiser, {"tokens": 5})
    with pytest.raises(TrainingError, match="not made by this loop"):
        loop.run()


def test_a_log_of_a_run_whose_checkpoints_are_gone_is_kept_aside(tmp_path: Path) -> None:
    ran(tmp_path)
    _kept[tmp_path].states.clear()
    ran(tmp_path)
    assert [row["event"] for row in read_log(tmp_path / "log.1.jsonl")][-1] == "end"
    assert len(events(tmp_path, "start")) == 1


# --- what goes wrong outside ---


def test_a_full_disk_is_said_and_the_run_goes_on_when_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = toy_run.a_loop(tmp_path / "a", ToyTask(), **SHORT)
    real, synced = os.fsync, []

    def fsync(descriptor: int) -> None:
        synced.append(descriptor)
        if list((tmp_path / "a/checkpoints").glob(".*step-15*")):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(descriptor)

    monkeypatch.setattr("os.fsync", fsync)
    with pytest.raises(SaveFailed, match="No space left on device"):
        loop.run()
    monkeypatch.setattr("os.fsync", real)
    assert synced
    assert loop.checkpoints.numbers() == [5, 10]
    again = toy_run.a_loop(tmp_path / "a", ToyTask(), **SHORT)
    again.run()
    assert same(again, ran(tmp_path / "b"))


def test_an_epoch_without_batches_is_an_error(tmp_path: Path) -> None:
    task = ToyTask()
    task.batches = lambda epoch: 0
    with pytest.raises(TrainingError, match=r"epoch 0 has 0 batches.*text enough"):
        ran(tmp_path, task)


def test_a_process_without_micro_batches_is_an_error(tmp_path: Path) -> None:
    task = ToyTask()
    task.micro_batches = lambda *given: []
    with pytest.raises(TrainingError, match="no micro-batches"):
        ran(tmp_path, task)


def test_what_a_task_says_of_held_out_data_is_logged_as_it_is(tmp_path: Path) -> None:
    class Telling(ToyTask):
        def evaluate(self, model: torch.nn.Module) -> dict[str, object]:
            return {"loss": float("nan"), "samples": [{"text": "a", "words": ["b"]}], "top1": 0.5}

    loop = ran(tmp_path, Telling())
    row = events(tmp_path, "evaluate")[-1]
    assert (row["loss"], row["samples"], row["best"]) == ("nan", [{"text": "a", "words": ["b"]}], None)
    assert loop.progress.best is None


def test_settings_are_stored_as_json_gives_them_back(tmp_path: Path) -> None:
    ran(tmp_path)
    start = events(tmp_path, "start")[0]
    assert start["settings"] == json.loads(json.dumps(LoopSettings(**start["settings"]).stored()))
