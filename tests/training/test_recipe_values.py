"""Kinds of settings, tables to dataclasses, and TOML that reads back as it was."""

import dataclasses
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robertakit.training.recipe_values import (
    Kind,
    choice,
    differences,
    flag,
    many,
    number,
    optional,
    pair,
    plain,
    read_table,
    setting,
    shares,
    text,
    toml,
    whole,
)

RIGHT: list[tuple[Kind[object], object, object]] = [
    (whole(1, 3), 3, 3),
    (number(0, below=1), 0, 0.0),
    (number(above=0), 1e-6, 1e-6),
    (flag, True, True),
    (text, "x", "x"),
    (choice("a", "b"), "b", "b"),
    (many(text), "one", ("one",)),
    (many(whole()), [1, 2], (1, 2)),
    (pair(number()), [0.9, 0.98], (0.9, 0.98)),
    (shares(), 512, ((512, 1.0),)),
    (shares(), [[128, 0.9], [512, 0.1]], ((128, 0.9), (512, 0.1))),
]
WRONG: list[tuple[Kind[object], object, str]] = [
    (whole(1, 3), 4, "from 1 to 3"),
    (whole(), True, "a whole number"),
    (whole(), 2.0, "a whole number"),
    (number(), True, "a number"),
    (number(0, below=1), 1, "below 1"),
    (number(above=0), 0, "above 0"),
    (number(), float("nan"), "a number"),
    (number(), float("inf"), "a number"),
    (flag, 1, "true or false"),
    (text, "  ", "not empty"),
    (choice("bf16", "fp16"), "bf61", "did you mean 'bf16'"),
    (many(text, 1), [], "1 or more"),
    (pair(number()), [1], "a list of two"),
    (shares(), [[128]], "share"),
    (shares(), 3, "from 8 up"),
]


@pytest.mark.parametrize(("kind", "value", "read"), RIGHT)
def test_what_is_right_is_read(kind: Kind[object], value: object, read: object) -> None:
    assert kind.read(value) == read
    assert type(kind.read(value)) is type(read)


@pytest.mark.parametrize(("kind", "value", "expected"), WRONG)
def test_what_is_wrong_is_refused_with_what_was_expected(
    kind: Kind[object], value: object, expected: str
) -> None:
    with pytest.raises(ValueError, match=expected):
        kind.read(value)


@dataclass(frozen=True, kw_only=True)
class Section:
    size: int = setting(whole(1))
    origin: str | None = setting(optional(text), None, key="from")
    log: int = setting(whole(), 5, decides=False)
    rest: Mapping[str, object] = dataclasses.field(default_factory=dict)


def test_a_table_becomes_a_section_and_back() -> None:
    problems: list[str] = []
    table = {"size": 3, "from": "here", "other": [1, 2]}
    section = read_table(Section, table, "part", problems, rest="rest")
    assert section == Section(size=3, origin="here", rest={"other": [1, 2]})
    assert not problems
    assert plain(section) == {**table, "log": 5}


@dataclass(frozen=True, kw_only=True)
class Closed:
    size: int = setting(whole(1))
    origin: str | None = setting(optional(text), None, key="from")


def test_all_problems_of_a_table_are_told() -> None:
    problems: list[str] = []
    assert read_table(Closed, {"sise": 3, "from": 4}, "part", problems) is None
    assert problems == [
        "part.sise is unknown; did you mean 'size'?",
        "part.size is missing; expected a whole number from 1 up",
        "part.from is 4; expected a string that is not empty",
    ]
    assert read_table(Closed, [1], "part", problems) is None
    assert problems[-1] == "part is [1]; expected a table of settings"


def test_differences_name_what_decides_alone() -> None:
    one = Section(size=3, log=1, rest={"a": 1, "b": 2})
    other = Section(size=4, log=2, origin="x", rest={"a": 1, "b": 3})
    assert differences(one, other, "part") == [
        "part.size was 3 and is 4",
        'part.from was absent and is "x"',
        "part.b was 2 and is 3",
    ]
    assert differences(one, one, "part") == []


VALUES = st.recursive(
    st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(VALUES)
def test_what_is_written_reads_back(value: object) -> None:
    assert tomllib.loads(f"value = {toml(value)}") == {"value": value}
