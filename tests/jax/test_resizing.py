"""Another vocabulary and fewer heads: the parameters follow, and what is saved is read again."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from robertakit import jax as family
from robertakit.errors import ArgumentError
from robertakit.numpy import RobertaForMaskedLM as InNumPy

IDS = np.array([[0, 9, 8, 2]], np.int32)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("around_the_mean", [True, False])
def test_a_vocabulary_grows_and_shrinks(tiny, tmp_path, tied, around_the_mean):
    model = family.FlaxRobertaForMaskedLM(tiny(tie_word_embeddings=tied))
    before, old = model(IDS).logits, model.params
    params = model.resize_token_embeddings(64, mean_resizing=around_the_mean)
    assert params is model.params
    assert model.config.vocab_size == model.module.config.vocab_size == 64
    after = model(IDS).logits
    assert after.shape == (1, 4, 64)
    assert np.abs(after[..., :61] - before).max() < 1e-6
    rows = params["roberta"]["embeddings"]["word_embeddings"]["embedding"]
    mean = old["roberta"]["embeddings"]["word_embeddings"]["embedding"].mean(0)
    assert (np.abs(rows[61:] - mean).max() < 1e-4) == around_the_mean
    if not tied:
        assert params["lm_head"]["decoder"]["kernel"].shape == (24, 64)
    assert model([[0, 63, 2]]).logits.shape == (1, 3, 64)
    model.save_pretrained(tmp_path)
    assert np.array_equal(type(model).from_pretrained(tmp_path)(IDS).logits, after)
    model.resize_token_embeddings(61)
    assert np.abs(model(IDS).logits - before).max() < 1e-6
    assert model.resize_token_embeddings() is model.params


def test_new_rows_repeat_with_the_seed(tiny):
    one, other, third = (family.FlaxRobertaModel(tiny(), seed=seed) for seed in (1, 1, 2))
    third.params = one.params
    rows = [
        model.resize_token_embeddings(70)["embeddings"]["word_embeddings"]["embedding"][61:]
        for model in (one, other, third)
    ]
    assert np.array_equal(rows[0], rows[1])
    assert not np.array_equal(rows[0], rows[2])


def test_a_size_that_cuts_off_a_special_token_is_told(tiny):
    model = family.FlaxRobertaModel(tiny())
    with pytest.raises(ArgumentError, match="cuts off eos_token_id=2"):
        model.resize_token_embeddings(2)
    assert model.config.vocab_size == 61


def test_parameters_in_the_callers_hands_are_resized_there(tiny):
    model = family.FlaxRobertaForMaskedLM(tiny(), _do_init=False)
    params = model.init_weights(model.key, model.input_shape)
    params = model.resize_token_embeddings(pad_to_multiple_of=16, params=params)
    assert params["lm_head"]["bias"].shape == (64,)
    assert model(IDS, params=params).logits.shape == (1, 4, 64)
    params = model.prune_heads({0: [1]}, params=params)
    assert model(IDS, params=params).logits.shape == (1, 4, 64)
    with pytest.raises(ArgumentError, match="_do_init=False"):
        _ = model.params


def test_heads_that_are_cut_were_masked_before(tiny, tmp_path):
    model = family.FlaxRobertaForMaskedLM(tiny(initializer_range=0.2))
    mask = np.ones((2, 4), np.float32)
    mask[0, [1, 3]] = mask[1, 0] = 0
    wanted = model(IDS, head_mask=mask).logits
    model.prune_heads({0: [1]})
    model.prune_heads({0: [3, 1], 1: [0]})  # numbers are the first ones; what is gone is passed over
    assert model.config.pruned_heads == {0: [1, 3], 1: [0]}
    layer = model.params["roberta"]["encoder"]["layer"]["0"]["attention"]
    assert layer["self"]["query"]["kernel"].shape == (24, 12)
    assert layer["output"]["dense"]["kernel"].shape == (12, 24)
    assert np.abs(model(IDS).logits - wanted).max() < 1e-5
    model.save_pretrained(tmp_path)
    again = family.FlaxRobertaForMaskedLM.from_pretrained(tmp_path)
    assert np.array_equal(again(IDS).logits, model(IDS).logits)
    assert np.abs(InNumPy.from_pretrained(tmp_path)(IDS).logits - wanted).max() < 1e-5
    with pytest.raises(ArgumentError, match="heads from 0 to 3"):
        model.prune_heads({0: [4]})


def test_a_function_that_was_compiled_keeps_the_sizes_that_it_saw(tiny):
    model = family.FlaxRobertaForMaskedLM(tiny())
    old, module = model.params, model.module
    apply = jax.jit(module.apply)
    before = apply({"params": old}, jnp.asarray(IDS)).logits
    model.resize_token_embeddings(64)
    assert model.module is not module
    assert np.array_equal(apply({"params": old}, jnp.asarray(IDS)).logits, before)
