"""The documented call, by itself and inside JAX's transformations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from robertakit import jax as family
from robertakit.architecture import HEADS
from robertakit.errors import ArgumentError, InputError, TooLong

IDS = np.array([[0, 9, 8, 2], [0, 7, 2, 1]], np.int32)
MASK = (IDS != 1).astype(np.int32)


def kind_of(head, family_name="Roberta"):
    return getattr(family, f"Flax{family_name}{HEADS[head].class_suffix}")


def close(one, other, limit=1e-5):
    return float(np.abs(np.asarray(one) - np.asarray(other)).max()) <= limit


@pytest.fixture
def words(tiny):
    return family.FlaxRobertaForMaskedLM(tiny(initializer_range=0.2))


@pytest.fixture
def writer(tiny):
    return family.FlaxRobertaForCausalLM(tiny(initializer_range=0.2, is_decoder=True))


# Outputs -------------------------------------------------------------------------------------------------------


def test_containers_and_tuples_agree(tiny):
    model = family.FlaxRobertaModel(tiny())
    out = model(IDS, MASK, output_hidden_states=True, output_attentions=True)
    assert list(out) == ["last_hidden_state", "pooler_output", "hidden_states", "attentions"]
    plain = model(IDS, MASK, output_hidden_states=True, output_attentions=True, return_dict=False)
    assert [np.shape(value) for value in plain[:2]] == [(2, 4, 24), (2, 24)]
    assert len(plain) == 4
    assert len(plain[2]) == 3
    bare = family.FlaxRobertaModel(tiny(), add_pooling_layer=False)
    assert bare(IDS, return_dict=False)[1] is None  # the pooler's place, as in PyTorch
    model.config.return_dict = False
    assert isinstance(model(IDS), tuple)


def test_lists_arrays_and_batches_of_numpy_are_one(words):
    wanted = words(jnp.asarray(IDS), jnp.asarray(MASK)).logits
    for ids, mask in ((IDS, MASK), (IDS.tolist(), MASK.tolist()), (IDS.astype(np.int64), MASK.astype(bool))):
        assert np.array_equal(words(input_ids=ids, attention_mask=mask).logits, wanted)


def test_params_of_a_call_come_before_the_models_own(words):
    doubled = jax.tree.map(lambda leaf: leaf * 2, words.params)
    other = words(IDS, params=doubled).logits
    assert not close(other, words(IDS).logits, 1e-2)
    words.params = doubled
    assert np.array_equal(words(IDS).logits, other)


def test_dropout_needs_a_key_and_repeats_with_it(words):
    with pytest.raises(ArgumentError, match="train=True without dropout_rng"):
        words(IDS, train=True)
    one, again, other = (
        words(IDS, train=True, dropout_rng=key).logits
        for key in (jax.random.key(1), jax.random.key(1), jax.random.PRNGKey(2))
    )
    assert np.array_equal(one, again)
    assert not close(one, other, 1e-3)
    assert np.array_equal(words(IDS, dropout_rng=jax.random.key(1)).logits, words(IDS).logits)


def test_a_model_without_dropout_trains_without_a_key(tiny):
    model = family.FlaxRobertaModel(tiny(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0))
    assert np.array_equal(model(IDS, train=True).pooler_output, model(IDS).pooler_output)


# Transformations -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("head", HEADS)
def test_jit_gives_the_same_container(tiny, head):
    model = kind_of(head)(tiny())
    ids = np.stack([IDS, IDS], 1) if head == "multiple-choice" else IDS
    eager = model(ids)
    jitted = jax.jit(lambda params, ids: model(ids, params=params))(model.params, ids)
    assert type(jitted) is type(eager)
    assert list(jitted) == list(eager)
    for name in eager:
        assert close(jitted[name], eager[name]), name


def test_the_module_itself_may_be_compiled(words):
    apply = jax.jit(words.module.apply)
    assert close(apply({"params": words.params}, IDS, MASK).logits, words(IDS, MASK).logits)


def test_gradients_of_the_documented_loss(words):
    labels = np.where(IDS > 2, IDS, -100)

    def loss(params, key):
        return words(IDS, MASK, params=params, labels=labels, dropout_rng=key, train=True).loss

    value, gradient = jax.jit(jax.value_and_grad(loss))(words.params, jax.random.key(0))
    assert jax.tree.structure(gradient) == jax.tree.structure(words.params)
    assert float(value) > 0
    assert all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(gradient))
    step = jax.tree.map(lambda leaf, slope: leaf - 0.1 * slope, words.params, gradient)
    assert float(loss(step, jax.random.key(0))) < float(value)


def test_vmap_over_several_models(words):
    several = [jax.tree.map(lambda leaf, by=by: leaf * by, words.params) for by in (0.5, 1.0, 2.0)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *several)
    found = jax.vmap(lambda params: words(IDS, MASK, params=params))(stacked)
    for number, params in enumerate(several):
        assert close(found.logits[number], words(IDS, MASK, params=params).logits)


def test_scan_over_batches(words):
    def body(total, ids):
        out = words(ids, params=words.params, labels=ids)
        return total + out.loss, out

    total, outputs = jax.lax.scan(body, 0.0, np.stack([IDS, IDS[::-1]]))
    assert outputs.logits.shape == (2, 2, 4, 61)
    assert close(total, outputs.loss.sum())
    assert close(outputs.logits[1], words(IDS[::-1].copy()).logits)


@pytest.mark.parametrize("given_by", ["init_cache", "use_cache"])
def test_a_cache_goes_from_call_to_call(writer, given_by):
    whole = writer(IDS[:1]).logits
    start = {"past_key_values": writer.init_cache(1, 6)} if given_by == "init_cache" else {"use_cache": True}
    out = writer(IDS[:1, :2], **start)
    for place in (2, 3):
        out = writer(IDS[:1, place : place + 1], past_key_values=out.past_key_values)
        assert close(out.logits[:, 0], whole[:, place])


def test_a_cache_goes_through_scan(writer):
    def step(cache, ids):
        out = writer(ids[:, None], params=writer.params, past_key_values=cache)
        return out.past_key_values, out.logits[:, 0]

    cache, logits = jax.jit(lambda: jax.lax.scan(step, writer.init_cache(2, 6), IDS.T))()
    assert close(jnp.moveaxis(logits, 0, 1), writer(IDS).logits)
    assert int(cache["roberta"]["cache_index"]) == 4


def test_a_cache_that_is_given_stays_as_it_was(writer):
    cache = writer.init_cache(1, 6)
    before = jax.tree.map(jnp.array, cache)
    assert writer(IDS[:1], past_key_values=cache, use_cache=False).past_key_values is None
    writer(IDS[:1], past_key_values=cache)
    assert jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), cache, before))


def test_no_cache_is_returned_unless_it_is_asked_for(writer, words):
    assert writer(IDS).past_key_values is None
    assert "past_key_values" not in writer(IDS)
    assert "past_key_values" not in words(IDS, use_cache=True)  # an encoder has none, as in PyTorch


def test_a_cache_that_is_none_or_full_is_told(writer, words):
    with pytest.raises(InputError, match="past_key_values of type tuple"):
        writer(IDS, past_key_values=((1, 2),))
    with pytest.raises(ArgumentError, match="is_decoder=False"):
        words(IDS, past_key_values=writer.init_cache(2, 8))
    with pytest.raises(ArgumentError, match="is_decoder=False"):
        words.init_cache(2, 8)
    out = writer(IDS, past_key_values=writer.init_cache(2, 5))
    with pytest.raises(TooLong, match="4 tokens to a cache that holds 4 of at most 5"):
        writer(IDS, past_key_values=out.past_key_values)


# Arguments -----------------------------------------------------------------------------------------------------


def test_labels_of_another_head_are_told(words, tiny):
    with pytest.raises(ArgumentError, match="start_positions to FlaxRobertaForMaskedLM; expected labels"):
        words(IDS, start_positions=[0, 1])
    with pytest.raises(ArgumentError, match="labels to FlaxRobertaModel; expected a model with a head"):
        family.FlaxRobertaModel(tiny())(IDS, labels=IDS)
    with pytest.raises(TypeError, match="label"):
        words(IDS, label=IDS)


def test_a_switch_is_no_array(words):
    with pytest.raises(ArgumentError, match=r"train of type .*static_argnames='train'"):
        jax.jit(lambda train: words(IDS, train=train).logits)(True)
    with pytest.raises(ArgumentError, match="output_attentions of type int"):
        words(IDS, output_attentions=1)
