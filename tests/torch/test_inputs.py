"""Wrong inputs end in one sentence, before a kernel runs."""

import pytest
import torch

from robertakit.errors import ArgumentError, BadShape, InputError, TooLong
from robertakit.torch import RobertaForMaskedLM, RobertaModel


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"input_ids": torch.full((1, 19), 5)}, TooLong, "19 tokens"),
        ({"input_ids": torch.tensor([[0, 50]])}, InputError, "input_ids 50"),
        ({"input_ids": torch.tensor([[0, -1]])}, InputError, "input_ids -1"),
        (
            {"input_ids": torch.tensor([[0, 2]]), "token_type_ids": torch.tensor([[0, 1]])},
            InputError,
            "token_type_ids 1",
        ),
        ({}, ArgumentError, "no input"),
        (
            {"input_ids": torch.tensor([[0, 2]]), "inputs_embeds": torch.zeros(1, 2, 16)},
            ArgumentError,
            "both input_ids",
        ),
        (
            {"input_ids": torch.tensor([[0, 2]]), "attention_mask": torch.ones(1, 3)},
            BadShape,
            "attention_mask",
        ),
        ({"input_ids": torch.tensor([[0, 2]]), "head_mask": torch.ones(3)}, BadShape, "head_mask"),
        (
            {"input_ids": torch.tensor([0, 2])},
            BadShape,
            r"input_ids of shape \(2,\); expected \(batch, length\)",
        ),
        ({"input_ids": torch.zeros(2, 0, dtype=torch.long)}, BadShape, "at least one token"),
        ({"input_ids": [[0, 2]]}, InputError, "input_ids of type list; expected a tensor"),
        ({"input_ids": torch.zeros(1, 2)}, InputError, "input_ids of dtype torch.float32; expected integers"),
        (
            {"input_ids": torch.tensor([[0, 2]]), "attention_mask": torch.tensor([[1, 7]])},
            InputError,
            "attention_mask with 7",
        ),
        (
            {"input_ids": torch.tensor([[0, 2]]), "attention_mask": torch.tensor([[1.0, torch.nan]])},
            InputError,
            "attention_mask with nan",
        ),
    ],
)
def test_wrong_inputs_raise_one_sentence(tiny, arguments, error, words):
    for model in (RobertaModel(tiny()), RobertaForMaskedLM(tiny())):
        with pytest.raises(error, match=words):
            model(**arguments)


@pytest.mark.parametrize(
    ("labels", "error", "words"),
    [
        (torch.tensor([[-100, 50]]), InputError, "label 50; expected 0 to 49, or -100"),
        (torch.tensor([[-1, 3]]), InputError, "label -1"),
        (torch.tensor([3, 3]), BadShape, r"labels of shape \(2,\); expected \(1, 2\)"),
        (torch.ones(1, 2), InputError, "labels of dtype torch.float32"),
    ],
)
def test_wrong_labels_raise_one_sentence(tiny, labels, error, words):
    with pytest.raises(error, match=words):
        RobertaForMaskedLM(tiny())(torch.tensor([[0, 2]]), labels=labels)


def test_unknown_arguments_raise(tiny):
    with pytest.raises(TypeError, match="past_key_values"):
        RobertaModel(tiny())(torch.tensor([[0, 2]]), past_key_values=())


@pytest.mark.parametrize("name", ["encoder_hidden_states", "encoder_attention_mask"])
def test_what_only_a_decoder_takes_raises(tiny, name):
    for model in (RobertaModel(tiny()), RobertaForMaskedLM(tiny())):
        with pytest.raises(ArgumentError, match=f"{name} to an encoder"):
            model(torch.tensor([[0, 2]]), **{name: torch.ones(1, 2)})
