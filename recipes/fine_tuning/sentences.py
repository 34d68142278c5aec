"""Labelled sentences for the recipes beside this file: a tab-separated file to ids and labels of fixed shapes."""

import argparse
import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from robertakit import AutoTokenizer, embedded

__all__ = ["Options", "Sentences", "read", "read_options"]

#: Tokens of every sentence, padding included: one shape, so that a compiler works once. Longer ones are cut.
LENGTH = 64


@dataclass(frozen=True)
class Options:
    """What both recipes are told.

    Attributes:
        data: folder with `train.tsv` and `dev.tsv`, columns `sentence` and `label` (0 or 1).
        sentences: how many of `train.tsv` to learn from.
        epochs: how often.
        batch: sentences of a step.
        rate: the highest learning rate; it rises for a tenth of the steps and falls to zero as a cosine.
        seed: of the new head and of the order.
        output: where the model is saved, or None.
    """

    data: Path
    sentences: int = 4000
    epochs: int = 3
    batch: int = 32
    rate: float = 3e-4
    seed: int = 0
    output: Path | None = None


def read_options(what: str | None) -> Options:
    """Return what the command line says; `what` is the recipe's own description."""
    parser = argparse.ArgumentParser(description=what, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with train.tsv and dev.tsv")
    helps = {
        "sentences": "of train.tsv to learn from",
        "epochs": "how often",
        "batch": "sentences of a step",
        "rate": "the highest learning rate",
        "seed": "of the new head and of the order",
    }
    for name, text in helps.items():
        default = getattr(Options, name)
        parser.add_argument(f"--{name}", type=type(default), default=default, help=text)
    parser.add_argument("--output", type=Path, help="folder for the fine-tuned model")
    return Options(**vars(parser.parse_args()))


@dataclass(frozen=True)
class Sentences:
    """Sentences of one shape: `input_ids` and `attention_mask` (N, 64), `labels` (N,), all int32."""

    input_ids: np.ndarray
    attention_mask: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def majority(self) -> float:
        """Accuracy of the commonest label for all."""
        return float(np.bincount(self.labels).max() / len(self))

    def inputs(self, rows: np.ndarray | slice = slice(None)) -> dict[str, np.ndarray]:
        """Return arguments of a call."""
        return {"input_ids": self.input_ids[rows], "attention_mask": self.attention_mask[rows]}


def read(file: Path, most: int | None = None) -> Sentences:
    """Read a file's first sentences, tokenized as the embedded model wants them."""
    with file.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))[:most]
    tokenizer = AutoTokenizer.from_pretrained(embedded.folder())
    batch = tokenizer(
        [row["sentence"] for row in rows],
        padding="max_length", truncation=True, max_length=LENGTH, return_tensors="np",
    )  # fmt: skip
    labels = np.array([int(row["label"]) for row in rows], np.int32)
    return Sentences(batch["input_ids"].astype(np.int32), batch["attention_mask"].astype(np.int32), labels)
