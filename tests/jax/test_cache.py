"""The decoder's cache: what it holds, inside `jit` and `lax.scan`, read only, and when it is full."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from robertakit.errors import ArgumentError, BadShape, TooLong
from robertakit.jax import init_cache
from robertakit.jax.cache import cache_length, tokens_so_far


@pytest.fixture
def decoder(models):
    return models.build("causal-lm", is_decoder=True)


@pytest.fixture
def ids(models):
    return models.call("causal-lm", (7, 7))["input_ids"]


def test_it_is_a_tree_of_the_modules_form_with_the_heads_that_are_left(tiny):
    cache = init_cache(tiny(is_decoder=True, pruned_heads={1: [0, 2]}), "model", 3, 10, jnp.bfloat16)
    layers = cache["encoder"]["layer"]
    shapes = [layers[number]["attention"]["self"]["cached_value"].shape for number in "01"]
    assert shapes == [(3, 10, 4, 6), (3, 10, 2, 6)]
    assert layers["0"]["attention"]["self"]["cached_key"].dtype == jnp.bfloat16
    assert (cache_length(cache), tokens_so_far(cache)) == (10, 0)


def test_tokens_one_by_one_in_a_scan_are_one_pass(decoder, ids):
    want = decoder(ids).logits

    def step(cache, token):
        out, changed = decoder.module.apply(
            {"params": decoder.params, "cache": cache}, token[:, None], mutable=["cache"]
        )
        return changed["cache"], out.logits[:, 0]

    cache, logits = jax.jit(lambda cache, ids: jax.lax.scan(step, cache, ids.T))(
        decoder.init_cache(2, 9), ids
    )
    np.testing.assert_allclose(logits.swapaxes(0, 1), want, rtol=0, atol=2e-5)
    assert tokens_so_far(cache["roberta"]) == 7


def test_a_mask_covers_the_tokens_so_far_or_the_whole_cache(decoder, ids):
    mask = np.ones((2, 7), np.int32)
    mask[1, :2] = 0
    whole = np.pad(mask, ((0, 0), (0, 2)))
    first = decoder(ids[:, :4], attention_mask=mask[:, :4], past_key_values=decoder.init_cache(2, 9))
    past = first.past_key_values
    one = decoder(ids[:, 4:], attention_mask=mask, past_key_values=past).logits
    other = decoder(ids[:, 4:], attention_mask=whole, past_key_values=past).logits
    compiled = jax.jit(lambda past, ids, mask: decoder(ids, attention_mask=mask, past_key_values=past).logits)
    for found in (other, compiled(past, ids[:, 4:], mask), compiled(past, ids[:, 4:], whole)):
        np.testing.assert_allclose(found, one, rtol=0, atol=1e-5)
    with pytest.raises(BadShape, match="attention_mask of shape"):
        decoder(ids[:, 4:], attention_mask=mask[:, :6], past_key_values=past)
    with pytest.raises(BadShape, match="attention_mask of shape"):
        compiled(past, ids[:, 4:], mask[:, :2])


def test_without_use_cache_it_is_read_and_stays(decoder, ids):
    past = decoder(ids[:, :4], past_key_values=decoder.init_cache(2, 9)).past_key_values
    out = decoder(ids[:, 4:], past_key_values=past, use_cache=False)
    assert out.past_key_values is None
    read = decoder.module.apply({"params": decoder.params, "cache": past}, ids[:, 4:])
    for found in (out, read):
        np.testing.assert_allclose(found.logits, decoder(ids).logits[:, 4:], rtol=0, atol=2e-5)
    assert tokens_so_far(past["roberta"]) == 4


def test_one_that_a_call_makes_has_room_for_all_positions(decoder, ids):
    made = decoder(ids, use_cache=True).past_key_values
    assert (cache_length(made["roberta"]), tokens_so_far(made["roberta"])) == (40, 7)
    assert decoder(ids, use_cache=True, labels=ids).past_key_values is None


def test_a_full_one_raises_in_place_of_writing_over_its_end(decoder, ids):
    past = decoder(ids, past_key_values=decoder.init_cache(2, 8)).past_key_values
    with pytest.raises(TooLong, match="2 tokens to a cache that holds 7 of at most 8; expected at most 1"):
        decoder(ids[:, :2], past_key_values=past)
    with pytest.raises(TooLong, match="7 tokens to a cache"):  # the shapes tell it inside jit, too
        jax.jit(lambda past, ids: decoder(ids, past_key_values=past).logits)(decoder.init_cache(2, 6), ids)


def test_what_does_not_fit(decoder, ids, tiny):
    with pytest.raises(BadShape, match="a cache for 3 rows; expected 2"):
        decoder(ids, past_key_values=decoder.init_cache(3, 8))
    with pytest.raises(ArgumentError, match="is_decoder=False"):
        init_cache(tiny(), "model", 1, 4)
    with pytest.raises(TooLong, match="a cache of 41 tokens with relative_key positions"):
        init_cache(tiny(is_decoder=True, position_embedding_type="relative_key"), "model", 1, 41)
