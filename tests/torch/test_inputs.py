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
    ],
)
def test_wrong_inputs_raise_one_sentence(tiny, arguments, error, words):
    for model in (RobertaModel(tiny()), RobertaForMaskedLM(tiny())):
        with pytest.raises(error, match=words):
            model(**arguments)


def test_unknown_arguments_raise(tiny):
    with pytest.raises(TypeError, match="past_key_values"):
        RobertaModel(tiny())(torch.tensor([[0, 2]]), past_key_values=())


@pytest.mark.parametrize("name", ["encoder_hidden_states", "encoder_attention_mask"])
def test_what_only_a_decoder_takes_raises(tiny, name):
    for model in (RobertaModel(tiny()), RobertaForMaskedLM(tiny())):
        with pytest.raises(ArgumentError, match=f"{name} to an encoder"):
            model(torch.tensor([[0, 2]]), **{name: torch.ones(1, 2)})
