"""JSON lines: a text is a document, and all that is none is named by its line."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robertakit.training.faults import Fault
from robertakit.training.json_lines import document_of, read_json_lines


def read(line: str) -> list[list[str] | Fault]:
    return list(read_json_lines([(7, line)], Path("f.jsonl"), "text"))


@pytest.mark.parametrize(
    ("line", "document"),
    [
        ('{"text": "One."}', ["One."]),
        ('{"text": " One. \\r\\n\\n \\n Two.", "other": 1}', ["One.", "Two."]),
        ('{"text": "\\ud83d\\ude00"}', ["😀"]),
        ('{"text": "a\\u2028b"}', ["a\u2028b"]),
    ],
)
def test_documents(line: str, document: list[str]) -> None:
    assert read(line) == [document]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ('{"text": ' + "9" * 5000 + "}", "not JSON"),
        ("[1]", "no JSON object"),
        ("null", "no JSON object"),
        ('"text"', "no JSON object"),
        ('{"Text": "x"}', "no field 'text'"),
        ('{"text": null}', "null in place of a text"),
        ('{"text": 1}', "no text"),
        ('{"text": ["x"]}', "no text"),
        ('{"text": ""}', "an empty text"),
        ('{"text": " \\n "}', "an empty text"),
        ('{"text": "\\ud83d"}', "a lone surrogate"),
    ],
)
def test_faults(line: str, reason: str) -> None:
    assert read(line) == [Fault("f.jsonl:7", reason)]


def test_blank_lines_are_none_and_earlier_faults_stay() -> None:
    fault = Fault("f.jsonl:2", "not UTF-8")
    lines: list[tuple[int, str | Fault]] = [(1, ""), (2, fault)]
    assert list(read_json_lines(lines, Path("f.jsonl"), "text")) == [fault]


@given(st.none() | st.integers() | st.text() | st.lists(st.text()))
def test_a_document_has_no_blank_paragraph(value: object) -> None:
    document = document_of(value, "p")
    assert isinstance(document, Fault) or (document and all(each == each.strip() != "" for each in document))
