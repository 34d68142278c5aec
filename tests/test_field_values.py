"""Values of single fields."""

import numpy as np
import pytest

from robertakit.errors import ArgumentError, ConfigError
from robertakit.field_values import (
    as_integer,
    as_list,
    as_mapping,
    check_integer,
    check_number,
    dtype_name,
    integer_keys,
    parse_as,
    refuse_misspelling,
    string_keys,
)


def test_integers_of_numpy_are_integers_and_truth_values_are_not():
    assert as_integer("n", np.int64(3)) == 3
    assert type(as_integer("n", np.int64(3))) is int
    for wrong in (True, 3.0, "3", None):
        with pytest.raises(ConfigError, match="expected an integer"):
            as_integer("n", wrong)
    check_integer("n", 3, least=3)
    with pytest.raises(ConfigError, match="n=2; expected at least 3"):
        check_integer("n", 2, least=3)


def test_numbers_have_limits():
    check_number("p", 0)
    check_number("p", 1.0, most=1.0)
    check_number("p", None, optional=True)
    for wrong in (None, -0.1, True, "0.1", float("nan"), float("inf")):
        with pytest.raises(ConfigError, match="p="):
            check_number("p", wrong)
    with pytest.raises(ConfigError, match=r"p=1\.01; expected a number from 0 to 1"):
        check_number("p", 1.01, most=1.0)


def test_collections():
    assert as_list("x", (1, 2)) == [1, 2]
    assert as_mapping("x", {1: 2}) == {1: 2}
    assert integer_keys("x", {"3": "a", 4: "b"}) == {3: "a", 4: "b"}
    assert string_keys({1: [{2: 3}], "a": (4,)}) == {"1": [{"2": 3}], "a": [4]}
    for function, wrong in (
        (as_list, "ab"),
        (as_mapping, [1]),
        (integer_keys, {"a": 1}),
        (integer_keys, [1]),
    ):
        with pytest.raises(ConfigError, match="x"):
            function("x", wrong)


def test_dtype_names():
    assert dtype_name(None) is None
    assert dtype_name("float16") == dtype_name(np.float16) == dtype_name(np.dtype("float16")) == "float16"


def test_text_is_read_as_the_old_value_was():
    assert parse_as("x", "3", 1) == 3
    assert parse_as("x", "0", True) is False
    assert parse_as("x", "relu", "gelu") == "relu"
    for text, old in (("x", 1), ("maybe", True), ("1", None)):
        with pytest.raises(ConfigError, match=f"x={text}"):
            parse_as("x", text, old)


def test_only_near_names_are_refused():
    refuse_misspelling("temperature_scale", {"hidden_size"})
    refuse_misspelling("_hidden_sise", {"hidden_size"})
    with pytest.raises(ArgumentError, match="'hidden_size', which is near it"):
        refuse_misspelling("hidden_sise", {"hidden_size"})
