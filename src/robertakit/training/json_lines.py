"""Documents out of JSON lines, and out of any other record that holds a text."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from robertakit.training.faults import Fault

__all__ = ["document_of", "read_json_lines"]


def read_json_lines(
    lines: Iterable[tuple[int, str | Fault]], path: Path, field: str
) -> Iterator[list[str] | Fault]:
    """Yield the document of each line that is not blank, or what is wrong with it.

    Args:
        lines: line numbers, and lines or what is wrong with them already.
        path: of the file, for places.
        field: the text's key.

    Example:
        >>> lines = [(1, '{"text": "One."}'), (2, '{"text": null}'), (3, "{")]
        >>> list(read_json_lines(lines, Path("a"), "text"))  # doctest: +NORMALIZE_WHITESPACE
        [['One.'], Fault(place='a:2', reason='null in place of a text'), Fault(place='a:3', reason='not JSON')]
    """
    for number, line in lines:
        if isinstance(line, Fault):
            yield line
        elif line:
            place = f"{path}:{number}"
            try:
                record: object = json.loads(line)
            except (ValueError, RecursionError):  # numbers of more than 4,300 digits are a ValueError, too
                yield Fault(place, "not JSON")
                continue
            if not isinstance(record, dict):
                yield Fault(place, "no JSON object")
            elif field not in record:
                yield Fault(place, f"no field '{field}'")
            else:
                yield document_of(record[field], place)


def document_of(value: object, place: str) -> list[str] | Fault:
    r"""Return the paragraphs of a text, parted by line ends; or what is wrong with it.

    Example:
        >>> document_of("One. \n\n Two.", "a:1")
        ['One.', 'Two.']
    """
    if value is None:
        return Fault(place, "null in place of a text")
    if not isinstance(value, str):
        return Fault(place, "no text")
    try:
        value.encode()  # JSON can write half of a surrogate pair, UTF-8 cannot
    except UnicodeEncodeError:
        return Fault(place, "a lone surrogate")
    paragraphs = [paragraph for line in value.split("\n") if (paragraph := line.strip())]
    return paragraphs or Fault(place, "an empty text")
