"""Shapes and kinds of arrays, whichever framework's: what of a call is known while a graph is made.

A size that a graph does not know is None, and fits everything.
"""

from collections.abc import Callable, Sequence
from typing import Literal

from robertakit.errors import BadShape, InputError

__all__ = [
    "Kind",
    "KindOf",
    "Shape",
    "check_array",
    "check_integers",
    "check_kind",
    "check_shape",
    "fits",
    "has_size",
    "kind_of_dtype",
    "shape_of",
]

Kind = Literal["integer", "real", "bool"]
#: Tells what an array of a framework holds; None for what is no array of its own.
KindOf = Callable[[object], Kind | None]
#: Sizes, None where a graph does not know one.
Shape = tuple[int | None, ...]


def kind_of_dtype(name: str) -> Kind:
    """Return the kind of a dtype by its name, for a framework's `KindOf`.

    Example:
        >>> kind_of_dtype("bfloat16"), kind_of_dtype("uint8"), kind_of_dtype("bool")
        ('real', 'integer', 'bool')
    """
    if name.startswith(("int", "uint")):
        return "integer"
    return "bool" if name == "bool" else "real"


def shape_of(value: object) -> Shape | None:
    """Return an array's sizes, or None where not even their number is known."""
    shape = getattr(value, "shape")  # noqa: B009 (an array of any framework)
    return None if getattr(shape, "rank", 0) is None else tuple(shape)


def check_integers(name: str, value: object, *, kind_of: KindOf) -> None:
    """Raise for what is no array of integers."""
    check_kind(name, value, kind_of=kind_of, kinds=("integer",), expected="integers")


def check_array(name: str, value: object, *, kind_of: KindOf) -> None:
    """Raise for what is no array."""
    check_kind(name, value, kind_of=kind_of, kinds=("integer", "real", "bool"), expected="numbers")


def check_kind(name: str, value: object, *, kind_of: KindOf, kinds: tuple[Kind, ...], expected: str) -> None:
    """Raise for what is no array of one of some kinds, which ``expected`` calls by a name."""
    kind = kind_of(value)
    if kind is None:
        raise InputError(
            given=f"{name} of type {type(value).__name__}",
            expected="a tensor",
            hint="tokenizer(texts, padding=True, return_tensors=...) gives tensors",
        )
    if kind not in kinds:
        dtype = getattr(value, "dtype", kind)
        named = getattr(dtype, "name", str(dtype).removeprefix("torch."))
        raise InputError(given=f"{name} of dtype {named}", expected=expected)


def fits(shape: Shape | None, expected: Shape) -> bool:
    """Whether a shape is the expected one, as far as both are known.

    Example:
        >>> fits((3, None), (3, 9)), fits((3, 8), (3, 9)), fits(None, (3, 9))
        (True, False, True)
    """
    if shape is None:
        return True
    return len(shape) == len(expected) and all(
        size is None or wanted is None or size == wanted for size, wanted in zip(shape, expected, strict=True)
    )


def check_shape(name: str, value: object, allowed: Sequence[Shape], as_what: str = "") -> None:
    """Raise unless a value has one of some shapes; a message names the first two, which are ``as_what``."""
    shape = shape_of(value)
    if any(fits(shape, expected) for expected in allowed):
        return
    expected = " or ".join(str(tuple(one)) for one in allowed[:2])
    raise BadShape(
        given=f"{name} of shape {shape}", expected=expected + (f", as {as_what}" if as_what else "")
    )


def has_size(value: object, size: int | None) -> bool:
    """Whether a value holds so many numbers, as far as that is known."""
    shape = shape_of(value)
    if shape is None or size is None:
        return True
    product = 1
    for length in shape:
        if length is None:
            return True
        product *= length
    return product == size
