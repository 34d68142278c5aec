"""Seconds to `import robertakit`, to `--help`, and to the first answer: whole processes, as a user starts them.

Prints, for each, the median over the rounds and how far they spread. The rounds are interleaved, so that a busy
moment of the machine falls on all alike; the first round warms the disk's cache and is not counted.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time

SENTENCE = "The capital of France is <mask>."
WAYS = {
    "bare Python": ["-c", "pass"],
    "import robertakit": ["-c", "import robertakit"],
    "robertakit --help": ["-m", "robertakit", "--help"],
    "import numpy": ["-c", "import numpy"],
    "first answer": ["-m", "robertakit", "run", "--task", "fill-mask", SENTENCE],
}


def seconds_of(arguments: list[str]) -> float:
    """Return how long one process takes, or stop with what it said."""
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    taken = time.perf_counter() - began
    if done.returncode != 0:
        sys.exit(f"`python {' '.join(arguments)}` failed:\n{done.stderr}")
    return taken


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=11, help="counted rounds (default: 11)")
    rounds = parser.parse_args().rounds
    taken: dict[str, list[float]] = {name: [] for name in WAYS}
    for number in range(rounds + 1):
        for name, arguments in WAYS.items():
            seconds = seconds_of(arguments)
            if number > 0:
                taken[name].append(seconds)
    bare = statistics.median(taken["bare Python"])
    print(
        f"Python {sys.version.split()[0]}, {os.cpu_count()} cores, {rounds} rounds, seconds of a whole process"
    )
    print(f"{'':20} {'median':>8} {'least':>8} {'most':>8} {'over bare Python':>18}")
    for name, each in taken.items():
        middle = statistics.median(each)
        print(f"{name:20} {middle:8.3f} {min(each):8.3f} {max(each):8.3f} {middle - bare:18.3f}")


if __name__ == "__main__":
    main()
