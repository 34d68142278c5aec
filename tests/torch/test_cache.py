"""The cache object: in place, from and to tuples, reordered."""

import torch

from robertakit.torch import DynamicCache


def test_it_goes_from_tuples_to_tuples_and_leaves_theirs_alone():
    layers = tuple((torch.rand(2, 3, 4, 5), torch.rand(2, 3, 4, 5)) for _ in range(2))
    cache = DynamicCache.from_legacy_cache(layers)
    cache.update(torch.rand(2, 3, 1, 5), torch.rand(2, 3, 1, 5), layer=0)
    assert (cache.get_seq_length(), cache.get_seq_length(1), len(cache)) == (5, 4, 2)
    assert layers[0][0].shape[2] == 4
    assert cache.to_legacy_cache()[1] == layers[1]
    assert [len(layer) for layer in cache] == [2, 2]
    assert torch.equal(cache[0][0][:, :, :4], layers[0][0])


def test_an_empty_one_is_the_start():
    assert DynamicCache.from_legacy_cache(None).get_seq_length() == 0
    assert DynamicCache().to_legacy_cache() == ()


def test_what_another_cache_leaves_out_is_left_out():
    """transformers writes None for a cross-attention that is not there, and for a layer that holds nothing yet."""
    key, value = torch.rand(2, 3, 4, 5), torch.rand(2, 3, 4, 5)
    cache = DynamicCache.from_legacy_cache(((key, value, None, None), (key, value, None, None)))
    assert [len(layer) for layer in cache] == [2, 2]
    assert cache.cross(0) is None
    assert DynamicCache.from_legacy_cache(((None, None), (None, None))).get_seq_length() == 0


def test_rows_are_reordered_for_beams(models):
    model = models.build("causal-lm", is_decoder=True, add_cross_attention=True)
    ids = models.ragged("causal-lm", (6, 6, 6))["input_ids"]
    states = torch.rand(3, 4, 24)
    order = torch.tensor([2, 0, 0])
    cache = DynamicCache()
    model(ids[:, :5], encoder_hidden_states=states, past_key_values=cache)
    cache.reorder_cache(order)
    found = model(ids[order, 5:], encoder_hidden_states=states[order], past_key_values=cache).logits
    want = model(ids, encoder_hidden_states=states).logits[order, 5:]
    torch.testing.assert_close(found, want)


def test_a_foreign_object_counts_as_its_tuples_and_a_cache_without_use_cache_stays(models):
    class Foreign:
        def __init__(self, layers):
            self.layers = layers

        def to_legacy_cache(self):
            return self.layers

    model = models.build("causal-lm", is_decoder=True)
    ids = models.ragged("causal-lm", (6, 6))["input_ids"]
    past = model(ids[:, :4]).past_key_values
    want = model(ids[:, 4:], past_key_values=past)
    found = model(ids[:, 4:], past_key_values=Foreign(past))
    assert torch.equal(found.logits, want.logits)
    assert isinstance(found.past_key_values, tuple)
    cache = DynamicCache.from_legacy_cache(past)
    assert torch.equal(model(ids[:, 4:], past_key_values=cache, use_cache=False).logits, want.logits)
    assert cache.get_seq_length() == 4
