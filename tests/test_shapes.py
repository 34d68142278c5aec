"""Shapes and kinds of arrays, known or not."""

from types import SimpleNamespace

import numpy as np
import pytest

from robertakit.errors import BadShape, InputError
from robertakit.shapes import (
    check_array,
    check_integers,
    check_shape,
    fits,
    has_size,
    kind_of_dtype,
    shape_of,
)


def array(*sizes, dtype="int32"):
    """What a graph knows of an array."""
    return SimpleNamespace(shape=sizes, dtype=dtype)


def kind_of(value):
    return kind_of_dtype(str(value.dtype)) if hasattr(value, "shape") else None


@pytest.mark.parametrize(
    ("dtype", "kind"),
    [("int8", "integer"), ("uint32", "integer"), ("bool", "bool"), ("float64", "real"), ("bfloat16", "real")],
)
def test_a_dtype_is_of_one_kind(dtype, kind):
    assert kind_of_dtype(dtype) == kind


def test_what_is_unknown_fits():
    unknown = SimpleNamespace(shape=SimpleNamespace(rank=None))
    assert shape_of(unknown) is None
    assert has_size(unknown, 3)
    assert has_size(array(None, 2), 3)
    assert not has_size(array(2, 2), 3)
    assert has_size(np.float32(1), 1)
    assert not has_size(np.float32(1), 2)
    assert fits((None, 9), (3, 9))
    assert not fits((None, 9), (3, 8))
    assert not fits((3,), (3, 9))


def test_an_error_names_the_two_usual_shapes():
    check_shape("x", array(7), [(3, 9), (1, 9), (7,)])
    with pytest.raises(
        BadShape, match=r"x of shape \(3, 8\); expected \(3, 9\) or \(1, 9\), as the inputs\.$"
    ):
        check_shape("x", array(3, 8), [(3, 9), (1, 9), (7,)], "the inputs")


def test_kinds_and_what_is_no_array():
    check_integers("x", array(1), kind_of=kind_of)
    check_array("x", array(1, dtype="bool"), kind_of=kind_of)
    with pytest.raises(InputError, match="x of dtype bool; expected integers"):
        check_integers("x", array(1, dtype="bool"), kind_of=kind_of)
    with pytest.raises(InputError, match="x of dtype float64; expected integers"):
        check_integers("x", np.ones(1), kind_of=kind_of)
    with pytest.raises(InputError, match="x of type list; expected a tensor"):
        check_array("x", [1], kind_of=kind_of)
