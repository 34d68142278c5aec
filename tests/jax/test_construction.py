"""New parameters: one seed, one set of weights, in every framework; no forward pass."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.core import freeze

from robertakit import jax as family
from robertakit.architecture import HEADS, initial_weights
from robertakit.checkpoints.dialects import FLAX
from robertakit.configuration import PretrainedConfig
from robertakit.errors import ArgumentError, TensorMismatch
from robertakit.jax.construction import seed_of


def same(one, other):
    return jax.tree.all(jax.tree.map(lambda a, b: a.dtype == b.dtype and bool((a == b).all()), one, other))


@pytest.mark.parametrize("head", HEADS)
def test_weights_are_those_of_the_table(tiny, head):
    config = tiny()
    model = getattr(family, f"FlaxRoberta{HEADS[head].class_suffix}")(config, seed=3)
    wanted = initial_weights(config, head, seed=3)
    found = model.contents.named(model.params)
    assert list(found) == list(wanted)
    for name, value in wanted.items():
        assert np.array_equal(FLAX.stored(model.contents.table[name].kind, np.asarray(found[name])), value), (
            name
        )


def test_nothing_is_computed_to_build(tiny, monkeypatch):
    def computed(*args, **kwargs):
        raise AssertionError

    monkeypatch.setattr(family.FlaxRobertaModel.module_class, "__call__", computed)
    model = family.FlaxRobertaModel(tiny())
    with pytest.raises(AssertionError):
        model.module.apply({"params": model.params}, jnp.ones((1, 3), int))


@pytest.mark.parametrize("make_key", [jax.random.key, jax.random.PRNGKey])
@pytest.mark.parametrize("seed", [0, 7, 2**31 + 5])
def test_a_key_is_its_seed(tiny, make_key, seed):
    model = family.FlaxRobertaModel(tiny(num_hidden_layers=1), seed=seed)
    empty = family.FlaxRobertaModel(tiny(num_hidden_layers=1), _do_init=False)
    key = make_key(seed)
    assert seed_of(jax.random.key_data(jax.random.key(seed))) == seed
    assert same(empty.init_weights(key, empty.input_shape), model.params)
    assert same(jax.jit(empty.init_weights, static_argnums=1)(key, (1, 1)), model.params)
    shapes = jax.eval_shape(lambda key: empty.init_weights(key, (1, 1)), key)
    assert shapes == empty.params_shape_tree == model.params_shape_tree


def test_what_is_given_is_kept_and_the_rest_is_drawn(tiny):
    model = family.FlaxRobertaForMaskedLM(tiny(), seed=1)
    other = family.FlaxRobertaForMaskedLM(tiny(), seed=2)
    mixed = model.init_weights(model.key, (1, 1), freeze({"roberta": other.params["roberta"]}))
    assert same(mixed["roberta"], other.params["roberta"])
    assert same(mixed["lm_head"], model.params["lm_head"])
    with pytest.raises(TensorMismatch, match="unexpected head"):
        model.init_weights(model.key, (1, 1), {"head": jnp.ones(1)})


def test_without_parameters_a_model_says_where_they_come_from(tiny):
    model = family.FlaxRobertaModel(tiny(), _do_init=False)
    with pytest.raises(ArgumentError, match="_do_init=False"):
        _ = model.params
    with pytest.raises(ArgumentError, match="_do_init=False"):
        model(jnp.array([[0, 5, 2]]))
    params = model.init_weights(model.key, model.input_shape)
    assert model(jnp.array([[0, 5, 2]]), params=params).pooler_output.shape == (1, 24)
    model.params = params
    assert model.params["pooler"]["dense"]["bias"].shape == (24,)


@pytest.mark.parametrize("seed", [-1, 1.0, True, "1"])
def test_a_seed_is_an_integer_from_0_on(tiny, seed):
    with pytest.raises(ArgumentError, match="an integer from 0 on"):
        family.FlaxRobertaModel(tiny(), seed=seed)


def test_what_makes_no_model_is_told(tiny):
    with pytest.raises(
        ArgumentError, match=r"a configuration of type builtins\.dict; expected a RobertaConfig"
    ):
        family.FlaxRobertaModel({})
    with pytest.raises(ArgumentError, match=r"unknown argument 'add_poling_layer'.*'add_pooling_layer'"):
        family.FlaxRobertaModel(tiny(), add_poling_layer=False)
    with pytest.raises(ArgumentError, match="unknown argument 'add_pooling_layer'"):
        family.FlaxRobertaForMaskedLM(tiny(), add_pooling_layer=False)
    with pytest.raises(ArgumentError, match="dtype='int8'"):
        family.FlaxRobertaModel(tiny(), dtype="int8")


def test_the_configuration_is_copied(tiny):
    config = tiny()
    model = family.FlaxRobertaModel(config)
    config.hidden_size = 3
    assert model.config.hidden_size == 24
    assert isinstance(model.config, PretrainedConfig)
    model.config.output_hidden_states = True  # a switch of calls takes effect
    assert len(model(jnp.array([[0, 5, 2]])).hidden_states) == 3
    assert not model.module.config.output_hidden_states
