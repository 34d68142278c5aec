"""Rules of generation, applied to scores; which rule says what is decided in `generation.rules`.

Shape letters: R rows, V vocabulary.
"""

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from robertakit.errors import BadShape, InputError
from robertakit.generation.rules import TokenRules, completed
from robertakit.torch.decoding import Decoding
from robertakit.torch.narrowing import narrow

__all__ = ["LogitsProcessing", "penalise"]

#: (ids (R, n), scores (R, V)) to scores (R, V).
Processor = Callable[[Tensor, Tensor], Tensor]
#: (index of the prompt, ids (n,)) to the ids that may follow.
AllowedTokens = Callable[[int, Tensor], Iterable[int]]


def penalise(scores: Tensor, tokens: Tensor, counted: Tensor, penalty: float) -> Tensor:
    """Divide the scores of some tokens by a penalty, negative ones multiplied by it (Keskar et al. 2019).

    Args:
        scores: (R, V).
        tokens: (R, n) ids.
        counted: (R, n) bool, which of them are meant.
        penalty: above 1 makes them less likely.

    Example:
        >>> scores = torch.tensor([[4.0, -4.0, 4.0]])
        >>> penalise(scores, torch.tensor([[0, 1, 2]]), torch.tensor([[True, True, False]]), 2.0).tolist()
        [[2.0, -8.0, 4.0]]
    """
    words = scores.shape[1]
    meant = torch.zeros(len(scores), words + 1, dtype=torch.bool, device=scores.device)
    meant.scatter_(1, tokens.masked_fill(~counted, words), True)
    return torch.where(meant[:, :words], torch.where(scores < 0, scores * penalty, scores / penalty), scores)


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

    def clean(self, logits: Tensor) -> Tensor:
        """Replace what is no finite number in the model's own scores (R, V), if that was asked for."""
        return torch.nan_to_num(logits, nan=0.0) if self.rules.config.remove_invalid_values else logits

    def __call__(self, decoding: Decoding, scores: Tensor) -> Tensor:
        """Return the scores (R, V) by which tokens are chosen; minus infinity for what may not follow."""
        config = self.rules.config
        scores = self._follow_rules(decoding, scores)
        for processor in self.processors:
            given = scores.shape
            scores = processor(decoding.ids, scores)
            if scores.shape != given:
                raise BadShape(
                    given=f"scores {tuple(scores.shape)} from {type(processor).__name__}",
                    expected=f"{tuple(given)}",
                )
        if config.do_sample:
            # A beam needs something to go on with beside what ends it.
            scores = narrow(
                scores, config, keep=1 if config.num_beams == 1 else max(2, len(self.rules.eos) + 1)
            )
        return torch.log_softmax(scores, -1) if config.renormalize_logits else scores

    def _follow_rules(self, decoding: Decoding, scores: Tensor) -> Tensor:
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
            scores = torch.full_like(scores, -torch.inf)
            scores[:, list(forced)] = 0.0
        if growth := rules.urge(decoding.columns):
            ends = scores[:, list(rules.eos)]
            scores[:, list(rules.eos)] = torch.where(ends > -torch.inf, ends + ends.abs() * growth, ends)
        scores[:, sorted(rules.suppressed(decoding.columns))] = -torch.inf
        return scores

    def _add_biases(self, scores: Tensor, history: list[list[int]]) -> Tensor:
        if not self._biases:
            return scores
        added = torch.zeros_like(scores)
        for row, ids in enumerate(history):
            for token, bias in completed(ids, self._biases).items():
                added[row, token] = bias
        return scores + added

    def _forbid(self, scores: Tensor, history: list[list[int]], columns: int) -> Tensor:
        scores = scores.clone()
        scores[:, list(self.rules.too_early(columns))] = -torch.inf
        if self.rules.look_back():
            for row, ids in enumerate(history):
                scores[row, sorted(self.rules.forbidden_in(row, ids))] = -torch.inf
        return scores

    def _only_allowed(self, ids: Tensor, scores: Tensor, allowed: AllowedTokens) -> Tensor:
        kept = torch.full_like(scores, -torch.inf)
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
