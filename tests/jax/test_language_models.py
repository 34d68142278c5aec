"""The masked-LM and causal-LM classes: losses, the decoder that is the word embeddings, what labels must be."""

import jax
import numpy as np
import pytest

from robertakit.errors import BadShape, InputError


def test_labels_switch_the_cache_off(models):
    model = models.build("causal-lm", is_decoder=True)
    call = models.call("causal-lm", labels=True)
    assert model(**call, use_cache=True).past_key_values is None
    del call["labels"]
    assert model(**call, use_cache=True).past_key_values is not None


@pytest.mark.parametrize("head", ["masked-lm", "causal-lm"])
def test_a_batch_without_a_label_has_loss_zero(head, models):
    model = models.build(head, is_decoder=head == "causal-lm")
    call = models.call(head, labels=True)
    call["labels"] = np.full_like(call["labels"], -100)
    loss, gradient = jax.value_and_grad(lambda params: model(**call, params=params).loss)(model.params)
    assert loss == 0
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(gradient))


@pytest.mark.parametrize("tied", [True, False])
def test_the_decoder_is_the_word_embeddings_unless_the_config_says_otherwise(tied, models):
    model, call = models.build("masked-lm", tie_word_embeddings=tied), models.call("masked-lm")
    assert ("decoder" in model.params["lm_head"]) != tied
    before = model(**call, output_hidden_states=True)
    table = model.params["roberta"]["embeddings"]["word_embeddings"]
    unused = next(i for i in range(3, 61) if i not in call["input_ids"])
    table["embedding"] = table["embedding"].at[unused].add(1.0)
    after = model(**call, output_hidden_states=True)
    assert (before.hidden_states[-1] == after.hidden_states[-1]).all()  # nobody looked that row up
    assert (before.logits[..., unused] == after.logits[..., unused]).all() != tied


def test_labels_that_fit_nothing(models):
    model, call = models.build("masked-lm"), models.call("masked-lm", labels=True)
    with pytest.raises(BadShape, match="labels of length 8 with inputs of length 9"):
        model(**call | {"labels": call["labels"][:, 1:]})
    with pytest.raises(InputError, match="label 61; expected 0 to 60"):
        model(**call | {"labels": np.full_like(call["labels"], 61)})
    with pytest.raises(InputError, match="labels of dtype"):
        model(**call | {"labels": call["labels"].astype(np.float32)})


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32"])
def test_narrow_integers_are_labels_and_ids_like_others(models, dtype):
    model, call = models.build("masked-lm"), models.call("masked-lm", (7, 7), labels=True)
    call["labels"] = call["input_ids"]
    narrow = {name: value.astype(dtype) for name, value in call.items()}
    np.testing.assert_allclose(model(**narrow).loss, model(**call).loss, rtol=1e-6)
