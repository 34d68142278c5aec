"""Shaping the distribution that tokens are drawn from.

Shape letters: R rows, V vocabulary.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from robertakit.generation.config import GenerationConfig

__all__ = ["narrow"]


def narrow(scores: Tensor, config: GenerationConfig, keep: int = 1) -> Tensor:
    """Shape the distribution that tokens are drawn from.

    In this order: temperature, `top_k`, `top_p`, `min_p`, `typical_p`, `epsilon_cutoff`, `eta_cutoff`; each looks at
    what the one before it left.

    Args:
        scores: (R, V), logits or log-probabilities.
        config: says how.
        keep: least tokens that stay, most probable first.

    Returns:
        (R, V), minus infinity for tokens that are not drawn.

    Example:
        >>> scores = torch.tensor([[0.5, 0.3, 0.2]]).log()
        >>> narrow(scores, GenerationConfig(do_sample=True, top_p=0.6)).isfinite().tolist()
        [[True, True, False]]
    """
    if config.temperature not in (None, 1.0):
        scores = scores / config.temperature
    cuts: list[Callable[[Tensor], Tensor]] = []
    if (top_k := config.top_k) is not None and top_k > 0:
        cuts.append(lambda s: s < s.topk(min(max(top_k, keep), s.shape[1])).values[:, -1:])
    if (top_p := config.top_p) is not None and top_p < 1.0:
        cuts.append(lambda s: _beyond_mass(s, s, top_p, keep))
    if (min_p := config.min_p) is not None:
        cuts.append(lambda s: _keeping(s, s.softmax(-1) < min_p * s.softmax(-1).amax(-1, keepdim=True), keep))
    if (typical_p := config.typical_p) is not None and typical_p < 1.0:
        cuts.append(lambda s: _beyond_mass(s, -_surprise(s), typical_p, keep))
    if (epsilon := config.epsilon_cutoff) is not None and 0.0 < epsilon < 1.0:
        cuts.append(lambda s: _keeping(s, s.softmax(-1) < epsilon, keep))
    if (eta := config.eta_cutoff) is not None and 0.0 < eta < 1.0:
        cuts.append(lambda s: _keeping(s, s.softmax(-1) < _eta_threshold(s, eta), keep))
    for cut in cuts:
        scores = scores.masked_fill(cut(scores), -torch.inf)
    return scores


def _beyond_mass(scores: Tensor, rank: Tensor, mass: float, keep: int) -> Tensor:
    """Which tokens (R, V) bool lie behind the first, by falling rank, whose probabilities sum to `mass`."""
    order = rank.argsort(dim=-1, descending=True, stable=True)
    probabilities = scores.softmax(-1).gather(1, order)
    before = probabilities.cumsum(-1) - probabilities
    beyond = before >= mass
    beyond[:, :keep] = False
    return torch.empty_like(beyond).scatter_(1, order, beyond)


def _keeping(scores: Tensor, cut: Tensor, keep: int) -> Tensor:
    """`cut` (R, V) without the `keep` most probable tokens."""
    return cut & (scores < scores.topk(min(keep, scores.shape[1])).values[:, -1:])


def _entropy(scores: Tensor) -> Tensor:
    """(R, 1), in nats; what cannot be drawn adds nothing."""
    logs = scores.log_softmax(-1)
    expected: Tensor = (logs.exp() * logs).nansum(-1, keepdim=True)
    return -expected


def _surprise(scores: Tensor) -> Tensor:
    """How far each token's information is from what is expected, (R, V)."""
    return (-scores.log_softmax(-1) - _entropy(scores)).abs()


def _eta_threshold(scores: Tensor, eta: float) -> Tensor:
    threshold: Tensor = eta**0.5 * (-_entropy(scores)).exp()
    return threshold.clamp(max=eta)
