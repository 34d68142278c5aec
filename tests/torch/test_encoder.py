"""The bare model: real tokens only, empty rows, the longest input, packed lengths."""

import pytest
import torch

from robertakit.errors import BadShape
from robertakit.torch import RobertaForMaskedLM, RobertaModel


def test_trap_14_rows_that_reach_the_feed_forward_are_the_real_tokens(tiny, ragged):
    config = tiny()
    model = RobertaModel(config).eval()
    ids, mask = ragged(config)
    counted = []
    model.encoder.layer[0].intermediate.dense.register_forward_hook(
        lambda module, inputs, output: counted.append(inputs[0].shape[:-1].numel())
    )
    model(ids, attention_mask=mask)
    assert counted == [int(mask.sum())]


def test_a_row_without_a_real_token_gives_zeros_and_no_nan(tiny, ragged):
    config = tiny()
    model = RobertaForMaskedLM(config)
    ids, mask = ragged(config)
    mask[1] = 0
    labels = torch.where(mask.bool(), ids, -100)
    out = model(ids, attention_mask=mask, labels=labels)
    out.loss.backward()
    assert torch.isfinite(out.loss)
    assert all(torch.isfinite(parameter.grad).all() for parameter in model.parameters())
    encoded = RobertaModel(config)(ids, attention_mask=mask)
    assert not encoded.last_hidden_state[1].any()
    assert not encoded.pooler_output[1].any()


def test_eighteen_tokens_fit_twenty_positions(tiny):
    assert RobertaModel(tiny())(torch.full((1, 18), 5)).last_hidden_state.shape == (1, 18, 16)


def test_packed_lengths_must_cover_the_tokens(tiny):
    model = RobertaModel(tiny())
    ids = torch.tensor([0, 5, 2])
    with pytest.raises(BadShape, match="cumulative_lengths"):
        model.encode_packed(ids, torch.tensor([2, 3, 4]), torch.tensor([0, 2]))
