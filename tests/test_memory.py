"""Freed memory is kept: counted in page faults, of a process of its own."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parent.parent / "src"
# Ten blocks, as a layer has some results; NumPy asks huge pages for those of 4 MiB and more.
FAULTS = """
import resource
import numpy as np
from robertakit.memory import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        blocks = [np.ones(3 * 2**20, np.uint8) for _ in range(10)]
        del blocks
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults()
before = faults()
keep_freed_memory()
faults()
print(before, faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has such a threshold")
def test_freed_blocks_are_used_again() -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    done = subprocess.run(
        [sys.executable, "-c", FAULTS],
        capture_output=True, text=True, check=True, env=environment | {"PYTHONPATH": str(SOURCE)},
    )  # fmt: skip
    before, after = (int(part) for part in done.stdout.split())
    pages = 5 * 10 * 3 * 2**20 // os.sysconf("SC_PAGE_SIZE")
    assert before > pages / 2, "pages come anew"
    assert after < pages / 100, "pages are used again"
