"""The losses of the documented heads, in float32 at least. A batch without anything to predict has loss 0.

What a label means is decided in `architecture.py`. All are pure functions of arrays of fixed shape, for `jit`.

Shape letters: B batch, L length, R rows, C classes.
"""

import jax
import jax.numpy as jnp

from robertakit.architecture import IGNORED_LABEL, ProblemType
from robertakit.jax.layers import wide

__all__ = ["classification_loss", "cross_entropy", "next_tokens", "span_loss"]


def cross_entropy(logits: jax.Array, labels: jax.Array, ignored: int = IGNORED_LABEL) -> jax.Array:
    """Mean of `-log softmax(logits)[label]` over the labels that are not `ignored`; 0, with gradient 0, if all are.

    Args:
        logits: (..., C).
        labels: (...) integers from 0 to C - 1, or `ignored`. Another one makes the loss NaN.
        ignored: label that takes no part.

    Example:
        >>> round(float(cross_entropy(jnp.zeros((2, 4)), jnp.array([3, -100]))), 4)
        1.3863
    """
    logits, labels = wide(logits), jnp.asarray(labels)
    chosen = labels != ignored
    classes = jnp.where(chosen, labels, 0)
    unknown = (classes < 0) | (classes >= logits.shape[-1])
    right = jnp.take_along_axis(logits, classes[..., None], axis=-1, mode="clip")[..., 0]
    each = jax.nn.logsumexp(logits, axis=-1) - jnp.where(unknown, jnp.nan, right)
    return jnp.where(chosen, each, 0).sum() / jnp.maximum(chosen.sum(), 1)


def next_tokens(labels: jax.Array) -> jax.Array:
    """What each token of (B, L) is to predict: the label behind it, and nothing at the end."""
    return jnp.pad(labels[:, 1:], ((0, 0), (0, 1)), constant_values=IGNORED_LABEL)


def classification_loss(kind: ProblemType | None, logits: jax.Array, labels: jax.Array) -> jax.Array:
    """The loss of sequence classification: squared error, one class of several, or any number of classes.

    Args:
        kind: what the labels mean.
        logits: (B, C).
        labels: (B,) classes or numbers, or (B, C).
    """
    if kind == "single_label_classification":
        return cross_entropy(logits, labels.reshape(-1))
    logits = wide(logits)
    values = jnp.asarray(labels, logits.dtype).reshape(logits.shape)
    if kind == "regression":
        each = jnp.square(logits - values)
    else:
        each = -values * jax.nn.log_sigmoid(logits) - (1 - values) * jax.nn.log_sigmoid(-logits)
    return each.sum() / max(each.size, 1)


def span_loss(
    start_logits: jax.Array, end_logits: jax.Array, starts: jax.Array, ends: jax.Array
) -> jax.Array:
    """Mean of the cross-entropies of an answer's first and last token.

    Args:
        start_logits: (B, L).
        end_logits: (B, L).
        starts: (B,); a negative one counts as 0, and one past the end has no part (as the reference).
        ends: (B,).

    Returns:
        The loss, 0 where no start or no end is left.
    """
    length = start_logits.shape[1]
    losses, left = [], []
    for logits, given in ((start_logits, starts), (end_logits, ends)):
        positions = jnp.clip(jnp.asarray(given).reshape(-1), 0, length)
        losses.append(cross_entropy(logits, positions, ignored=length))
        left.append((positions != length).any())
    return jnp.where(left[0] & left[1], (losses[0] + losses[1]) / 2, 0)
