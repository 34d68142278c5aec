"""Losses against the definitions in NumPy, compiled too, and where there is nothing to predict."""

import numpy as np
import pytest
import tensorflow as tf

from robertakit import RobertaConfig
from robertakit.numpy import losses as specification
from robertakit.tensorflow.losses import (
    classification_loss,
    cross_entropy,
    next_tokens,
    span_loss,
    span_positions,
)

XLA = pytest.mark.parametrize("xla", [False, True], ids=["eager", "xla"])


def compiled(function, xla):
    return tf.function(function, jit_compile=True) if xla else function


@XLA
def test_cross_entropy_is_the_mean_over_labels_and_float32_at_least(xla):
    logits = np.random.default_rng(0).standard_normal((5, 7))
    labels = tf.constant([3, -100, 0, 6, -100])
    found = compiled(cross_entropy, xla)(tf.constant(logits), labels)
    assert found.dtype == tf.float64
    np.testing.assert_allclose(found, specification.cross_entropy(logits, labels.numpy()), rtol=1e-14)
    assert cross_entropy(tf.cast(logits, tf.bfloat16), labels).dtype == tf.float32


@XLA
def test_nothing_to_predict_is_zero_with_gradient_zero(xla):
    logits = tf.constant(np.random.default_rng(0).standard_normal((2, 3)))

    def both(logits, labels):
        with tf.GradientTape() as tape:
            tape.watch(logits)
            loss = cross_entropy(logits, labels)
        return loss, tape.gradient(loss, logits)

    loss, gradient = compiled(both, xla)(logits, tf.constant([-100, -100]))
    assert loss == 0
    assert not gradient.numpy().any()


def test_each_token_predicts_the_label_behind_it():
    assert next_tokens(tf.constant([[4, 5, 6]])).numpy().tolist() == [[5, 6, -100]]


@pytest.mark.parametrize(
    ("problem", "labels"),
    [
        ("single_label_classification", np.array([2, 0])),
        ("multi_label_classification", np.array([[1.0, 0, 1], [0, 0, 1]])),
        ("multi_label_classification", np.array([[1, 0, 1], [0, 0, 1]])),
        ("regression", np.random.default_rng(1).standard_normal((2, 3))),
    ],
)
def test_what_a_label_means(problem, labels):
    logits = np.random.default_rng(0).standard_normal((2, 3))
    config = RobertaConfig(num_labels=3, problem_type=problem)
    found = classification_loss(problem, tf.constant(logits), tf.constant(labels))
    np.testing.assert_allclose(found, specification.classification_loss(config, logits, labels), rtol=1e-14)
    assert (
        classification_loss(problem, tf.constant(logits, tf.float16), tf.constant(labels)).dtype == tf.float32
    )


def test_one_label_is_regression_in_both_shapes():
    generator = np.random.default_rng(0)
    logits, labels = generator.standard_normal((4, 1)), generator.standard_normal(4)
    want = np.square(logits[:, 0] - labels).mean()
    for given in (labels, labels[:, None]):
        np.testing.assert_allclose(classification_loss("regression", tf.constant(logits), given), want)


def test_no_rows_have_no_loss():
    assert classification_loss("regression", tf.zeros((0, 1)), tf.zeros((0,))) == 0


@XLA
def test_spans_are_clamped_and_the_end_means_none(xla):
    generator = np.random.default_rng(0)
    start, end = generator.standard_normal((2, 3, 5))
    first, last = np.array([-3, 2, 9]), np.array([[1], [4], [5]])

    def loss(start, end, first, last):
        return span_loss(start, end, span_positions(first, 5), span_positions(last, 5))

    found = compiled(loss, xla)(*map(tf.constant, (start, end, first, last)))
    np.testing.assert_allclose(found, specification.span_loss(start, end, first, last), rtol=1e-14)
    none = np.full(3, 5)
    assert compiled(loss, xla)(*map(tf.constant, (start, end, none, last))) == 0
