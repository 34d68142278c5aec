"""Keras with another backend than TensorFlow is refused, whether that backend is installed or not."""

import os
import subprocess
import sys
from pathlib import Path

BACKENDS = ("numpy", "jax", "torch")
# One process for all, which imports TensorFlow once; each import fails before Keras is imported.
CODE = f"""
import os
for name in {BACKENDS}:
    os.environ["KERAS_BACKEND"] = name
    try:
        import robertakit.tensorflow
    except ImportError as error:
        print(name, type(error).__name__, *str(error).split())
"""


def test_another_backend_is_refused() -> None:
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", CODE], capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": str(root / "src"), "TF_CPP_MIN_LOG_LEVEL": "2"},
    )  # fmt: skip
    for name, line in zip(BACKENDS, done.stdout.splitlines(), strict=True):
        assert line.startswith(f"{name} DependencyError")
        assert f"backend '{name}'" in line
        assert "KERAS_BACKEND=tensorflow" in line
