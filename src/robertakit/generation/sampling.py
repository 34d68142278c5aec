"""Greedy search and sampling: one token for each row at a time.

Shape letters: R rows, V vocabulary.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from robertakit.generation.decoding import Decoding, check_numbers, check_possible
from robertakit.generation.logits_processing import LogitsProcessing
from robertakit.generation.narrowing import Scores, log_softmax
from robertakit.generation.prompts import Ids
from robertakit.generation.stopping import Stopping

__all__ = ["Tell", "write_rows"]

#: Takes ids as they come: those of the prompts first, then one for each row a step.
Tell = Callable[[Ids], None]


def write_rows(
    decoding: Decoding,
    process: LogitsProcessing,
    stopping: Stopping,
    generator: np.random.Generator,
    tell: Tell | None = None,
) -> Ids:
    """Write tokens behind each row until all have ended: the best one, or with `do_sample` one that is drawn.

    Args:
        decoding: the rows; they grow in place.
        process: what is done to the scores.
        stopping: which rows have ended.
        generator: of the draws.
        tell: is told of each step.

    Returns:
        (R, n) ids, prompts included.

    Raises:
        InputError: no token may follow a row.
    """
    if tell is not None:
        tell(decoding.ids)
    running: NDArray[np.bool_] | None = None
    while running is None or running.any():
        scores = process(decoding, process.clean(decoding.next_logits()))
        decoding.record("scores", scores)
        if running is None:
            running = np.ones(len(scores), np.bool_)
        check_numbers(scores, running)
        check_possible(scores, running)
        # rows that have ended may have nothing to draw from
        tokens = np.full(len(scores), decoding.padding)
        best = (
            _drawn(scores[running], generator)
            if process.rules.config.do_sample
            else scores[running].argmax(-1)
        )
        tokens[running] = best
        decoding.append(tokens)
        if tell is not None:
            tell(tokens)
        running &= ~stopping(decoding.ids, decoding.columns, decoding.recorded().get("scores"))
    return decoding.ids


def _drawn(scores: Scores, generator: np.random.Generator) -> Ids:
    """Draw a token (R,) for each row by its probabilities: where a uniform number falls among their sums."""
    sums = np.cumsum(np.exp(log_softmax(scores.astype(np.float64))), -1)
    points = generator.random((len(scores), 1)) * sums[:, -1:]
    tokens: Ids = (sums <= points).sum(-1)
    return tokens
