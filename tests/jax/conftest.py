"""Small models that the tests of `jax/` share. Where Flax is not installed, none of these tests is collected."""

import importlib.metadata
import importlib.util
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from robertakit.configuration import RobertaConfig

if importlib.util.find_spec("flax") is None:
    collect_ignore_glob = ["test_*.py"]

# What runs once need not be compiled well: that saves a third of the time of these tests. Benchmarks and
# `tests/test_frameworks*` compile as JAX always does, where they run in a process of their own.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
# The emitters of code for fused loops take another third. XLA ends the process at a flag that it does not know, so only
# versions get it that are known to have it.
NO_EMITTERS = "--xla_cpu_use_fusion_emitters=false"
if importlib.util.find_spec("flax") is not None and importlib.metadata.version("jaxlib").startswith(
    ("0.8.", "0.9.", "0.10.")
):
    given = os.environ.get("XLA_FLAGS", "")
    os.environ["XLA_FLAGS"] = given if "use_fusion_emitters" in given else f"{given} {NO_EMITTERS}".strip()
if "jax" in sys.modules:
    sys.modules["jax"].config.update("jax_disable_most_optimizations", True)


@pytest.fixture(scope="session")
def models(root: Path, arrays: ModuleType) -> ModuleType:
    """The module ``tests/jax_models.py``: models of every head, and calls of them."""
    spec = importlib.util.spec_from_file_location("jax_models", root / "tests" / "jax_models.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def tiny(arrays: ModuleType) -> Callable[..., Any]:
    """``tiny(**fields)``: a small configuration."""
    return lambda **fields: RobertaConfig(**(arrays.SIZES | fields))
