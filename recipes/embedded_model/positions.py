"""Held-out rows and the words hidden in them: the same positions in every report, whatever trains the model.

The protocol, unchanged since the first report, so that figures can be compared: the held-out documents, in their order,
are packed into rows of at most 512 tokens with full sentences, a `</s>` between documents; of the words of each row
15 % (rounded up or down by chance) are drawn once and every one is replaced by `<mask>`. The draws are those of the
finaliser of SplitMix64 over (seed, row, column); the package's own masking draws otherwise, hence this small
function here.

Kinds of text: the held-out file keeps the order of its sources, so each kind is known by the first line of its first
document (`held_out.json`).

Shape letters: B rows, L = 512, R hidden positions.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from pathlib import Path

import numpy as np
from left_out import HERE, documents
from numpy.typing import NDArray

from robertakit import PreTrainedTokenizerFast
from robertakit.batch import Batch, Encoding

LENGTH, RATE = 512, 0.15
BOS, PAD, EOS, FIRST_WORD = 0, 1, 2, 4  # `<unk>` is 3; `<mask>` is the last id
# After a full stop, question or exclamation mark and closing quotes, before a space and what may begin a sentence.
SENTENCE_START = re.compile(
    r"""(?<=[.!?])(?=\s["'“‘(\[]?[A-Z0-9])|(?<=[.!?]["'”’)\]])(?=\s["'“‘(\[]?[A-Z0-9])"""
)
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Hidden:
    """Hidden positions: the right token, its neighbours (-1 where one tells nothing), its row; (R,) each.

    `one_piece`: the word is a single token; `kind`: index of its kind of text.
    """

    right_answer: Ints
    left: Ints
    right: Ints
    row: Ints
    one_piece: Bools
    kind: Ints

    def part(self, which: Bools) -> "Hidden":
        return Hidden(*(getattr(self, field.name)[which] for field in fields(self)))


@dataclass(frozen=True)
class HeldOut:
    """Rows (B, L) of ids, padded, and where words are hidden in them; `documents` (B, L) is -1 at special tokens."""

    ids: Ints
    documents: Ints
    is_hidden: Bools
    kinds: tuple[str, ...]
    kind_of_document: Ints
    mask: int

    @classmethod
    def read(
        cls, path: Path, tokenizer: PreTrainedTokenizerFast, kinds: Sequence[tuple[str, str]] = ()
    ) -> "HeldOut":
        """Read a file of documents; `kinds` are (kind, first line of its first document), in order."""
        texts = list(documents(path))
        names, kind_of_document = _kinds([text[0] for text in texts], kinds)
        tokens = [_sentences(text, tokenizer) for text in texts]
        rows = list(_packed(tokens))
        ids, owners = np.full((len(rows), LENGTH), PAD), np.full((len(rows), LENGTH), -1)
        for row, (own, of) in enumerate(rows):
            ids[row, : len(own) + 2] = [BOS, *own, EOS]
            owners[row, 1 : len(own) + 1] = np.where(np.asarray(own) == EOS, -1, of)
        mask = tokenizer.mask_token_id
        return cls(ids, owners, draw(ids), names, kind_of_document, mask)

    @property
    def inputs(self) -> Ints:
        """(B, L) with `<mask>` in place of what is hidden."""
        return np.where(self.is_hidden, self.mask, self.ids)

    def hidden(self, begins_word: Bools) -> Hidden:
        """The hidden positions, row by row; `begins_word` (V,) is of `begins_word` below."""
        row, column = np.nonzero(self.is_hidden)
        inputs = self.inputs

        def neighbour(step: int) -> Ints:
            seen = inputs[row, column + step]
            return np.where((seen >= FIRST_WORD) & (seen != self.mask), seen, -1)

        # a word is one piece if its token begins a word and so does what follows (special tokens do)
        alone = begins_word[self.ids[row, column]] & begins_word[self.ids[row, column + 1]]
        kind = self.kind_of_document[self.documents[row, column]]
        return Hidden(self.ids[row, column], neighbour(-1), neighbour(1), row, alone, kind)

    def batches(self, rows: int = 16) -> Iterator[tuple[Batch, Ints]]:
        """Packed batches and the packed rows of their hidden positions, in the order of `hidden`."""
        for at in range(0, len(self.ids), rows):
            real = self.ids[at : at + rows] != PAD
            where = (np.cumsum(real) - 1)[np.flatnonzero(self.is_hidden[at : at + rows])]
            inputs = self.inputs[at : at + rows]
            encodings = [Encoding(row[kept].astype(np.int32)) for row, kept in zip(inputs, real, strict=True)]
            yield Batch.from_encodings(encodings, padding_idx=PAD), where


def begins_word(vocabulary: dict[str, int]) -> Bools:
    """For each id, whether a word, a number or a mark begins with it; only letters inside a word go on (V,)."""
    begins = np.ones(len(vocabulary), bool)
    for token, index in vocabulary.items():
        begins[index] = index < FIRST_WORD or token.startswith(("Ġ", "▁", "<")) or not token[0].isalnum()
    return begins


def known_kinds(file: Path = HERE / "held_out.json") -> list[tuple[str, str]]:
    """The kinds that a file tells of, each with the first line of its first document."""
    rows = json.loads(file.read_text(encoding="utf-8"))["kinds"]
    return [(row["kind"], row["first line"]) for row in rows]


def _kinds(titles: list[str], kinds: Sequence[tuple[str, str]]) -> tuple[tuple[str, ...], Ints]:
    """Names of the kinds, and which each document is of."""
    if not kinds:
        return ("text",), np.zeros(len(titles), np.int64)
    names = tuple(dict.fromkeys(kind for kind, _ in kinds))
    found, at = np.zeros(len(titles), np.int64), 0
    for kind, title in kinds:
        if title not in titles[at:]:
            raise SystemExit(
                f"the held-out text has no document that begins with {title!r} where {kind} should begin"
            )
        at = titles.index(title, at)
        found[at:] = names.index(kind)
    return names, found


def _sentences(paragraphs: list[str], tokenizer: PreTrainedTokenizerFast) -> list[list[int]]:
    pieces = [piece for paragraph in paragraphs for piece in SENTENCE_START.split(paragraph) if piece]
    ids: list[list[int]] = tokenizer(pieces, add_special_tokens=False, verbose=False)["input_ids"]
    return ids


def _packed(texts: list[list[list[int]]]) -> Iterator[tuple[list[int], list[int]]]:
    """Rows of full sentences, without `<s>` and the last `</s>`, and the document of each token.

    A row takes sentences while they fit; a sentence that is longer than a row is cut.
    """
    room, row, owners = LENGTH - 2, list[int](), list[int]()
    for document, sentences in enumerate(texts):
        separator = [EOS]
        for sentence in sentences:
            for begin, end in pairwise([*range(0, len(sentence), room), len(sentence)]):
                if row and len(row) + len(separator) + end - begin > room:
                    yield row, owners
                    row, owners = [], []
                piece = [*(separator if row else []), *sentence[begin:end]]
                separator = []
                row, owners = row + piece, owners + [document] * len(piece)
    if row:
        yield row, owners


def draw(ids: Ints, seed: int = 0) -> Bools:
    """Which words of rows (B, L) are hidden: of the n words of a row RATE·n, rounded up or down by chance."""
    columns = np.arange(ids.shape[1], dtype=np.uint64)
    state = np.random.SeedSequence([seed, 0, 1]).generate_state(1, np.uint32)[0]
    first = np.uint64(int(state) << 24)
    keys = _mix(np.arange(len(ids), dtype=np.uint64) + first)[:, None]
    words = ids >= FIRST_WORD
    counts = np.float32(RATE) * words.sum(1).astype(np.float32) + _uniform(
        keys[:, 0] + np.uint64(ids.shape[1])
    )
    order = np.where(words, _uniform(keys + columns), np.float32(2)).argsort(1, kind="stable")
    hidden = np.zeros(ids.shape, bool)
    for row, count in enumerate(counts.astype(np.int64).tolist()):
        hidden[row, order[row, :count]] = True
    return hidden & words


def _mix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Scramble (the finaliser of SplitMix64); sums and products wrap around."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _uniform(x: NDArray[np.uint64]) -> NDArray[np.float32]:
    """Numbers in [0, 1), float32."""
    return ((_mix(x) >> np.uint64(40)) & np.uint64(0xFFFFFF)).astype(np.float32) / np.float32(1 << 24)
