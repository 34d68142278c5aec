"""The heads of every token: labels and spans, and what they refuse."""

import numpy as np
import pytest

from robertakit import RobertaConfig
from robertakit.errors import BadShape, ConfigError, InputError
from robertakit.tensorflow import TFRobertaForQuestionAnswering


def test_labels_one_shorter_than_the_ids(models, build):
    call = models.ragged("token-classification", labels=True)
    call["labels"] = call["labels"][:, :-1]
    with pytest.raises(BadShape, match="labels of length 8 with inputs of length 9"):
        build("token-classification")(**call)


def test_labels_without_a_class(models, build):
    call = models.ragged("token-classification", labels=True)
    with pytest.raises(InputError, match="label 5; expected 0 to 4"):
        build("token-classification")(**call | {"labels": call["labels"] * 0 + 5})


def test_question_answering_has_two_labels():
    with pytest.raises(ConfigError, match="num_labels=3 for question answering"):
        TFRobertaForQuestionAnswering(RobertaConfig(num_labels=3, num_hidden_layers=1, hidden_size=24))


def test_the_loss_needs_both_ends_and_integers(models, build):
    model = build("question-answering")
    call = models.ragged("question-answering", labels=True)
    end = call.pop("end_positions")
    assert model(**call).loss is None
    with pytest.raises(InputError, match="end_positions of dtype"):
        model(**call, end_positions=end.astype(np.float32))


@pytest.mark.parametrize("past", [9, 40])
def test_a_position_past_the_end_has_no_part(models, build, past):
    call = models.ragged("question-answering", (9, 9, 9), labels=True)
    call["start_positions"][1] = call["end_positions"][1] = past
    model = build("question-answering")
    rest = model(**{name: value[[0, 2]] for name, value in call.items()}).loss
    np.testing.assert_allclose(model(**call).loss, rest, rtol=1e-5)
