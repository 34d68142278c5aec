"""The bare module inside JAX's transformations, in half precision, with dropout and with layers computed twice."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest


def test_jit_vmap_and_grad_give_what_eager_gives(models):
    model, call = models.build("model"), models.call("model")
    want = model(**call, output_hidden_states=True)
    compiled = jax.jit(lambda params, call: model(**call, params=params, output_hidden_states=True))
    found = compiled(model.params, call)
    assert type(found) is type(want)
    for ours, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5)

    def alone(ids, mask, types):
        row = {"input_ids": ids[None], "attention_mask": mask[None], "token_type_ids": types[None]}
        return model(**row).pooler_output[0]

    np.testing.assert_allclose(jax.vmap(alone)(*call.values()), want.pooler_output, rtol=0, atol=1e-5)


def test_an_ensemble_is_a_vmap_over_parameters(models):
    several = [models.build("model", seed=seed) for seed in (1, 2)]
    call = models.call("model")
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(model.params for model in several))
    apply = several[0].module.apply
    found = jax.vmap(lambda params: apply({"params": params}, **call).pooler_output)(stacked)
    for ours, model in zip(found, several, strict=True):
        np.testing.assert_allclose(ours, model(**call).pooler_output, rtol=0, atol=1e-5)


@pytest.mark.parametrize("head", ["masked-lm", "causal-lm"])
def test_computing_layers_twice_changes_no_gradient_and_keeps_less(head, models):
    model, call = models.build(head), models.call(head, labels=True)

    def loss(module):
        return lambda params: module.apply({"params": params}, **call, output_attentions=True).loss

    lean = model.module.clone(gradient_checkpointing=True)
    wanted, found = (models.gradients(loss(module), model.params) for module in (model.module, lean))
    assert jax.tree.structure(wanted) == jax.tree.structure(found)
    for ours, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5)
    plain, twice = (
        str(jax.make_jaxpr(jax.grad(loss(module)))(model.params)) for module in (model.module, lean)
    )
    assert twice.count(" erfc ") > plain.count(" erfc ")  # GELU once more for each layer


def test_layers_that_are_computed_twice_take_a_cache_and_dropout(models):
    model = models.build("causal-lm", is_decoder=True)
    lean = model.module.clone(gradient_checkpointing=True)
    ids = models.call("causal-lm", (7, 7))["input_ids"]
    variables = {"params": model.params, "cache": model.init_cache(2, 8)}
    wanted, found = (
        jax.jit(lambda variables, module=module: module.apply(variables, ids, mutable=["cache"]))(variables)
        for module in (model.module, lean)
    )
    assert jax.tree.structure(wanted) == jax.tree.structure(found)
    for ours, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5)
    given = {"deterministic": False, "rngs": {"dropout": jax.random.key(1)}}
    assert np.isfinite(lean.apply({"params": model.params}, ids, **given).logits).all()


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_is_computed_in_half_and_summed_in_float32(dtype, models):
    call = models.call("masked-lm", labels=True)
    whole, half = models.build("masked-lm"), models.build("masked-lm", dtype=dtype)
    found, want = half(**call, output_attentions=True), whole(**call)
    assert found.logits.dtype == found.attentions[0].dtype == dtype
    assert found.loss.dtype == jnp.float32
    limit = {"bfloat16": 0.08, "float16": 0.008}[
        dtype
    ]  # of the largest logit; measured here: 0.026 and 0.0027
    scale = float(np.abs(want.logits).max())
    np.testing.assert_allclose(found.logits.astype(np.float32), want.logits, rtol=0, atol=limit * scale)
    gradient = models.gradients(lambda params: half(**call, params=params).loss, half.params)
    assert all(leaf.dtype == jnp.float32 and jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_a_row_that_sees_nothing_sees_all_alike(dtype, models):
    model, call = models.build("model", dtype=dtype), models.call("model")
    call["attention_mask"][1] = 0
    out = model(**call, output_attentions=True)
    np.testing.assert_allclose(out.attentions[0][1].astype(np.float32), 1 / 9, rtol=0.01)
    gradient = jax.grad(lambda params: model(**call, params=params).pooler_output.sum())(model.params)
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


def test_dropout_is_drawn_by_its_key_alone(models):
    model = models.build("sequence-classification", classifier_dropout=0.5)
    call = models.call("sequence-classification")
    one, again, other = (
        model(**call, train=True, dropout_rng=jax.random.key(seed)).logits for seed in (0, 0, 1)
    )
    assert (one == again).all()
    assert not (one == other).all()
    assert (model(**call).logits == model(**call).logits).all()


def test_a_key_mask_of_real_numbers_scales_the_heads(models):
    model, call = models.build("model"), models.call("model")
    factors = np.array([0.5, 1, 0, 2], np.float32)
    plain = model(**call, output_attentions=True).attentions[0]
    scaled = model(**call, head_mask=factors, output_attentions=True).attentions[0]
    np.testing.assert_allclose(scaled, plain * factors[:, None, None], rtol=0, atol=1e-6)


def test_chunks_of_the_feed_forward_change_nothing(models):
    call = models.call("model")
    whole, chunks = (models.build("model", chunk_size_feed_forward=size) for size in (0, 4))
    np.testing.assert_allclose(
        chunks(**call).last_hidden_state, whole(**call).last_hidden_state, rtol=0, atol=1e-5
    )
