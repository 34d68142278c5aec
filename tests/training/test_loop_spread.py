"""The loop in two processes: one curve, one log, one verdict on each batch, one end, as in a single process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")
if not hasattr(os, "fork"):
    pytest.skip("needs fork", allow_module_level=True)

import torch
from safetensors.torch import load_file

from robertakit.training.logs import LOG, read_log

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("spread")
    done = subprocess.run(
        [sys.executable, str(HERE / "spread_runs.py"), str(folder)],
        env=os.environ | {"PYTHONPATH": str(HERE.parent.parent / "src"), "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder


def rows(folder: Path, event: str) -> list[dict[str, object]]:
    return [row for row in read_log(folder / LOG) if row["event"] == event]


@pytest.mark.parametrize("way", ["ddp", "fsdp"])
def test_each_step_has_the_loss_of_one_process(runs: Path, way: str) -> None:
    found, wanted = rows(runs / way, "step"), rows(runs / "one", "step")
    assert [row["step"] for row in found] == [row["step"] for row in wanted] == list(range(1, 21))
    for one, other in zip(found, wanted, strict=True):
        assert one["loss"] == pytest.approx(other["loss"], rel=1e-5)
        assert one["tokens"] == other["tokens"]
        assert one["learning_rate"] == other["learning_rate"]


@pytest.mark.parametrize("way", ["ddp", "fsdp"])
def test_the_same_batches_are_refused(runs: Path, way: str) -> None:
    found, wanted = rows(runs / way, "rollback"), rows(runs / "one", "rollback")
    assert [(row["from_step"], row["batches"]) for row in found] == [
        (row["from_step"], row["batches"]) for row in wanted
    ]
    assert len(wanted) == 2


@pytest.mark.parametrize("way", ["ddp", "fsdp"])
def test_the_weights_are_those_of_one_process(runs: Path, way: str) -> None:
    found, wanted = (load_file(runs / name / "final.safetensors") for name in (way, "one"))
    assert found.keys() == wanted.keys()
    distance = torch.stack([(found[name] - wanted[name]).norm() for name in wanted]).norm()
    assert distance <= 1e-3 * torch.stack([value.norm() for value in wanted.values()]).norm()


def test_a_signal_to_one_process_stopped_both_and_both_went_on(runs: Path) -> None:
    starts = rows(runs / "fsdp", "start")
    assert [(row["resumed"], row["step"]) for row in starts] == [(False, 0), (True, 11)]
    assert [row["step"] for row in rows(runs / "fsdp", "save")] == [0, 5, 10, 11, 15, 20]
    assert [row["stopped"] for row in rows(runs / "fsdp", "end")] == [None]
