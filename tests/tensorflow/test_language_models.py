"""The masked-LM and causal-LM classes: losses, caches, the decoder that is the word embeddings."""

import numpy as np
import pytest
import tensorflow as tf

from robertakit.errors import BadShape, InputError


@pytest.mark.parametrize("kind", ["absolute", "relative_key", "relative_key_query"])
@pytest.mark.parametrize("steps", [(1,) * 9, (4, 1, 4)])
def test_token_by_token_with_a_cache_equals_one_pass(models, build, kind, steps):
    model = build("causal-lm", is_decoder=True, position_embedding_type=kind, dtype="float64")
    ids = models.ragged("causal-lm", (9, 9, 9))["input_ids"]
    whole = model(ids)
    past, parts, start = None, [], 0
    for count in steps:
        out = model(ids[:, start : start + count], past_key_values=past)
        past, start = out.past_key_values, start + count
        parts.append(out.logits)
    np.testing.assert_allclose(tf.concat(parts, 1), whole.logits, rtol=0, atol=1e-12)
    for ours, all_at_once in zip(past, whole.past_key_values, strict=True):
        for one, two in zip(ours, all_at_once, strict=True):
            np.testing.assert_allclose(one, two, rtol=0, atol=1e-12)


def test_labels_switch_the_cache_off(models, build):
    model = build("causal-lm", is_decoder=True)
    call = models.ragged("causal-lm", labels=True)
    assert model(**call).past_key_values is None
    assert model(**call, use_cache=True).past_key_values is None
    del call["labels"]
    assert len(model(**call).past_key_values) == 2


@pytest.mark.parametrize("head", ["masked-lm", "causal-lm"])
def test_a_batch_without_a_label_has_loss_zero(head, models, build):
    model = build(head, is_decoder=head == "causal-lm")
    call = models.ragged(head, labels=True)
    with tf.GradientTape() as tape:
        loss = model(**call | {"labels": np.full_like(call["labels"], -100)}).loss
    assert loss == 0
    gradients = tape.gradient(loss, model.trainable_variables)
    assert not any(np.any(tf.convert_to_tensor(g)) for g in gradients if g is not None)


@pytest.mark.parametrize("tied", [True, False])
def test_the_decoder_is_the_word_embeddings_unless_the_config_says_otherwise(tied, build):
    model = build("masked-lm", tie_word_embeddings=tied)
    names = [weight.path.partition("/")[2] for weight in model.weights]
    assert len(names) == len(set(names))
    assert ("lm_head/decoder/kernel" in names) != tied
    table = model.roberta.embeddings.word_embeddings
    before = model([[0, 5, 2]]).logits
    table.embeddings.assign(table.embeddings * 2)
    assert np.allclose(model.lm_head(tf.ones((1, 24))), model.lm_head(tf.ones((1, 24))))
    assert (model.lm_head.decoder is table) == tied
    assert before.shape == (1, 3, 61)


def test_labels_that_fit_nothing(models, build):
    model = build("masked-lm")
    call = models.ragged("masked-lm", labels=True)
    with pytest.raises(BadShape, match="labels of length 8 with inputs of length 9"):
        model(**call | {"labels": call["labels"][:, 1:]})
    with pytest.raises(InputError, match="label 61; expected 0 to 60"):
        model(**call | {"labels": np.full_like(call["labels"], 61)})
    with pytest.raises(InputError, match="labels of dtype"):
        model(**call | {"labels": call["labels"].astype(np.float32)})


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32"])
def test_narrow_integers_are_labels_and_ids_like_others(models, build, dtype):
    call = models.ragged("masked-lm", (7, 7), labels=True)
    call["labels"] = call["input_ids"]
    model = build("masked-lm")
    narrow = {name: value.astype(dtype) for name, value in call.items()}
    np.testing.assert_allclose(model(**narrow).loss, model(**call).loss, rtol=1e-6)


def test_losses_are_float32_under_a_mixed_policy(models, build):
    model = build("masked-lm", dtype="mixed_float16")
    out = model(**models.ragged("masked-lm", labels=True))
    assert (out.loss.dtype, out.logits.dtype) == (tf.float32, tf.float16)
    exact = build("masked-lm")(**models.ragged("masked-lm", labels=True)).loss
    np.testing.assert_allclose(out.loss, exact, rtol=0.02)
