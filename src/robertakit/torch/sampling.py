"""Greedy search and sampling: one token for each row at a time.

Shape letters: R rows, V vocabulary.
"""

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from robertakit.torch.decoding import Decoding, check_numbers, check_possible
from robertakit.torch.logits_processing import LogitsProcessing
from robertakit.torch.stopping import Stopping

__all__ = ["Streamer", "write_rows"]


@runtime_checkable
class Streamer(Protocol):
    """Takes ids as they come: those of the prompts first, then one for each row a step, on the processor."""

    def put(self, value: Tensor) -> None:
        """Take ids."""

    def end(self) -> None:
        """Nothing follows."""


def write_rows(
    decoding: Decoding,
    process: LogitsProcessing,
    stopping: Stopping,
    *,
    generator: torch.Generator | None = None,
    streamer: Streamer | None = None,
) -> None:
    """Write tokens behind each row until all have ended: the best one, or with `do_sample` one that is drawn.

    Args:
        decoding: the rows; they grow in place.
        process: what is done to the scores.
        stopping: which rows have ended.
        generator: of the draws; None for PyTorch's own.
        streamer: is told of each step.

    Raises:
        InputError: no token may follow a row.
    """
    draw = process.rules.config.do_sample
    if streamer is not None:
        streamer.put(decoding.ids.cpu())
    running = None
    while running is None or bool(running.any()):
        scores = process(decoding, process.clean(decoding.next_logits()))
        decoding.record("scores", scores)
        if running is None:
            running = torch.ones(len(scores), dtype=torch.bool, device=scores.device)
        check_numbers(scores, running)
        check_possible(scores, running)
        tokens = scores.argmax(-1)
        if draw:
            # rows that have ended may have nothing to draw from
            drawn = scores.masked_fill(~running[:, None], 0.0).softmax(-1)
            tokens = torch.multinomial(drawn, 1, generator=generator)[:, 0]
        tokens = torch.where(running, tokens, decoding.padding)
        decoding.append(tokens)
        if streamer is not None:
            streamer.put(tokens.cpu())
        running &= ~stopping(decoding.ids, decoding.columns, decoding.recorded().get("scores"))
    if streamer is not None:
        streamer.end()
