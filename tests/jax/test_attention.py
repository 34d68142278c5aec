"""Attention: pruned heads keep their numbers, and a 3-D mask says which keys each query sees."""

import jax
import numpy as np


def test_heads_keep_their_numbers_after_pruning(models):
    call = models.call("model")
    factors = np.array([0.5, 1, 0.25, 2], np.float32)
    pruned = models.build("model", pruned_heads={0: [0, 2]})
    plain = pruned(**call, output_attentions=True).attentions
    scaled = pruned(**call, head_mask=factors, output_attentions=True).attentions
    assert [map_.shape[1] for map_ in plain] == [2, 4]
    np.testing.assert_allclose(scaled[0], plain[0] * factors[[1, 3], None, None], rtol=0, atol=1e-6)


def test_a_three_dimensional_mask_rules_each_query(models):
    model, call = models.build("model"), models.call("model", (7, 7))
    call["attention_mask"] = np.broadcast_to(np.tri(7, dtype=np.int32), (2, 7, 7))
    maps = np.asarray(model(**call, output_attentions=True).attentions[0])
    assert not maps[:, :, np.triu_indices(7, 1)[0], np.triu_indices(7, 1)[1]].any()
    np.testing.assert_allclose(maps.sum(-1), 1, rtol=1e-5)


def test_what_a_decoder_sees_is_the_same_as_such_a_mask(models):
    call = models.call("model", (7, 7))
    causal = np.broadcast_to(np.tri(7, dtype=np.int32), (2, 7, 7))
    want = models.build("model")(**(call | {"attention_mask": causal})).last_hidden_state
    found = models.build("model", is_decoder=True)(**call).last_hidden_state
    np.testing.assert_allclose(found, want, rtol=0, atol=1e-5)


def test_scores_in_half_precision_are_normalised_in_float32(models):
    model, call = models.build("model", dtype="bfloat16"), models.call("model")
    text = str(jax.make_jaxpr(lambda call: model(**call).last_hidden_state)(call))
    assert ":f32[4,4,9,9] = exp" in text
    assert ":bf16[4,4,9,9] = exp" not in text
