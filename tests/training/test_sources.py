"""Sources: each format in each compression gives the documents that were written; what cannot be read is named."""

import gzip
import json
import lzma
from pathlib import Path

import pytest

from robertakit.errors import ArgumentError, SourceError
from robertakit.training import sources
from robertakit.training.faults import Fault, Faults
from robertakit.training.sources import Document, Source, read_documents, read_file

DOCUMENTS = [["One.", "Two."], ["Drei ß."], ["四。", "five", "six"]]


def written(folder: Path, form: str) -> Path:
    path = folder / {"json-lines": "a.jsonl", "parquet": "a.parquet"}.get(form, "a.txt")
    if form == "text":
        path.write_text("\n\n\n".join("\n".join(document) for document in DOCUMENTS) + "\n", encoding="utf-8")
    elif form == "json-lines":
        path.write_text("".join(json.dumps({"text": "\n".join(each)}) + "\n" for each in DOCUMENTS))
    else:
        pyarrow = pytest.importorskip("pyarrow")
        parquet = pytest.importorskip("pyarrow.parquet")
        parquet.write_table(
            pyarrow.table({"id": [1, 2, 3], "text": ["\n".join(each) for each in DOCUMENTS]}), path
        )
    return path


def read(source: Source) -> tuple[list[Document], Faults]:
    faults = Faults()
    return list(read_documents(source, faults)), faults


@pytest.mark.parametrize("form", ["text", "json-lines", "parquet"])
@pytest.mark.parametrize("told", [True, False])
def test_each_format_gives_the_documents(tmp_path: Path, form: str, told: bool) -> None:
    path = written(tmp_path, form)
    documents, faults = read(Source((str(path),), format=form if told else "auto"))
    assert documents == DOCUMENTS
    assert not faults.counts


@pytest.mark.parametrize("form", ["text", "json-lines"])
@pytest.mark.parametrize("ending", [".gz", ".xz", ".zst"])
def test_each_compression_gives_the_documents(tmp_path: Path, form: str, ending: str) -> None:
    path = written(tmp_path, form)
    content = path.read_bytes()
    if ending == ".zst":
        content = pytest.importorskip("zstandard").ZstdCompressor().compress(content)
    else:
        content = {".gz": gzip.compress, ".xz": lzma.compress}[ending](content)
    packed = path.with_name(path.name + ending)
    packed.write_bytes(content)
    assert read(Source((str(packed),)))[0] == DOCUMENTS
    packed.write_bytes(content[:-3])
    with pytest.raises(SourceError, match=rf"{packed.name}.*whole file"):
        read(Source((str(packed),)))


def test_lines_and_files_are_documents_where_that_is_said(tmp_path: Path) -> None:
    path = written(tmp_path, "text")
    lines = [[paragraph] for document in DOCUMENTS for paragraph in document]
    assert read(Source((str(path),), format="lines"))[0] == lines
    assert read(Source((str(path),), format="files"))[0] == [[line[0] for line in lines]]


def test_windows_files(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfOne.\r\nTwo.\r\n \r\nThree.")
    assert read(Source((str(tmp_path / "a.txt"),)))[0] == [["One.", "Two."], ["Three."]]


def test_lines_that_are_not_utf8_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"One.\n\xff\xfeTwo.\nThree.\n\nFo\xc3ur.\n")
    documents, faults = read(Source((str(path),)))
    assert documents == [["One.", "Three."]]
    assert faults.counts == {"not UTF-8": 2}
    assert faults.first == [f"{path}:2: not UTF-8", f"{path}:5: not UTF-8"]


