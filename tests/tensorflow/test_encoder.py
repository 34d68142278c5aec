"""The stack and the bare model: outputs, empty rows, the longest input, caches."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from robertakit.tensorflow import TFRobertaForMaskedLM, TFRobertaModel
from robertakit.tensorflow.encoder import TFRobertaMainLayer

IDS = np.array([[0, 5, 6, 7, 2], [0, 8, 2, 1, 1]])


def test_eighteen_tokens_fit_twenty_positions(tiny):
    assert TFRobertaModel(tiny())(np.full((1, 18), 5)).last_hidden_state.shape == (1, 18, 16)


def test_a_row_without_a_real_token_gives_no_nan(tiny):
    model = TFRobertaForMaskedLM(tiny())
    mask = np.array([[1, 1, 1, 1, 1], [0, 0, 0, 0, 0]])
    with tf.GradientTape() as tape:
        loss = model(IDS, attention_mask=mask, labels=np.where(mask, IDS, -100)).loss
    gradients = tape.gradient(loss, model.trainable_variables)
    assert np.isfinite(loss)
    assert all(np.isfinite(tf.convert_to_tensor(g)).all() for g in gradients if g is not None)


def test_tuples_and_containers_hold_the_same(tiny):
    model = TFRobertaModel(tiny(), add_pooling_layer=False)
    asked = {"output_attentions": True, "output_hidden_states": True}
    out = model(IDS, **asked)
    last, pooled, states, maps = model(IDS, **asked, return_dict=False)
    assert pooled is None
    np.testing.assert_array_equal(last, out.last_hidden_state)
    assert len(states) == len(out.hidden_states) == 3
    assert len(maps) == len(out.attentions) == 2


def test_a_cache_is_given_where_it_is_wanted(tiny):
    encoder, decoder = TFRobertaModel(tiny()), TFRobertaModel(tiny(is_decoder=True))
    assert encoder(IDS, use_cache=True).past_key_values is None
    assert decoder(IDS, use_cache=False).past_key_values is None
    past = decoder(IDS[:1, :4]).past_key_values
    assert [tuple(x.shape) for layer in past for x in layer] == [(1, 4, 4, 4)] * 4
    more = decoder(IDS[:1, 4:], past_key_values=past)
    whole = decoder(IDS[:1])
    np.testing.assert_allclose(more.last_hidden_state, whole.last_hidden_state[:, 4:], rtol=0, atol=1e-5)


def test_a_cache_of_open_length_goes_through_a_graph(tiny):
    decoder = TFRobertaModel(tiny(is_decoder=True))
    key = tf.TensorSpec((None, 4, None, 4))

    @tf.function(
        input_signature=[
            tf.TensorSpec((None, None), tf.int32),
            ((key, key),) * 2,
            tf.TensorSpec((None, None)),
        ]
    )
    def step(ids, past, mask):
        return dict(decoder(ids, past_key_values=past, attention_mask=mask))

    past = decoder(IDS[:1, :2]).past_key_values
    for stop in (3, 5):
        out = step(IDS[:1, 2:stop], past, np.ones((1, stop)))
        want = decoder(IDS[:1, :stop]).last_hidden_state[:, 2:]
        np.testing.assert_allclose(out["last_hidden_state"], want, rtol=0, atol=1e-5)


def test_the_backbone_is_a_layer_of_functional_models(tiny):
    layer = TFRobertaMainLayer(tiny(), name="roberta")
    ids = keras.Input((None,), dtype="int32")
    model = keras.Model(ids, keras.layers.Dense(2)(layer(ids).pooler_output))
    again = keras.Model.from_config(model.get_config())
    again.set_weights(model.get_weights())
    np.testing.assert_array_equal(again(IDS), model(IDS))


@pytest.mark.parametrize("size", [1, 2, 5])
def test_chunks_change_nothing(size, tiny):
    whole = TFRobertaModel(tiny(), dtype="float64")
    chunked = TFRobertaModel(tiny(chunk_size_feed_forward=size), dtype="float64")
    chunked.set_weights(whole.get_weights())
    np.testing.assert_allclose(
        chunked(IDS).last_hidden_state, whole(IDS).last_hidden_state, rtol=0, atol=1e-12
    )


def test_encode_and_score_are_the_two_halves_of_a_call(models, build):
    for head in ("model", "masked-lm", "question-answering", "token-classification"):
        model = build(head)
        call = {name: tf.constant(value) for name, value in models.ragged(head).items()}
        states = model.encode(call["input_ids"], call["attention_mask"], call["token_type_ids"])
        want = model(call)
        scores = model.score(states[:, 0])
        for name, found in scores.items():
            whole = want[name]
            np.testing.assert_allclose(
                found, whole if name == "pooler_output" else whole[:, 0], rtol=0, atol=1e-5
            )
        assert scores
