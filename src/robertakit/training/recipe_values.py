"""What a setting of a recipe may be, and how a table of TOML becomes a frozen dataclass of such settings.

A setting is a field made by ``setting(kind, default)``. Reading collects every problem and raises none, so that one
message can tell them all. What the settings mean stands in ``recipe.py``.
"""

import dataclasses
import difflib
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Generic, Protocol, TypeVar, cast

__all__ = [
    "Kind",
    "choice",
    "differences",
    "either",
    "flag",
    "key_of",
    "many",
    "nearest",
    "number",
    "optional",
    "pair",
    "plain",
    "read_table",
    "setting",
    "shares",
    "text",
    "toml",
    "whole",
]


class Section(Protocol):
    """A dataclass of settings."""

    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[object]]]


T = TypeVar("T")
S = TypeVar("S", bound=Section)
_REQUIRED = object()


class Refused(ValueError):
    """A value is not of its kind."""


@dataclass(frozen=True)
class Kind(Generic[T]):
    """What a value may be.

    Attributes:
        expected: in words, for messages.
        read: makes the value that the recipe holds, or raises ``Refused``.
    """

    expected: str
    read: Callable[[object], T]


def setting(kind: Kind[T], default: T | object = _REQUIRED, *, key: str = "", decides: bool = True) -> T:
    """Declare a setting of a recipe.

    Args:
        kind: what its value may be.
        default: its value where the file has none; without one, the file must have it.
        key: its name in the file where Python forbids that name (``from``).
        decides: whether another value may give another model; False for what may change when a run goes on.
    """
    metadata = {"kind": kind, "key": key, "decides": decides}
    if default is _REQUIRED:
        return cast(T, dataclasses.field(metadata=metadata))
    return cast(T, dataclasses.field(default=default, metadata=metadata))


# --- kinds ---


