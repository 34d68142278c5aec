"""Token shards: the tokens of a corpus on disk, memory-mapped, with checksums.

A folder holds ``manifest.json`` and four raw little-endian arrays for each source. The manifest is written last, so
that a folder that has one is whole; it names every array's file, type, length and CRC-32. The checksum is there
for disks and copies that err (a check of 100 GB is a matter of minutes), not against whoever means harm.
"""

import os
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from robertakit.errors import RobertakitError, ShardError, listed
from robertakit.files import finish_interrupted_save, is_plain_name, read_json
from robertakit.tokenizers import PreTrainedTokenizerBase

__all__ = [
    "MANIFEST",
    "FORMAT",
    "VERSION",
    "Corpus",
    "SourceTokens",
    "SpecialIds",
    "read_manifest",
]

MANIFEST = "manifest.json"
FORMAT = "robertakit-shards"
VERSION = 1
#: A manifest tells a few hundred bytes about each file of text; more than this is none of ours.
_MANIFEST_LIMIT = 1 << 28
#: Elements of an array that are looked at at once.
_BLOCK = 1 << 22

_Tokens = NDArray[np.uint16] | NDArray[np.uint32]
_Kind = TypeVar("_Kind")
_Scalar = TypeVar("_Scalar", bound=np.generic)


@dataclass(frozen=True)
class SpecialIds:
    """The ids that no text has.

    Attributes:
        bos: `<s>`, before a row.
        eos: `</s>`, behind a segment.
        pad: `<pad>`.
        mask: `<mask>`.
        unk: `<unk>`; unigram gives it to characters that it does not know, so that shards may hold it.
        all: all special ids of the tokenizer, sorted.
    """

    bos: int
    eos: int
    pad: int
    mask: int
    unk: int
    all: tuple[int, ...]

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase) -> "SpecialIds":
        """Return the special ids of a tokenizer.

        Raises:
            ShardError: it lacks one that training needs.
        """
        names = ("bos", "eos", "pad", "mask", "unk")
        found = {name: getattr(tokenizer, f"{name}_token_id") for name in names}
        ids = {name: id for name, id in found.items() if isinstance(id, int)}
        if missing := [f"{name}_token" for name in names if name not in ids]:
            raise ShardError(
                given=f"a tokenizer without {listed(missing)}",
                expected="bos_token, eos_token, pad_token, mask_token and unk_token",
                hint="masked-LM training needs them: add them to the tokenizer's files",
            )
        return cls(**ids, all=tuple(sorted({*ids.values(), *map(int, tokenizer.all_special_ids)})))


@dataclass(frozen=True)
class SourceTokens:
    """The tokens of one source, each document once, without special tokens.

    No sentence is empty and no document is: all offsets rise.

    Attributes:
        name: of the source.
        weight: passes over it in an epoch.
        language: its language's code, if it was told.
        tokens: (T,) uint16, or uint32 for vocabularies of more than 65,536; memory-mapped.
        word_starts: (ceil(T / 8),) bits, the lowest of a byte first: 1 where a token begins a word, by the word ids
            of the fast tokenizer. A sentence begins a word.
        sentence_offsets: (N + 1,) where sentences begin, in tokens; the last is T.
        document_offsets: (M + 1,) where documents begin, in sentences; the last is N.
    """

    name: str
    weight: float
    language: str | None
    tokens: _Tokens
    word_starts: NDArray[np.uint8]
    sentence_offsets: NDArray[np.int64]
    document_offsets: NDArray[np.int64]


