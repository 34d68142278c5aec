r"""Short runs over learning rates, each with its whole schedule; then the long run with the best of them.

python recipes/embedded_model/search.py --run runs/embedded --rates 1.5e-3,3e-3 --short 0.8 --minutes 20 \
    -- --shards runs/shards --compile

What stands behind `--` goes to every run of `pretrain.py`. A warm-up run fills the compiler's cache first, so
that no candidate pays for compiling.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

PRETRAIN = Path(__file__).parent / "pretrain.py"


def pretrain(run: Path, *arguments: str) -> None:
    subprocess.run([sys.executable, str(PRETRAIN), "--run", str(run), *arguments], check=True)


def last_loss(run: Path) -> float:
    """The loss of a run's last evaluation."""
    rows = [json.loads(line) for line in (run / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    losses = [float(row["loss"]) for row in rows if row["event"] == "held-out"]
    return losses[-1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--rates", required=True, help="learning rates, joined by commas")
    parser.add_argument("--short", type=float, required=True, help="minutes of a candidate")
    parser.add_argument("--minutes", type=float, required=True, help="minutes of the long run")
    parser.add_argument("--warm", type=float, default=60, help="seconds of the warm-up run")
    parser.add_argument("rest", nargs="*")
    given = parser.parse_args()
    pretrain(given.run / "warm", "--minutes", "10", "--probe", str(given.warm), *given.rest)
    losses: dict[str, float] = {}
    for rate in given.rates.split(","):
        run = given.run / f"rate-{rate}"
        try:
            pretrain(run, "--minutes", str(given.short), "--learning-rate", rate, *given.rest)
            losses[rate] = last_loss(run)
        except subprocess.CalledProcessError:  # it diverged: its log says so
            losses[rate] = float("inf")
    best = min(losses, key=lambda rate: losses[rate])
    report = json.dumps({"held-out loss": losses, "best": best})
    (given.run / "search.json").write_text(report + "\n", encoding="utf-8")
    print(report, flush=True)
    pretrain(given.run / "long", "--minutes", str(given.minutes), "--learning-rate", best, *given.rest)


if __name__ == "__main__":
    main()
