"""Writing shards: arrays that grow a stretch of documents at a time, and the manifest behind them."""

import json
import os
import zlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from robertakit.files import text_writer, write_atomically
from robertakit.training.shards import FORMAT, MANIFEST, VERSION

__all__ = ["ShardWriter", "token_type", "write_manifest"]

_Tokens = NDArray[np.uint16] | NDArray[np.uint32]
Stored = Literal["<u2", "<u4", "|u1", "<i8"]


def token_type(vocab_size: int) -> Stored:
    """Return the smallest type that holds the ids of a vocabulary."""
    return "<u2" if vocab_size <= 1 << 16 else "<u4"


class ShardWriter:
    """Writes the arrays of one source, a stretch of documents at a time; files appear when ``close`` is called.

    Args:
        folder: of the shards.
        number: of the source among the sources.
        vocab_size: of the tokenizer.
    """

    def __init__(self, folder: Path, number: int, vocab_size: int) -> None:
        self._tokens = _ArrayWriter(folder / f"source-{number:03d}.tokens", token_type(vocab_size))
        self._words = _ArrayWriter(folder / f"source-{number:03d}.words", "|u1")
        self._sentences = _ArrayWriter(folder / f"source-{number:03d}.sentences", "<i8")
        self._documents = _ArrayWriter(folder / f"source-{number:03d}.documents", "<i8")
        self._left: NDArray[np.bool_] = np.zeros(0, bool)  # fewer than eight bits of words, not yet a byte

    def append(
        self,
        tokens: _Tokens,
        word_starts: NDArray[np.bool_],
        sentence_ends: NDArray[np.int64],
        document_ends: NDArray[np.int64],
    ) -> None:
        """Add documents: tokens (t,), bits (t,) unpacked, ends of sentences in tokens, of documents in sentences."""
        if not self._tokens.length:
            self._sentences.append(np.zeros(1, np.int64))
            self._documents.append(np.zeros(1, np.int64))
        tokens_before, sentences_before = self._tokens.length, self._sentences.length - 1
        self._tokens.append(tokens)
        self._sentences.append(sentence_ends + tokens_before)
        self._documents.append(document_ends + sentences_before)
        bits = np.concatenate([self._left, word_starts])
        whole = len(bits) // 8 * 8
        self._words.append(np.packbits(bits[:whole], bitorder="little"))
        self._left = bits[whole:]

    def close(self) -> dict[str, object]:
        """Finish the files; return what the manifest says of them."""
        self._words.append(np.packbits(self._left, bitorder="little"))
        arrays = {
            "tokens": self._tokens,
            "word_starts": self._words,
            "sentence_offsets": self._sentences,
            "document_offsets": self._documents,
        }
        return {name: array.close() for name, array in arrays.items()}

    def abandon(self) -> None:
        """Remove what was written."""
        for array in (self._tokens, self._words, self._sentences, self._documents):
            array.abandon()


class _ArrayWriter:
    """A raw array that grows under a temporary name; ``close`` syncs it to the disk and gives it its own."""

    def __init__(self, path: Path, stored: Stored) -> None:
        self.length, self._checksum = 0, 0
        self._path, self._type = path, np.dtype(stored)
        self._draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        self._file = self._draft.open("wb")

    def append(self, array: NDArray[np.generic]) -> None:
        content = np.ascontiguousarray(array, self._type)
        self._file.write(content.data)
        self._checksum = zlib.crc32(content.data, self._checksum)
        self.length += len(content)

    def close(self) -> dict[str, object]:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._draft.replace(self._path)
        return {
            "file": self._path.name,
            "type": self._type.str,
            "length": self.length,
            "crc32": f"{self._checksum:08x}",
        }

    def abandon(self) -> None:
        with suppress(OSError):  # a full disk refuses what is in the buffer once more
            self._file.close()
        self._draft.unlink(missing_ok=True)


def write_manifest(folder: Path, manifest: Mapping[str, object]) -> None:
    """Write the manifest: the old one or the new one is there, whenever the process ends.

    Raises:
        SaveFailed: the disk refused.
    """
    content = {"format": FORMAT, "version": VERSION, **manifest}
    write_atomically(
        folder, {MANIFEST: text_writer(json.dumps(content, ensure_ascii=False, indent=1) + "\n")}
    )
