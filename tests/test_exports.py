"""Names that are imported on first use."""

import subprocess
import sys

import pytest

import robertakit
from robertakit import errors
from robertakit.exports import lazily


def test_names_submodules_and_dir() -> None:
    find, names, exported = lazily("robertakit", {"robertakit.errors": ("TooLong", "NoMask")}, ("batch",))
    assert find("TooLong") is errors.TooLong
    assert find("batch").__name__ == "robertakit.batch"  # type: ignore[attr-defined]
    assert exported == ["NoMask", "TooLong"]
    assert {"NoMask", "batch", "__version__"} <= set(names())
    with pytest.raises(AttributeError, match="module 'robertakit' has no attribute 'Nothing'"):
        find("Nothing")


def test_a_submodule_is_reached_without_an_import_of_its_own() -> None:
    code = "import robertakit; print(robertakit.numpy.load.__name__, robertakit.batch.plan.__name__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["load", "plan"]
    assert {"numpy", "RobertaTokenizer"} <= set(dir(robertakit))
