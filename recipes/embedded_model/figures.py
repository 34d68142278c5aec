"""Figures of predictions: how often the right word is first or among the first five, and the perplexity."""

from collections.abc import Iterable, Iterator
from math import sqrt

import numpy as np
from numpy.typing import NDArray
from positions import HeldOut, Hidden

from robertakit.engine import ModelEngine

Floats = NDArray[np.float64]
Figures = dict[str, dict[str, float]]


def score(predictions: Iterable[Floats], hidden: Hidden, kinds: tuple[str, ...]) -> Figures:
    """Figures by kind of position and of text.

    Args:
        predictions: log-probabilities, some (r, V) at a time, of all hidden positions in their order.
        hidden: the positions.
        kinds: names of the kinds of text.

    Returns:
        For each part: top1 and top5 (shares of the positions, over the whole vocabulary), perplexity (the exponential
        of the mean cross-entropy in nats) and words (positions).
    """
    losses, ranks, at = list[Floats](), list[NDArray[np.int64]](), 0
    for scores in predictions:
        answers = hidden.right_answer[at : at + len(scores), None]
        right = np.take_along_axis(scores, answers, 1)
        losses.append(-right[:, 0])
        ranks.append((scores > right).sum(1))
        at += len(scores)
    if at != len(hidden.row):
        raise ValueError(f"{at} predictions for {len(hidden.row)} positions")
    loss, rank = np.concatenate(losses), np.concatenate(ranks)
    parts = {
        "all tokens": np.ones(at, bool),
        "one-piece words": hidden.one_piece,
        "pieces": ~hidden.one_piece,
        **{kind: hidden.kind == index for index, kind in enumerate(kinds) if len(kinds) > 1},
    }
    return {
        name: {
            "top1": float((rank[which] < 1).mean()),
            "top5": float((rank[which] < 5).mean()),
            "perplexity": float(np.exp(loss[which].mean())),
            "words": int(which.sum()),
        }
        for name, which in parts.items()
        if which.any()
    }


def of_model(engine: ModelEngine, held_out: HeldOut) -> Iterator[Floats]:
    """Log-probabilities that an engine gives for the hidden positions."""
    for batch, rows in held_out.batches():
        yield log_softmax(engine.run(batch, rows=rows)["logits"])


def log_softmax(logits: NDArray[np.floating]) -> Floats:
    """Log-probabilities (R, V) of logits, in float64."""
    scores = logits.astype(np.float64)
    scores -= scores.max(1, keepdims=True)
    scores -= np.log(np.exp(scores).sum(1, keepdims=True))
    return scores


def interval(successes: int, trials: int) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson's)."""
    z, share = 1.959964, successes / trials
    middle = (share + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z / (1 + z * z / trials) * sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    return middle - half, middle + half
