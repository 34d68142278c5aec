"""The encoder's pieces: rows may be padded or packed, and chunks change nothing."""

import numpy as np

from robertakit.numpy.attention import PackedAttention, PaddedAttention
from robertakit.numpy.encoder import embed, encode, pool


def test_embeddings_are_three_rows_summed_and_normalised(small):
    model = small("RobertaModel", dtype="float64")
    scope = model.scope().at("embeddings")
    ids, types, positions = np.array([[5, 6]]), np.array([[0, 1]]), np.array([[2, 3]])
    found = embed(scope, model.config, position_ids=positions, input_ids=ids, token_type_ids=types)
    tables = [scope.read(f"{name}_embeddings.weight") for name in ("word", "token_type", "position")]
    total = tables[0][ids] + tables[1][types] + tables[2][positions]
    centred = total - total.mean(-1, keepdims=True)
    want = centred / np.sqrt(np.square(centred).mean(-1, keepdims=True) + model.config.layer_norm_eps)
    want = want * scope.read("LayerNorm.weight") + scope.read("LayerNorm.bias")
    np.testing.assert_allclose(found, want, rtol=1e-10)


def test_relative_positions_leave_the_position_table_aside(small):
    model = small("RobertaModel", position_embedding_type="relative_key")
    assert "embeddings.position_embeddings" not in model.trace([[0, 5]])


def test_one_encoder_for_padded_and_packed_rows(small):
    model = small("RobertaModel", dtype="float64")
    scope = model.scope().at("encoder")
    x = np.random.default_rng(0).standard_normal((2, 5, 24))
    *_, padded = encode(scope, model.config, x, PaddedAttention(model.config))
    packed_attention = PackedAttention(model.config, np.array([0, 5, 10]), np.dtype(np.float64))
    *_, packed = encode(scope, model.config, x.reshape(10, 24), packed_attention)
    np.testing.assert_allclose(packed.reshape(2, 5, 24), padded, rtol=0, atol=1e-12)


def test_a_layer_does_not_write_into_its_input(small):
    model = small("RobertaModel")
    x = np.random.default_rng(0).standard_normal((1, 3, 24)).astype(np.float32)
    kept = x.copy()
    list(encode(model.scope().at("encoder"), model.config, x, PaddedAttention(model.config)))
    np.testing.assert_array_equal(x, kept)


def test_no_layers_gives_the_embeddings(small):
    model = small("RobertaModel", num_hidden_layers=0)
    output = model([[0, 5, 2]], output_hidden_states=True)
    assert len(output.hidden_states) == 1
    np.testing.assert_array_equal(output.last_hidden_state, output.hidden_states[0])


def test_the_pooler_is_tanh_of_a_matrix(small):
    model = small("RobertaModel", dtype="float64")
    first = np.random.default_rng(0).standard_normal((2, 24))
    scope = model.scope().at("pooler")
    want = np.tanh(first @ scope.read("dense.weight").T + scope.read("dense.bias"))
    np.testing.assert_allclose(pool(scope, first), want, rtol=1e-12)
