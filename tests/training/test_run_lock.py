"""One run in a folder at a time, and none for ever: a killed process holds nothing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from robertakit.errors import TrainingError
from robertakit.training.run_lock import alone_in

pytest.importorskip("fcntl")


def test_a_second_run_is_refused_and_a_later_one_is_not(tmp_path: Path) -> None:
    again = alone_in(tmp_path / "run")
    with alone_in(tmp_path / "run"), pytest.raises(TrainingError, match="another process trains"), again:
        pass
    with alone_in(tmp_path / "run"), alone_in(tmp_path / "other"):
        pass


def test_a_killed_process_lets_go(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from robertakit.training.run_lock import alone_in\n"
        "with alone_in(Path(sys.argv[1])):\n    print('in', flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == b"in"
        with pytest.raises(TrainingError), alone_in(tmp_path):
            pass
        process.kill()
    with alone_in(tmp_path):
        pass
