"""Loads folders that mean harm, each in a process of its own, and says what that cost. Run by ``conftest.py``.

Reads one JSON request a line (``folder``, ``cwd``) and answers with one JSON line: the error's class and text,
seconds of processor time, and by how many KiB the peak of memory rose above what the process held before.
"""

import json
import os
import resource
import sys
import time

from robertakit import RobertaConfig
from robertakit.checkpoints import load_weights
from robertakit.errors import RobertakitError


def attempt(folder: str) -> dict[str, object]:
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    leaf, text = "", ""
    try:
        config = RobertaConfig.from_pretrained(folder)
        weights, _ = load_weights(folder, config, "RobertaForMaskedLM")
        for tensor in weights.values():
            tensor.read()
    except RobertakitError as error:
        leaf, text = type(error).__name__, str(error)
    except BaseException as error:  # noqa: BLE001  the test says which
        leaf, text = f"not ours: {type(error).__name__}", str(error)
    seconds = time.process_time() - start
    growth = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return {"leaf": leaf, "text": text, "seconds": seconds, "growth": growth}


def main() -> None:
    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if child == 0:
            os.chdir(request["cwd"])
            print(json.dumps(attempt(request["folder"])), flush=True)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if status:
            print(json.dumps({"leaf": f"died: {status}", "text": "", "seconds": 0, "growth": 0}), flush=True)


def warm_up(folders: list[str]) -> None:
    """Import and run once what a process that loads models has long imported."""
    for folder in folders:
        result = attempt(folder)
        assert result["leaf"] == "", result


if __name__ == "__main__":
    warm_up(sys.argv[1:])
    main()