@dataclass(frozen=True)
class Corpus:
    """The sources of a corpus, as tokens.

    Attributes:
        sources: in the order of the recipe.
        vocab_size: of the tokenizer, special and added tokens included.
        special: its special ids; no token of a source is one of them, but for `unk`.
        folder: where the arrays lie; None for a corpus made in memory.
        manifest: all that is known of how the shards were made, counts and bad lines included.

    Example:
        >>> import numpy as np
        >>> source = SourceTokens(
        ...     "two words", 1.0, "en", np.array([5, 6], np.uint16), np.packbits([1, 1], bitorder="little"),
        ...     np.array([0, 2]), np.array([0, 1]))
        >>> Corpus((source,), 10, SpecialIds(0, 2, 1, 9, 3, (0, 1, 2, 3, 9))).tokens
        2
    """

    sources: tuple[SourceTokens, ...]
    vocab_size: int
    special: SpecialIds
    folder: Path | None = None
    manifest: Mapping[str, object] = field(default_factory=dict, repr=False)

    @classmethod
    def open(cls, folder: str | os.PathLike[str], verify: bool = True) -> "Corpus":
        """Map the shards of a folder into memory; nothing of the arrays is copied.

        Args:
            folder: written by ``tokenization.tokenize``.
            verify: read every array once, and check its checksum, that offsets rise, and that tokens are ids of text;
                without, sizes alone are checked.

        Raises:
            ShardError: there are no shards, they are of another version, or a file is missing or damaged; it is
                named.
        """
        folder = Path(folder)
        manifest = read_manifest(folder)
        if manifest is None:
            raise ShardError(
                given=f"'{folder}' has no {MANIFEST}",
                expected="a folder of shards",
                hint="tokenize the corpus first",
            )
        try:
            special = _table(manifest["special"])
            ids = {name: _of(int, special[name]) for name in ("bos", "eos", "pad", "mask", "unk")}
            special_ids = SpecialIds(**ids, all=tuple(_of(int, id) for id in _of(list, special["all"])))
            vocab_size = _of(int, manifest["vocab_size"])
            tables = [_table(row) for row in _of(list, manifest["sources"])]
            sources = tuple(_map_source(folder, table) for table in tables)
        except (KeyError, ValueError) as error:
            raise ShardError(
                given=f"'{folder / MANIFEST}' is damaged ({error!r})", hint="tokenize the corpus again"
            ) from error
        corpus = cls(sources, vocab_size, special_ids, folder, manifest)
        for source, table in zip(sources, tables, strict=True):
            _check_ends(folder, source, table)
            if verify:
                _verify(folder, source, table, corpus)
        return corpus

    @property
    def tokens(self) -> int:
        """Tokens of all sources, each once."""
        return sum(len(source.tokens) for source in self.sources)

    def __reduce__(self) -> tuple[object, ...]:
        """Another process maps the files itself."""
        if self.folder is not None:
            return Corpus.open, (self.folder, False)
        return Corpus, (self.sources, self.vocab_size, self.special, None, self.manifest)


def read_manifest(folder: Path) -> dict[str, object] | None:
    """Return the manifest of a folder of shards; None where there is none.

    Raises:
        ShardError: it cannot be read, or is not of this format and version.
    """
    path = folder / MANIFEST
    try:
        finish_interrupted_save(folder)
        manifest = read_json(path, limit=_MANIFEST_LIMIT)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (RobertakitError, OSError) as error:
        raise ShardError(
            given=f"'{path}' cannot be read ({error})", hint="tokenize the corpus again, into another folder"
        ) from error
    if not isinstance(manifest, dict) or (manifest.get("format"), manifest.get("version")) != (
        FORMAT,
        VERSION,
    ):
        raise ShardError(
            given=f"'{path}' is not of this format",
            expected=f"{FORMAT}, version {VERSION}",
            hint="tokenize the corpus again, into another folder",
        )
    return {str(name): value for name, value in manifest.items()}


def _map_source(folder: Path, table: dict[str, object]) -> SourceTokens:
    language = table["language"]
    tokens = _table(table["tokens"])
    return SourceTokens(
        name=_of(str, table["name"]),
        weight=float(_of((int, float), table["weight"])),
        language=None if language is None else _of(str, language),
        tokens=(
            _map_array(folder, tokens, np.uint32)
            if tokens["type"] == "<u4"
            else _map_array(folder, tokens, np.uint16)
        ),
        word_starts=_map_array(folder, _table(table["word_starts"]), np.uint8),
        sentence_offsets=_map_array(folder, _table(table["sentence_offsets"]), np.int64),
        document_offsets=_map_array(folder, _table(table["document_offsets"]), np.int64),
    )


