"""The log of a run: whole lines, none twice, and a full disk said."""

import importlib.util
import json
import os
from pathlib import Path

import pytest

from robertakit.errors import DependencyError, TrainingError
from robertakit.training.logs import LOG, RunLog, read_log


def steps(folder: Path) -> list[object]:
    return [row["step"] for row in read_log(folder / LOG)]


def a_log(folder: Path, upto: int = 5) -> RunLog:
    log = RunLog(folder)
    for step in range(1, upto + 1):
        log.write("step", step=step, loss=1 / step)
    return log


def test_a_line_is_there_as_soon_as_it_is_written(tmp_path: Path) -> None:
    log = RunLog(tmp_path / "run")
    log.write("evaluate", step=3, loss=0.1, samples=[{"text": "a\nb é"}])
    row = {"event": "evaluate", "step": 3, "loss": 0.1, "samples": [{"text": "a\nb é"}]}
    assert read_log(tmp_path / "run" / LOG) == [row]
    assert (tmp_path / "run" / LOG).read_bytes().count(b"\n") == 1


def test_every_line_is_json_though_a_value_is_not_finite(tmp_path: Path) -> None:
    RunLog(tmp_path).write("rollback", step=1, loss=float("nan"), inner={"norms": (float("-inf"), 1.0)})

    def refuse(text: str) -> None:
        raise AssertionError(text)

    row = json.loads((tmp_path / LOG).read_text(), parse_constant=refuse)
    assert (row["loss"], row["inner"]) == ("nan", {"norms": ["-inf", 1.0]})


def test_cut_keeps_the_lines_of_the_state(tmp_path: Path) -> None:
    log = a_log(tmp_path)
    log.cut(3, step=3)
    log.write("step", step=4, loss=0.0)
    assert steps(tmp_path) == [1, 2, 3, 4]
    assert log.lines == 4


def test_lines_of_later_steps_go_though_they_are_among_the_first(tmp_path: Path) -> None:
    """The log has lost lines since: its count says too much."""
    a_log(tmp_path).cut(9, step=3)
    assert steps(tmp_path) == [1, 2, 3]


@pytest.mark.parametrize("torn", [b'{"event": "st', b'{"event": "step", "step": 6}', b"\0\0\0\0", b"\xff\n"])
def test_a_torn_last_line_is_passed_over_and_goes(tmp_path: Path, torn: bytes) -> None:
    a_log(tmp_path)
    with (tmp_path / LOG).open("ab") as file:
        file.write(torn)
    assert steps(tmp_path) == [1, 2, 3, 4, 5]
    log = RunLog(tmp_path)
    log.cut(5, step=5)
    log.write("step", step=6, loss=0.0)
    assert steps(tmp_path) == [1, 2, 3, 4, 5, 6]


def test_a_log_cut_at_any_byte_still_reads(tmp_path: Path) -> None:
    a_log(tmp_path)
    whole = (tmp_path / LOG).read_bytes()
    for size in range(len(whole)):
        (tmp_path / LOG).write_bytes(whole[:size])
        assert steps(tmp_path) == [1, 2, 3, 4, 5][: whole[:size].count(b"\n")]


def test_a_broken_line_in_the_middle_is_an_error(tmp_path: Path) -> None:
    (tmp_path / LOG).write_bytes(b'{"step": 1}\n[1]\n{"step": 3}\n')
    with pytest.raises(TrainingError, match="no JSON object"):
        read_log(tmp_path / LOG)


def test_a_log_without_checkpoints_is_set_aside(tmp_path: Path) -> None:
    for _ in range(2):
        a_log(tmp_path).cut(0, step=0)
        assert (tmp_path / LOG).read_bytes() == b""
    assert [row["step"] for row in read_log(tmp_path / "log.2.jsonl")] == [1, 2, 3, 4, 5]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log.1.jsonl", "log.2.jsonl", LOG]


def test_a_log_of_a_beginning_alone_is_begun_anew(tmp_path: Path) -> None:
    log = RunLog(tmp_path)
    log.write("start", step=0)
    log.cut(0, step=0)
    assert [path.name for path in tmp_path.iterdir()] == [LOG]


def test_other_processes_count_and_write_nothing(tmp_path: Path) -> None:
    log = RunLog(tmp_path / "run", writes=False, tensorboard=True)
    log.write("step", step=1)
    log.write("step", step=2)
    log.cut(1, step=1)
    log.sync()
    log.close()
    assert log.lines == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the device that is always full")
def test_a_full_disk_is_said(tmp_path: Path) -> None:
    log = RunLog(tmp_path)
    log.path = Path("/dev/full")
    with pytest.raises(TrainingError, match=r"No space left on device.*goes on from its last checkpoint"):
        log.write("step", step=1)


def test_a_line_that_the_disk_took_in_part_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that fills up takes what still fits, and reports the rest at the next write."""
    log = a_log(tmp_path)
    real = Path.open

    class Filling:
        def __init__(self, file: object) -> None:
            self.file = file

        def __enter__(self) -> "Filling":
            return self

        def __exit__(self, *_: object) -> None:
            self.file.close()

        def write(self, line: bytes) -> int:
            return self.file.write(line[:7])

    monkeypatch.setattr(Path, "open", lambda *given, **named: Filling(real(*given, **named)))
    with pytest.raises(TrainingError, match="a part of the line"):
        log.write("step", step=6)
    monkeypatch.undo()
    assert steps(tmp_path) == [1, 2, 3, 4, 5]


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(TrainingError, match="could not be opened"):
        RunLog(tmp_path / "taken")


def test_tensorboard_that_is_absent_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "tensorboard", None)
    with pytest.raises(DependencyError, match=r"TensorBoard needs tensorboard.*robertakit\[train\]"):
        RunLog(tmp_path, tensorboard=True)


def test_curves_for_tensorboard(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    if importlib.util.find_spec("tensorboard") is None:
        pytest.skip("could not import 'tensorboard'")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log = RunLog(tmp_path, tensorboard=True)
    for step in range(1, 6):
        log.write("step", step=step, loss=1 / step, reproducible=True, words="x")
    log.write("evaluate", step=5, loss=0.25)
    log.cut(3, step=3)
    log.write("step", step=4, loss=9.0)
    log.close()
    curves = EventAccumulator(os.fspath(tmp_path / "tensorboard"))
    curves.Reload()
    assert sorted(curves.Tags()["scalars"]) == ["held-out/loss", "train/loss"]
    assert [point.step for point in curves.Scalars("train/loss")] == [1, 2, 3, 4]
    assert [point.value for point in curves.Scalars("train/loss")][-1] == 9.0
    assert curves.Scalars("held-out/loss") == []  # it was of a step that was taken back
