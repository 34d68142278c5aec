"""Training text as it lies on disk: text, JSON lines and Parquet; plain, gzip, xz and zstd.

A reader yields documents, each a list of paragraphs, and faults: what it had to leave out, and where. A line that
cannot be read is a fault; a file that cannot be is an error, since nobody knows what the rest of it held.
"""

import glob
import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

from robertakit.errors import ArgumentError, RobertakitError, SourceError, listed, require
from robertakit.training import compression
from robertakit.training.faults import Fault, Faults
from robertakit.training.json_lines import document_of, read_json_lines

__all__ = ["FORMATS", "Document", "Source", "read_documents", "read_file"]

FORMATS = ("auto", "text", "lines", "files", "json-lines", "parquet")
#: Longest line, in bytes, that is read: a file without line ends must not fill the memory.
LINE_LIMIT = 1 << 26
#: Longest document of the formats "text" and "files", in characters: what is longer is cut between paragraphs.
DOCUMENT_LIMIT = 1 << 22
#: Rows of a Parquet file that are in memory at once.
_ROWS = 1024
_COMPRESSED = (".gz", ".gzip", ".xz", ".zst", ".zstd")
_BY_NAME = {".jsonl": "json-lines", ".ndjson": "json-lines", ".json": "json-lines", ".parquet": "parquet"}
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
#: First bytes of what is neither text nor read here, and what it is.
_NO_TEXT = {
    b"BZh": "bzip2",
    b"PK\x03\x04": "a zip archive",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"\x04\x22\x4d\x18": "lz4",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
    b"PAR1": "Parquet",
}

#: The paragraphs of a document; none is blank, and there is at least one.
Document = list[str]


@dataclass(frozen=True)
class Source:
    """Files of one kind, read as one source.

    Attributes:
        files: paths or globs (``**`` too). Each file is read once, in the order of the sorted paths.
        name: how the source is called in reports; by default after the first of ``files``.
        format: "text" (a paragraph a line, a blank line between documents), "lines" (a document a line), "files" (a
            document a file, a paragraph a line), "json-lines" (a document an object; line ends part its paragraphs),
            "parquet" (a document a row), or "auto": by the files' names, "text" where they do not say.
        field: the text's key in JSON lines, or its column in Parquet.
        weight: passes over the source in an epoch.
        language: code of the source's language.
        licence: of the text.
        attribution: whom a model's card must name.
        share: the documents that are read, as a range of the hash of their text that begins with the first number
            (0 is the least) and ends before the second: ``(0.0, 0.01)`` and ``(0.01, 1.0)`` part held-out text from
            the rest.

    Example:
        >>> Source(("corpus/wikipedia_*.txt.xz",)).title
        'wikipedia_*'
    """

    files: tuple[str, ...]
    name: str | None = None
    format: str = "auto"
    field: str = "text"
    weight: float = 1.0
    language: str | None = None
    licence: str | None = None
    attribution: str | None = None
    share: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self) -> None:
        if self.format not in FORMATS:
            raise ArgumentError(given=f"format={self.format!r}", expected=f"one of {', '.join(FORMATS)}")
        if not self.files or not isinstance(self.files, tuple):
            raise ArgumentError(given=f"files={self.files!r}", expected="a tuple of paths or globs")
        if not 0 <= self.share[0] < self.share[1] <= 1:
            raise ArgumentError(given=f"share={self.share}", expected="two rising numbers from 0 to 1")

    @property
    def title(self) -> str:
        """The source's name; without one, that of its first file, endings left out."""
        return self.name or Path(self.files[0]).name.split(".")[0] or self.files[0]

    def paths(self) -> list[Path]:
        """Return the files, sorted, each once.

        Raises:
            SourceError: a path or glob finds no file.
        """
        found: set[str] = set()
        for pattern in self.files:
            expanded = os.path.expanduser(pattern)  # noqa: PTH111 (a glob, which pathlib would change)
            matches = [expanded] if Path(expanded).is_file() else glob.glob(expanded, recursive=True)  # noqa: PTH207
            files = [name for name in matches if Path(name).is_file()]
            if not files:
                raise SourceError(
                    given=f"'{pattern}' of source '{self.title}' finds no file",
                    hint="check the path or the glob",
                )
            found.update(os.path.normpath(name) for name in files)
        return [Path(name) for name in sorted(found)]


def read_documents(source: Source, faults: Faults | None = None) -> Iterator[Document]:
    r"""Yield the documents of a source, file after file.

    Args:
        source: what to read.
        faults: what was left out is counted here.

    Raises:
        SourceError: as of ``read_file``.

    Example:
        >>> from tempfile import mkdtemp
        >>> path = Path(mkdtemp()) / "two.jsonl"
        >>> _ = path.write_text('{"text": "One.\\n\\nTwo."}\n{"no": "text"}\n')
        >>> list(read_documents(Source((str(path),)), faults := Faults())), dict(faults.counts)
        ([['One.', 'Two.']], {"no field 'text'": 1})
    """
    for path in source.paths():
        for item in read_file(path, source):
            if isinstance(item, Fault):
                if faults is not None:
                    faults.add(item)
            else:
                yield item


