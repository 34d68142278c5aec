"""Packed against padded attention, its gradient, and its dropout."""

import torch

from robertakit.batch import Batch
from robertakit.torch import RobertaForMaskedLM, RobertaModel


def test_packed_padded_and_one_by_one_agree(tiny, ragged):
    config = tiny()
    model = RobertaModel(config).eval()
    ids, mask = ragged(config)
    packed = Batch.from_padded(ids.numpy(), mask.numpy(), config.pad_token_id)
    tensors = [
        torch.from_numpy(array)
        for array in (packed.input_ids, packed.position_ids, packed.cumulative_lengths)
    ]
    rows = model.encode_packed(*tensors)
    out = model(ids, attention_mask=mask)
    assert torch.equal(out.last_hidden_state[mask == 0], torch.zeros(int((mask == 0).sum()), 16))
    config.attn_implementation = "sdpa"
    padded = model(ids, attention_mask=mask)
    start = 0
    for row, length in enumerate(mask.sum(1).tolist()):
        alone = model(ids[row : row + 1, :length])
        for other in (
            out.last_hidden_state[row, :length],
            padded.last_hidden_state[row, :length],
            rows[start : start + length],
        ):
            torch.testing.assert_close(other, alone.last_hidden_state[0], rtol=0, atol=1e-5)
        torch.testing.assert_close(out.pooler_output[row], alone.pooler_output[0], rtol=0, atol=1e-5)
        start += length


def test_packing_does_not_change_the_gradient(tiny, ragged):
    config = tiny()
    ids, mask = ragged(config)
    labels = torch.where(mask.bool() & (torch.arange(ids.shape[1]) % 2 == 0), ids, -100)
    gradients = []
    for way in ("packed", "sdpa"):
        torch.manual_seed(1)
        model = RobertaForMaskedLM(config).double().eval()
        config.attn_implementation = way
        model(ids, attention_mask=mask, labels=labels).loss.backward()
        gradients.append([parameter.grad for parameter in model.parameters()])
    for packed, padded in zip(*gradients, strict=True):
        torch.testing.assert_close(packed, padded, rtol=0, atol=1e-12)


def test_dropout_is_drawn_in_training_only(tiny):
    model = RobertaModel(tiny(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.5))
    ids = torch.tensor([[0, 5, 6, 7, 2]])
    assert not torch.equal(model(ids).last_hidden_state, model(ids).last_hidden_state)
    model.eval()
    assert torch.equal(model(ids).last_hidden_state, model(ids).last_hidden_state)
