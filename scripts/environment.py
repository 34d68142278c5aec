"""Makes one of the project's environments under ``.venv/``, such as ``environment.py core``; called by the Makefile.

Runs on any Python 3, so that an old one gets a sentence and not a syntax error. An environment whose requirements
have not changed is left as it is, and no installer is called.
"""

import hashlib
import importlib.util
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

OLDEST = (3, 11)
ROOT = Path(__file__).resolve().parent.parent

# name -> (what pip installs, constraints, about how much it fetches, what it is for)
TOOLS = ["pytest", "pytest-xdist", "hypothesis", "h5py", "msgpack"]  # what test modules import
PEERS = ["transformers", "peft", "accelerate", "protobuf"]
EVERYTHING = ".[torch,tensorflow-cpu,jax,train,dev]"
REFERENCE = ["transformers", "tensorflow-cpu", "tf-keras", "jax", "flax"]  # nothing of ours
ENVIRONMENTS = {
    "core": (["-e", "."], "tested", "31 MB", "answers without a framework"),
    "dev": (["-e", EVERYTHING], "tested", "800 MB", "tests and checks with all three frameworks"),
    "torch": (["-e", ".[torch]", *TOOLS], "tested", "250 MB", "tests with PyTorch alone"),
    "train": (["-e", ".[train]"], "tested", "300 MB", "pre-training"),
    "tensorflow": (["-e", ".[tensorflow-cpu]", *TOOLS], "tested", "400 MB", "tests with TensorFlow alone"),
    "jax": (["-e", ".[jax]", *TOOLS], "tested", "250 MB", "tests with JAX alone"),
    "peers-4": (["-e", ".[torch]", *PEERS, *TOOLS], "peers-4", "320 MB", "comparison with transformers 4"),
    "peers-5": (["-e", ".[torch]", *PEERS, *TOOLS], "peers-5", "320 MB", "comparison with transformers 5"),
    "reference": (
        REFERENCE,
        "reference",
        "420 MB",
        "the reference's TensorFlow and Flax classes, for their speed",
    ),
}
WITHOUT_TORCH = ("core", "tensorflow", "jax", "reference")


def main():
    """Make the environment that the command line names, or say in one sentence why not."""
    if len(sys.argv) != 2 or sys.argv[1] not in ENVIRONMENTS:
        stop(f"usage: environment.py {'|'.join(ENVIRONMENTS)}")
    if sys.version_info < OLDEST:
        found = ".".join(map(str, sys.version_info[:3]))
        stop(
            f"{sys.executable} is Python {found}, and robertakit needs {'.'.join(map(str, OLDEST))} or newer; "
            "name a newer one, as in: make run PYTHON=python3.12"
        )
    if not all(map(importlib.util.find_spec, ["venv", "ensurepip"])):
        stop(
            f"{sys.executable} has no venv module; install it (Debian, Ubuntu: apt install python3-venv), "
            "or name another Python, as in: make run PYTHON=/path/to/python"
        )
    make_environment(sys.argv[1])


def make_environment(name):
    """Make or renew ``.venv/NAME``, and write its stamp last, so that a broken-off set-up is taken up again."""
    packages, constraints, size, purpose = ENVIRONMENTS[name]
    folder = ROOT / ".venv" / name
    stamp, python = folder / "ready", folder / "bin" / "python"
    wanted = fingerprint(packages, constraints)
    if python.exists() and stamp.is_file() and stamp.read_text() == wanted:
        stamp.touch()
        return
    say(f"setting up .venv/{name} for {purpose} (at most {size} to fetch, once)")
    began = time.monotonic()
    if not python.exists():
        shutil.rmtree(str(folder), ignore_errors=True)
        run([sys.executable, "-m", "venv", str(folder)], f"could not make the environment {folder}")
    stamp.unlink(missing_ok=True)
    run(
        [str(python), "-m", "pip", "install", "--disable-pip-version-check", "--no-input"]
        + ["--constraint", str(ROOT / "constraints" / f"{constraints}.txt")]
        + ([] if name in WITHOUT_TORCH else torch_arguments())
        + packages,
        "pip could not install the packages (its own lines above say why; is there a network?); "
        "try again with the same command",
    )
    stamp.write_text(wanted)
    say(f".venv/{name} is ready after {time.monotonic() - began:.0f} s")


def torch_arguments():
    """Return what the variable TORCH_INSTALL_ARGS adds to pip's arguments, such as another package index."""
    return shlex.split(os.environ.get("TORCH_INSTALL_ARGS", ""))


def fingerprint(packages, constraints):
    """Return a digest of all that decides what is installed."""
    import tomllib  # not in the Pythons that the check above turns away

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    decisive = [
        packages,
        (ROOT / "constraints" / f"{constraints}.txt").read_text(encoding="utf-8"),
        project["build-system"],
        {key: project["project"].get(key) for key in ("dependencies", "optional-dependencies", "scripts")},
        sys.version,
        str(ROOT),
    ]
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()


def run(command, failure):
    """Run a command with its output shown, and stop with a sentence if it fails."""
    try:
        status = subprocess.run(command, cwd=str(ROOT)).returncode
    except KeyboardInterrupt:
        stop("stopped; the same command goes on from here")
    if status != 0:
        stop(failure)


def say(sentence):
    """Tell what is going on, on standard error: standard output is for answers."""
    print(f"robertakit: {sentence}", file=sys.stderr, flush=True)


def stop(sentence):
    """Say why nothing can be done, and end."""
    say(f"{sentence}.")
    sys.exit(1)


if __name__ == "__main__":
    main()
