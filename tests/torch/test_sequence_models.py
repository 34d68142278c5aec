"""The heads of the first token: somebody's own head, choices."""

import pytest
import torch
from torch import nn

from robertakit.errors import BadShape, InputError


class MeanHead(nn.Module):
    """A head that reads every token."""

    def __init__(self):
        super().__init__()
        self.out_proj = nn.Linear(24, 3)

    def forward(self, features):
        return self.out_proj(features.mean(1))


@pytest.mark.parametrize("way", ["packed", "sdpa"])
def test_a_head_of_ones_own_sees_every_token(models, way):
    model = models.build("sequence-classification", attn_implementation=way)
    model.classifier = MeanHead()
    call = models.ragged("sequence-classification")
    states = model.roberta(**call).last_hidden_state
    torch.testing.assert_close(model(**call).logits, model.classifier(states))


def test_the_documented_head_computes_one_row_for_each_text(models):
    model = models.build("sequence-classification")
    rows = []
    model.classifier.dense.register_forward_hook(lambda module, inputs, output: rows.append(inputs[0].shape))
    model(**models.ragged("sequence-classification"))
    assert rows == [(5, 24)]


def test_labels_of_another_number_than_texts(models):
    call = models.ragged("sequence-classification", labels=True)
    call["labels"] = call["labels"][:3]
    with pytest.raises(BadShape, match="labels of shape"):
        models.build("sequence-classification")(**call)


def test_choices_that_are_no_choices(models):
    model = models.build("multiple-choice")
    call = models.ragged("multiple-choice", labels=True)
    with pytest.raises(InputError, match="label 2; expected 0 to 1"):
        model(**call | {"labels": torch.full((5,), 2)})
    with pytest.raises(BadShape, match=r"input_ids of shape \(5, 9\); expected \(batch, choices, length\)"):
        model(call["input_ids"][:, 0])


def test_embeddings_take_the_place_of_ids(models):
    model = models.build("multiple-choice", attn_implementation="sdpa")
    call = models.ragged("multiple-choice", (6, 6, 6))
    embeds = model.roberta.embeddings.word_embeddings(call.pop("input_ids"))
    found = model(inputs_embeds=embeds, **call)
    assert found.logits.shape == (3, 2)
    want = [
        model(inputs_embeds=embeds[row : row + 1], **{k: v[row : row + 1] for k, v in call.items()})
        for row in range(3)
    ]
    torch.testing.assert_close(found.logits, torch.cat([out.logits for out in want]))
