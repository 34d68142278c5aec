"""Replays recorded calls of the reference: the same harness for every framework.

A framework gives a ``build`` function, and a function for each operation beside calls (gradients, generation, …) that
it has; a case gives a model's weights and the steps to make, and what each gave. The cases are those of
``tests/golden/roberta`` (see ``scripts/make_golden_roberta.py``) or of ``../shared/fixtures/roberta``.
"""

import json
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

Arrays = dict[str, np.ndarray]
#: ``build(class_name, config, weights, constructor, dtype)`` returns a model that takes the documented arguments.
#: ``config`` is the dictionary of a ``config.json``; ``weights`` are named as the model names them, tied copies
#: left out; ``constructor`` holds further arguments; ``dtype`` is "float32" or "float64".
Build = Callable[[str, dict[str, Any], Arrays, dict[str, Any], str], Any]
#: ``operation(model, step, argument, results)`` does one step and returns the arrays that it gives by name;
#: ``argument`` turns what a step names into what the model takes, ``results`` holds what earlier calls returned.
Operation = Callable[[Any, dict[str, Any], Callable[[Any], Any], dict[str, Any]], Arrays]
#: What a step's results are called in the recorded ones, where that is not the step's id.
_RESULTS = {"grad": ("grad",), "adamw": ("train", "after")}


@dataclass(frozen=True)
class Case:
    """One recorded case, its tensors read when they are asked for."""

    name: str
    spec: dict[str, Any]
    config: dict[str, Any]
    read_inputs: Callable[[], Arrays]
    read_expected: Callable[[], Arrays]
    read_weights: Callable[[], Arrays]

    @property
    def operations(self) -> set[str]:
        return {step["op"] for step in self.spec["steps"]}


def shared_cases(root: Path) -> dict[str, Case]:
    """All cases of ``../shared/fixtures/roberta`` by name."""

    def weights(spec: dict[str, Any]) -> Arrays:
        return {name: value for file in spec["weights"] for name, value in load_file(root / file).items()}

    def case(folder: Path) -> Case:
        spec = json.loads((folder / "case.json").read_text())
        inputs = folder / "inputs.safetensors"
        return Case(
            folder.name,
            spec,
            json.loads((folder / "config.json").read_text()),
            lambda: load_file(inputs) if inputs.is_file() else {},
            lambda: load_file(folder / "expected.safetensors"),
            lambda: weights(spec),
        )

    return {folder.name: case(folder) for folder in sorted((root / "cases").iterdir())}


@cache
def golden_cases(root: Path) -> dict[str, Case]:
    """All cases of ``tests/golden/roberta`` by name: tensors stand once each, by digest."""
    cases = json.loads((root / "cases.json").read_text())

    def reader(names: Mapping[str, str]) -> Callable[[], Arrays]:
        return lambda: {name: _golden_tensors(root)[digest] for name, digest in names.items()}

    return {
        name: Case(
            name,
            entry["case"],
            entry["config"],
            reader(entry["inputs"]),
            reader(entry["expected"]),
            reader(entry["weights"]),
        )
        for name, entry in cases.items()
    }


@cache
def _golden_tensors(root: Path) -> Arrays:
    return load_file(root / "tensors.safetensors")


