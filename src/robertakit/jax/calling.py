"""The arguments of a documented call made into arrays, and what only their values tell: checked in eager use alone.

Shapes and kinds the modules check (`inputs.py`), also while a function is traced. Here ids without a row, over-long
texts, strange masks and labels without a class raise, which JAX would clamp or turn into NaN in silence.

Shape letters: B batch, N choices, L length.
"""

from collections.abc import Mapping
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from robertakit.architecture import HEADS, problem_type
from robertakit.calls import check_classes, check_values
from robertakit.configuration import PretrainedConfig
from robertakit.errors import ArgumentError, InputError
from robertakit.shapes import kind_of_dtype

__all__ = ["as_arrays", "check_concrete", "check_flags", "for_module"]

_MASKS = ("attention_mask", "encoder_attention_mask")
_IDS = ("input_ids", "position_ids", "token_type_ids")


def as_arrays(given: Mapping[str, object]) -> dict[str, object]:
    """Return arguments with Python's lists and numbers as NumPy's arrays; the modules refuse what is no array then.

    Raises:
        InputError: a list of lists of several lengths.

    Example:
        >>> as_arrays({"input_ids": [[0, 2]], "attention_mask": None})["input_ids"].shape
        (1, 2)
    """
    arrays: dict[str, object] = {}
    for name, value in given.items():
        if isinstance(value, list | tuple | int | float):
            try:
                value = np.asarray(value)
            except ValueError as error:
                raise InputError(
                    given=f"{name} as lists of several lengths",
                    expected="rows of one length",
                    hint="tokenizer(texts, padding=True, return_tensors='np') pads them",
                ) from error
        arrays[name] = value
    return arrays


def check_flags(**flags: object) -> None:
    """Raise for a switch that is no bool: what is computed cannot depend on a traced value.

    Raises:
        ArgumentError: names the switch.
    """
    for name, value in flags.items():
        if not isinstance(value, bool | np.bool_ | None):
            raise ArgumentError(
                given=f"{name} of type {type(value).__name__}",
                expected="True or False",
                hint=f"inside jit, {name} is a constant: jax.jit(…, static_argnames={name!r})",
            )


def check_concrete(
    config: PretrainedConfig,
    head: str,
    given: Mapping[str, object],
    labels: Mapping[str, object],
    past: int | None,
) -> None:
    """Look at all values that are there to be looked at.

    Args:
        config: the model's.
        head: key of `HEADS`.
        given: the arguments of a call by name, None for what was not given.
        labels: the same for labels.
        past: tokens that a cache holds; None where nobody knows.

    Raises:
        InputError: an id outside its table, a mask of other numbers than 0 and 1, a label without a class.
        TooLong: more tokens than positions.
    """
    ids = {name: _integers(given.get(name)) for name in _IDS}
    masks = {name: values for name in _MASKS if (values := _values(given.get(name))) is not None}
    if ids["position_ids"] is None and (given.get("position_ids") is not None or past is None):
        ids["position_ids"] = np.zeros(0, np.int32)  # they cannot be known
    if ids["input_ids"] is not None and not ids["input_ids"].ndim:
        return  # the module says what is wrong with it
    check_values(config, **ids, masks=masks, past=past or 0)
    for value in labels.values():
        classes = _classes(config, head, given, value)
        found = _integers(value)
        if classes is not None and found is not None:
            check_classes(found, classes)


def _classes(config: PretrainedConfig, head: str, given: Mapping[str, object], labels: object) -> int | None:
    """How many classes labels may name; None where they name none: numbers, or places in a text."""
    if HEADS[head].group == "lm":
        return config.vocab_size
    if head == "multiple-choice":
        inputs = given["input_ids"] if given.get("input_ids") is not None else given.get("inputs_embeds")
        return int(cast(jax.Array, inputs).shape[1]) if getattr(inputs, "ndim", 0) > 1 else None
    if head == "token-classification":
        return config.num_labels
    if head == "sequence-classification" and labels is not None:
        integers = _integers(labels) is not None
        single = problem_type(config, labels_are_integers=integers) == "single_label_classification"
        return config.num_labels if single else None
    return None


def _values(array: object) -> NDArray[np.generic] | None:
    """An array's values; None for no array, for one that is traced, and for one that lies on other hosts."""
    if isinstance(array, jax.core.Tracer) or not isinstance(array, jax.Array | np.ndarray):
        return None
    if isinstance(array, jax.Array) and not array.is_fully_addressable:
        return None
    return np.asarray(array)


def _integers(array: object) -> NDArray[np.integer] | None:
    values = _values(array)
    if values is None or kind_of_dtype(values.dtype.name) != "integer":
        return None
    return cast(NDArray[np.integer], values)


def for_module(given: Mapping[str, object]) -> dict[str, jax.Array | None]:
    """Return what a module takes: arrays of JAX's, which have 32 bits unless it was told otherwise."""
    return {
        name: jnp.asarray(value) if isinstance(value, np.ndarray) else cast(jax.Array, value)
        for name, value in given.items()
    }
