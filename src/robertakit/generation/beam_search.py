"""Beam search, and beam sampling: the best sequences as wholes, not token by token.

What a step means is decided in `generation.beams`; here scores are computed and ranked.

Shape letters: B prompts, N beams of each, R all of them, V vocabulary, K candidates of each prompt, S sequences.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from robertakit.errors import InputError
from robertakit.generation.beams import Beam, Beams, Candidate
from robertakit.generation.decoding import Decoding, check_numbers
from robertakit.generation.logits_processing import LogitsProcessing
from robertakit.generation.narrowing import Scores, log_softmax
from robertakit.generation.prompts import Ids
from robertakit.generation.stopping import Stopping

__all__ = ["Found", "search_beams"]


@dataclass(frozen=True, slots=True)
class Found:
    """The best sequences of a search, those of the first prompt first, best first.

    Attributes:
        tokens: (S, n) new ids, filled with padding.
        scores: (S,) log-probabilities over length penalty, float32.
        beam_indices: (S, n) row of each step's scores that a token was chosen from, -1 behind the last.
    """

    tokens: Ids
    scores: Scores
    beam_indices: Ids


def search_beams(
    decoding: Decoding, process: LogitsProcessing, stopping: Stopping, generator: np.random.Generator
) -> Found:
    """Search the best `num_return_sequences` continuations of each prompt.

    Args:
        decoding: the prompts, to be written `num_beams` times each; changed in place.
        process: what is done to the log-probabilities of a step.
        stopping: which continuations have ended.
        generator: of the draws of beam sampling.

    Raises:
        InputError: fewer sequences exist than were asked for.
    """
    config, longest = process.rules.config, process.rules.lengths.new
    width, prompts = config.num_beams, len(decoding.mask)
    beams = [Beams(width, longest, config.length_penalty, config.early_stopping) for _ in range(prompts)]
    first = np.arange(prompts)[:, None] * width
    while not all(search.over() for search in beams):
        logs = process(decoding, log_softmax(process.clean(decoding.next_logits())))
        decoding.record("scores", logs)
        check_numbers(logs)
        running = np.array([search.scores() for search in beams], logs.dtype)
        with np.errstate(over="ignore"):  # what stands for minus infinity, where invalid values are replaced
            total = (logs.reshape(prompts, width, -1) + running[:, :, None]).reshape(prompts, -1)
        # enough that `width` can go on even where the best of each beam all end it
        count = min(max(2, len(stopping.eos) + 1) * width, total.shape[1])
        index = _best(total + generator.gumbel(size=total.shape) if config.do_sample else total, count)
        if config.do_sample:  # drawn in any order
            index = np.take_along_axis(index, _best(np.take_along_axis(total, index, 1), count), 1)
        scores = np.take_along_axis(total, index, 1)
        parents, tokens = index // logs.shape[1], index % logs.shape[1]
        longer = np.concatenate([decoding.ids[(first + parents).ravel()], tokens.reshape(-1, 1)], 1)
        ended = stopping(longer, decoding.columns + 1, decoding.recorded().get("scores")).reshape(
            tokens.shape
        )
        fields = (scores.tolist(), parents.tolist(), tokens.tolist(), ended.tolist())
        steps = [
            search.advance([Candidate(*candidate) for candidate in zip(*of_prompt, strict=True)])
            for search, *of_prompt in zip(beams, *fields, strict=True)
        ]
        chosen = np.array(steps, np.int64)  # (B, N, 2)
        decoding.select((first + chosen[..., 0]).ravel())
        decoding.append(chosen[..., 1].ravel())
    best = [search.finished[: config.num_return_sequences] for search in beams]
    return _found(best, config.num_return_sequences, width, decoding.padding)


def _best(values: Scores, count: int) -> Ids:
    """Indices (B, K) of the largest values (B, M), largest first, the first of equal ones first.

    Of log-probabilities with Gumbel noise they are a draw without replacement (Kool et al. 2019).
    """
    some = np.sort(np.argpartition(-values, count - 1, axis=1)[:, :count], 1)
    order = np.argsort(-np.take_along_axis(values, some, 1), axis=1, kind="stable")
    return np.take_along_axis(some, order, 1)


def _found(best: Sequence[Sequence[Beam]], count: int, width: int, padding: int) -> Found:
    """Sequences of unequal length as arrays."""
    for prompt, sequences in enumerate(best):
        if len(sequences) < count:
            raise InputError(
                given=f"{len(sequences)} sequences that the rules of this call allow behind prompt {prompt}",
                expected=f"{count}, as num_return_sequences",
                hint="loosen the rules, or ask for fewer",
            )
    pairs = [(prompt * width, beam) for prompt, sequences in enumerate(best) for beam in sequences]
    longest = max(len(beam.tokens) for _, beam in pairs)
    tokens, rows = np.full((len(pairs), longest), padding), np.full((len(pairs), longest), -1)
    for index, (first, beam) in enumerate(pairs):
        tokens[index, : len(beam.tokens)] = beam.tokens
        rows[index, : len(beam.tokens)] = np.array(beam.parents) + first
    return Found(tokens, np.array([beam.score for _, beam in pairs], np.float32), rows)
