"""The heads of every token: labels and spans, and what they refuse."""

import numpy as np
import pytest

from robertakit import FlaxRobertaForQuestionAnswering
from robertakit.errors import BadShape, ConfigError, InputError


def test_labels_one_shorter_than_the_ids(models):
    call = models.call("token-classification", labels=True)
    call["labels"] = call["labels"][:, :-1]
    with pytest.raises(BadShape, match="labels of length 8 with inputs of length 9"):
        models.build("token-classification")(**call)


def test_labels_without_a_class(models):
    call = models.call("token-classification", labels=True)
    with pytest.raises(InputError, match="label 5; expected 0 to 4"):
        models.build("token-classification")(**call | {"labels": call["labels"] * 0 + 5})


def test_question_answering_has_two_labels(tiny):
    with pytest.raises(ConfigError, match="num_labels=3 for question answering"):
        FlaxRobertaForQuestionAnswering(tiny(num_labels=3))


def test_the_loss_needs_both_ends_and_integers(models):
    model, call = models.build("question-answering"), models.call("question-answering", labels=True)
    end = call.pop("end_positions")
    assert model(**call).loss is None
    with pytest.raises(InputError, match="end_positions of dtype"):
        model(**call, end_positions=end.astype(np.float32))


@pytest.mark.parametrize("past", [9, 40])
def test_a_position_past_the_end_has_no_part(models, past):
    call = models.call("question-answering", (9, 9, 9), labels=True)
    call["start_positions"][1] = call["end_positions"][1] = past
    model = models.build("question-answering")
    rest = models.compiled(model, **{name: value[[0, 2]] for name, value in call.items()}).loss
    np.testing.assert_allclose(models.compiled(model, **call).loss, rest, rtol=1e-5)
