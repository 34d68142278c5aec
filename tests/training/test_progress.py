"""What a checkpoint stores of a run, how fast it goes, and its line on the terminal."""

import io
import json

import pytest

from robertakit.errors import TrainingError
from robertakit.training.progress import Meter, Progress, ProgressLine

FIGURES = {"loss": 2.5, "tokens_per_second": 1_234_567.0, "mfu": 0.5}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_comes_back_from_json_bit_for_bit() -> None:
    progress = Progress(
        step=3, epoch=1, batch=2, tokens=10**12, seconds=0.1 + 0.2, skipped=[(0, 4)], losses=[1 / 3, 1e-310],
        best=2 / 3, best_step=2, scaler={"scale": 65536.0, "_growth_tracker": 5}, log_lines=9,
    )  # fmt: skip
    assert Progress.restored(json.loads(json.dumps(progress.stored()))) == progress
    assert progress.position == (1, 2)


@pytest.mark.parametrize("stored", [None, [], {"step": 1}, Progress().stored() | {"later": 1}])
def test_progress_of_another_version_is_refused(stored: object) -> None:
    with pytest.raises(TrainingError, match="other fields"):
        Progress.restored(stored)


def test_figures_are_those_since_the_last_line_of_the_log() -> None:
    meter = Meter(flops_per_token=6e6, peak=None)
    assert meter.figures() == {}
    meter.add(100, 1.0, 4.0)
    meter.add(300, 3.0, 2.0)
    assert meter.figures() == {"loss": 3.0, "tokens_per_second": 100.0}
    meter.reset()
    meter.add(50, 0.5, 1.0)
    assert meter.figures() == {"loss": 1.0, "tokens_per_second": 100.0}


def test_elsewhere_each_line_is_a_new_one_and_passing_ones_are_left_out() -> None:
    stream = io.StringIO()
    line = ProgressLine(2000.0, shown=True, stream=stream)
    line.tell(1000.0, 1000, FIGURES, 3600.0)
    line.tell(1001.0, 1001, FIGURES, 3601.0, passing=True)
    line.say("A sentence.")
    assert stream.getvalue() == (
        "step 1,000/2,000  loss 2.500  1.2M tokens/s  MFU 50.0 %  1 h 0 min left\nA sentence.\n"
    )


def test_on_a_terminal_the_line_is_rewritten_and_sentences_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Terminal()
    line = ProgressLine(20.0, shown=True, stream=stream)
    line.tell(1.0, 1, {}, 1.0, passing=True)
    line.tell(2.0, 2, {}, 2.0, passing=True)  # too soon
    line.tell(3.0, 3, {}, 3.0)
    line.say("Stopped.")
    assert stream.getvalue() == "\rstep 1/20  19 s left\x1b[K\rstep 3/20  17 s left\x1b[K\nStopped.\n"
    monkeypatch.setattr(ProgressLine, "EVERY", 0.0)
    line.tell(4.0, 4, {}, 4.0, passing=True)
    assert stream.getvalue().endswith("\rstep 4/20  16 s left\x1b[K")


def test_the_time_left_is_that_at_the_pace_of_late() -> None:
    stream = io.StringIO()
    line = ProgressLine(total=1000.0, shown=True, stream=stream)
    line.tell(100, 100, {}, seconds=9000.0)  # an hour or two of it asleep
    for done in range(110, 310, 10):
        line.tell(done, done, {}, seconds=9000.0 + done - 100)
    line.tell(250, 250, {}, seconds=9300.0)  # rolled back
    line.tell(260, 260, {}, seconds=9320.0)
    left = [told.split("  ")[-1] for told in stream.getvalue().splitlines()]
    assert left[:2] == ["22 h 30 min left", "14 min 50 s left"]
    assert left[-3] == "11 min 40 s left"
    assert left[-1] == "24 min 40 s left"


def test_a_run_that_is_taken_up_tells_the_time_left_by_its_pace_here() -> None:
    stream = io.StringIO()
    line = ProgressLine(total=1000.0, shown=True, stream=stream)
    line.goes_on(100, 100, seconds=9000.0)
    line.tell(110, 110, {}, seconds=9010.0)
    assert stream.getvalue() == "Goes on at step 100.\nstep 110/1,000  14 min 50 s left\n"


def test_by_the_clock_the_time_left_is_the_clocks() -> None:
    stream = io.StringIO()
    ProgressLine(600.0, shown=True, by_clock=True, stream=stream).tell(
        60.0, 12, {"loss": 2.0, "tokens_per_second": 90.0}, 60.0
    )
    assert stream.getvalue() == "step 12  loss 2.000  90 tokens/s  9 min 0 s left\n"


def test_before_the_first_update_no_time_is_promised() -> None:
    stream = io.StringIO()
    ProgressLine(600.0, shown=True, stream=stream).tell(0.0, 0, {}, 0.0)
    assert stream.getvalue() == "step 0/600\n"


def test_other_processes_and_a_process_without_streams_show_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    hidden = ProgressLine(9.0, shown=False, stream=stream)
    hidden.tell(1.0, 1, FIGURES, 1.0)
    hidden.say("A sentence.")
    assert stream.getvalue() == ""
    monkeypatch.setattr("sys.stderr", None)  # as pythonw has it
    line = ProgressLine(9.0, shown=True)
    line.tell(1.0, 1, FIGURES, 1.0)
    line.say("A sentence.")
