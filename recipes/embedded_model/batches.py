"""Shards to batches: documents weighted and shuffled each epoch, full sentences packed, masks drawn afresh.

All draws are keyed by (seed, epoch) and, for masks, by the sequence's index and the position in it: they do not
depend on the device, the batch size, or where a run was interrupted.

Shape letters: B batch, L row length, R predicted rows, M documents, N sentences, T tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from corpus import Shard, Source
from numpy.typing import NDArray
from torch import Tensor

BOS, PAD, EOS = 0, 1, 2
FIRST_WORD = 4  # behind <s> <pad> </s> <unk>; <mask> is the last id
IGNORED = -100
RATE = 0.15
SPLIT = (0.8, 0.1)  # masked, replaced by a random word; the rest stays


@dataclass(frozen=True)
class Corpus:
    """Documents of all sources; each is `</s>`, then its sentences.

    `tokens` (T,) uint16; `sentence_lengths` (N,) int32, the separator counted with the first sentence;
    `token_offsets`, `sentence_offsets` (M+1,); `source` (M,) index into `passes`.
    """

    tokens: NDArray[np.uint16]
    sentence_lengths: NDArray[np.int32]
    token_offsets: NDArray[np.int64]
    sentence_offsets: NDArray[np.int64]
    source: NDArray[np.int64]
    passes: tuple[float, ...]

    @classmethod
    def load(cls, folder: Path, sources: Sequence[Source]) -> "Corpus":
        return cls.of([Shard.load(folder / f"{source.file}.npz.xz") for source in sources], sources)

    @classmethod
    def of(cls, shards: Sequence[Shard], sources: Sequence[Source]) -> "Corpus":
        sentences = np.concatenate([shard.sentence_lengths for shard in shards]).astype(np.int32)
        documents = np.concatenate([shard.document_lengths for shard in shards])
        sentence_offsets = _offsets(documents)
        plain = _offsets(sentences)[sentence_offsets]  # where documents begin without separators
        tokens = np.insert(np.concatenate([shard.tokens for shard in shards]), plain[:-1], np.uint16(EOS))
        sentences[sentence_offsets[:-1]] += 1
        source = np.repeat(np.arange(len(shards)), [len(shard.document_lengths) for shard in shards])
        token_offsets = plain + np.arange(len(plain))
        passes = tuple(source.passes for source in sources)
        return cls(tokens, sentences, token_offsets, sentence_offsets, source, passes)

    def draw(self, generator: np.random.Generator) -> NDArray[np.int64]:
        """The documents of an epoch, shuffled: whole passes, and a random share for what is left of one."""
        drawn = []
        for index, passes in enumerate(self.passes):
            own = np.flatnonzero(self.source == index)
            share = round((passes % 1) * len(own))
            drawn += [own] * int(passes) + [generator.permutation(own)[:share]]
        return generator.permutation(np.concatenate(drawn))


@dataclass(frozen=True)
class Rows:
    """Packed rows of one length: `starts`, `lengths` (rows,) in `stream`; `first` is the first one's index."""

    size: int
    stream: Tensor
    starts: Tensor
    lengths: Tensor
    first: int

    def to(self, device: torch.device) -> "Rows":
        return Rows(
            self.size, self.stream.to(device), self.starts.to(device), self.lengths.to(device), self.first
        )

    def batch(self, start: int, stop: int) -> tuple[Tensor, Tensor, Tensor]:
        """Rows from `start` up to `stop`: ids (B, L) int64, lengths (B,) with special tokens, indices (B,)."""
        starts, lengths = self.starts[start:stop], self.lengths[start:stop]
        column = torch.arange(self.size, device=starts.device)
        where = (starts[:, None] + column - 1).clamp(0, len(self.stream) - 1)
        ids = self.stream[where].long()
        ids[:, 0] = BOS
        ids = torch.where(column <= lengths[:, None], ids, PAD)
        ids = torch.where(column == lengths[:, None] + 1, EOS, ids)
        return ids, lengths + 2, torch.arange(self.first + start, self.first + stop, device=starts.device)


@dataclass(frozen=True)
class Epoch:
    """The rows of an epoch and the order of its batches: (which rows, start, stop)."""

    rows: tuple[Rows, ...]
    order: tuple[tuple[int, int, int], ...]

    def to(self, device: torch.device) -> "Epoch":
        return Epoch(tuple(rows.to(device) for rows in self.rows), self.order)


def plan_epoch(
    corpus: Corpus, mix: Sequence[tuple[int, float]], batch_tokens: int, seed: int, epoch: int
) -> Epoch:
    """Draw an epoch.

    Args:
        corpus: the documents.
        mix: row lengths, and which share of the documents is packed to each.
        batch_tokens: tokens of a batch, padding included; what does not fill one is left to later epochs.
        seed: of the run.
        epoch: from 0.
    """
    generator = np.random.default_rng([seed, epoch])
    drawn = corpus.draw(generator)
    shares = np.cumsum([share for _, share in mix])
    chosen = np.searchsorted(shares / shares[-1], generator.random(len(drawn)), side="right")
    packed: list[Rows] = []
    order: list[tuple[int, int, int]] = []
    first = 0
    for index, (size, _) in enumerate(mix):
        rows = pack_rows(corpus, drawn[chosen == index], size, first)
        per_batch = batch_tokens // size
        count = len(rows.starts)
        shuffled = torch.from_numpy(generator.permutation(count))
        packed.append(Rows(size, rows.stream, rows.starts[shuffled], rows.lengths[shuffled], first))
        order += [(index, at, at + per_batch) for at in range(0, count - per_batch + 1, per_batch)]
        first += count
    return Epoch(tuple(packed), tuple(order[i] for i in generator.permutation(len(order))))


