"""`kill -9` at random moments, a second run and a tenth: the weights, moments and log of an uninterrupted one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")
if not hasattr(os, "fork"):
    pytest.skip("needs fork", allow_module_level=True)

HERE = Path(__file__).parent


@pytest.mark.parametrize(
    ("kills", "seed"), [(10, 1), pytest.param(60, 2, marks=pytest.mark.slow)], ids=["ten", "sixty"]
)
def test_killed_at_random_moments_it_ends_with_the_same_bits(tmp_path: Path, kills: int, seed: int) -> None:
    done = subprocess.run(
        [sys.executable, str(HERE / "killed_runs.py"), str(tmp_path), str(kills), str(seed)],
        env=os.environ | {"PYTHONPATH": str(HERE.parent.parent / "src"), "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert len(told["killed"]) == kills
    assert told["differing"] == [[] for _ in told["differing"]], told
    assert told["lines"] > 30
