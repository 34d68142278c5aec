"""Beam search, and beam sampling: the best sequences as wholes, not token by token.

What a step means is decided in `generation.beams`; here scores are computed and ranked.

Shape letters: B prompts, N beams of each, V vocabulary, K candidates of each prompt.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from robertakit.errors import InputError
from robertakit.generation.beams import Beam, Beams, Candidate
from robertakit.torch.decoding import Decoding, check_numbers
from robertakit.torch.logits_processing import LogitsProcessing
from robertakit.torch.stopping import Stopping

__all__ = ["Found", "search_beams"]


@dataclass(frozen=True, slots=True)
class Found:
    """The best sequences of a search, those of the first prompt first, best first.

    Attributes:
        tokens: (S, n) new ids, filled with padding.
        scores: (S,) log-probabilities over length penalty.
        beam_indices: (S, n) row of each step's scores that a token was chosen from, -1 behind the last.
    """

    tokens: Tensor
    scores: Tensor
    beam_indices: Tensor


def search_beams(
    decoding: Decoding,
    process: LogitsProcessing,
    stopping: Stopping,
    *,
    generator: torch.Generator | None = None,
) -> Found:
    """Search the best `num_return_sequences` continuations of each prompt.

    Args:
        decoding: the prompts, to be written `num_beams` times each; changed in place.
        process: what is done to the log-probabilities of a step.
        stopping: which continuations have ended.
        generator: of the draws of beam sampling; None for PyTorch's own.

    Raises:
        InputError: fewer sequences exist than were asked for.
    """
    config, longest = process.rules.config, process.rules.lengths.new
    width, prompts = config.num_beams, len(decoding.ids)
    beams = [Beams(width, longest, config.length_penalty, config.early_stopping) for _ in range(prompts)]
    first = torch.arange(prompts, device=decoding.ids.device)[:, None] * width
    while not all(search.over() for search in beams):
        logs = process(decoding, process.clean(decoding.next_logits()).log_softmax(-1))
        decoding.record("scores", logs)
        check_numbers(logs)
        running = torch.tensor([search.scores() for search in beams], device=logs.device)
        total = (logs.view(prompts, width, -1) + running[:, :, None]).flatten(1)
        # enough that `width` can go on even where the best of each beam all end it
        count = min(max(2, len(stopping.eos) + 1) * width, total.shape[1])
        scores, index = _drawn(total, count, generator) if config.do_sample else total.topk(count)
        parents, tokens = index // logs.shape[1], index % logs.shape[1]
        longer = torch.cat([decoding.ids[(first + parents).flatten()], tokens.flatten()[:, None]], 1)
        ended = stopping(longer, decoding.columns + 1, decoding.recorded().get("scores")).view_as(tokens)
        fields = (scores.tolist(), parents.tolist(), tokens.tolist(), ended.tolist())
        steps = [
            search.advance([Candidate(*candidate) for candidate in zip(*of_prompt, strict=True)])
            for search, *of_prompt in zip(beams, *fields, strict=True)
        ]
        chosen = torch.tensor(steps, device=logs.device)  # (B, N, 2)
        decoding.select((first + chosen[..., 0]).flatten())
        decoding.append(chosen[..., 1].flatten())
    best = [search.finished[: config.num_return_sequences] for search in beams]
    return _found(best, config.num_return_sequences, width, decoding.padding, decoding.ids.device)


def _drawn(total: Tensor, count: int, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
    """Draw (B, K) different candidates of (B, N·V) by their probabilities; return them best first.

    The largest of log-probabilities with Gumbel noise are a draw without replacement (Kool et al. 2019).
    """
    noise = -torch.empty_like(total).exponential_(generator=generator).log()
    index = (total + noise).topk(count).indices
    scores, order = total.gather(1, index).sort(-1, descending=True)
    return scores, index.gather(1, order)


def _found(best: list[list[Beam]], count: int, width: int, padding: int, device: torch.device) -> Found:
    """Sequences of unequal length as tensors."""
    for prompt, sequences in enumerate(best):
        if len(sequences) < count:
            raise InputError(
                given=f"{len(sequences)} sequences that the rules of this call allow behind prompt {prompt}",
                expected=f"{count}, as num_return_sequences",
                hint="loosen the rules, or ask for fewer",
            )
    pairs = [(prompt * width, beam) for prompt, sequences in enumerate(best) for beam in sequences]
    longest = max(len(beam.tokens) for _, beam in pairs)
    tokens = torch.full((len(pairs), longest), padding, device=device)
    rows = torch.full((len(pairs), longest), -1, device=device)
    for index, (first, beam) in enumerate(pairs):
        tokens[index, : len(beam.tokens)] = torch.tensor(beam.tokens)
        rows[index, : len(beam.tokens)] = torch.tensor(beam.parents) + first
    return Found(tokens, torch.tensor([beam.score for _, beam in pairs], device=device), rows)
