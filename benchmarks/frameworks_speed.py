"""JAX and TensorFlow beside PyTorch, and beside the reference's own TensorFlow and Flax classes, in one run.

    make bench-frameworks                                   RoBERTa-base, 8 texts of 128 tokens: a quarter of an hour
    make bench-frameworks ARGS="--small --rounds 2"         something smaller, to try the script
    make bench-frameworks ARGS="--save"                     also write benchmarks/results/ and docs/benchmarks.md

Each way is a process of its own (`frameworks_ways.py`), since the reference's classes need an environment of their own:
all have loaded the same weights before anything is timed, and all wait while one computes. A first answer, which
compiles and is told apart, is compared with PyTorch's; a way that answers something else stops the run. Then come the
rounds: in each, every way answers some times in a row, and each round begins one way later. Ratios are taken inside a
round; shown is their median. Imports are timed at the end, each in fresh processes.
"""

import argparse
import datetime as dt
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
from frameworks_report import PAGE, SHOWN, tables, write_page
from torch_report import keep

ROOT = Path(__file__).resolve().parent.parent
#: RoBERTa-base (Liu et al. 2019, table 9), with the sizes of its checkpoint.
BASE = {
    "vocab_size": 50_265, "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12,
    "intermediate_size": 3072, "max_position_embeddings": 514, "type_vocab_size": 1, "layer_norm_eps": 1e-5,
}  # fmt: skip
SMALL = BASE | {"vocab_size": 500, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
                "intermediate_size": 128}  # fmt: skip
#: How far rows may lie from PyTorch's, as a share of max(1, the row's largest).
BOUND = 1e-5
IMPORTS = {
    "robertakit": "import robertakit",
    "robertakit.numpy": "import robertakit.numpy as m; m.RobertaForMaskedLM",
    "robertakit.torch": "from robertakit import RobertaForMaskedLM",
    "robertakit.jax": "from robertakit import FlaxRobertaForMaskedLM",
    "robertakit.tensorflow": "from robertakit import TFRobertaForMaskedLM",
}


class Way:
    """A process that answers when it is told to."""

    def __init__(self, key: str, python: str, folder: str, threads: int) -> None:
        self.key = key
        environment = os.environ | {
            "OMP_NUM_THREADS": str(threads), "THREADS": str(threads), "TF_CPP_MIN_LOG_LEVEL": "2",
            "NPROC": str(threads), "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT / "src"), "HF_HUB_OFFLINE": "1",
        }  # fmt: skip
        command = [python, str(Path(__file__).with_name("frameworks_ways.py")), key, folder]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        self.load = self.told()["load"]

    def told(self) -> dict[str, list[float]]:
        """Wait for the next result."""
        for line in self._process.stdout:
            if line.startswith("::"):
                return json.loads(line[2:])
        sys.exit(f"the process of {SHOWN[self.key]} ended with {self._process.wait()}")

    def tell(self, command: str) -> dict[str, list[float]]:
        """Give a command, and wait for its result."""
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()
        return self.told()

    def close(self) -> None:
        """Let the process end."""
        self._process.stdin.close()
        self._process.wait()


def make_checkpoint(folder: str, options: argparse.Namespace) -> None:
    """Write random weights, and the batch: all texts as long as the batch, so that nobody gains by packing."""
    from robertakit.architecture import initial_weights, parameters
    from robertakit.checkpoints import save_weights
    from robertakit.configuration import RobertaConfig

    sizes = SMALL if options.small else BASE
    config = RobertaConfig(**sizes, architectures=["RobertaForMaskedLM"])
    tied = {name for name, row in parameters(config, "masked-lm").items() if row.tied_to is not None}
    weights = {n: v for n, v in initial_weights(config, "masked-lm", 0).items() if n not in tied}
    save_weights(folder, weights, config_json=config.to_json_string())
    if options.reference:
        write_msgpack(folder, weights, {n: row.kind for n, row in parameters(config, "masked-lm").items()})
    ids = np.random.default_rng(0).integers(5, config.vocab_size, (options.batch, options.length), np.int32)
    ids[:, 0], ids[:, -1] = 0, 2
    np.savez(Path(folder) / "inputs.npz", ids=ids, mask=np.ones_like(ids))


def write_msgpack(folder: str, weights: dict[str, np.ndarray], kinds: dict[str, str]) -> None:
    """Write the weights as the reference's Flax class wants them where PyTorch is not installed."""
    from flax.serialization import to_bytes
    from flax.traverse_util import unflatten_dict

    from robertakit.checkpoints.dialects import FLAX

    flat = {
        FLAX.path(n, kinds[n]): np.ascontiguousarray(FLAX.layout(kinds[n], v)) for n, v in weights.items()
    }
    (Path(folder) / "flax_model.msgpack").write_bytes(to_bytes(unflatten_dict(flat)))


def compare(ways: list[Way], folder: str, say: object) -> tuple[dict[str, float], dict[str, float]]:
    """Return each way's first answer in seconds, and how far it lies from the first way's; stop where that is far."""
    first, distances = {}, {}
    for way in ways:
        file = str(Path(folder) / f"{way.key}.npy")
        first[way.key] = way.tell(f"answer {file}")["first"]
        states, wanted = np.load(file), np.load(Path(folder) / f"{ways[0].key}.npy")
        scale = np.maximum(1, np.abs(wanted).max(-1, keepdims=True))
        distances[way.key] = float((np.abs(states - wanted) / scale).max())
        say(f"first answer {first[way.key]:7.2f} s, distance {distances[way.key]:.1e}: {SHOWN[way.key]}")
        if not distances[way.key] <= BOUND:
            sys.exit(f"{SHOWN[way.key]} answers something else: {distances[way.key]:.1e}, more than {BOUND}")
    return first, distances


