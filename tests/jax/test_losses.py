"""Losses against the specification's, where there is nothing to predict, and inside `jit`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from robertakit.configuration import RobertaConfig
from robertakit.jax import losses
from robertakit.numpy import losses as specified

GENERATOR = np.random.default_rng(0)
LOGITS = GENERATOR.standard_normal((5, 7)).astype(np.float32)
LABELS = np.array([3, -100, 0, 6, -100])


def test_cross_entropy_is_the_mean_over_labels_and_float32_at_least():
    want = specified.cross_entropy(LOGITS, LABELS)
    np.testing.assert_allclose(losses.cross_entropy(LOGITS, LABELS), want, rtol=1e-6)
    np.testing.assert_allclose(jax.jit(losses.cross_entropy)(LOGITS, LABELS), want, rtol=1e-6)
    assert losses.cross_entropy(jnp.asarray(LOGITS, jnp.bfloat16), LABELS).dtype == jnp.float32


def test_nothing_to_predict_is_zero_with_gradient_zero():
    loss, gradient = jax.value_and_grad(losses.cross_entropy)(jnp.asarray(LOGITS), np.full(5, -100))
    assert loss == 0
    assert not np.asarray(gradient).any()


@pytest.mark.parametrize("wrong", [7, -1])
def test_a_label_without_a_class_makes_no_number(wrong):
    assert np.isnan(losses.cross_entropy(LOGITS, np.array([wrong, 0, 0, 0, 0])))


def test_each_token_predicts_the_label_behind_it():
    assert losses.next_tokens(jnp.array([[4, 5, 6]])).tolist() == [[5, 6, -100]]


@pytest.mark.parametrize(
    ("kind", "labels"),
    [
        ("single_label_classification", np.array([2, 0, 6, -100, 1])),
        ("multi_label_classification", GENERATOR.integers(0, 2, (5, 7))),
        ("regression", GENERATOR.standard_normal((5, 7)).astype(np.float32)),
    ],
)
def test_what_a_label_means(kind, labels):
    want = specified.classification_loss(RobertaConfig(num_labels=7, problem_type=kind), LOGITS, labels)
    np.testing.assert_allclose(losses.classification_loss(kind, LOGITS, labels), want, rtol=1e-6)


def test_large_scores_of_several_labels_stay_finite():
    logits, labels = jnp.array([[300.0, -300.0]]), jnp.array([[0.0, 1.0]])
    loss, gradient = jax.value_and_grad(
        lambda x: losses.classification_loss("multi_label_classification", x, labels)
    )(logits)
    assert loss == 300
    np.testing.assert_allclose(gradient, [[0.5, -0.5]])


def test_one_label_is_regression_in_both_shapes():
    logits, labels = LOGITS[:, :1], LOGITS[:, 1]
    want = np.square(logits[:, 0] - labels).mean()
    for given in (labels, labels[:, None]):
        np.testing.assert_allclose(losses.classification_loss("regression", logits, given), want, rtol=1e-6)


@pytest.mark.parametrize("starts", [[1, 4, 0, 6, 2], [-3, 9, 0, 7, 7], [7, 7, 7, 7, 7]])
def test_spans_are_clamped_and_the_end_means_none(starts):
    ends = np.array([2, 5, 9, 0, 1])
    want = specified.span_loss(LOGITS, LOGITS[::-1], np.array(starts), ends)
    found = losses.span_loss(LOGITS, LOGITS[::-1], np.array(starts), ends)
    np.testing.assert_allclose(found, want, rtol=1e-6)
