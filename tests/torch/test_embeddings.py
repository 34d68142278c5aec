"""The embeddings as a module that people call themselves."""

import torch

from robertakit.batch import position_ids


def test_called_alone_they_count_positions_and_take_the_documented_order(models):
    embeddings = models.build("model").embeddings
    call = models.ragged("model")
    ids, types = call["input_ids"], call["token_type_ids"]
    positions = torch.from_numpy(position_ids(ids.numpy(), 1)).long()
    want = embeddings(input_ids=ids, token_type_ids=types, position_ids=positions)
    assert torch.equal(embeddings(ids, types), want)
    words = embeddings.word_embeddings(ids)
    assert torch.equal(embeddings(None, types, positions, words), want)
    summed = words + embeddings.token_type_embeddings(types) + embeddings.position_embeddings(positions)
    assert torch.equal(embeddings.LayerNorm(summed), want)


def test_earlier_tokens_move_the_positions(models):
    embeddings = models.build("model").embeddings
    ids = torch.tensor([[5, 6, 7, 8]])
    torch.testing.assert_close(embeddings(ids[:, 2:], past_key_values_length=2), embeddings(ids)[:, 2:])
