"""Keras with another backend than TensorFlow is refused, whether that backend is installed or not."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("backend", ["numpy", "jax", "torch"])
def test_another_backend_is_refused(backend: str) -> None:
    code = (
        "try:\n    import robertakit.tensorflow\n"
        "except ImportError as error:\n    print(type(error).__name__, error)"
    )
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": str(root / "src"), "TF_CPP_MIN_LOG_LEVEL": "2", "KERAS_BACKEND": backend},
    )  # fmt: skip
    assert "DependencyError" in done.stdout
    assert "KERAS_BACKEND=tensorflow" in done.stdout
