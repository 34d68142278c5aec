r"""Measure the embedded model on held-out text, beside unigram and bigram baselines, and ask it the 20 prompts.

python recipes/embedded_model/evaluate.py --model src/robertakit/embedded/english --shards runs/shards \
    --log runs/embedded/log.jsonl --report recipes/embedded_model/report.json \
    --card src/robertakit/embedded/english/README.md

All figures go into the report; `--card` writes the same ones into the model card, between its two marks.

Protocol. The held-out documents, in their order, are packed into rows of at most 512 tokens. In each row 15 % of
the tokens that are not special are drawn (seed 0) and every one is replaced by `<mask>`; the model, and each
baseline, predicts them. Top-1 and top-5 count how often the right token is first or among the first five of the
whole vocabulary; perplexity is the exponential of the mean cross-entropy in nats. `one-piece words` counts only
positions whose word is a single token, `pieces` the rest.

Baselines, counted on the tokens of the training text, weighted as training weights it:
- unigram: the same guess everywhere;
- bigram: P(word | left neighbour), interpolated with the unigram;
- bigram, both sides: P(word | left) · P(right | word), normalised; a neighbour that is itself hidden, or special,
  tells nothing. The interpolation weight of both is the best of a grid on every tenth held-out row, so they are
  flattered, and the model is not.

The prompts are answered by `pipeline("fill-mask")` as a user calls it. `agreement` is the largest difference between
the logits of PyTorch and of NumPy at hidden positions, in units of max(1, largest logit of the row).
"""

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from batches import FIRST_WORD, Corpus
from card import fill_card
from corpus import HERE, Shard, sources
from numpy.typing import NDArray
from pretrain import HELD_OUT_LENGTH, HeldOut

from robertakit import numpy as specification
from robertakit import pipeline
from robertakit import torch as pytorch
from robertakit.batch import Batch
from robertakit.torch import RobertaForMaskedLM

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
CHUNK = 512


@dataclass(frozen=True)
class Hidden:
    """Hidden positions: the right token, its left and right neighbour (-1 where that tells nothing), its row."""

    right_answer: Ints
    left: Ints
    right: Ints
    row: Ints
    one_piece: NDArray[np.bool_]

    @classmethod
    def of(cls, held_out: HeldOut, begins_word: NDArray[np.bool_]) -> "Hidden":
        inputs, ids = held_out.inputs.numpy().ravel(), held_out.ids.numpy().ravel()
        labels = held_out.labels.numpy()
        real = labels != -100
        rows = held_out.rows.numpy()[real]
        mask = len(begins_word) - 1

        def neighbour(step: int) -> Ints:
            seen = inputs[rows + step].astype(np.int64)
            return np.where((seen >= FIRST_WORD) & (seen != mask), seen, -1)

        # a word is one piece if its token begins a word and so does what follows (special tokens do)
        alone = begins_word[ids[rows]] & begins_word[ids[rows + 1]]
        return cls(
            labels[real].astype(np.int64), neighbour(-1), neighbour(1), rows // held_out.ids.shape[1], alone
        )


