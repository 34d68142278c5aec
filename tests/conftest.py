"""Fixtures that all tests share, and the rule that nothing is skipped in secret.

On CI (``CI=true``) a skipped test fails, unless its reason says that ``../shared`` is absent and it is, or that
there is no accelerator (``needs a GPU``), or, where ``FRAMEWORK`` says that an environment has one framework alone,
that another one is absent. A test whose needs cannot be met there belongs under a mark instead.
"""

import importlib.util
import os
import shutil
import sys
import tempfile
from collections.abc import Generator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"
NO_SHARED = "../shared is not here"
NO_GPU = "needs a GPU"
ON_CI = os.environ.get("CI") == "true"
#: The only framework of this environment (``make test-jax``), and how the reasons of skips call the others.
ALONE = os.environ.get("FRAMEWORK")
FRAMEWORKS = {
    "torch": ("torch", "PyTorch", "robertakit[train]"),  # which is PyTorch, and more
    "tensorflow": ("tensorflow", "keras"),
    "jax": ("jax", "flax", "optax"),
}

# No test may read, fill or ask the Hub's cache of whoever runs it. Set before anything imports huggingface_hub.
os.environ["HF_HOME"] = tempfile.mkdtemp(prefix="robertakit-test-hub-")
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
# Importing Keras writes its settings there.
os.environ["KERAS_HOME"] = tempfile.mkdtemp(prefix="robertakit-test-keras-")
os.environ["HF_HUB_DISABLE_XET"] = "1"  # a push by the protocol that our stand-in of the Hub speaks

# What JAX compiles, for all files, workers and child processes of this run, or of all runs that are given one folder.
# Workers inherit what pytest's own process sets here. Without the two limits JAX keeps no program as small as ours.
OWN_PROGRAMS = None
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    OWN_PROGRAMS = os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="robertakit-test-jax-")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")

# No deadline: two busy cores say nothing about the code. On CI the same strings each time: what is found at home
# by chance is kept as a case, and a change that has nothing to do with it is not stopped.
settings.register_profile("home", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", parent=settings.get_profile("home"), derandomize=True, database=None)
settings.load_profile("ci" if ON_CI else "home")


def pytest_configure(config: pytest.Config) -> None:
    # JAX reads a program that another worker is still writing, warns, and compiles it itself.
    config.addinivalue_line("filterwarnings", "ignore:Error reading persistent compilation cache:UserWarning")


def pytest_unconfigure() -> None:
    if OWN_PROGRAMS is not None:
        shutil.rmtree(OWN_PROGRAMS, ignore_errors=True)


@pytest.fixture(scope="session")
def root() -> Path:
    """The folder of the checkout, or of the unpacked sdist."""
    return ROOT


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of large reference data beside the checkout; without it, the test is skipped."""
    if not SHARED.is_dir():
        pytest.skip(NO_SHARED)
    return SHARED


@pytest.fixture(scope="session")
def golden() -> Path:
    """The folder of small reference data that travels with the tests."""
    return ROOT / "tests" / "golden"


def load_module(name: str) -> ModuleType:
    """A module of this folder: the folder itself is on no path."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "tests" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # its dataclass looks itself up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def replay() -> ModuleType:
    """The harness ``tests/replay.py``."""
    return load_module("replay")


@pytest.fixture(scope="session")
def stored_checkpoints() -> ModuleType:
    """What loading the golden checkpoints has to do: ``tests/stored_checkpoints.py``."""
    return load_module("stored_checkpoints")


@pytest.fixture(scope="session")
def frameworks() -> ModuleType:
    """The three frameworks behind one face: ``tests/frameworks.py``."""
    return load_module("frameworks")


@pytest.fixture(scope="session")
def arrays() -> ModuleType:
    """Configurations, weights and calls of every head, as arrays: ``tests/models.py``."""
    return load_module("models")


@pytest.fixture(scope="session")
def specified() -> ModuleType:
    """`generate()` of the specification: ``tests/specified_generation.py``."""
    return load_module("specified_generation")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Generator[Any, None, None]:
    """A stand-in of the Hub, empty (``tests/hub_stand_in.py``), and an environment that leads there."""
    stand_in = load_module("hub_stand_in").StandIn()
    # As if HF_ENDPOINT had been set before huggingface_hub was imported, which keeps what it finds then.
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", stand_in.endpoint)
    address = stand_in.endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    for module in ("constants", "file_download"):
        monkeypatch.setattr(f"huggingface_hub.{module}.HUGGINGFACE_CO_URL_TEMPLATE", address, raising=False)
    for variable in (
        "HF_TOKEN",
        "HF_HUB_CACHE",
        "HUGGINGFACE_HUB_CACHE",
        "HF_HUB_OFFLINE",
        "TRANSFORMERS_OFFLINE",
    ):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HF_ENDPOINT", stand_in.endpoint)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    yield stand_in
    stand_in.close()


@pytest.fixture(autouse=True, scope="module")
def _programs_of_one_file() -> Generator[None, None, None]:
    """Let JAX forget what it compiled when a file is through: a worker that keeps all of it grows to many gigabytes."""
    yield
    if "jax" in sys.modules:
        sys.modules["jax"].clear_caches()


def lacks_framework(reason: str) -> bool:
    """Whether a skip names a framework that this environment is without on purpose."""
    return ALONE is not None and any(
        word in reason
        for name, words in FRAMEWORKS.items()
        if name != ALONE and importlib.util.find_spec(name) is None
        for word in words
    )


def refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Turn a skip into a failure on CI, unless what it lacks is really lacking."""
    if not (ON_CI and report.skipped) or hasattr(report, "wasxfail"):
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    if (NO_SHARED in reason and not SHARED.is_dir()) or NO_GPU in reason or lacks_framework(reason):
        return
    report.outcome = "failed"
    report.longrepr = f"{report.nodeid}: skipped on CI, where nothing may be: {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    refuse_skip(report)
    return report
