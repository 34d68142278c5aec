"""Dtypes of parameters, and gradient checkpointing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.core import freeze

from robertakit import jax as family
from robertakit.errors import ArgumentError, TensorMismatch

IDS = np.array([[0, 9, 8, 2]], np.int32)


def dtypes(params):
    return {leaf.dtype.name for leaf in jax.tree.leaves(params)}


@pytest.mark.parametrize(
    ("method", "name"), [("to_bf16", "bfloat16"), ("to_fp16", "float16"), ("to_fp32", "float32")]
)
def test_parameters_in_another_dtype(tiny, method, name):
    model = family.FlaxRobertaForMaskedLM(tiny())
    cast = getattr(model, method)
    assert dtypes(cast(model.params)) == {name}
    assert dtypes(model.params) == {"float32"}
    assert dtypes(cast(freeze(model.params))) == {name}
    assert dtypes(jax.jit(cast)(model.params)) == {name}
    steps = {"step": jnp.zeros((), jnp.int32), "model": model.params}
    assert dtypes(cast(steps)) == {name, "int32"}
    out = model(IDS, params=cast(model.params)).logits
    assert out.dtype == jnp.float32
    assert np.abs(out - model(IDS).logits).max() < 0.02


def test_a_mask_says_which(tiny):
    model = family.FlaxRobertaForMaskedLM(tiny())
    mask = jax.tree_util.tree_map_with_path(lambda path, _: path[0].key == "roberta", model.params)
    cast = model.to_bf16(model.params, mask)
    assert dtypes(cast["roberta"]) == {"bfloat16"}
    assert dtypes(cast["lm_head"]) == {"float32"}
    with pytest.raises(ArgumentError, match="a mask of another structure"):
        model.to_bf16(model.params, {"roberta": True})


def test_float16_loses_nothing_in_silence(tiny):
    model = family.FlaxRobertaModel(tiny())
    with pytest.raises(TensorMismatch, match="which float16 cannot hold"):
        model.to_fp16(jax.tree.map(lambda leaf: leaf + 1e5, model.params))


def test_gradient_checkpointing_changes_no_number(tiny, models):
    config = tiny(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    model = family.FlaxRobertaForMaskedLM(config)

    def loss(params):
        return model(IDS, params=params, labels=IDS, train=True).loss

    def program():
        return str(jax.make_jaxpr(jax.grad(loss))(model.params))

    plain, wanted = program(), models.gradients(loss, model.params)
    assert "remat" not in plain
    model.enable_gradient_checkpointing()
    assert "remat" in program() or "checkpoint" in program()
    found = models.gradients(loss, model.params)
    assert jax.tree.all(jax.tree.map(lambda a, b: bool(jnp.allclose(a, b, atol=1e-6)), found, wanted))
    asked = family.FlaxRobertaForMaskedLM(config, gradient_checkpointing=True)
    assert asked.module.gradient_checkpointing
