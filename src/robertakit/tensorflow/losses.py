"""The losses of the documented heads, in float32 at least. A batch without anything to predict has loss 0.

They are scalar means, as in PyTorch. What a label means is decided in `architecture.py`; nothing here asks for the
values of a tensor, so that compilers take all of it.

Shape letters: B batch, L padded length, R rows, C classes.
"""

import tensorflow as tf

from robertakit.architecture import IGNORED_LABEL, ProblemType

__all__ = ["classification_loss", "cross_entropy", "next_tokens", "span_loss", "span_positions"]


def cross_entropy(
    logits: tf.Tensor, labels: tf.Tensor, ignored: int | tf.Tensor = IGNORED_LABEL
) -> tf.Tensor:
    """Mean of `-log softmax(logits)[label]` over the labels that are not `ignored`; 0, with gradient 0, if all are.

    Args:
        logits: (..., C).
        labels: (...) integers from 0 to C - 1, or `ignored`.
        ignored: label that takes no part.

    Example:
        >>> round(float(cross_entropy(tf.zeros((2, 4)), tf.constant([3, -100]))), 4)
        1.3863
    """
    logits, labels = _wide(logits), tf.cast(labels, tf.int32)
    chosen = tf.not_equal(labels, tf.cast(ignored, tf.int32))
    # a label that takes no part is no class: a kernel would raise, or give NaN
    each = tf.nn.sparse_softmax_cross_entropy_with_logits(tf.where(chosen, labels, 0), logits)
    count = tf.maximum(tf.math.count_nonzero(chosen, dtype=logits.dtype), 1)
    return tf.reduce_sum(tf.where(chosen, each, 0)) / count


def next_tokens(labels: tf.Tensor) -> tf.Tensor:
    """What each token of (B, L) is to predict: the label behind it, and nothing at the end.

    Example:
        >>> next_tokens(tf.constant([[5, 6, 7]])).numpy().tolist()
        [[6, 7, -100]]
    """
    return tf.pad(tf.cast(labels, tf.int32)[:, 1:], ((0, 0), (0, 1)), constant_values=IGNORED_LABEL)


def classification_loss(problem: ProblemType, logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """The loss of sequence classification: squared error, one class of several, or any number of classes.

    Args:
        problem: which of them.
        logits: (B, C).
        labels: (B,) classes or numbers, or (B, C), as `calls.check_labels` lets them pass.
    """
    if problem == "single_label_classification":
        return cross_entropy(logits, tf.reshape(labels, (-1,)))
    logits = _wide(logits)
    values = tf.reshape(tf.cast(labels, logits.dtype), tf.shape(logits))
    if problem == "regression":
        each = tf.math.squared_difference(logits, values)
    else:
        each = tf.nn.sigmoid_cross_entropy_with_logits(labels=values, logits=logits)
    return tf.math.divide_no_nan(tf.reduce_sum(each), tf.cast(tf.size(each), each.dtype))


def span_positions(positions: tf.Tensor, length: int | tf.Tensor) -> tf.Tensor:
    """Positions (B,) between 0 and `length`, which means none: a negative one counts as 0, as in the reference.

    Example:
        >>> span_positions(tf.constant([[-3], [2], [9]]), 4).numpy().tolist()
        [0, 2, 4]
    """
    return tf.clip_by_value(tf.reshape(tf.cast(positions, tf.int32), (-1,)), 0, length)


def span_loss(
    start_logits: tf.Tensor, end_logits: tf.Tensor, starts: tf.Tensor, ends: tf.Tensor
) -> tf.Tensor:
    """Mean of the cross-entropies of an answer's first and last token.

    Args:
        start_logits: (B, L).
        end_logits: (B, L).
        starts: (B,) of `span_positions`; L has no part in the loss.
        ends: (B,).

    Returns:
        The loss, 0 where no start or no end is left.
    """
    length = tf.shape(start_logits)[1]
    pairs = ((start_logits, starts), (end_logits, ends))
    losses = [cross_entropy(logits, positions, ignored=length) for logits, positions in pairs]
    left = [tf.reduce_any(tf.not_equal(positions, length)) for positions in (starts, ends)]
    return (losses[0] + losses[1]) / 2 * tf.cast(tf.logical_and(*left), losses[0].dtype)


def _wide(logits: tf.Tensor) -> tf.Tensor:
    return logits if logits.dtype == tf.float64 else tf.cast(logits, tf.float32)
