"""Losses against PyTorch's own functions, and where there is nothing to predict."""

import pytest
import torch
from torch.nn import functional as F

from robertakit import RobertaConfig
from robertakit.errors import BadShape, InputError
from robertakit.torch.losses import (
    check_token_labels,
    classification_loss,
    cross_entropy,
    next_tokens,
    span_loss,
    span_positions,
)


def test_cross_entropy_is_the_mean_over_labels_and_float32_at_least():
    logits = torch.randn(5, 7)
    labels = torch.tensor([3, -100, 0, 6, -100])
    torch.testing.assert_close(cross_entropy(logits, labels), F.cross_entropy(logits, labels))
    assert cross_entropy(logits.bfloat16(), labels).dtype == torch.float32
    assert cross_entropy(logits.double(), labels).dtype == torch.float64


def test_nothing_to_predict_is_zero_with_gradient_zero():
    logits = torch.randn(2, 3, requires_grad=True)
    loss = cross_entropy(logits, torch.tensor([-100, -100]))
    loss.backward()
    assert loss == 0
    assert not logits.grad.any()


def test_each_token_predicts_the_label_behind_it():
    assert next_tokens(torch.tensor([[4, 5, 6]])).tolist() == [[5, 6, -100]]


def test_labels_one_shorter_than_the_inputs_are_told_by_both_lengths():
    with pytest.raises(BadShape, match="labels of length 8 with inputs of length 9; expected equal lengths"):
        check_token_labels(torch.zeros(1, 8, dtype=torch.long), torch.Size([1, 9]), 5, True)


@pytest.mark.parametrize(
    ("problem", "labels", "want"),
    [
        (None, torch.tensor([2, 0]), F.cross_entropy),
        (None, torch.tensor([[1.0, 0, 1], [0, 0, 1]]), F.binary_cross_entropy_with_logits),
        (
            "multi_label_classification",
            torch.tensor([[1, 0, 1], [0, 0, 1]]),
            lambda x, y: F.binary_cross_entropy_with_logits(x, y.float()),
        ),
        ("regression", torch.randn(2, 3), F.mse_loss),
    ],
)  # fmt: skip
def test_what_a_label_means(problem, labels, want):
    config = RobertaConfig(num_labels=3, problem_type=problem)
    logits = torch.randn(2, 3)
    torch.testing.assert_close(classification_loss(config, logits, labels), want(logits, labels))
    assert config.problem_type is not None


def test_one_label_is_regression_in_both_shapes():
    config = RobertaConfig(num_labels=1)
    logits, labels = torch.randn(4, 1), torch.randn(4)
    want = F.mse_loss(logits[:, 0], labels)
    for given in (labels, labels[:, None]):
        torch.testing.assert_close(classification_loss(config, logits, given), want)
    assert config.problem_type == "regression"


@pytest.mark.parametrize(
    ("labels", "error", "words"),
    [
        (torch.tensor([3, 0]), InputError, "label 3; expected 0 to 2"),
        (torch.tensor([0]), BadShape, "labels of shape"),
        (torch.randn(2), BadShape, "labels of shape"),
    ],
)
def test_labels_that_fit_no_class(labels, error, words):
    with pytest.raises(error, match=words):
        classification_loss(RobertaConfig(num_labels=3), torch.randn(2, 3), labels)


def test_spans_are_clamped_and_the_end_means_none():
    found = span_positions("start_positions", torch.tensor([[-3], [2], [9]]), 3, 5)
    assert found.tolist() == [0, 2, 5]
    with pytest.raises(InputError, match="start_positions of dtype"):
        span_positions("start_positions", torch.ones(3), 3, 5)
    with pytest.raises(BadShape, match="end_positions of shape"):
        span_positions("end_positions", torch.tensor([1]), 3, 5)


def test_only_real_tokens_compete_for_a_span():
    start, end = torch.randn(2, 4), torch.randn(2, 4)
    real = torch.tensor([[True, True, True, False], [False] * 4])
    positions = torch.tensor([1, 0])
    found = span_loss(start, end, positions, positions, real)
    want = (F.cross_entropy(start[:1, :3], positions[:1]) + F.cross_entropy(end[:1, :3], positions[:1])) / 2
    torch.testing.assert_close(found, want)
    none = torch.full((2,), 4)
    assert span_loss(start, end, none, positions, None) == 0


def test_labels_that_do_not_fit_settle_nothing():
    config = RobertaConfig(num_labels=3)
    with pytest.raises(BadShape):
        classification_loss(config, torch.randn(2, 3), torch.randn(2))
    assert config.problem_type is None
    with pytest.raises(InputError, match="labels of type list"):
        classification_loss(config, torch.randn(2, 3), [1, 2])


@pytest.mark.parametrize("labels", [torch.randn(2, 3), torch.ones(2, 3)])
def test_losses_of_numbers_are_float32_at_least(labels):
    config = RobertaConfig(num_labels=3, problem_type="regression")
    assert classification_loss(config, torch.randn(2, 3).bfloat16(), labels).dtype == torch.float32
