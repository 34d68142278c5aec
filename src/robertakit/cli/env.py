"""``robertakit env``: what a bug report needs, and no import that takes long."""

import argparse
import importlib.metadata
import json
import os
import platform
import sys
from pathlib import Path

from robertakit import __version__

__all__ = ["add_arguments", "describe", "run"]

CORE = ("numpy", "tokenizers", "sentencepiece", "safetensors", "huggingface_hub")
OPTIONAL = ("torch", "tensorflow", "tensorflow-cpu", "keras", "jax", "jaxlib", "flax", "transformers")
# The processor's features that decide which kernels a framework takes (names of Linux's /proc/cpuinfo).
FEATURES = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8", "asimd", "bf16", "i8mm")
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS", "TOKENIZERS_PARALLELISM")
HUB = ("HF_HOME", "HF_HUB_CACHE", "HF_HUB_OFFLINE", "HF_ENDPOINT")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``robertakit env``."""
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of lines")


def run(arguments: argparse.Namespace) -> int:
    """Print the description, and return the exit status."""
    facts = describe()
    if arguments.json:
        print(json.dumps(facts, indent=2, ensure_ascii=False))
        return 0
    for topic, entries in facts.items():
        print(f"{topic}:")
        width = max(map(len, entries), default=0)
        for name, value in entries.items():
            print(f"  {name:<{width}}  {value}")
    return 0


def describe() -> dict[str, dict[str, str]]:
    """Return what a bug report needs: topic → name → value, all text.

    Example:
        >>> sorted(describe())
        ['embedded model', 'environment', 'machine', 'packages', 'robertakit']
    """
    return {
        "robertakit": {"version": __version__, "folder": str(Path(__file__).parent.parent)},
        "machine": {
            "python": f"{platform.python_version()} ({platform.python_implementation()})",
            "platform": platform.platform(),
            "processor": processor_name(),
            "features": " ".join(processor_features()) or "unknown",
            "cores": str(os.cpu_count() or "unknown"),
            "cores allowed": str(allowed_cores()),
        },
        "packages": {name: installed_version(name) for name in CORE + OPTIONAL},
        "embedded model": embedded_model(),
        "environment": {name: os.environ.get(name, "not set") for name in THREADS + HUB},
    }


def installed_version(package: str) -> str:
    """Return the version that is installed, read from its metadata; nothing is imported."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def allowed_cores() -> int | str:
    """Return how many cores this process may use, where the system tells."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else "unknown"


def cpuinfo(field: str) -> str:
    """Return a field of Linux's ``/proc/cpuinfo``, or nothing."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    pairs = (line.partition(":") for line in lines)
    return next((value.strip() for name, _, value in pairs if name.strip() == field), "")


def processor_name() -> str:
    """Return the processor's name as its maker gives it."""
    return cpuinfo("model name") or platform.processor() or platform.machine()


def processor_features() -> list[str]:
    """Return those of ``FEATURES`` that this processor has; none where the system does not tell."""
    present = set((cpuinfo("flags") or cpuinfo("Features")).split())
    return [feature for feature in FEATURES if feature in present]


def embedded_model() -> dict[str, str]:
    """Return the models in ``embedded/``: folder → architecture and size of the weights."""
    models = {}
    for config in sorted((Path(__file__).parent.parent / "embedded").glob("*/config.json")):
        fields = json.loads(config.read_text(encoding="utf-8"))
        weights = config.with_name("model.safetensors")
        size = f"{weights.stat().st_size / 1e6:.1f} MB" if weights.is_file() else "no weights"
        models[config.parent.name] = f"{' '.join(fields.get('architectures', []))}, {size}"
    return models or {"none": "this installation lacks it"}