def whole(least: int = 0, most: float = math.inf) -> Kind[int]:
    """A whole number from ``least`` to ``most``."""
    expected = f"a whole number from {least}" + (f" to {most:g}" if most < math.inf else " up")

    def read(value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise Refused(expected)
        return value

    return Kind(expected, read)


def number(
    least: float = -math.inf, most: float = math.inf, *, above: float = -math.inf, below: float = math.inf
) -> Kind[float]:
    """A finite number between bounds; ``above`` and ``below`` are not themselves allowed."""
    bounds = [
        *([f"at least {least:g}"] if least > -math.inf else []),
        *([f"above {above:g}"] if above > -math.inf else []),
        *([f"at most {most:g}"] if most < math.inf else []),
        *([f"below {below:g}"] if below < math.inf else []),
    ]
    expected = " ".join(["a number", " and ".join(bounds)]).strip()

    def read(value: object) -> float:
        if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
            raise Refused(expected)
        if not (least <= value <= most and above < value < below):
            raise Refused(expected)
        return float(value)

    return Kind(expected, read)


def _text(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise Refused("a string that is not empty")
    return value


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise Refused("true or false")
    return value


text: Kind[str] = Kind("a string that is not empty", _text)
flag: Kind[bool] = Kind("true or false", _flag)


def choice(*words: str) -> Kind[str]:
    """One of some words."""
    expected = " or ".join([", ".join(map(repr, words[:-1])), repr(words[-1])] if len(words) > 1 else words)

    def read(value: object) -> str:
        if not isinstance(value, str) or value not in words:
            near = nearest(value, words) if isinstance(value, str) else ""
            raise Refused(expected + (f" (did you mean {near!r}?)" if near else ""))
        return value

    return Kind(expected, read)


def optional(kind: Kind[T]) -> Kind[T | None]:
    """A kind whose setting may be absent; a file cannot say so but by leaving it out."""
    return Kind(kind.expected, kind.read)


def either(first: Kind[T], second: Kind[T]) -> Kind[T]:
    """A value of one of two kinds, tried in this order."""
    expected = f"{first.expected} or {second.expected}"

    def read(value: object) -> T:
        for kind in (first, second):
            try:
                return kind.read(value)
            except Refused:
                pass
        raise Refused(expected)

    return Kind(expected, read)


def many(kind: Kind[T], least: int = 0) -> Kind[tuple[T, ...]]:
    """A list of values of a kind; one value alone stands for a list of one."""
    expected = (
        f"a list of {least} or more, each {kind.expected}" if least else f"a list, each {kind.expected}"
    )

    def read(value: object) -> tuple[T, ...]:
        values = value if isinstance(value, list | tuple) else [value]
        if len(values) < least:
            raise Refused(expected)
        return tuple(map(kind.read, values))

    return Kind(expected, read)


def pair(kind: Kind[T]) -> Kind[tuple[T, T]]:
    """A list of two values of a kind."""
    expected = f"a list of two, each {kind.expected}"

    def read(value: object) -> tuple[T, T]:
        if not isinstance(value, list | tuple) or len(value) != 2:
            raise Refused(expected)
        return kind.read(value[0]), kind.read(value[1])

    return Kind(expected, read)


def shares() -> Kind[tuple[tuple[int, float], ...]]:
    """Whole numbers with the share of each: ``[[128, 0.9], [512, 0.1]]``, or one number alone."""
    expected = "a whole number from 8 up, or a list of [number, share above 0]"
    size, share = whole(8), number(above=0)

    def read(value: object) -> tuple[tuple[int, float], ...]:
        if not isinstance(value, list | tuple):
            value = [[value, 1.0]]
        if not value or not all(isinstance(entry, list | tuple) and len(entry) == 2 for entry in value):
            raise Refused(expected)
        try:
            return tuple((size.read(entry[0]), share.read(entry[1])) for entry in value)
        except Refused:
            raise Refused(expected) from None

    return Kind(expected, read)


# --- from tables and back ---


def nearest(word: str, known: Iterable[str]) -> str:
    """Return the known word that is spelled most like ``word``, or nothing.

    Example:
        >>> nearest("learning_rat", ["steps", "learning_rate"])
        'learning_rate'
    """
    close = difflib.get_close_matches(word, list(known), n=1)
    return close[0] if close else ""


def key_of(field: "dataclasses.Field[object]") -> str:
    """Return a setting's name in the file."""
    return str(field.metadata["key"]) or field.name


def read_table(cls: type[S], table: object, where: str, problems: list[str], *, rest: str = "") -> S | None:
    """Read a table of TOML as a dataclass of settings.

    Args:
        cls: the dataclass; its fields are made by ``setting``.
        table: what the file has there.
        where: name of the table, for messages.
        problems: gets a sentence for each problem.
        rest: a field that takes what no other field is called as it is; without one, unknown keys are problems.

    Returns:
        The section, or None where there was a problem.
    """
    if not isinstance(table, Mapping):
        problems.append(f"{where} is {table!r}; expected a table of settings")
        return None
    fields = {key_of(field): field for field in dataclasses.fields(cls) if field.name != rest}
    values: dict[str, object] = (
        {rest: {key: table[key] for key in table if key not in fields}} if rest else {}
    )
    before = len(problems)
    for key in table if not rest else ():
        if key not in fields:
            near = nearest(str(key), fields)
            known = f"did you mean {near!r}?" if near else f"the settings there are {', '.join(fields)}"
            problems.append(f"{where}.{key} is unknown; {known}")
    for key, field in fields.items():
        kind = cast(Kind[object], field.metadata["kind"])
        if key in table:
            try:
                values[field.name] = kind.read(table[key])
            except Refused as refused:
                problems.append(f"{where}.{key} is {shown(table[key])}; expected {refused}")
        elif field.default is dataclasses.MISSING:
            problems.append(f"{where}.{key} is missing; expected {kind.expected}")
    return cls(**values) if len(problems) == before else None


def shown(value: object) -> str:
    """Return a value as a message shows it, long ones cut.

    Example:
        >>> shown(True), shown("x")
        ('true', '"x"')
    """
    written = toml(value) if isinstance(value, bool | int | float | str | list | tuple) else repr(value)
    return written if len(written) <= 80 else written[:77] + "…"


def plain(section: Section) -> dict[str, object]:
    """Return a section as the table that reads back as the same; what is None is left out."""
    table: dict[str, object] = {}
    for field in dataclasses.fields(section):
        value = getattr(section, field.name)
        if isinstance(value, Mapping):
            table |= {key: item for key, item in value.items() if item is not None}
        elif value is not None:
            table[key_of(field)] = value
    return table


def toml(value: object) -> str:
    """Return a value in TOML.

    Example:
        >>> toml({"a": (1, 0.5), "b": "x", "c": True})
        '{ a = [1, 0.5], b = "x", c = true }'
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return '"' + "".join(c if c >= " " and c != "\x7f" else f"\\u{ord(c):04x}" for c in escaped) + '"'
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_key(key)} = {toml(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(toml, value)) + "]"
    raise TypeError(f"no TOML for {value!r}")


def _key(key: object) -> str:
    name = str(key)
    return name if name.replace("_", "").replace("-", "").isalnum() and name.isascii() else toml(name)


def differences(old: Section, new: Section, where: str) -> list[str]:
    """Return a sentence for each setting that decides the outcome and differs between two sections of one kind."""
    changed = []
    for field in dataclasses.fields(old):
        before, after = getattr(old, field.name), getattr(new, field.name)
        if field.metadata.get("decides", True) and before != after:
            if isinstance(before, Mapping) and isinstance(after, Mapping):
                keys = [key for key in {**before, **after} if before.get(key) != after.get(key)]
                changed += [_changed(f"{where}.{key}", before.get(key), after.get(key)) for key in keys]
            else:
                changed.append(_changed(f"{where}.{key_of(field)}", before, after))
    return changed


def _changed(name: str, before: object, after: object) -> str:
    old, new = ("absent" if value is None else shown(value) for value in (before, after))
    return f"{name} was {old} and is {new}"
