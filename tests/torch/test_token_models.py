"""The heads of every token: rows, spans, what they refuse."""

import pytest
import torch

from robertakit import RobertaConfig
from robertakit.errors import BadShape, ConfigError, InputError
from robertakit.torch import RobertaForQuestionAnswering


def test_real_tokens_alone_enter_the_head(models):
    model = models.build("token-classification")
    call = models.ragged("token-classification", labels=True)
    rows = []
    model.classifier.register_forward_hook(lambda module, inputs, output: rows.append(len(inputs[0])))
    model(**call)
    assert rows == [int(call["attention_mask"].sum())]


def test_labels_one_shorter_than_the_ids(models):
    call = models.ragged("token-classification", labels=True)
    call["labels"] = call["labels"][:, :-1]
    with pytest.raises(BadShape, match="labels of length 8 with inputs of length 9"):
        models.build("token-classification")(**call)


def test_question_answering_has_two_labels():
    with pytest.raises(ConfigError, match="num_labels=3 for question answering"):
        RobertaForQuestionAnswering(RobertaConfig(num_labels=3, num_hidden_layers=1, hidden_size=24))


def test_the_loss_needs_both_ends_and_integers(models):
    model = models.build("question-answering")
    call = models.ragged("question-answering", labels=True)
    end = call.pop("end_positions")
    assert model(**call).loss is None
    with pytest.raises(InputError, match="end_positions of dtype"):
        model(**call, end_positions=end.float())


@pytest.mark.parametrize("past", [9, 40])
def test_a_position_past_the_end_has_no_part(models, past):
    """Packed and padded alike: length itself is past the end (the reference ignores it)."""
    call = models.ragged("question-answering", labels=True)
    call["start_positions"][1] = call["end_positions"][1] = past
    kept = [0, 2, 3, 4]
    packed = models.build("question-answering", attn_implementation="packed")
    rest = packed(**{name: value[kept] for name, value in call.items()}).loss
    torch.testing.assert_close(packed(**call).loss, rest)
