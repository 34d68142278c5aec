"""Seconds of a whole process, from start to the last answer, with the engines of NumPy and PyTorch, by model size.

    python benchmarks/engines.py [--rounds 5] [--texts 1 64 512] [--threads 2]

The weights are random, the texts are 16 tokens long with one mask, the checkpoints are float32 safetensors in a
temporary folder. A process imports, loads, and scores the vocabulary at each mask in batches of the engine's own size.
Outputs are compared; rounds are interleaved, and the first is not counted. Beside the seconds of the clock stand those
of the processor, which a busy machine changes least where one thread computes.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from robertakit.architecture import count_parameters, initial_weights
from robertakit.checkpoints import save_weights
from robertakit.configuration import RobertaConfig
from robertakit.engine_choice import ENGINES

# layers, width, words: the first is the size of the model in the package, the last RoBERTa-base.
SIZES = [
    (4, 192, 16_000),
    (4, 256, 24_000),
    (6, 256, 32_000),
    (6, 384, 32_000),
    (6, 768, 50_265),
    (12, 768, 50_265),
]
CHILD = """
import sys
import numpy as np
from robertakit.engine_choice import load_engine
from robertakit.batch import Batch, Encoding, plan
folder, engine, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
runner = load_engine(folder, "masked-lm", engine=engine, device="cpu")
ids = np.random.default_rng(0).integers(5, 1000, (count, 16))
total = 0.0
for group in plan([16] * count, runner.limits.tokens):
    batch = Batch.from_encodings([Encoding(ids[i]) for i in group], 1)
    total += float(runner.run(batch, rows=batch.first_rows + 7)["logits"].astype(float).std(axis=1).sum())
print(total)
"""


def write(folder: Path, layers: int, width: int, words: int) -> int:
    """Write a checkpoint with random weights, and return how many parameters it has."""
    config = RobertaConfig(
        vocab_size=words, hidden_size=width, num_hidden_layers=layers, num_attention_heads=width // 64 or 1,
        intermediate_size=4 * width, max_position_embeddings=514, type_vocab_size=1,
    )  # fmt: skip
    save_weights(folder, initial_weights(config, "masked-lm", 1), config_json=config.to_json_string())
    return count_parameters(config, "masked-lm")


def run(folder: Path, engine: str, count: int, threads: int) -> tuple[float, float, float]:
    """Return the seconds of one process, by the clock and of the processor, and the number that it prints."""
    variables = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(folder), engine, str(count)],
        capture_output=True, text=True, stdin=subprocess.DEVNULL, env={**os.environ, **variables},
    )  # fmt: skip
    taken, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        sys.exit(done.stderr)
    busy = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return taken, busy, float(done.stdout)


def main() -> None:
    """Measure, and print a line for each size and number of texts."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--texts", type=int, nargs="+", default=[1, 64, 512])
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    given = parser.parse_args()
    print(
        f"Python {sys.version.split()[0]}, {given.threads} of {os.cpu_count()} cores, {given.rounds} rounds"
    )
    print("seconds of a process: median (least–most) by the clock, median of the processor")
    with tempfile.TemporaryDirectory() as place:
        for number, size in enumerate(SIZES):
            parameters = write(folder := Path(place) / str(number), *size)
            for count in given.texts:
                seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in ENGINES}
                for turn in range(given.rounds + 1):
                    found = {name: run(folder, name, count, given.threads) for name in ENGINES}
                    answers = [answer for *_, answer in found.values()]
                    assert max(answers) - min(answers) < 1e-4 * max(answers), answers
                    for name in ENGINES if turn else ():
                        seconds[name].append(found[name][:2])
                line = f"{parameters / 1e6:6.1f} M parameters, {count:4} texts:"
                for name, each in seconds.items():
                    clock, busy = zip(*each, strict=True)
                    line += f"  {name} {statistics.median(clock):6.2f} ({min(clock):.2f}–{max(clock):.2f})"
                    line += f", {statistics.median(busy):6.2f}"
                print(line, flush=True)


if __name__ == "__main__":
    main()
