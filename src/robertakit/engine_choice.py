"""Which engine answers: NumPy's, or that of a framework, by what was asked for and what is installed."""

import importlib
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Protocol, Self, cast

from robertakit.architecture import count_parameters
from robertakit.configuration import take_config
from robertakit.engine import Engine
from robertakit.errors import ArgumentError, InputError, listed, require
from robertakit.field_values import dtype_name

__all__ = [
    "AUTOMATIC_MAPS",
    "ENGINES",
    "LARGEST_ON_NUMPY",
    "choose_engine",
    "device_name",
    "engine_of",
    "first_framework",
    "load_engine",
]

#: Name of an engine -> the package that has it, and the extra that installs its framework (None: always
#: there).
ENGINES: dict[str, tuple[str, str | None]] = {
    "numpy": ("robertakit.numpy", None),
    "torch": ("robertakit.torch", "torch"),
    "jax": ("robertakit.jax", "jax"),
    "tensorflow": ("robertakit.tensorflow", "tensorflow"),
}
#: What each framework needs, in the order in which one is taken that nobody named: PyTorch computes real tokens alone
#: and compiles nothing; JAX is imported faster than TensorFlow (measured: docs/decisions.md).
_NEEDED = {"torch": ("torch",), "jax": ("jax", "flax"), "tensorflow": ("tensorflow", "keras")}
#: The largest model, in parameters, that NumPy runs where a framework is there too. It is a little above the model in
#: the package, which answers in less time than the import of PyTorch takes (measured: docs/decisions.md).
LARGEST_ON_NUMPY = 8_000_000
_FRAMEWORKS = {"np": "numpy", "pt": "torch", "tf": "tensorflow", "flax": "jax"}
#: The dtypes that NumPy computes in, and what only PyTorch's loading has a use for.
_OF_NUMPY = (None, "auto", "float32", "float64")
_OF_TORCH = {"attn_implementation", "device_map", "low_cpu_mem_usage"}
#: Device maps that leave the choice to the machine; the processor is where NumPy would be put.
AUTOMATIC_MAPS = ("auto", "balanced", "balanced_low_0", "sequential")


def device_name(device: object) -> str:
    """Return a device as its framework's name for it.

    Args:
        device: None or ``"auto"`` for what the engine finds best; -1 or ``"cpu"`` for the processor; an integer
            from 0 for a CUDA device; a name such as ``"cuda:1"`` or ``"mps"``, or an object that prints as one.

    Example:
        >>> device_name(-1), device_name(0), device_name("cuda"), device_name(None)
        ('cpu', 'cuda:0', 'cuda', 'auto')
    """
    if device is None:
        return "auto"
    text = str(device).strip()
    if text.lstrip("-").isdigit():
        number = int(text)
        if number < -1:
            raise InputError(given=f"device={device!r}", expected="-1 for the processor, or an index from 0")
        return "cpu" if number == -1 else f"cuda:{number}"
    if not text or not text.replace(":", "").isalnum():
        raise InputError(given=f"device={device!r}", expected="'cpu', 'cuda', 'cuda:1', 'mps', or an index")
    return text


def choose_engine(
    engine: str | None = None,
    framework: str | None = None,
    device: object = None,
    dtype: object = None,
    parameters: int = 0,
) -> str:
    """Return the name of the engine that answers.

    It is the one that was asked for; else a framework's, where only a framework can do what was asked for (a device
    beside the processor, half precision), or where one is installed and has something to gain: a model of more than
    `LARGEST_ON_NUMPY` parameters, or ``device="auto"``; else NumPy's. Of several frameworks that are installed it is
    PyTorch, then JAX, then TensorFlow. Nothing is imported to find out.

    Args:
        engine: ``"numpy"``, ``"torch"``, ``"jax"`` or ``"tensorflow"``.
        framework: the reference's word for the same: ``"np"``, ``"pt"``, ``"jax"`` or ``"flax"``, ``"tf"``.
        device: see `device_name`.
        dtype: of the computation.
        parameters: of the model.

    Raises:
        ArgumentError: ``engine`` and ``framework`` disagree.
        InputError: no such engine.

    Example:
        >>> choose_engine(), choose_engine(framework="pt"), choose_engine("tensorflow"), choose_engine(device=-1)
        ('numpy', 'torch', 'tensorflow', 'numpy')
    """
    asked = None if framework is None else _FRAMEWORKS.get(framework, framework)
    if engine is not None and asked is not None and engine != asked:
        raise ArgumentError(
            given=f"engine={engine!r} and framework={framework!r}", expected="one of them, or two that agree"
        )
    chosen = engine or asked
    if chosen is None:
        there = first_framework()
        if device_name(device) not in ("cpu", "auto") or dtype_name(dtype) not in _OF_NUMPY:
            chosen = there or "torch"
        else:
            gains = parameters > LARGEST_ON_NUMPY or device == "auto"
            chosen = there if there is not None and gains else "numpy"
    if chosen not in ENGINES:
        raise InputError(
            given=f"the engine {chosen!r}", expected=f"one of {listed(ENGINES)}, which this version has"
        )
    return chosen


