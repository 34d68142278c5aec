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
        ({}, InputError, "neither input_ids nor inputs_embeds"),
        (
            {"input_ids": torch.tensor([[0, 2]]), "inputs_embeds": torch.zeros(1, 2, 16)},
            InputError,
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
        ({"input_ids": torch.zeros(1, 2)}, InputError, "input_ids of dtype float32; expected integers"),
        (
            {"input_ids": torch.tensor([[0, 2]]), "position_ids": torch.tensor([[2, 3, 4]])},
            BadShape,
            r"position_ids of shape \(1, 3\)",
        ),
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
        (torch.ones(1, 2), InputError, "labels of dtype float32"),
    ],
)
def test_wrong_labels_raise_one_sentence(tiny, labels, error, words):
    with pytest.raises(error, match=words):
        RobertaForMaskedLM(tiny())(torch.tensor([[0, 2]]), labels=labels)


def test_an_encoder_takes_no_cache_and_leaves_encoder_states_aside(tiny):
    model, ids = RobertaModel(tiny()).eval(), torch.tensor([[0, 2]])
    with pytest.raises(ArgumentError, match="past_key_values with is_decoder=False"):
        model(ids, past_key_values=())
    given = {"encoder_hidden_states": torch.ones(1, 3, 16), "encoder_attention_mask": torch.ones(1, 3)}
    assert torch.equal(model(ids, **given).last_hidden_state, model(ids).last_hidden_state)
    assert model(ids, use_cache=True).past_key_values is None


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ({"encoder_hidden_states": torch.ones(1, 3, 16)}, InputError, "without cross-attention"),
        ({"past_key_values": ((torch.ones(1),) * 3,) * 2}, ArgumentError, "two or four tensors"),
        ({"past_key_values": ((torch.ones(1, 4, 3, 4),) * 2,)}, ArgumentError, "past_key_values of 1 layers"),
        ({"past_key_values": ((torch.ones(5, 4, 3, 4),) * 2,) * 2}, ArgumentError, "5 rows for inputs of 1"),
        ({"past_key_values": 7}, ArgumentError, "past_key_values of type int"),
    ],
)
def test_what_a_decoder_cannot_take(tiny, given, error, words):
    with pytest.raises(error, match=words):
        RobertaModel(tiny(is_decoder=True))(torch.tensor([[0, 2]]), **given)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"encoder_hidden_states": torch.ones(2, 3, 16)}, "encoder_hidden_states of shape"),
        (
            {"encoder_hidden_states": torch.ones(1, 3, 16), "encoder_attention_mask": torch.ones(1, 4)},
            "encoder_attention_mask of shape",
        ),
    ],
)
def test_encoder_states_must_fit(tiny, given, words):
    with pytest.raises(BadShape, match=words):
        RobertaModel(tiny(is_decoder=True, add_cross_attention=True))(torch.tensor([[0, 2]]), **given)


def test_the_checks_of_ids_can_be_switched_off(tiny):
    model = RobertaForMaskedLM(tiny(type_vocab_size=2)).eval()
    ids = torch.tensor([[0, 2]])
    model.check_inputs = False
    with pytest.raises((IndexError, RuntimeError)):  # PyTorch's own, on a processor
        model(torch.tensor([[0, 50]]))
    model.check_inputs = True
    assert torch.isfinite(model(ids, token_type_ids=torch.tensor([[0, 1]])).logits).all()


def test_a_call_on_the_meta_device_gives_shapes(tiny):
    with torch.device("meta"):
        model = RobertaForMaskedLM(tiny())
        ids, mask = torch.ones(2, 5, dtype=torch.long), torch.ones(2, 5)
        out = model(ids, attention_mask=mask, labels=ids)
    assert out.logits.shape == (2, 5, 50)
    assert out.loss.shape == ()
    assert out.logits.is_meta