def flatten(value: Any, path: str) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the arrays of an output by path: a mapping's field names, a tuple's indices; None gives nothing."""
    if value is None:
        return
    if hasattr(value, "to_legacy_cache"):
        value = value.to_legacy_cache()
    if hasattr(value, "items"):
        for name, item in value.items():
            yield from flatten(item, f"{path}.{name}")
    elif isinstance(value, tuple | list):
        for index, item in enumerate(value):
            yield from flatten(item, f"{path}.{index}")
    else:
        yield path, np.asarray(value.detach().numpy() if hasattr(value, "detach") else value)


def replay(
    case: Case, build: Build, *, packed: bool = False, operations: Mapping[str, Operation] | None = None
) -> tuple[Any, Arrays]:
    """Build the model, make the recorded steps, compare every result; return the model and the results.

    Args:
        case: what to replay.
        build: the framework's way to build a model.
        packed: compare what a padding-free implementation is held to (the case's ``packed`` field).
        operations: the framework's way to do the steps that are not ``call``; others are passed over.
    """
    spec = case.spec
    weights = case.read_weights()
    if spec.get("strip_prefix"):
        weights = {name.removeprefix(spec["strip_prefix"]): value for name, value in weights.items()}
    dtype = spec["dtype"]
    model = build(spec["class"], case.config, weights, spec["constructor"], dtype)
    inputs = {
        name: value.astype(dtype) if value.dtype.kind == "f" else value
        for name, value in case.read_inputs().items()
    }
    results: dict[str, Any] = {}

    def argument(value: Any) -> Any:
        if isinstance(value, str) and value[:1] == "@":
            return inputs[value[1:]]
        if isinstance(value, str) and value[:1] == "%":
            step, field = value[1:].split(".")
            return getattr(results[step], field)
        return value

    known = {"call": _call, **(operations or {})}
    found: Arrays = {}
    done = set()
    for step in spec["steps"]:
        if step["op"] in known:
            found |= known[step["op"]](model, step, argument, results)
            done |= set(_RESULTS.get(step["op"], (step.get("id", ""),)))
    compare(case, found, inputs, packed=packed, parts=done)
    return model, found


def _call(
    model: Any, step: dict[str, Any], argument: Callable[[Any], Any], results: dict[str, Any]
) -> Arrays:
    out = model(**{name: argument(value) for name, value in step["kwargs"].items()})
    results[step["id"]] = out
    return dict(flatten(out, step["id"]))


def compare(
    case: Case, found: Arrays, inputs: Arrays, *, packed: bool = False, parts: Collection[str] | None = None
) -> None:
    """Raise AssertionError unless the keys are the recorded ones and every array is within the case's tolerance.

    Args:
        case: what was replayed.
        found: what it gave.
        inputs: the case's.
        packed: see `replay`.
        parts: first parts of the names that are compared; those of all calls if None.
    """
    spec = case.spec
    ids = {step["id"] for step in spec["steps"] if step["op"] == "call"} if parts is None else parts
    free = tuple(spec.get("optional", ()))
    ignored = tuple(spec.get("ignore", ()))
    excused = tuple(spec["packed"]["ignore"]) if packed else ()
    expected = {name: value for name, value in case.read_expected().items() if name.split(".")[0] in ids}
    assert expected, f"{case.name} records nothing that a call gives"
    extra = {name for name in found if name not in expected and not name.startswith(free or ("\0",))}
    assert not extra, f"{case.name} gives {sorted(extra)}, which was not recorded"
    assert not expected.keys() - found.keys(), f"{case.name} lacks {sorted(expected.keys() - found.keys())}"
    positions = spec["packed"]["positions"] if packed else spec.get("positions")
    for name, want in expected.items():
        if (ignored and name.endswith(ignored)) or (excused and name.startswith(excused)):
            continue
        got = found[name]
        for key, cut in spec.get("compare", {}).items():
            if name == key or name.startswith(key + "."):
                got, want = got[..., : cut["last"]], want[..., : cut["last"]]
        if name.endswith(".sequences"):  # a search may leave columns of padding behind the longest row
            got, want = _without_padding(got, case.config), _without_padding(want, case.config)
        assert got.shape == want.shape, f"{case.name} {name}: shape {got.shape}, recorded {want.shape}"
        largest = np.abs(want).max(initial=0)
        limit = _limit(name, spec["tolerance"], largest)
        if want.dtype.kind == "f":  # the reference gives some float64 losses in float32
            limit = max(limit, np.finfo(want.dtype).eps * largest)
        mask = _mask_for(name, positions, inputs)
        if mask is not None:
            got, want = (_at_positions(name, array, mask) for array in (got, want))
        np.testing.assert_allclose(got, want, rtol=0, atol=limit, err_msg=f"{case.name} {name}")


def _limit(name: str, tolerance: dict[str, float], largest: float) -> float:
    if name.startswith("grad."):
        return tolerance["grad_atol"] * max(1.0, largest)
    if name.startswith("after."):
        return tolerance["after_atol"]
    return tolerance["atol"] + tolerance["rtol"] * largest


def _without_padding(ids: np.ndarray, config: dict[str, Any]) -> np.ndarray:
    used = (ids != config.get("pad_token_id", 1)).any(0).nonzero()[0]
    return ids[:, : used.max(initial=-1) + 1]


def _mask_for(name: str, positions: str | dict[str, str] | None, inputs: Arrays) -> np.ndarray | None:
    """The mask (batch, length) of the positions to compare; of a map of prefixes the longest wins."""
    if isinstance(positions, dict):
        prefixes = [prefix for prefix in positions if name.startswith(prefix)]
        positions = positions[max(prefixes, key=len)] if prefixes else None
    return None if positions is None else inputs[positions] != 0


def _at_positions(name: str, array: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The entries at the kept positions: axis 2 of attentions and caches, axis 1 of everything else."""
    batch, length = mask.shape
    if array.ndim == 4 and array.shape[0] == batch and array.shape[2] == length:
        return array.transpose(0, 2, 1, 3)[mask]
    if array.ndim >= 2 and array.shape[:2] == (batch, length):
        return array[mask]
    if (
        array.ndim >= 1 and array.shape[0] == batch
    ):  # a result of the first token: rows that begin with padding are free
        return array[mask[:, 0]]
    return array