def first_framework() -> str | None:
    """Return the framework that is taken where nobody names one, None where none is installed."""
    return next(filter(_installed, _NEEDED), None)


def _installed(framework: str) -> bool:
    """Whether a framework could be imported, which takes seconds and is not done for this."""
    return all(importlib.util.find_spec(package) is not None for package in _NEEDED[framework])


def _engine_class(name: str) -> "type[_Loadable]":
    package, extra = ENGINES[name]
    if extra is not None:
        require(name, extra=extra, needed_for=f"the {name} engine")
    return cast("type[_Loadable]", importlib.import_module(package).Engine)


class _Loadable(Engine, Protocol):
    def __init__(self, model: object, **arguments: object) -> None: ...

    @classmethod
    def from_pretrained(cls, name_or_path: str | Path, head: str, **arguments: object) -> Self: ...


def load_engine(
    name_or_path: str | Path,
    head: str,
    *,
    engine: str | None = None,
    framework: str | None = None,
    device: object = None,
    arguments: Mapping[str, object] = MappingProxyType({}),
) -> Engine:
    """Load a checkpoint into the engine that `choose_engine` names.

    Args:
        name_or_path: folder, or name on the Hub.
        head: a key of ``architecture.HEADS``.
        engine: see `choose_engine`.
        framework: see `choose_engine`.
        device: see `device_name`.
        arguments: those of the engine's ``from_pretrained``: ``dtype``, ``revision``, ``token``, ``strict``,
            …

    Raises:
        DependencyError: the engine's framework is not installed.
        InputError: the engine does not run on that device.
    """
    given = dict(arguments)
    device_map, parameters = given.get("device_map"), 0
    if engine is None and framework is None:
        if isinstance(device_map, Mapping) or (given.keys() & _OF_TORCH and _installed("torch")):
            engine = "torch"
        elif first_framework() is not None:
            parameters = count_parameters(take_config(name_or_path, dict(given)), head)
    dtype = given.get("dtype", given.get("torch_dtype"))
    name = choose_engine(engine, framework, device, dtype, parameters)
    if name == "numpy" and isinstance(device_map, str) and device_map in AUTOMATIC_MAPS:
        del given["device_map"]
    return _engine_class(name).from_pretrained(name_or_path, head, **given, **_place(name, device))


def _place(engine: str, device: object) -> dict[str, object]:
    """Return how the engine is told its device; NumPy's has one only."""
    where = device_name(device)
    if engine != "numpy":
        return {"device": where}
    if where not in ("cpu", "auto"):
        raise InputError(
            given=f"device={where!r} for the NumPy engine",
            expected="'cpu'",
            hint="for a GPU pass engine='torch', which pip install 'robertakit[torch]' brings",
        )
    return {}


def engine_of(
    model: object, engine: str | None = None, framework: str | None = None, device: object = None
) -> Engine:
    """Return the engine that runs a model which is already there; an engine is returned as it is.

    Args:
        model: a model of robertakit, or an engine.
        engine: see `choose_engine`; it must be the model's.
        framework: likewise.
        device: where the model is moved; None leaves it where it is.

    Raises:
        InputError: something else, or a device that is not there.
        ArgumentError: another engine than the model's, or an engine with another device.
    """
    homes = {kind.__module__ for kind in type(model).__mro__}
    names = [n for n, (home, _) in ENGINES.items() if any(f"{it}.".startswith(f"{home}.") for it in homes)]
    if (engine or framework) and choose_engine(engine, framework) not in names:
        raise ArgumentError(
            given=f"engine {choose_engine(engine, framework)!r} for a model of type {type(model).__name__}",
            expected=f"its own, {listed(names)}" if names else "none",
        )
    if isinstance(model, Engine):
        where = model.limits.device
        if device is not None and device_name(device) not in ("auto", where, where.removesuffix(":0")):
            raise ArgumentError(
                given=f"device={device!r} with an engine on {where!r}",
                expected="the engine's own device, or none",
            )
        return model
    if not names:
        raise InputError(
            given=f"a model of type {type(model).__name__}",
            expected="a folder, a name on the Hub, or a model of robertakit",
        )
    return _engine_class(names[0])(model, **({} if device is None else _place(names[0], device)))
