"""Kills a toy run at random moments until it has been killed so often, and says whether anything can be told by it.

python killed_runs.py FOLDER KILLS SEED: prints a JSON object. PyTorch is imported once: each run is a fork.
"""

import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import toy_run
from safetensors.torch import load_file, save_file

FINAL = "final.safetensors"


def forked(work: Callable[[], object]) -> int:
    """Do something in a process of its own, and return its id."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        work()
        status = 0
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def train(folder: Path) -> None:
    loop = toy_run.a_loop(folder)
    loop.run()
    save_file(toy_run.weights(loop), folder / FINAL)


def ended(child: int) -> None:
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status:
        raise SystemExit(f"a run ended with status {status}")


def differing(folder: Path, reference: Path) -> list[str]:
    """What the two runs do not have in common: names of tensors, or the log."""
    found, wanted = load_file(folder / FINAL), load_file(reference / FINAL)
    same = [name for name in wanted if name in found and found[name].equal(wanted[name])]
    names = sorted({*found, *wanted} - {*same})
    return names + (["log"] if toy_run.curve(folder) != toy_run.curve(reference) else [])


def main(folder: Path, kills: int, seed: int) -> None:
    draw = random.Random(seed)
    reference = folder / "reference"
    begun = time.monotonic()
    ended(forked(lambda: train(reference)))
    took = time.monotonic() - begun
    killed: list[dict[str, object]] = []
    runs: list[list[str]] = []
    while len(killed) < kills or not runs:
        run = folder / f"run{len(runs)}"
        while True:
            child = forked(lambda run=run: train(run))
            if len(killed) < kills:
                time.sleep(draw.uniform(0, took))
                pid, status = os.waitpid(child, os.WNOHANG)
                if not pid:
                    os.kill(child, signal.SIGKILL)
                    os.waitpid(child, 0)
                    checkpoints = run / "checkpoints"
                    names = (
                        sorted(path.name for path in checkpoints.iterdir()) if checkpoints.is_dir() else []
                    )
                    killed.append({"run": len(runs), "there": names})
                    continue
                if status:
                    raise SystemExit(f"a run ended with status {status}")
            else:
                ended(child)
            break
        runs.append(differing(run, reference))
    print(json.dumps({"killed": killed, "differing": runs, "lines": len(toy_run.curve(reference))}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