def read_file(path: Path, source: Source) -> Iterator[Document | Fault]:
    """Yield the documents of one file, and what had to be left out, in the order of the file.

    How a file is compressed is judged by its first bytes. White space around paragraphs is left out, and so is a mark
    of the byte order at the beginning.

    Raises:
        SourceError: the file cannot be read to its end (it is cut off, damaged, or not what was said).
        DependencyError: it needs a package of the extra ``train``.
    """
    try:
        for item in _read(path, source):
            if isinstance(item, Fault) or source.share == (0.0, 1.0) or _within(item, source.share):
                yield item
    except RobertakitError:
        raise
    except compression.DAMAGES as error:
        raise SourceError(
            given=f"'{path}' cannot be read to its end ({error})",
            expected="a whole file",
            hint="copy or download it again, or leave it out",
        ) from error
    except OSError as error:
        raise SourceError(
            given=f"'{path}' cannot be read ({error.strerror or error})",
            hint="check the file, or leave it out",
        ) from error


def _within(document: Document, share: tuple[float, float]) -> bool:
    digest = hashlib.blake2b("\n".join(document).encode(), digest_size=8).digest()
    return share[0] <= int.from_bytes(digest, "big") / 2**64 < share[1]


def _read(path: Path, source: Source) -> Iterator[Document | Fault]:
    form = _format_of(path) if source.format == "auto" else source.format
    if form == "parquet":
        yield from _parquet(path, source.field)
        return
    with compression.open_decompressed(path) as file:
        start = file.peek(8)[:8]
        for signature, kind in _NO_TEXT.items():
            if start.startswith(signature):
                raise SourceError(
                    given=f"'{path}' is {kind}",
                    expected=f"{form}; plain, gzip, xz or zstd",
                    hint="convert it, or say another format",
                )
        lines = _lines(file, path)
        if form == "json-lines":
            yield from read_json_lines(lines, path, source.field)
        elif form == "lines":
            yield from ([line] if isinstance(line, str) else line for _, line in lines if line)
        else:
            yield from _paragraphs(lines, path, blank_ends=form == "text")


def _format_of(path: Path) -> str:
    name = path.name.lower()
    for ending in _COMPRESSED:
        name = name.removesuffix(ending)
    return _BY_NAME.get(Path(name).suffix, "text")


def _lines(file: BinaryIO, path: Path) -> Iterator[tuple[int, str | Fault]]:
    """Lines, numbered from 1, without white space around them; or why one could not be read."""
    whole = partial(file.readline, LINE_LIMIT)
    for number, content in enumerate(iter(whole, b""), 1):
        if len(content) == LINE_LIMIT and not content.endswith(b"\n"):
            while (more := whole()) and not more.endswith(b"\n"):
                pass
            yield number, Fault(f"{path}:{number}", f"a line of more than {LINE_LIMIT >> 20} MiB")
            continue
        if number == 1:
            content = content.removeprefix(_BYTE_ORDER_MARK)
        try:
            yield number, content.decode().strip()
        except UnicodeDecodeError:
            yield number, Fault(f"{path}:{number}", "not UTF-8")


def _paragraphs(
    lines: Iterable[tuple[int, str | Fault]], path: Path, *, blank_ends: bool
) -> Iterator[Document | Fault]:
    document: Document = []
    size = 0
    for number, line in lines:
        if isinstance(line, Fault):
            yield line
            continue
        if document and ((blank_ends and not line) or size + len(line) > DOCUMENT_LIMIT):
            if line:
                place = f"{path}:{number}"
                yield Fault(place, f"a document of more than {DOCUMENT_LIMIT:,} characters, cut")
            yield document
            document, size = [], 0
        if line:
            document.append(line)
            size += len(line)
    if document:
        yield document


def _parquet(path: Path, column: str) -> Iterator[Document | Fault]:
    parquet = require("pyarrow.parquet", extra="train", needed_for=f"reading '{path}'")
    arrow = require("pyarrow", extra="train", needed_for=f"reading '{path}'")
    try:
        with parquet.ParquetFile(path) as file:
            names = file.schema_arrow.names
            if column not in names:
                raise SourceError(
                    given=f"'{path}' has no column '{column}'",
                    expected=f"one of its columns: {listed(names)}",
                    hint="say which one in field",
                )
            kind = file.schema_arrow.field(column).type
            kind = kind.value_type if arrow.types.is_dictionary(kind) else kind
            if not str(kind).removeprefix("large_").startswith(("string", "binary")):
                raise SourceError(
                    given=f"column '{column}' of '{path}' is of type {kind}",
                    expected="strings",
                    hint="say another column in field",
                )
            row = 0
            for batch in file.iter_batches(batch_size=_ROWS, columns=[column]):
                values = batch.column(0)
                if arrow.types.is_dictionary(values.type):
                    values = values.dictionary_decode()
                # As bytes: one string that is not UTF-8 would spoil its whole batch.
                for value in values.cast(arrow.large_binary()).to_pylist():
                    row += 1
                    yield _row(value, f"{path}:row {row}")
    except arrow.ArrowException as error:
        raise SourceError(
            given=f"'{path}' cannot be read as Parquet ({error})",
            expected="a whole Parquet file",
            hint="copy or download it again, or leave it out",
        ) from error


def _row(value: bytes | None, place: str) -> Document | Fault:
    try:
        return document_of(None if value is None else value.decode(), place)
    except UnicodeDecodeError:
        return Fault(place, "not UTF-8")
