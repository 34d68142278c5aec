"""Shards of a few documents, made in memory: what packing, sampling and masking read, and nothing else."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Source:
    name: str
    weight: float
    language: str | None
    tokens: NDArray[np.uint16]
    word_starts: NDArray[np.uint8]
    sentence_offsets: NDArray[np.int64]
    document_offsets: NDArray[np.int64]


@dataclass(frozen=True)
class Special:
    bos: int = 0
    pad: int = 1
    eos: int = 2
    unk: int = 3
    mask: int = 4
    all: tuple[int, ...] = (0, 1, 2, 3, 4)


@dataclass(frozen=True)
class Corpus:
    sources: tuple[Source, ...]
    vocab_size: int = 1000
    special: Special = Special()


def source(
    documents: Sequence[Sequence[int]],
    name: str = "a",
    weight: float = 1.0,
    language: str | None = None,
    first: int = 10,
    word: int = 3,
) -> Source:
    """Documents as lengths of sentences; tokens are numbered from `first`, a word is `word` of them."""
    sentences = [length for document in documents for length in document]
    offsets = np.cumsum([0, *sentences])
    tokens = np.arange(first, first + offsets[-1]).astype(np.uint16)
    starts = np.arange(len(tokens)) % word == 0
    starts[offsets[:-1][np.asarray(sentences, np.int64) > 0]] = True
    return Source(
        name,
        weight,
        language,
        tokens,
        np.packbits(starts, bitorder="little"),
        offsets,
        np.cumsum([0, *(len(document) for document in documents)]),
    )