def test_rows_of_parquet_that_hold_no_text_are_named(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    stored = pyarrow.array([b"One.", None, b"\xff", b" ", b"Two."], pyarrow.binary())
    broken = pyarrow.Array.from_buffers(pyarrow.string(), 5, stored.buffers(), null_count=1)
    path = tmp_path / "a.parquet"
    for column in (broken, stored, broken.dictionary_encode()):
        parquet.write_table(pyarrow.table({"text": column}), path)
        documents, faults = read(Source((str(path),)))
        assert documents == [["One."], ["Two."]]
        assert faults.first == [
            f"{path}:row 2: null in place of a text",
            f"{path}:row 3: not UTF-8",
            f"{path}:row 4: an empty text",
        ]


def test_parquet_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    path = written(tmp_path, "parquet")
    with pytest.raises(SourceError, match=r"no column 'body'.*id, text"):
        read(Source((str(path),), field="body"))
    with pytest.raises(SourceError, match=r"column 'id'.*int64.*strings"):
        read(Source((str(path),), field="id"))
    with pytest.raises(SourceError, match=r"is Parquet; expected text"):
        read(Source((str(path),), format="text"))
    content = path.read_bytes()
    for cut in (0, 3, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:cut])
        with pytest.raises(SourceError, match=r"a\.parquet"):
            read(Source((str(path),)))


def test_a_line_without_end_does_not_fill_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "LINE_LIMIT", 10)
    path = tmp_path / "a.txt"
    path.write_bytes(b"0123456789" * 5 + b"\nshort\n012345678\n0123456789\n" + b"x" * 30)
    documents, faults = read(Source((str(path),)))
    assert documents == [["short", "012345678"]]
    assert [line.split(":")[-2] for line in faults.first] == ["1", "4", "5"]


def test_a_document_without_end_is_cut_and_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "DOCUMENT_LIMIT", 10)
    path = tmp_path / "a.txt"
    path.write_text("aaaa\nbbbb\ncccc\n\ndddd\neeee\n\n" + "f" * 30)
    documents, faults = read(Source((str(path),)))
    assert documents == [["aaaa", "bbbb"], ["cccc"], ["dddd", "eeee"], ["f" * 30]]
    assert faults.first == [f"{path}:3: a document of more than 10 characters, cut"]


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"BZh91AY", "bzip2"),
        (b"PK\x03\x04", "zip"),
        (b"\xff\xfeO\x00n\x00", "UTF-16"),
        (b"\xfe\xff\x00O", "UTF-16"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: bytes, kind: str) -> None:
    (tmp_path / "a.txt").write_bytes(content)
    with pytest.raises(SourceError, match=rf"a\.txt.*{kind}"):
        read(Source((str(tmp_path / "a.txt"),)))


def test_files_are_sorted_and_read_once(tmp_path: Path) -> None:
    for name in ("b", "a", "c/d", "c/.hidden"):
        path = tmp_path / f"{name}.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_text(name)
    (tmp_path / "[x].txt").write_text("x")
    every = Source((str(tmp_path / "**" / "*.txt"), str(tmp_path / "a.txt"), str(tmp_path / "[x].txt")))
    assert [path.name for path in every.paths()] == ["[x].txt", "a.txt", "b.txt", "d.txt"]


def test_a_source_that_finds_nothing_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "folder.txt").mkdir()
    for pattern in ("absent.txt", "*.txt", "x*"):
        with pytest.raises(SourceError, match="finds no file"):
            Source((str(tmp_path / pattern),)).paths()
    with pytest.raises(SourceError, match="gone"):
        list(read_file(tmp_path / "gone", Source(("gone",))))


def test_shares_part_the_documents(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("\n\n".join(f"document {number}" for number in range(2000)))
    held_out, _ = read(Source((str(path),), share=(0.0, 0.1)))
    rest, _ = read(Source((str(path),), share=(0.1, 1.0)))
    assert sorted(held_out + rest) == sorted([f"document {number}"] for number in range(2000))
    assert 150 < len(held_out) < 250
    assert not {each[0] for each in held_out} & {each[0] for each in rest}


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"format": "csv"}, "csv"),
        ({"files": ()}, "files"),
        ({"share": (0.5, 0.5)}, "share"),
        ({"share": (0.0, 2.0)}, "share"),
    ],
)
def test_arguments(fields: dict[str, object], words: str) -> None:
    with pytest.raises(ArgumentError, match=words):
        Source(**{"files": ("a",), **fields})  # type: ignore[arg-type]


def test_a_fault_between_documents_keeps_its_place(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "a"}\n{\n{"text": "b"}\n')
    assert list(read_file(path, Source((str(path),)))) == [["a"], Fault(f"{path}:2", "not JSON"), ["b"]]
