"""Shaping the distribution that tokens are drawn from.

Shape letters: R rows, V vocabulary.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from robertakit.generation.config import GenerationConfig

__all__ = ["Scores", "log_softmax", "narrow"]

#: (R, V) in float32 or float64.
Scores = NDArray[np.floating]


def log_softmax(scores: Scores) -> Scores:
    """Log-probabilities of the last axis; a row that is minus infinity throughout gives no numbers.

    Example:
        >>> np.exp(log_softmax(np.array([0.0, -np.inf, 0.0]))).tolist()
        [0.5, 0.0, 0.5]
    """
    with np.errstate(invalid="ignore"):
        shifted = scores - scores.max(-1, keepdims=True)
    logs: Scores = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    return logs


def narrow(scores: Scores, config: GenerationConfig, keep: int = 1) -> Scores:
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
        >>> scores = np.log(np.array([[0.5, 0.3, 0.2]]))
        >>> np.isfinite(narrow(scores, GenerationConfig(do_sample=True, top_p=0.6))).tolist()
        [[True, True, False]]
    """
    if config.temperature not in (None, 1.0):
        assert config.temperature is not None
        scores = scores / config.temperature
    cuts: list[Callable[[Scores], NDArray[np.bool_]]] = []
    if (top_k := config.top_k) is not None and top_k > 0:
        cuts.append(lambda s: s < _kth(s, max(top_k, keep)))
    if (top_p := config.top_p) is not None and top_p < 1.0:
        cuts.append(lambda s: _beyond_mass(s, s, top_p, keep))
    if (min_p := config.min_p) is not None:
        cuts.append(lambda s: _keeping(s, _softmax(s) < min_p * _softmax(s).max(-1, keepdims=True), keep))
    if (typical_p := config.typical_p) is not None and typical_p < 1.0:
        cuts.append(lambda s: _beyond_mass(s, -_surprise(s), typical_p, keep))
    if (epsilon := config.epsilon_cutoff) is not None and 0.0 < epsilon < 1.0:
        cuts.append(lambda s: _keeping(s, _softmax(s) < epsilon, keep))
    if (eta := config.eta_cutoff) is not None and 0.0 < eta < 1.0:
        cuts.append(lambda s: _keeping(s, _softmax(s) < _eta_threshold(s, eta), keep))
    for cut in cuts:
        scores = np.where(cut(scores), -np.inf, scores).astype(scores.dtype, copy=False)
    return scores


def _softmax(scores: Scores) -> Scores:
    probabilities: Scores = np.exp(log_softmax(scores))
    return probabilities


def _kth(scores: Scores, k: int) -> Scores:
    """The k-th largest of each row, (R, 1)."""
    k = min(k, scores.shape[1])
    kth: Scores = np.partition(scores, -k, axis=-1)[:, -k, None]
    return kth


def _beyond_mass(scores: Scores, rank: Scores, mass: float, keep: int) -> NDArray[np.bool_]:
    """Which tokens (R, V) lie behind the first, by falling rank, whose probabilities sum to `mass`."""
    order = np.argsort(-rank, axis=-1, kind="stable")
    probabilities = np.take_along_axis(_softmax(scores), order, -1)
    before = np.cumsum(probabilities, -1) - probabilities
    beyond = before >= mass
    beyond[:, :keep] = False
    found = np.empty_like(beyond)
    np.put_along_axis(found, order, beyond, -1)
    return found


def _keeping(scores: Scores, cut: NDArray[np.bool_], keep: int) -> NDArray[np.bool_]:
    """`cut` (R, V) without the `keep` most probable tokens."""
    return cut & (scores < _kth(scores, keep))


def _entropy(scores: Scores) -> Scores:
    """(R, 1), in nats; what cannot be drawn adds nothing."""
    logs = log_softmax(scores)
    with np.errstate(invalid="ignore"):
        expected = np.nansum(np.exp(logs) * logs, -1, keepdims=True)
    entropy: Scores = -expected
    return entropy


def _surprise(scores: Scores) -> Scores:
    """How far each token's information is from what is expected, (R, V)."""
    distance: Scores = np.abs(-log_softmax(scores) - _entropy(scores))
    return distance


def _eta_threshold(scores: Scores, eta: float) -> Scores:
    threshold: Scores = np.minimum(eta**0.5 * np.exp(-_entropy(scores)), eta)
    return threshold
