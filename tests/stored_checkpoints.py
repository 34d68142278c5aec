"""The checkpoints of ``tests/golden`` in every format, and what loading each has to do: the same for every framework.

``checkpoints`` holds folders with an ``expect.json``, of the reference's classes and of fairseq, good and broken;
``frameworks`` what TensorFlow's and Flax's own classes saved (see ``scripts/make_framework_golden.py``).
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file

from robertakit.errors import CheckpointError, ConfigError, RobertakitError

Arrays = Mapping[str, np.ndarray]
INPUTS = ("input_ids", "attention_mask", "encoder_hidden_states")


@dataclass(frozen=True)
class Entry:
    """One thing to do with a folder.

    Attributes:
        class_name: the class to load it with, in the spelling of PyTorch.
        arguments: of ``from_pretrained``.
        result: "ok", "error", or "report": loads and names what the reference names.
        reference: what the reference reported.
        inputs, outputs: of a call.
        real_only: compare where the mask is 1: TensorFlow hides padding less than entirely.
        tolerance: absolute, or relative to the largest output where that is above 1.
        state: every tensor of the model, exactly.
        config: fields of the configuration.
    """

    folder: Path
    class_name: str
    arguments: dict[str, Any] = field(default_factory=dict)
    result: str = "ok"
    reference: dict[str, Any] = field(default_factory=dict)
    inputs: Arrays = field(default_factory=dict)
    outputs: Arrays = field(default_factory=dict)
    real_only: bool = False
    tolerance: float = 1e-4
    state: Arrays = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)


def folders(golden: Path) -> list[str]:
    """Every folder, relative to ``tests/golden``."""
    expected = [*golden.glob("checkpoints/**/expect.json"), *golden.glob("frameworks/*/expected.safetensors")]
    return sorted(path.parent.relative_to(golden).as_posix() for path in expected)


def entries(folder: Path) -> list[Entry]:
    """What is to be done with a folder."""
    if not (folder / "expect.json").is_file():
        return [_of_a_framework(folder)]
    root = next(parent for parent in folder.parents if (parent / "inputs.safetensors").is_file())
    expect = json.loads((folder / "expect.json").read_text())
    found = []
    for entry in expect.get("loads", []) + expect.get("converts", []):
        wanted = entry.get("fields", []) if entry.get("expected") else []
        answers = load_file(root / "_expected" / f"{entry['expected']}.safetensors") if wanted else {}
        found.append(
            Entry(
                folder,
                entry["class"],
                entry.get("kwargs", {}),
                entry.get("result", "ok"),
                entry.get("reference", {}),
                load_file(root / "inputs.safetensors"),
                {name: answers[name] for name in wanted},
                state=load_file(root / entry["state"]) if "state" in entry else {},
                config=expect.get("config", {}),
            )
        )
    return found


def _of_a_framework(folder: Path) -> Entry:
    with safe_open(folder / "expected.safetensors", "np") as file:
        class_name = file.metadata()["class"]
    tensors = load_file(folder / "expected.safetensors")
    plain = class_name.removeprefix("TF").removeprefix("Flax").replace("Camembert", "Roberta")
    inputs = {name: tensors.pop(name) for name in INPUTS if name in tensors}
    empty = dict.fromkeys(("missing_keys", "unexpected_keys", "mismatched_keys"), ())
    return Entry(
        folder, plain, reference=empty, inputs=inputs, outputs=tensors, real_only=True, tolerance=1e-6
    )


def check(
    entry: Entry,
    load: Callable[..., tuple[Any, dict[str, list[str]]]],
    call: Callable[[Any, Arrays], Mapping[str, Any]],
    weights: Callable[[Any], Arrays],
) -> None:
    """Do it, and compare all that is known.

    Args:
        entry: what to do.
        load: ``load(class_name, folder, **arguments)`` returns a model and its report.
        call: returns a model's outputs as arrays.
        weights: returns a model's tensors by name, tied ones once or twice.
    """
    if entry.result == "error":
        with pytest.raises(RobertakitError) as caught:
            load(entry.class_name, entry.folder, **entry.arguments)
        assert isinstance(caught.value, CheckpointError | ConfigError)
        assert type(caught.value) is not CheckpointError, "a leaf of the tree"
        assert caught.value.given
        return
    model, report = load(entry.class_name, entry.folder, **entry.arguments)
    assert type(model).__name__ == entry.class_name
    assert {name: getattr(model.config, name) for name in entry.config} == entry.config
    for name in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if name in entry.reference:
            assert sorted(report[name]) == sorted(entry.reference[name]), name
    if entry.state:
        found = weights(model)
        assert all(np.array_equal(found[name], value) for name, value in entry.state.items())
        assert set(found) - set(entry.state) <= {"lm_head.decoder.weight", "lm_head.decoder.bias"}
    answer = call(model, entry.inputs)
    for name, wanted in entry.outputs.items():
        got = np.asarray(answer[name])
        assert got.shape == wanted.shape, name
        mask = entry.inputs["attention_mask"] != 0
        if entry.real_only and wanted.shape[: mask.ndim] == mask.shape:
            got, wanted = got[mask], wanted[mask]
        limit = entry.tolerance * max(1, np.abs(wanted).max())
        np.testing.assert_allclose(got, wanted, rtol=0, atol=limit, err_msg=f"{entry.folder.name} {name}")
