"""The tree of parameters: every module's own one is the table's, and a wrong one is told."""

import jax
import jax.numpy as jnp
import pytest
from flax.core import freeze
from flax.traverse_util import flatten_dict

from robertakit import jax as family
from robertakit.architecture import HEADS
from robertakit.errors import ArgumentError, TensorMismatch
from robertakit.jax.contents import plain

VARIANTS = {
    "encoder": {},
    "untied": {"tie_word_embeddings": False},
    "relative": {"position_embedding_type": "relative_key_query"},
    "cross": {"is_decoder": True, "add_cross_attention": True},
    "pruned": {"pruned_heads": {0: [1], 1: [0, 3]}},
}


def kind_of(head):
    return getattr(family, f"FlaxRoberta{HEADS[head].class_suffix}")


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("head", HEADS)
def test_the_tree_is_the_one_that_the_module_makes(tiny, head, variant):
    model = kind_of(head)(tiny(**VARIANTS[variant]))
    ids = jnp.ones((1, 2, 3) if head == "multiple-choice" else (1, 3), jnp.int32)
    given = {}
    if variant == "cross":
        given["encoder_hidden_states"] = jnp.ones((2 if head == "multiple-choice" else 1, 4, 24))
    made = jax.eval_shape(lambda key: model.module.init(key, ids, **given), jax.random.key(0))["params"]
    shapes = {path: leaf.shape for path, leaf in flatten_dict(made).items()}
    if variant == "relative":  # a checkpoint has the table of positions, which such a model never looks at
        prefix = () if head == "model" else ("roberta",)
        shapes[(*prefix, "embeddings", "position_embeddings", "embedding")] = (40, 24)
    assert shapes == {path: leaf.shape for path, leaf in flatten_dict(model.params).items()}
    assert shapes == {path: leaf.shape for path, leaf in flatten_dict(model.params_shape_tree).items()}
    assert model.required_params == set(shapes)


def test_a_model_without_its_pooler_has_none(tiny):
    model = family.FlaxRobertaModel(tiny(), add_pooling_layer=False)
    assert set(model.params) == {"embeddings", "encoder"}
    assert set(model.params_shape_tree) == {"embeddings", "encoder"}


def test_params_are_set_whole_or_not_at_all(tiny):
    model = family.FlaxRobertaForMaskedLM(tiny())
    before = model.params
    other = jax.tree.map(lambda leaf: leaf + 1, before)
    model.params = freeze(other)
    assert type(model.params) is type(model.params["roberta"]) is dict
    assert jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), model.params, other))
    lacking = plain(other)
    del lacking["lm_head"]["bias"]
    with pytest.raises(TensorMismatch, match="missing lm_head/bias"):
        model.params = lacking
    with pytest.raises(TensorMismatch, match=r"unexpected lm_head/more; expected its \d+ parameters"):
        model.params = other | {"lm_head": other["lm_head"] | {"more": jnp.ones(1)}}
    with pytest.raises(TensorMismatch, match=r"misshapen lm_head/bias \(3,\) instead of \(61,\)"):
        model.params = other | {"lm_head": other["lm_head"] | {"bias": jnp.ones(3)}}
    with pytest.raises(ArgumentError, match="params of type list to FlaxRobertaForMaskedLM"):
        model.params = [other]
    with pytest.raises(TensorMismatch, match="missing"):
        model(jnp.array([[0, 5, 2]]), params={"params": other})


def test_axes_have_the_names_of_the_table(tiny):
    contents = family.FlaxRobertaForMaskedLM(tiny(tie_word_embeddings=False), _do_init=False).contents
    axes = contents.tree({name: contents.axes(name) for name in contents.paths})
    layer = axes["roberta"]["encoder"]["layer"]["0"]
    assert layer["attention"]["self"]["query"] == {"kernel": ("embed", "heads"), "bias": ("heads",)}
    assert layer["attention"]["output"]["dense"]["kernel"] == ("heads", "embed")
    assert layer["intermediate"]["dense"]["kernel"] == ("embed", "mlp")
    assert axes["lm_head"]["decoder"]["kernel"] == ("embed", "vocab")
