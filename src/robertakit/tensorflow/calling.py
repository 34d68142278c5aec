"""The documented ways to give a Keras model its inputs, read into one: arguments by name.

Keywords; tensors in the order of the arguments; all in one list, tuple or mapping; one tensor; Python lists.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import TypeVar, cast

import keras
import numpy as np
import tensorflow as tf

from robertakit.architecture import HEADS
from robertakit.errors import ArgumentError, InputError, RobertakitError, listed
from robertakit.field_values import refuse_unknown

__all__ = ["as_arguments", "as_python", "documented", "read_call"]

CallT = TypeVar("CallT", bound=Callable[..., object])

#: Documented arguments that are tensors, and so may be Python's lists; any other is taken as it is.
_TENSORS = frozenset(
    {
        "input_ids", "attention_mask", "token_type_ids", "position_ids", "head_mask", "inputs_embeds",
        "encoder_hidden_states", "encoder_attention_mask", *(name for head in HEADS.values() for name in head.labels),
    }
)  # fmt: skip

# On an error's way through a layer, Keras adds a page about arguments and makes the error anew; on its way through
# `tf.function`, TensorFlow makes it one of another class. Errors with these attributes stay what they are.
for _attribute in ("_keras_call_info_injected", "ag_pass_through"):
    setattr(RobertakitError, _attribute, True)


def as_python(call: CallT) -> CallT:
    """Have `tf.function` run a function as it stands, not rewritten for graphs: it decides on structure alone."""
    return cast(CallT, tf.autograph.experimental.do_not_convert(call))


@cache
def documented(call: Callable[..., object]) -> tuple[str, ...]:
    """Return the names of a `call`'s arguments, in order."""
    return tuple(name for name in inspect.signature(call).parameters if name != "self")


def read_call(
    names: Sequence[str], args: Sequence[object], kwargs: Mapping[str, object], what: str
) -> dict[str, object]:
    """Return the arguments of a call by name, without those that are None.

    Args:
        names: the documented ones, in order.
        args: as they were given; one list, tuple or mapping may hold them all.
        kwargs: as they were given.
        what: is called, for messages.

    Raises:
        ArgumentError: an argument that does not exist, or one that is given twice.
        InputError: lists of different lengths.

    Example:
        >>> read_call(("input_ids", "attention_mask"), ([[0, 5, 2]],), {}, "it")["input_ids"].shape
        TensorShape([1, 3])
    """
    given: dict[str, object] = {}
    if args:
        given = as_arguments(args[0], names) if len(args) == 1 else _in_order(args, names, what)
    given = {name: value for name, value in given.items() if value is not None}
    twice = [name for name in given if kwargs.get(name) is not None]
    if twice:
        raise ArgumentError(given=f"{listed(twice)} twice, in one argument and by keyword, to {what}")
    given |= {name: value for name, value in kwargs.items() if value is not None}
    unknown = [*(set(given) - set(names)), *(set(kwargs) - set(names) - set(given))]
    if unknown:
        refuse_unknown(unknown, what, names)
    return {
        name: _tensor(name, given[name]) if name in _TENSORS else given[name]
        for name in names
        if name in given
    }


def as_arguments(first: object, names: Sequence[str], what: str = "the model") -> dict[str, object]:
    """Return what one positional argument means: a mapping by name, a list of tensors in order, else the ids."""
    if isinstance(first, Mapping):
        return dict(first)
    if isinstance(first, list | tuple) and any(_is_tensor(item) for item in first):
        return _in_order(first, names, what)
    return {names[0]: first}


def _in_order(values: Sequence[object], names: Sequence[str], what: str) -> dict[str, object]:
    if isinstance(values[0], Mapping) or len(values) > len(names):
        raise ArgumentError(
            given=f"{len(values)} positional arguments to {what}",
            expected="all inputs in one mapping, or tensors in the order of the arguments",
        )
    return dict(zip(names, values, strict=False))


def _is_tensor(value: object) -> bool:
    if tf.is_tensor(value) or isinstance(value, keras.KerasTensor):
        return True
    return hasattr(value, "__array__") and not isinstance(value, np.generic)


def _tensor(name: str, value: object) -> object:
    """A tensor of any kind as it is; Python's lists and numbers as a tensor."""
    if _is_tensor(value):
        return value
    if not isinstance(value, list | tuple | int | float | np.generic):
        raise InputError(
            given=f"{name} of type {type(value).__name__}",
            expected="a tensor",
            hint="tokenizer(texts, padding=True, return_tensors='tf') gives tensors",
        )
    try:
        return tf.convert_to_tensor(value)
    except (ValueError, TypeError) as error:
        raise InputError(
            given=f"{name} of lists that make no tensor",
            expected="rows of one length, of numbers",
            hint="tokenizer(texts, padding=True) pads them",
        ) from error
