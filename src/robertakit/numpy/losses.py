"""The losses of the documented heads, in NumPy. A batch without anything to predict has loss 0.

What a label means is decided in ``architecture.py``.
"""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from robertakit.architecture import IGNORED_LABEL
from robertakit.calls import check_classes, check_one_each, check_text_labels, check_token_labels
from robertakit.numpy.inputs import kind_of

if TYPE_CHECKING:
    from robertakit.configuration import PretrainedConfig

__all__ = ["causal_lm_loss", "classification_loss", "cross_entropy", "span_loss", "token_loss"]

Array = NDArray[np.floating]


def cross_entropy(logits: Array, labels: NDArray[np.integer], ignored: int = IGNORED_LABEL) -> Array:
    """Mean of ``-log softmax(logits)[label]`` over the labels that are not ``ignored``; 0 if all are.

    Args:
        logits: (N, C).
        labels: (N,) integers from 0 to C - 1, or ``ignored``.
        ignored: label that takes no part.

    Raises:
        InputError: a label without a class.
    """
    chosen = labels != ignored
    rows, targets = logits[chosen], labels[chosen]
    if not targets.size:
        return np.zeros((), logits.dtype)
    check_classes(targets, logits.shape[-1])
    highest = rows.max(axis=-1)
    log_total = highest + np.log(np.exp(rows - highest[:, None]).sum(axis=-1))
    return np.asarray((log_total - rows[np.arange(len(rows)), targets]).mean())


def token_loss(logits: Array, labels: ArrayLike) -> Array:
    """Cross-entropy of a label for each token: logits (B, L, C), labels (B, L)."""
    targets = _token_labels(labels, logits.shape[:-1])
    return cross_entropy(logits.reshape(-1, logits.shape[-1]), targets.reshape(-1))


def causal_lm_loss(logits: Array, labels: ArrayLike) -> Array:
    """Cross-entropy of the next token: the logits of a token predict the label after it.

    Always in float32, as the reference's is: of all its losses this one alone leaves float64.
    """
    targets = _token_labels(labels, logits.shape[:-1])
    return token_loss(logits[:, :-1].astype(np.float32), targets[:, 1:])


def classification_loss(config: "PretrainedConfig", logits: Array, labels: ArrayLike) -> Array:
    """The loss of sequence classification, (B, C): squared error, one class of several, or any number of classes."""
    given = np.asarray(labels)
    kind = check_text_labels(config, given, logits.shape, kind_of=kind_of)
    config.problem_type = kind  # the first labels that fit settle it for good, as in the reference
    if kind == "single_label_classification":
        return cross_entropy(logits, given.reshape(-1))
    values = given.astype(logits.dtype).reshape(logits.shape)
    if kind == "regression":
        return np.asarray(np.square(logits - values).mean())
    # Binary cross-entropy of a sigmoid, in the form that cannot overflow.
    return np.asarray((np.maximum(logits, 0) - logits * values + np.log1p(np.exp(-np.abs(logits)))).mean())


def span_loss(start_logits: Array, end_logits: Array, starts: ArrayLike, ends: ArrayLike) -> Array:
    """Mean of the cross-entropies of an answer's first and last token, (B, L) each.

    A negative position counts as 0, and one past the end has no part (as the reference); where no start or no end
    is left, there is nothing to predict.
    """
    length = start_logits.shape[1]
    losses = []
    for name, logits, given in (
        ("start_positions", start_logits, starts),
        ("end_positions", end_logits, ends),
    ):
        positions: NDArray[np.integer] = np.asarray(given)
        check_one_each(name, positions, len(logits), kind_of=kind_of)
        positions = np.clip(positions.reshape(-1), 0, length)
        if (positions == length).all():
            return np.zeros((), logits.dtype)
        losses.append(cross_entropy(logits, positions, ignored=length))
    return np.asarray((losses[0] + losses[1]) / 2, start_logits.dtype)


def _token_labels(labels: ArrayLike, expected: tuple[int, ...]) -> NDArray[np.integer]:
    targets: NDArray[np.integer] = np.asarray(labels)
    check_token_labels(targets, expected, kind_of=kind_of)
    return targets