def _map_array(folder: Path, table: dict[str, object], kind: type[_Scalar]) -> NDArray[_Scalar]:
    name, length = _of(str, table["file"]), _of(int, table["length"])
    stored = np.dtype(kind).newbyteorder("<")
    if not is_plain_name(name) or length < 1 or table["type"] != stored.str:
        raise ValueError(f"array {table}")
    path, expected = folder / name, length * stored.itemsize
    try:
        size = path.stat().st_size
        if size == expected:
            return np.memmap(path, stored, mode="r", shape=(length,))
    except OSError as error:
        raise ShardError(
            given=f"'{path}' cannot be read ({error.strerror})", hint="tokenize the corpus again"
        ) from error
    raise ShardError(
        given=f"'{path}' has {size:,} bytes", expected=f"{expected:,}", hint="tokenize the corpus again"
    )


def _check_ends(folder: Path, source: SourceTokens, table: dict[str, object]) -> None:
    """Arrays that fit each other: what `packing` relies on, cheap enough to be checked always."""
    tokens, sentences = len(source.tokens), len(source.sentence_offsets) - 1
    fits = (
        (int(source.sentence_offsets[0]), int(source.sentence_offsets[-1])) == (0, tokens)
        and (int(source.document_offsets[0]), int(source.document_offsets[-1])) == (0, sentences)
        and len(source.word_starts) == -(-tokens // 8)
    )
    if not fits:
        raise ShardError(
            given=f"in '{folder}', the arrays of source '{source.name}' do not fit each other",
            expected="offsets from 0 to the number of what they count",
            hint="tokenize the corpus again",
        )


def _verify(folder: Path, source: SourceTokens, table: dict[str, object], corpus: Corpus) -> None:
    text = np.ones(corpus.vocab_size, bool)
    text[[id for id in corpus.special.all if id < corpus.vocab_size and id != corpus.special.unk]] = False
    for block in _checked(folder, source.tokens, _table(table["tokens"])):
        if int(block.max()) >= corpus.vocab_size or not text[block].all():
            raise _damaged(folder / str(_table(table["tokens"])["file"]), "tokens that are no ids of text")
    for _ in _checked(folder, source.word_starts, _table(table["word_starts"])):
        pass
    for offsets, name in (
        (source.sentence_offsets, "sentence_offsets"),
        (source.document_offsets, "document_offsets"),
    ):
        last = -1
        for block in _checked(folder, offsets, _table(table[name])):
            if (np.diff(block, prepend=last) <= 0).any():
                raise _damaged(folder / str(_table(table[name])["file"]), "offsets that do not rise")
            last = int(block[-1])


def _checked(folder: Path, array: NDArray[_Scalar], table: dict[str, object]) -> Iterator[NDArray[_Scalar]]:
    """The blocks of an array; behind the last one its checksum is compared."""
    checksum = 0
    for start in range(0, len(array), _BLOCK):
        block = np.ascontiguousarray(array[start : start + _BLOCK])
        checksum = zlib.crc32(block.data, checksum)
        yield block
    if f"{checksum:08x}" != table["crc32"]:
        raise _damaged(
            folder / str(table["file"]), f"the checksum {checksum:08x} in place of {table['crc32']}"
        )


def _damaged(path: Path, found: str) -> ShardError:
    return ShardError(given=f"'{path}' is damaged: it has {found}", hint="tokenize the corpus again")


def _table(value: object) -> dict[str, object]:
    return _of(dict, value)


def _of(kind: type[_Kind] | tuple[type[_Kind], ...], value: object) -> _Kind:
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ValueError(f"{value!r} in place of {kind}")
    return value