class Bigrams:
    """Weighted counts of tokens and of neighbours inside documents."""

    def __init__(self, corpus: Corpus, vocab_size: int) -> None:
        self.vocab_size = vocab_size
        weight = np.asarray(corpus.passes)[corpus.source]
        tokens = corpus.tokens.astype(np.int64)
        weights = np.repeat(weight, np.diff(corpus.token_offsets))
        words = tokens >= FIRST_WORD
        counts = np.bincount(tokens, weights=weights * words, minlength=vocab_size)
        self.unigram = (counts + 1e-3) / (counts + 1e-3).sum()
        pairs = np.flatnonzero(words[:-1] & words[1:])
        keys = tokens[pairs] * vocab_size + tokens[pairs + 1]
        order = np.argsort(keys, kind="stable")
        keys, weights = keys[order], weights[pairs][order]
        first = np.flatnonzero(np.r_[True, keys[1:] != keys[:-1]])
        self.count = np.add.reduceat(weights, first)
        self.left, self.right = keys[first] // vocab_size, keys[first] % vocab_size
        self.as_left = np.bincount(self.left, weights=self.count, minlength=vocab_size)
        self.as_right = np.bincount(self.right, weights=self.count, minlength=vocab_size)
        self.left_offsets = np.searchsorted(self.left, np.arange(vocab_size + 1))
        self.by_right = np.argsort(self.right, kind="stable")
        self.right_offsets = np.searchsorted(self.right[self.by_right], np.arange(vocab_size + 1))

    def after(self, left: int, kept: float) -> Floats:
        """P(word | left), (V,): `kept` of it from the counts, the rest from the unigram."""
        part = slice(self.left_offsets[left], self.left_offsets[left + 1])
        row = (1 - kept) * self.unigram
        if self.as_left[left]:
            np.add.at(row, self.right[part], kept * self.count[part] / self.as_left[left])
            return row
        return self.unigram

    def before(self, right: int, kept: float) -> Floats:
        """P(right | word) / P(right) for every word, (V,)."""
        part = self.by_right[self.right_offsets[right] : self.right_offsets[right + 1]]
        ratio = np.full(self.vocab_size, 1 - kept)
        words = self.left[part]
        ratio[words] += kept * self.count[part] / self.as_left[words] / self.unigram[right]
        return ratio

    def predict(self, left: Ints, right: Ints, kept: float) -> Floats:
        """Distributions (R, V) for positions between two neighbours, -1 where one tells nothing."""
        rows = np.empty((len(left), self.vocab_size))
        for index, (one, other) in enumerate(zip(left.tolist(), right.tolist(), strict=True)):
            row = self.unigram if one < 0 else self.after(one, kept)
            if other >= 0:
                row = row * self.before(other, kept)
            rows[index] = row / row.sum()
        return rows


def score(predict: Callable[[slice], Floats], hidden: Hidden) -> dict[str, dict[str, float]]:
    """Figures of log-probabilities (R, V) that `predict` gives for a part of the hidden positions."""
    loss, rank = np.empty(len(hidden.row)), np.empty(len(hidden.row), np.int64)
    for at in range(0, len(hidden.row), CHUNK):
        part = slice(at, min(at + CHUNK, len(hidden.row)))
        scores = predict(part)
        right = np.take_along_axis(scores, hidden.right_answer[part][:, None], 1)
        loss[part] = -right[:, 0]
        rank[part] = (scores > right).sum(1)
    everywhere = np.ones(len(hidden.row), bool)
    return {
        name: {
            "top1": float((rank[which] < 1).mean()),
            "top5": float((rank[which] < 5).mean()),
            "perplexity": float(np.exp(loss[which].mean())),
            "words": int(which.sum()),
        }
        for name, which in (
            ("all tokens", everywhere),
            ("one-piece words", hidden.one_piece),
            ("pieces", ~hidden.one_piece),
        )
    }


def baselines(counts: Bigrams, hidden: Hidden) -> dict[str, dict[str, dict[str, float]]]:
    """Figures of the unigram and of both bigrams."""
    nothing = np.full_like(hidden.left, -1)
    sample = hidden.row % 10 == 0
    tuning = Hidden(*(getattr(hidden, name)[sample] for name in Hidden.__dataclass_fields__))

    def bigram(of: Hidden, right: Ints, kept: float) -> Callable[[slice], Floats]:
        return lambda part: np.log(counts.predict(of.left[part], right[part], kept))

    figures = {"unigram": score(lambda part: np.log(counts.predict(nothing[part], nothing[part], 0)), hidden)}
    for name, both in (("bigram", False), ("bigram, both sides", True)):
        weights = {
            kept: score(
                bigram(tuning, tuning.right if both else np.full_like(tuning.right, -1), kept), tuning
            )
            for kept in (0.6, 0.7, 0.8, 0.9, 0.95)
        }
        best = min(weights, key=lambda kept: weights[kept]["all tokens"]["perplexity"])
        figures[name] = score(bigram(hidden, hidden.right if both else nothing, best), hidden)
    return figures


@torch.no_grad()
def of_model(model: RobertaForMaskedLM, held_out: HeldOut, hidden: Hidden) -> dict[str, dict[str, float]]:
    """Figures of the model on the same positions."""
    batch, states = 16, []
    for at in range(0, len(held_out.ids), batch):
        ids, lengths = held_out.inputs[at : at + batch], held_out.lengths[at : at + batch]
        mask = torch.arange(ids.shape[1]) < lengths[:, None]
        states.append(model.roberta(ids, attention_mask=mask, return_dict=False)[0].flatten(0, 1))
    rows = held_out.rows[held_out.labels != -100]
    states_of_hidden = torch.cat(states)[rows]

    def predict(part: slice) -> Floats:
        return torch.log_softmax(model.lm_head(states_of_hidden[part]).double(), -1).numpy()

    return score(predict, hidden)


