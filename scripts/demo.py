"""What ``make run`` shows: sentences with ``<mask>``, filled by the model that ships inside the package.

The sentences come from the variable TEXT (one a line), else from standard input, else they are our own three. ARGS
is handed to ``robertakit run``.
"""

import os
import select
import shlex
import stat
import subprocess
import sys

SENTENCES = """\
The capital of France is <mask>.
Plants create <mask> through a process known as photosynthesis.
She put the letter in an envelope and <mask> it to her brother.
"""
NEXT = """
Try next:
  make run TEXT="The largest planet is <mask>."     your own sentence; or: make run < sentences.txt
  .venv/core/bin/robertakit run --help              other checkpoints, JSON lines, more candidates
  make test                                         see the tests pass, then read docs/README.md
"""
PATIENCE_SECONDS = 5.0


def main() -> int:
    """Fill the masks, and tell what to try next."""
    command = [sys.executable, "-m", "robertakit", "run", "--task", "fill-mask"]
    command += shlex.split(os.environ.get("ARGS", ""))
    text = os.environ.get("TEXT") or (None if stdin_has_sentences() else SENTENCES)
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}  # the model is in the package: nothing is fetched
    try:
        status = subprocess.run(command, input=text, text=True, encoding="utf-8", env=environment).returncode
    except KeyboardInterrupt:
        return 130
    if status == 0:
        print(NEXT, file=sys.stderr, end="")
    return status


def stdin_has_sentences() -> bool:
    """Return whether standard input is a file or a pipe with something in it; a silent pipe is not waited for."""
    try:
        kind = os.fstat(0).st_mode
    except OSError:  # closed
        return False
    if stat.S_ISREG(kind):
        return os.fstat(0).st_size > 0
    if not stat.S_ISFIFO(kind):
        return False
    if not select.select([0], [], [], PATIENCE_SECONDS)[0]:
        print(f"robertakit: no sentence came within {PATIENCE_SECONDS:.0f} s; here are ours", file=sys.stderr)
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
