"""Attention: half precision with masks, dropout, heads that are gone, and the names of its parts."""

import numpy as np
import pytest
import tensorflow as tf

from robertakit.tensorflow.attention import TFRobertaAttention
from robertakit.tensorflow.encoder import TFRobertaMainLayer, TFRobertaModel

IDS = np.array([[0, 5, 6, 7, 2], [0, 8, 2, 1, 1]])


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_a_row_that_sees_nothing_sees_all_alike_in_half_precision_too(policy, tiny):
    layer = TFRobertaMainLayer(tiny(), dtype=policy)
    mask = np.array([[1, 1, 1, 0, 0], [0, 0, 0, 0, 0]])
    maps = layer(IDS, attention_mask=mask, output_attentions=True).attentions[0]
    np.testing.assert_allclose(tf.cast(maps[1], tf.float32), 0.2, rtol=0, atol=1e-3)
    assert not maps.numpy()[0, ..., 3:].any()


def test_dropout_is_drawn_in_training_only(tiny):
    model = TFRobertaModel(tiny(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.5))

    def states(**given):
        return model(IDS, **given).last_hidden_state.numpy()

    assert not np.array_equal(states(training=True), states(training=True))
    np.testing.assert_array_equal(states(), states(training=False))


def test_a_head_mask_numbers_heads_as_before_pruning(tiny):
    whole = TFRobertaAttention(tiny())
    pruned = TFRobertaAttention(tiny(pruned_heads={0: [1]}))
    states = np.random.default_rng(0).standard_normal((2, 5, 16)).astype(np.float32)
    mask = np.array([0.5, 0.0, 2.0, 1.0], np.float32)[None, :, None, None]
    want, maps, _ = whole(states, head_mask=mask)
    pruned(states)
    kept = [i for i in range(16) if i // 4 != 1]
    for ours, theirs in (("query", "query"), ("key", "key"), ("value", "value")):
        kernel, bias = getattr(whole.self_attention, theirs).get_weights()
        getattr(pruned.self_attention, ours).set_weights([kernel[:, kept], bias[kept]])
    kernel, bias = whole.dense_output.dense.get_weights()
    pruned.dense_output.dense.set_weights([kernel[kept], bias])
    found, found_maps, _ = pruned(states, head_mask=mask)
    np.testing.assert_allclose(found, want, rtol=0, atol=1e-6)
    np.testing.assert_allclose(found_maps, tf.gather(maps, [0, 2, 3], axis=1), rtol=0, atol=1e-6)


def test_variables_have_the_names_of_the_table(tiny):
    layer = TFRobertaMainLayer(tiny(num_hidden_layers=1), name="roberta")
    layer.build(None)
    paths = [weight.path for weight in layer.weights]
    assert "roberta/encoder/layer_._0/attention/self/query/kernel" in paths
    assert "roberta/encoder/layer_._0/attention/output/LayerNorm/gamma" in paths
    assert "roberta/embeddings/word_embeddings/embeddings" in paths
