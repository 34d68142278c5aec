"""The embeddings as a layer that people call themselves."""

import numpy as np

from robertakit.batch import position_ids


def test_called_alone_they_count_positions_and_take_the_documented_order(models, build):
    embeddings = build("model").roberta.embeddings
    call = models.ragged("model")
    ids, types = call["input_ids"], call["token_type_ids"]
    positions = position_ids(ids, 1)
    want = embeddings(input_ids=ids, token_type_ids=types, position_ids=positions)
    np.testing.assert_array_equal(embeddings(ids, types), want)
    words = embeddings.word_embeddings(ids)
    np.testing.assert_array_equal(embeddings(None, types, positions, words), want)
    summed = words + embeddings.token_type_embeddings(types) + embeddings.position_embeddings(positions)
    np.testing.assert_array_equal(embeddings.LayerNorm(summed), want)


def test_earlier_tokens_move_the_positions(build):
    embeddings = build("model").roberta.embeddings
    ids = np.array([[5, 6, 7, 8]])
    found = embeddings(ids[:, 2:], past_key_values_length=2)
    np.testing.assert_allclose(found, embeddings(ids)[:, 2:], rtol=0, atol=1e-6)
