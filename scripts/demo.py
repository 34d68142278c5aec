"""What ``make run`` shows: sentences with ``<mask>``, filled by the model that ships inside the package.

ARGS is one sentence, or, where it begins with an option or a quote, the arguments of ``robertakit run``. Without a
text in it, sentences come from standard input; where nothing stands there either, three of our own are taken.
"""

import os
import select
import shlex
import stat
import subprocess
import sys

SENTENCES = [
    "The capital of France is <mask>.",
    "Plants create <mask> through a process known as photosynthesis.",
    "She put the letter in an envelope and <mask> it to her brother.",
]
NEXT = """
Try next:
  make run ARGS="The largest planet is <mask>."   your own sentence; or many: make run < sentences.txt
  .venv/core/bin/robertakit run --help            other checkpoints, more candidates, JSON lines
  make test                                       see the tests pass; then read docs/README.md
"""
PATIENCE_SECONDS = 5.0


def main() -> int:
    """Fill the masks, and tell what to try next."""
    arguments = os.environ.get("ARGS", "").strip()
    words = shlex.split(arguments) if arguments.startswith(("-", '"', "'")) else [arguments] * bool(arguments)
    if not any("<mask>" in word or word == "--input" for word in words) and not stdin_has_sentences():
        words += SENTENCES
    command = [sys.executable, "-m", "robertakit", "run", "--task", "fill-mask", *words]
    # The model is in the package: nothing is fetched.
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    try:
        status = subprocess.run(command, env=environment).returncode
    except KeyboardInterrupt:
        return 130
    if status == 0:
        print(NEXT, file=sys.stderr, end="")
    return status


def stdin_has_sentences() -> bool:
    """Return whether standard input is a file or a pipe with something in it; a silent pipe is not waited for."""
    try:
        found = os.fstat(0)
    except OSError:  # closed
        return False
    if stat.S_ISREG(found.st_mode):
        return found.st_size > 0
    if not stat.S_ISFIFO(found.st_mode):
        return False
    if not select.select([0], [], [], PATIENCE_SECONDS)[0]:
        print(f"robertakit: no sentence came within {PATIENCE_SECONDS:.0f} s; here are ours", file=sys.stderr)
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