def rounds_of(ways: list[Way], options: argparse.Namespace, say: object) -> dict[str, dict[str, list[float]]]:
    """Return the seconds of an answer, wall and processor, a number a round: the median of those in a row."""
    found: dict[str, dict[str, list[float]]] = {
        kind: {way.key: [] for way in ways} for kind in ("seconds", "processor_seconds")
    }
    for number in range(options.rounds):
        first = number % len(ways)
        for way in ways[first:] + ways[:first]:
            told = way.tell(f"time {options.answers}")
            for kind, each in found.items():
                each[way.key].append(median(told[kind]))
            say(
                f"round {number + 1} of {options.rounds}: {median(told['seconds']):8.4f} s, "
                f"{median(told['processor_seconds']):8.4f} s of processor  {SHOWN[way.key]}"
            )
    return found


def import_seconds(python: str, rounds: int) -> dict[str, list[float]]:
    """Return the seconds of fresh processes that import, less those of one that imports nothing."""
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src"), "TF_CPP_MIN_LOG_LEVEL": "2"}

    def once(code: str) -> float:
        began = time.perf_counter()
        subprocess.run([python, "-c", code], check=True, env=environment, stderr=subprocess.DEVNULL)
        return time.perf_counter() - began

    for code in IMPORTS.values():  # byte code and the disk's cache
        once(code)
    found: dict[str, list[float]] = {name: [] for name in IMPORTS}
    for _ in range(rounds):
        for name, code in IMPORTS.items():
            found[name].append(once(code) - once("pass"))
    return found


def versions(python: str, names: tuple[str, ...]) -> dict[str, str]:
    """Return the versions of an environment's packages."""
    code = (
        "import importlib.metadata as m, json, sys\n"
        "have = {d.name.lower().replace('_', '-'): d.version for d in m.distributions()}\n"
        "print(json.dumps({n: have[n] for n in sys.argv[1:] if n in have}))"
    )
    return json.loads(subprocess.run([python, "-c", code, *names], check=True, capture_output=True).stdout)


def machine(options: argparse.Namespace) -> dict[str, object]:
    """What the figures depend on, as the system reports it."""
    packages = (
        "torch",
        "jax",
        "flax",
        "tensorflow",
        "tensorflow-cpu",
        "keras",
        "tf-keras",
        "transformers",
        "numpy",
    )
    listing = Path("/proc/cpuinfo")
    text = listing.read_text(encoding="utf-8") if listing.is_file() else ""
    models = [line.split(":", 1)[1].strip() for line in text.splitlines() if line.startswith("model name")]
    return {
        "processor": models[0] if models else platform.machine(),
        "cores": os.cpu_count(),
        "threads": options.threads,
        "system": f"{platform.system()} {platform.machine()}",
        "Python": platform.python_version(),
        "ours": versions(sys.executable, packages),
        "theirs": versions(options.reference, packages) if options.reference else {},
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
    }


def main() -> None:
    """Read the command line; measure, print, and save if asked to."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--reference", help="Python of an environment with transformers 4.57's other classes")
    parser.add_argument("--batch", type=int, default=8, help="texts")
    parser.add_argument("--length", type=int, default=128, help="tokens of each")
    parser.add_argument("--rounds", type=int, default=7, help="counted rounds")
    parser.add_argument("--answers", type=int, default=5, help="answers in a row")
    parser.add_argument("--small", action="store_true", help="a small model, to try the script")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="threads of each framework")
    parser.add_argument("--ways", nargs="+", choices=list(SHOWN), help="ways to take (default: all)")
    parser.add_argument("--save", action="store_true", help=f"write benchmarks/results/ and docs/{PAGE.name}")
    parser.add_argument("--output", type=Path, help="write the raw results to this file")
    options = parser.parse_args()
    keys = ["torch", *(k for k in options.ways or SHOWN if k != "torch")]
    keys = [key for key in keys if options.reference or not key.startswith("theirs")]

    def say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    names = ("batch", "length", "rounds", "answers", "small", "threads")
    results: dict[str, object] = {
        "settings": {name: getattr(options, name) for name in names},
        "machine": machine(options),
        "load_before": os.getloadavg(),
    }
    with tempfile.TemporaryDirectory() as folder:
        make_checkpoint(folder, options)
        ways = []
        for key in keys:
            say(f"starting {SHOWN[key]}")
            python = options.reference if key.startswith("theirs") else sys.executable
            ways.append(Way(key, python, folder, options.threads))
        results["first"], results["distances"] = compare(ways, folder, say)
        results |= rounds_of(ways, options, say)
        for way in ways:
            way.close()
    results["imports"] = import_seconds(sys.executable, min(options.rounds, 3))
    results["load_after"] = os.getloadavg()
    print(tables(results))
    keep(results, "frameworks-cpu-float32", options.output, write_page if options.save else None)


if __name__ == "__main__":
    main()
