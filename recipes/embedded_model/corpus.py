"""Text files to documents, sentences and token shards.

A source file is xz-compressed UTF-8: a paragraph per line, a blank line between documents. A shard holds the
tokens of one source, each document once; weights and masks come at training time (`batches.py`).
"""

import io
import json
import lzma
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tokenizers
from numpy.typing import NDArray

HERE = Path(__file__).parent
# After a full stop, question or exclamation mark and closing quotes, before a space and what may begin a
# sentence. The space stays with the next sentence: byte-level BPE then gives the ids of the whole paragraph.
SENTENCE_START = re.compile(
    r"""(?<=[.!?])(?=\s["'“‘(\[]?[A-Z0-9])|(?<=[.!?]["'”’)\]])(?=\s["'“‘(\[]?[A-Z0-9])"""
)


@dataclass(frozen=True)
class Source:
    """A file of the corpus and how often an epoch reads it."""

    file: str
    passes: float
    licence: str
    attribution: str


def sources(path: Path = HERE / "sources.json") -> list[Source]:
    return [Source(**row) for row in json.loads(path.read_text(encoding="utf-8"))["sources"]]


def documents(path: Path) -> Iterator[list[str]]:
    """The documents of a file, each a list of paragraphs."""
    paragraphs: list[str] = []
    with lzma.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            line = line.rstrip("\n")
            if line:
                paragraphs.append(line)
            elif paragraphs:
                yield paragraphs
                paragraphs = []
    if paragraphs:
        yield paragraphs


def sentences(paragraph: str) -> list[str]:
    """A paragraph cut at its sentences; joined they are the paragraph again."""
    return [piece for piece in SENTENCE_START.split(paragraph) if piece]


def load_tokenizer(folder: Path) -> tokenizers.ByteLevelBPETokenizer:
    """The one place of the recipe that knows which tokenizer it uses."""
    return tokenizers.ByteLevelBPETokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"))


@dataclass(frozen=True)
class Shard:
    """The tokens of a source, without special tokens.

    `tokens` (T,) uint16; `sentence_lengths` (N,) uint16, in tokens; `document_lengths` (M,) int32, in
    sentences.
    """

    tokens: NDArray[np.uint16]
    sentence_lengths: NDArray[np.uint16]
    document_lengths: NDArray[np.int32]

    def save(self, path: Path) -> None:
        buffer = io.BytesIO()
        np.savez(
            buffer,
            tokens=self.tokens,
            sentence_lengths=self.sentence_lengths,
            document_lengths=self.document_lengths,
        )
        path.write_bytes(lzma.compress(buffer.getvalue(), preset=6))

    @classmethod
    def load(cls, path: Path) -> "Shard":
        with np.load(io.BytesIO(lzma.decompress(path.read_bytes()))) as arrays:
            return cls(arrays["tokens"], arrays["sentence_lengths"], arrays["document_lengths"])


def tokenize(path: Path, tokenizer: tokenizers.ByteLevelBPETokenizer) -> Shard:
    """A source file as a shard. A sentence of more than 65,535 tokens is none, and raises."""
    ids: list[NDArray[np.uint16]] = []
    sentence_lengths: list[int] = []
    document_lengths: list[int] = []
    for paragraphs in documents(path):
        pieces = [sentence for paragraph in paragraphs for sentence in sentences(paragraph)]
        encoded = [encoding.ids for encoding in tokenizer.encode_batch(pieces)]
        ids.extend(np.asarray(row, np.uint16) for row in encoded)
        sentence_lengths.extend(len(row) for row in encoded)
        document_lengths.append(len(encoded))
    return Shard(
        np.concatenate(ids), np.asarray(sentence_lengths, np.uint16), np.asarray(document_lengths, np.int32)
    )
