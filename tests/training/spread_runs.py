"""A toy run in one process and the same in two, by DDP and by FSDP2: what becomes of refused batches, logs and signals.

python spread_runs.py FOLDER: leaves the logs there, and the final weights. PyTorch is imported once: each process is a
fork.
"""

import os
import signal
import socket
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import torch
import toy_run
from killed_runs import FINAL, ended, forked
from safetensors.torch import save_file

STEPS = {"steps": 20, "save_every": 5, "evaluate_every": 10, "log_every": 1, "deterministic": False}
BAD = {(0, 3): toy_run.ACCIDENTS[1, 5], **{(1, batch): toy_run.ACCIDENTS[4, 4] for batch in (6, 7, 8)}}


def stop(model: torch.nn.Module, loss: torch.Tensor) -> torch.Tensor:
    """Have the second process alone asked to stop, once."""
    if os.environ.get("RANK") == "1":
        signal.raise_signal(signal.SIGTERM)
    return loss


def train(folder: Path, parallel: str, *, stopped: bool) -> None:
    torch.set_num_threads(1)
    task = toy_run.ToyTask({**BAD, (1, 2): stop} if stopped else BAD, micro_rows=4)
    loop = toy_run.a_loop(folder, task, parallel=parallel, dropout=0.0, **STEPS)
    loop.run()
    weights = loop.place.state_for_export(loop.step)
    if weights is not None:
        distinct = {name: value for name, value in weights.items() if "decoder" not in name}
        save_file(distinct, folder / FINAL)
    loop.place.close()


def spread(folder: Path, parallel: str, processes: int, *, stopped: bool = False) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    children = []
    for rank in range(processes):

        def work(rank: int = rank) -> None:
            os.environ |= {
                "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(processes),
                "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
            }  # fmt: skip
            train(folder, parallel, stopped=stopped)

        children.append(forked(work))
    for child in children:
        ended(child)


def main(folder: Path) -> None:
    ended(forked(lambda: train(folder / "one", "auto", stopped=False)))
    spread(folder / "ddp", "ddp", 2)
    spread(folder / "fsdp", "fsdp", 2, stopped=True)  # the first half
    spread(folder / "fsdp", "fsdp", 2)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
