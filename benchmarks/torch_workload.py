"""What `torch_speed.py` measures on: seeded lengths, ids and labels, batches of them, and models of the same weights.

Shape letters: B batch, L padded length, T packed tokens, S sequences, W width.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from robertakit.architecture import IGNORED_LABEL
from robertakit.batch import Batch, Encoding
from robertakit.configuration import RobertaConfig
from robertakit.torch import RobertaForMaskedLM

__all__ = ["BASE", "SMALL", "Workload", "chunks", "lengths_of", "matched_models"]

#: RoBERTa-base (Liu et al. 2019, table 9), with the sizes of its checkpoint.
BASE: dict[str, object] = {
    "vocab_size": 50_265,
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "max_position_embeddings": 514,
    "type_vocab_size": 1,
    "layer_norm_eps": 1e-5,
}
#: Something that computes in seconds, to try the script.
SMALL = BASE | {
    "vocab_size": 500,
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 128,
}
PAD, SHARE_LABELLED = 1, 0.15


def lengths_of(count: int, seed: int = 0) -> list[int]:
    """Return the first lengths of the stream: log-normal, median 50, sigma 0.9, clipped to 8 to 512 tokens."""
    drawn = np.random.default_rng(seed).lognormal(np.log(50), 0.9, count)
    return [int(n) for n in np.clip(np.rint(drawn), 8, 512)]


def chunks(order: Sequence[int], size: int) -> list[list[int]]:
    """Return a list in pieces."""
    return [list(order[first : first + size]) for first in range(0, len(order), size)]


@dataclass(frozen=True)
class Workload:
    """Sequences of random ids, a share of them masked and labelled.

    Attributes:
        lengths: tokens of each sequence, the two special ones included.
        device: where tensors go.
        ids: of each sequence, as a tokenizer gives them.
        masked: the same with masks in the place of labelled ids.
        labels: -100 where there is nothing to predict.
    """

    lengths: list[int]
    device: torch.device
    ids: list[NDArray[np.int64]] = field(default_factory=list)
    masked: list[NDArray[np.int64]] = field(default_factory=list)
    labels: list[NDArray[np.int64]] = field(default_factory=list)

    @classmethod
    def drawn(cls, count: int, words: int, device: torch.device, seed: int = 0) -> "Workload":
        """Draw `count` sequences of a vocabulary of so many words, whose last is the mask."""
        made = cls(lengths_of(count, seed), device)
        mask = words - 1
        draw = np.random.default_rng(seed + 1)
        for length in made.lengths:
            ids = np.concatenate([[0], draw.integers(5, mask, length - 2), [2]])
            chosen = 1 + draw.permutation(length - 2)[: max(1, round(SHARE_LABELLED * (length - 2)))]
            masked, labels = ids.copy(), np.full(length, IGNORED_LABEL)
            masked[chosen], labels[chosen] = mask, ids[chosen]
            made.ids.append(ids)
            made.masked.append(masked)
            made.labels.append(labels)
        return made

    @property
    def tokens(self) -> int:
        """Real tokens of all sequences."""
        return sum(self.lengths)

    def by_length(self) -> list[int]:
        """Return the indices of the sequences, the longest first."""
        return sorted(range(len(self.lengths)), key=lambda i: -self.lengths[i])

    def padded(self, batch: list[int], labelled: bool = False) -> dict[str, Tensor]:
        """Return the arguments of a documented call, each (B, L)."""
        rows = {"input_ids": (self.masked if labelled else self.ids, PAD)}
        if labelled:
            rows["labels"] = (self.labels, IGNORED_LABEL)
        longest = max(self.lengths[i] for i in batch)
        mask = np.arange(longest) < np.array([self.lengths[i] for i in batch])[:, None]
        arguments = {"attention_mask": mask.astype(np.int64)}
        for name, (values, filler) in rows.items():
            arguments[name] = np.full(mask.shape, filler)
            arguments[name][mask] = np.concatenate([values[i] for i in batch])
        return {name: torch.from_numpy(array).to(self.device) for name, array in arguments.items()}

    def packed(self, batch: list[int]) -> tuple[Tensor, Tensor, Tensor]:
        """Return ids and positions (T,), and cumulative lengths (S + 1,), which stay on the processor."""
        made = Batch.from_encodings([Encoding(self.ids[i]) for i in batch], PAD)
        ids, positions = (torch.from_numpy(x.astype(np.int64)) for x in (made.input_ids, made.position_ids))
        return ids.to(self.device), positions.to(self.device), torch.from_numpy(made.cumulative_lengths)

    def split(self, batch: list[int], packed: Tensor) -> Iterator[tuple[int, Tensor]]:
        """Yield each sequence's index and its rows of (T, ...)."""
        yield from zip(batch, packed.split([self.lengths[i] for i in batch]), strict=True)

    def unpad(self, batch: list[int], padded: Tensor) -> Iterator[tuple[int, Tensor]]:
        """Yield each sequence's index and its rows of (B, L, ...)."""
        for row, index in zip(padded, batch, strict=True):
            yield index, row[: self.lengths[index]]


def matched_models(
    which: Sequence[str], sizes: dict[str, object], device: torch.device, dtype: torch.dtype
) -> dict[str, nn.Module]:
    """Return `"ours"` and `"theirs"`, or one of them, with the same random weights."""
    torch.manual_seed(0)
    ours = RobertaForMaskedLM(RobertaConfig(**sizes))
    made: dict[str, nn.Module] = {"ours": ours}
    if "theirs" in which:
        import transformers

        config = transformers.RobertaConfig.from_dict(ours.config.to_dict())
        made["theirs"] = transformers.RobertaForMaskedLM(config)
        made["theirs"].load_state_dict(ours.state_dict())  # strict: the names are the same
    return {name: made[name].to(device, dtype).eval() for name in which}
