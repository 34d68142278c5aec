"""Losses by hand; the recorded ones are replayed in ``test_heads.py``."""

import math

import numpy as np
import pytest

from robertakit import RobertaConfig
from robertakit.errors import BadShape, InputError
from robertakit.numpy.losses import causal_lm_loss, classification_loss, cross_entropy, span_loss, token_loss

LOGITS = np.array([[2.0, 0.0, -1.0], [0.0, 0.0, 0.0]])


def config(**fields):
    return RobertaConfig(num_hidden_layers=0, **fields)


def test_cross_entropy_is_the_mean_over_the_labelled_rows():
    first = -math.log(math.exp(2) / (math.exp(2) + 1 + math.exp(-1)))
    np.testing.assert_allclose(cross_entropy(LOGITS, np.array([0, 2])), (first + math.log(3)) / 2)
    np.testing.assert_allclose(cross_entropy(LOGITS, np.array([0, -100])), first)
    assert cross_entropy(LOGITS, np.array([-100, -100])) == 0
    np.testing.assert_allclose(cross_entropy(LOGITS + 1e4, np.array([0, 2])), (first + math.log(3)) / 2)


def test_the_causal_loss_shifts_by_one():
    logits = np.random.default_rng(0).standard_normal((2, 4, 5))
    labels = np.array([[1, 2, 3, 4], [0, -100, 2, 1]])
    loss = causal_lm_loss(logits, labels)
    np.testing.assert_allclose(loss, token_loss(logits[:, :-1], labels[:, 1:]), rtol=1e-6)
    assert loss.dtype == np.float32, "also of float64 logits, as the reference's"


def test_one_label_means_regression():
    settings = config(num_labels=1)
    logits = np.array([[1.0], [3.0]])
    assert classification_loss(settings, logits, [1, 1]) == 2
    assert settings.problem_type == "regression"
    assert classification_loss(settings, logits, [[0.0], [3.0]]) == 0.5


def test_integers_mean_one_class_and_floats_any_number():
    single, multi = config(num_labels=3), config(num_labels=3)
    np.testing.assert_allclose(
        classification_loss(single, LOGITS, [0, 2]), cross_entropy(LOGITS, np.array([0, 2]))
    )
    assert single.problem_type == "single_label_classification"
    targets = np.array([[1.0, 0, 1], [0, 1, 0]])
    p = 1 / (1 + np.exp(-LOGITS))
    want = -(targets * np.log(p) + (1 - targets) * np.log(1 - p)).mean()
    np.testing.assert_allclose(classification_loss(multi, LOGITS, targets), want)
    assert multi.problem_type == "multi_label_classification"


def test_multi_label_loss_does_not_overflow():
    settings = config(num_labels=3, problem_type="multi_label_classification")
    with np.errstate(over="raise"):
        assert np.isfinite(classification_loss(settings, LOGITS * 1e4, np.ones((2, 3))))


def test_span_positions_are_clamped_and_those_past_the_end_left_out():
    start, end = np.random.default_rng(1).standard_normal((2, 3, 6))
    whole = span_loss(start, end, [0, 2, 4], [1, 3, 5])
    np.testing.assert_allclose(
        whole, (cross_entropy(start, np.array([0, 2, 4])) + cross_entropy(end, np.array([1, 3, 5]))) / 2
    )
    np.testing.assert_array_equal(span_loss(start, end, [-7, 2, 4], [1, 3, 5]), whole)
    np.testing.assert_array_equal(span_loss(start, end, [[0], [2], [4]], [[1], [3], [5]]), whole)
    some = (cross_entropy(start[:2], np.array([0, 2])) + cross_entropy(end, np.array([1, 3, 5]))) / 2
    np.testing.assert_allclose(span_loss(start, end, [0, 2, 60], [1, 3, 5]), some)
    assert span_loss(start, end, [6, 7, 99], [1, 3, 5]) == 0


def test_labels_that_do_not_fit():
    with pytest.raises(BadShape, match="labels of length 3 with inputs of length 2"):
        token_loss(LOGITS[None], [[1, 2, 0]])
    with pytest.raises(BadShape, match=r"labels of shape \(3,\); expected \(1, 2\)"):
        token_loss(LOGITS[None], [1, 2, 0])
    with pytest.raises(BadShape, match=r"labels of shape \(3,\); expected \(2,\)"):
        classification_loss(config(num_labels=3), LOGITS, [1, 2, 0])
    with pytest.raises(BadShape, match=r"labels of shape \(2, 2\); expected \(2, 3\)"):
        classification_loss(config(num_labels=3), LOGITS, [[1.0, 0], [0, 1]])
    with pytest.raises(InputError, match="labels of dtype float64; expected integers"):
        token_loss(LOGITS[None], [[1.0, 2.0]])
    with pytest.raises(InputError, match="label 3; expected 0 to 2"):
        cross_entropy(LOGITS, np.array([3, 0]))
