"""Rules of generation, applied to scores; which rule says what is decided in `generation.rules`.

Shape letters: R rows, n ids of a row, V vocabulary.
"""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from robertakit.errors import BadShape, InputError
from robertakit.generation.decoding import Decoding
from robertakit.generation.narrowing import Scores, log_softmax, narrow
from robertakit.generation.prompts import Ids
from robertakit.generation.rules import TokenRules, completed

__all__ = ["AllowedTokens", "LogitsProcessing", "Processor", "penalise"]

#: (ids (R, n), scores (R, V), columns so far) to scores (R, V).
Processor = Callable[[Ids, Scores, int], NDArray[np.generic]]
#: (index of the prompt, ids (n,)) to the ids that may follow.
AllowedTokens = Callable[[int, Ids], Iterable[int]]


def penalise(scores: Scores, tokens: Ids, counted: NDArray[np.bool_], penalty: float) -> Scores:
    """Divide the scores of some tokens by a penalty, negative ones multiplied by it (Keskar et al. 2019).

    Args:
        scores: (R, V).
        tokens: (R, n) ids.
        counted: (R, n), which of them are meant.
        penalty: above 1 makes them less likely.

    Example:
        >>> scores = np.array([[4.0, -4.0, 4.0]])
        >>> penalise(scores, np.array([[0, 1, 2]]), np.array([[True, True, False]]), 2.0).tolist()
        [[2.0, -8.0, 4.0]]
    """
    meant = np.zeros(scores.shape, np.bool_)
    rows, columns = counted.nonzero()
    meant[rows, tokens[rows, columns]] = True
    return np.where(meant, np.where(scores < 0, scores * penalty, scores / penalty), scores)


class LogitsProcessing:
    """All that is done to the scores of one call before a token is chosen.

    Args:
        rules: what the call's fields mean.
        processors: the caller's own, called behind the rules.
        allowed: which ids may follow, or None.
    """

    def __init__(
        self,
        rules: TokenRules,
        processors: Sequence[Processor] = (),
        allowed: AllowedTokens | None = None,
    ) -> None:
        self.rules, self.processors, self.allowed = rules, processors, allowed
        self._biases = rules.biases()

    def clean(self, logits: Scores) -> Scores:
        """Replace what is no finite number in the model's own scores (R, V), if that was asked for."""
        return np.nan_to_num(logits) if self.rules.config.remove_invalid_values else logits

    def __call__(self, decoding: Decoding, scores: Scores) -> Scores:
        """Return the scores (R, V) by which tokens are chosen; minus infinity for what may not follow."""
        config = self.rules.config
        scores = self._follow_rules(decoding, scores)
        for processor in self.processors:
            new = np.asarray(processor(decoding.ids, scores, decoding.columns))
            if new.shape != scores.shape or new.dtype.kind != "f":
                raise BadShape(
                    given=f"{new.dtype} scores {new.shape} from {processor.__name__}",
                    expected=f"{scores.dtype} {scores.shape}",
                )
            scores = new.astype(scores.dtype)
        if config.do_sample:
            # A beam needs something to go on with beside what ends it.
            scores = narrow(
                scores, config, keep=1 if config.num_beams == 1 else max(2, len(self.rules.eos) + 1)
            )
        return log_softmax(scores) if config.renormalize_logits else scores

    def _follow_rules(self, decoding: Decoding, scores: Scores) -> Scores:
        """In the documented order: biases, penalties, what is forbidden, allowed, forced, suppressed."""
        rules, config = self.rules, self.rules.config
        history = decoding.histories() if self._biases or rules.look_back() else []
        scores = self._add_biases(scores, history)
        if config.encoder_repetition_penalty not in (None, 1.0):
            assert config.encoder_repetition_penalty is not None
            real = decoding.real()
            real[:, rules.lengths.prompt - decoding.columns + decoding.ids.shape[1] :] = False
            scores = penalise(scores, decoding.ids, real, 1 / config.encoder_repetition_penalty)
        if config.repetition_penalty not in (None, 1.0):
            assert config.repetition_penalty is not None
            scores = penalise(scores, decoding.ids, decoding.real(), config.repetition_penalty)
        scores = self._forbid(scores, history, decoding.columns)
        if self.allowed is not None:
            scores = self._only_allowed(decoding.ids, scores, self.allowed)
        if forced := rules.forced(decoding.columns):
            scores = np.full_like(scores, -np.inf)
            scores[:, list(forced)] = 0.0
        if growth := rules.urge(decoding.columns):
            ends = scores[:, list(rules.eos)]
            scores[:, list(rules.eos)] = np.where(ends > -np.inf, ends + np.abs(ends) * growth, ends)
        scores[:, sorted(rules.suppressed(decoding.columns))] = -np.inf
        return scores

    def _add_biases(self, scores: Scores, history: list[list[int]]) -> Scores:
        if not self._biases:
            return scores
        added = np.zeros_like(scores)
        for row, ids in enumerate(history):
            for token, bias in completed(ids, self._biases).items():
                added[row, token] = bias
        return scores + added

    def _forbid(self, scores: Scores, history: list[list[int]], columns: int) -> Scores:
        scores = scores.copy()
        scores[:, list(self.rules.too_early(columns))] = -np.inf
        if self.rules.look_back():
            for row, ids in enumerate(history):
                scores[row, sorted(self.rules.forbidden_in(row, ids))] = -np.inf
        return scores

    def _only_allowed(self, ids: Ids, scores: Scores, allowed: AllowedTokens) -> Scores:
        kept = np.full_like(scores, -np.inf)
        for row, written in enumerate(ids):
            prompt = row // self.rules.copies
            tokens = list(allowed(prompt, written))
            if not tokens:
                raise InputError(
                    given=f"prefix_allowed_tokens_fn allows nothing for prompt {prompt}",
                    expected="at least one id",
                )
            kept[row, tokens] = scores[row, tokens]
        return kept