def pack_rows(corpus: Corpus, documents: NDArray[np.int64], size: int, first: int = 0) -> Rows:
    """Pack documents, in their order, into rows of at most `size` tokens (FULL-SENTENCES).

    A row takes sentences while they fit; documents in it are separated by `</s>`. A sentence that is longer
    than a row is cut.
    """
    room = size - 2
    tokens = [corpus.tokens[corpus.token_offsets[d] : corpus.token_offsets[d + 1]] for d in documents]
    lengths = [
        corpus.sentence_lengths[corpus.sentence_offsets[d] : corpus.sentence_offsets[d + 1]]
        for d in documents
    ]
    if not tokens:
        nothing = torch.zeros(0, dtype=torch.int64)
        return Rows(size, torch.zeros(1, dtype=torch.int32), nothing, nothing, first)
    stream = np.concatenate(tokens)
    begins = np.zeros(sum(len(part) for part in lengths), np.int64)  # 1 where a document, so a separator
    begins[np.cumsum([0, *(len(part) for part in lengths[:-1])])] = 1
    pieces, begins = _cut(np.concatenate(lengths), begins, room)
    offsets = _offsets(pieces)
    # Where the row that starts at each piece would end; then one walk from row to row.
    ends = np.searchsorted(offsets, offsets[:-1] + begins + room, side="right") - 1
    ends = np.maximum(ends, np.arange(len(pieces)) + 1).tolist()
    at, rows = 0, []
    while at < len(ends):
        rows.append(at)
        at = ends[at]
    starts = np.asarray(rows)
    stops = offsets[np.asarray([*rows[1:], len(pieces)])]
    begin = offsets[starts] + begins[starts]  # a row needs no separator in front
    return Rows(
        size,
        torch.from_numpy(stream.astype(np.int32)),
        torch.from_numpy(begin),
        torch.from_numpy(stops - begin),
        first,
    )


def _cut(
    lengths: NDArray[np.int32], begins: NDArray[np.int64], room: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Sentences longer than `room` as several pieces; only the first keeps the mark of a document's begin."""
    body = np.maximum(lengths.astype(np.int64) - begins, 0)
    counts = np.maximum(-(-body // room), 1)
    pieces = np.full(counts.sum(), room, np.int64)
    last = np.cumsum(counts) - 1
    pieces[last] = body - room * (counts - 1)
    marks = np.zeros_like(pieces)
    marks[last - counts + 1] = begins
    return pieces + marks, marks


def _offsets(lengths: NDArray[np.integer]) -> NDArray[np.int64]:
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)])


def draw_masks(
    ids: Tensor,
    lengths: Tensor,
    sequences: Tensor,
    key: int,
    vocab_size: int,
    rate: float = RATE,
    split: tuple[float, float] = SPLIT,
) -> tuple[Tensor, Tensor, Tensor]:
    """Choose what to predict, and hide it.

    Of the n words of a sequence, `rate`·n are chosen, rounded up or down by chance; 80 % of them become
    `<mask>`, 10 % a random word, 10 % stay (`split`).

    Args:
        ids: (B, L), `<s>` first, `</s>` behind the last word; separators inside are never chosen.
        lengths: (B,) with special tokens.
        sequences: (B,) index of each sequence in its epoch.
        key: of the run and the epoch, from `mask_key`.
        vocab_size: V; the last id is `<mask>`.
        rate: share of words to predict.
        split: shares of `<mask>` and of random words.

    Returns:
        inputs (B, L); rows (R,) into B·L; labels (R,), -100 for rows that are there to fill the shape.
    """
    batch, size = ids.shape
    column = torch.arange(size, device=ids.device)
    word = (ids >= FIRST_WORD) & (column < lengths[:, None])
    row_key = _mix(sequences + key)[:, None]
    most = int(rate * (size - 2)) + 1
    scores = torch.where(word, _uniform(row_key, column), 2.0)
    picked = scores.argsort(1)[:, :most]
    count = (rate * word.sum(1) + _uniform(row_key[:, 0], size)).long()
    real = (torch.arange(most, device=ids.device) < count[:, None]) & word.gather(1, picked)
    originals = ids.gather(1, picked)
    fate = _uniform(row_key, picked + size + 1)
    random = FIRST_WORD + _mix(row_key + picked + 3 * size).remainder(vocab_size - 1 - FIRST_WORD)
    hidden = torch.where(fate < split[0], vocab_size - 1, originals)
    hidden = torch.where((fate >= split[0]) & (fate < sum(split)), random, hidden)
    inputs = ids.scatter(1, picked, torch.where(real, hidden, originals))
    rows = picked + torch.arange(batch, device=ids.device)[:, None] * size
    return inputs, rows.flatten(), torch.where(real, originals, IGNORED).flatten()


def mask_key(seed: int, epoch: int) -> int:
    """The key of an epoch's masks."""
    return int(np.random.SeedSequence([seed, epoch, 1]).generate_state(1, np.uint32)[0]) << 24


def _mix(x: Tensor) -> Tensor:
    """Scramble int64 (the finaliser of SplitMix64; shifts are arithmetic, so masked)."""
    x = x + _signed(0x9E3779B97F4A7C15)
    x = (x ^ ((x >> 30) & 0x3FFFFFFFF)) * _signed(0xBF58476D1CE4E5B9)
    x = (x ^ ((x >> 27) & 0x1FFFFFFFFF)) * _signed(0x94D049BB133111EB)
    return x ^ ((x >> 31) & 0x1FFFFFFFF)


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def _uniform(key: Tensor, counter: Tensor | int) -> Tensor:
    """Numbers in [0, 1), float32, of (key, counter)."""
    return ((_mix(key + counter) >> 40) & 0xFFFFFF).float() / (1 << 24)