def agreement(folder: Path, held_out: HeldOut, most: int = 8) -> float:
    """Largest difference between PyTorch's and NumPy's logits at the hidden positions of `most` rows."""
    mask = np.arange(HELD_OUT_LENGTH) < held_out.lengths[:most, None].numpy()
    inputs = held_out.inputs[:most].numpy()
    batch = Batch.from_padded(inputs, mask, padding_idx=1)
    hidden = held_out.rows[held_out.labels != -100].numpy()
    hidden = hidden[hidden < inputs.size]
    rows = (np.cumsum(mask.ravel()) - 1)[hidden]  # where they lie in the packed batch
    ours, theirs = (
        package.Engine.from_pretrained(folder, "masked-lm").run(batch, rows=rows)["logits"]
        for package in (specification, pytorch)
    )
    scale = np.maximum(1, np.abs(ours).max(axis=1, keepdims=True))
    return float((np.abs(ours - theirs) / scale).max())


def answers(folder: Path) -> list[dict[str, object]]:
    """The first five words for each of the prompts that were committed before training."""
    prompts = json.loads((HERE / "prompts.json").read_text(encoding="utf-8"))["prompts"]
    with pipeline("fill-mask", folder, top_k=5) as fill:
        found = fill([prompt["text"] for prompt in prompts])
    given = []
    for prompt, best in zip(prompts, found, strict=True):
        words = [answer["token_str"].strip() for answer in best]
        given.append(
            {
                "text": prompt["text"],
                "answers": [
                    [word, round(float(answer["score"]), 4)] for word, answer in zip(words, best, strict=True)
                ],
                "sensible": words[0] in prompt["sensible"],
                "sensible in five": any(word in prompt["sensible"] for word in words),
            }
        )
    return given


def of_training(log: Path) -> dict[str, object]:
    """What a run's log says of it: settings, device, and where it ended."""
    rows = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    start, last = next(row for row in rows if row["event"] == "start"), rows[-1]
    kept = {name: start[name] for name in ("parameters", "device", "torch", "settings")}
    return kept | {name: last[name] for name in ("step", "tokens", "seconds", "epoch")}


def begins_word(tokenizer_folder: Path) -> NDArray[np.bool_]:
    """For each id, whether a word, a number or a mark begins with it; only letters inside a word go on (V,)."""
    vocabulary = json.loads((tokenizer_folder / "vocab.json").read_text(encoding="utf-8"))
    begins = np.ones(len(vocabulary), bool)
    for token, index in vocabulary.items():
        begins[index] = index < FIRST_WORD or token.startswith(("Ġ", "<")) or not token[0].isalnum()
    return begins


def evaluate(model_folder: Path, shards: Path, log: Path | None) -> dict[str, object]:
    """The whole report."""
    model = RobertaForMaskedLM.from_pretrained(model_folder)
    vocab_size = model.config.vocab_size
    held_out = HeldOut(Shard.load(shards / "heldout.npz.xz"), vocab_size, torch.device("cpu"))
    hidden = Hidden.of(held_out, begins_word(model_folder))
    figures = {"model": of_model(model, held_out, hidden)}
    figures |= baselines(Bigrams(Corpus.load(shards, sources()), vocab_size), hidden)
    report: dict[str, object] = {} if log is None else {"training": of_training(log)}
    return report | {
        "held-out": figures,
        "agreement": agreement(model_folder, held_out),
        "prompts": answers(model_folder),
    }


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--shards", type=Path, required=True)
    parser.add_argument("--report", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--log", type=Path, help="log.jsonl of the run that made the model")
    parser.add_argument("--card", type=Path, help="model card to fill; needs --log")
    given = parser.parse_args(arguments)
    if given.card is not None and given.log is None:
        parser.error("--card needs --log")
    report = evaluate(given.model, given.shards, given.log)
    given.report.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    if given.card is not None:
        fill_card(given.card, report)
    print(json.dumps({"held-out": report["held-out"], "agreement": report["agreement"]}, indent=1))


if __name__ == "__main__":
    main()
