"""TensorFlow against the executable specification: random configurations and inputs, in float64.

Shapes come from a fixed pool. Most calls are eager; some go through `tf.function`, with lengths unknown, or XLA.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

import robertakit.numpy as specification
from robertakit.architecture import HEADS

TOLERANCE = 1e-10
CONFIGURATIONS = st.fixed_dictionaries(
    {},
    optional={
        "hidden_act": st.sampled_from(["gelu", "relu", "silu", "gelu_new", "tanh", "quick_gelu", "laplace"]),
        "position_embedding_type": st.sampled_from(["absolute", "relative_key", "relative_key_query"]),
        "layer_norm_eps": st.sampled_from([1e-12, 1e-5, 1e-2]),
        "num_hidden_layers": st.integers(1, 3),
        "num_attention_heads": st.sampled_from([1, 2, 6]),
        "pad_token_id": st.sampled_from([0, 1, 5]),
        "chunk_size_feed_forward": st.integers(0, 5),
        "pruned_heads": st.sampled_from([{}, {0: [0]}, {0: [1], 1: [0, 1]}]),
        "is_decoder": st.booleans(),
        "tie_word_embeddings": st.booleans(),
        "use_cache": st.booleans(),
        "output_hidden_states": st.booleans(),
    },
)
LENGTHS = st.sampled_from([(9, 4, 9, 1), (1,), (7, 7), (5, 3, 2, 5, 1)])


def numpy_twin(models, head, config, seed):
    name = type(config).__name__.removesuffix("Config") + HEADS[head].class_suffix
    return getattr(specification, name)(
        config, weights=models.wide_weights(config, head, seed), dtype="float64"
    )


def arrays(value, path="out"):
    """The arrays of an output by path."""
    if value is None:
        return {}
    if hasattr(value, "items"):
        return {k: v for name, item in value.items() for k, v in arrays(item, f"{path}.{name}").items()}
    if isinstance(value, tuple | list):
        return {k: v for i, item in enumerate(value) for k, v in arrays(item, f"{path}.{i}").items()}
    return {path: np.asarray(value)}


def assert_agree(ours, specified):
    found, wanted = arrays(ours), arrays(specified)
    assert found.keys() == wanted.keys()
    for name, want in wanted.items():
        got = found[name]
        assert got.shape == want.shape, name
        # the specification gives one loss, the causal one, in float32, as the reference does
        limit = max(TOLERANCE, 4 * np.finfo(want.dtype).eps) if name.endswith("loss") else TOLERANCE
        scale = max(1, np.abs(want).max(initial=0))
        np.testing.assert_allclose(got, want, rtol=0, atol=limit * scale, err_msg=name)


def fitting(sizes, fields):
    """Fields of which a model can be made: no layer loses all its heads."""
    heads = fields.get("num_attention_heads", sizes["num_attention_heads"])
    layers = fields.get("num_hidden_layers", sizes["num_hidden_layers"])
    pruned = {layer: gone for layer, gone in fields.get("pruned_heads", {}).items() if layer < layers}
    return fields | {"pruned_heads": {layer: gone for layer, gone in pruned.items() if max(gone) + 1 < heads}}


@pytest.mark.parametrize("head", HEADS)
@settings(max_examples=8)
@given(
    family=st.sampled_from(["Roberta", "XLMRoberta"]), fields=CONFIGURATIONS, lengths=LENGTHS,
    seed=st.integers(0, 2**16), left=st.booleans(), labels=st.booleans(), maps=st.booleans(),
    masks=st.sampled_from([None, "layer", "head"]), shape=st.sampled_from(["2-D", "3-D", "none"]),
)  # fmt: skip
def test_random_models_and_calls_agree(
    head, models, build, family, fields, lengths, seed, left, labels, maps, masks, shape
):
    model = build(head, family, seed=seed, dtype="float64", **fitting(models.SIZES, fields))
    twin = numpy_twin(models, head, model.config, seed)
    call = models.ragged(head, lengths, left=left, seed=seed, labels=labels)
    generator = np.random.default_rng(seed)
    if shape == "none":
        del call["attention_mask"]
    elif shape == "3-D" and head != "multiple-choice":
        mask = call["attention_mask"]
        call["attention_mask"] = (
            mask[:, None] * (generator.random((*mask.shape, mask.shape[1])) < 0.7)
        ).astype(np.int64)
    if masks:
        heads, layers = model.config.num_attention_heads, model.config.num_hidden_layers
        call["head_mask"] = generator.random((heads,) if masks == "head" else (layers, heads))
    assert_agree(model(**call, output_attentions=maps), twin(**call, output_attentions=maps))


@pytest.mark.parametrize("kind", ["absolute", "relative_key", "relative_key_query"])
@settings(max_examples=4)
@given(seed=st.integers(0, 2**16), width=st.integers(1, 6), cut=st.integers(1, 8), states_mask=st.booleans())
def test_decoders_with_cross_attention_agree_in_steps(kind, models, build, seed, width, cut, states_mask):
    model = build(
        "causal-lm", seed=seed, dtype="float64", is_decoder=True, add_cross_attention=True,
        position_embedding_type=kind,
    )  # fmt: skip
    twin = numpy_twin(models, "causal-lm", model.config, seed)
    generator = np.random.default_rng(seed)
    ids = generator.integers(3, 61, (2, 9))
    given = {"encoder_hidden_states": generator.standard_normal((2, width, 24))}
    if states_mask:
        keep = generator.random((2, width)) < 0.7
        given["encoder_attention_mask"] = (keep | (np.arange(width) == 0)).astype(np.int64)
    whole = model(ids, **given, output_attentions=True, output_hidden_states=True)
    assert_agree(whole, twin(ids, **given, output_attentions=True, output_hidden_states=True))
    first = model(ids[:, :cut], **given)
    then = model(ids[:, cut:], **given, past_key_values=first.past_key_values)
    found = tf.concat([first.logits, then.logits], 1)
    np.testing.assert_allclose(found, whole.logits, rtol=0, atol=TOLERANCE * 10)
    assert_agree(then.past_key_values, whole.past_key_values)


@pytest.mark.parametrize("xla", [False, True], ids=["graph", "xla"])
@pytest.mark.parametrize("head", HEADS)
def test_a_compiled_call_with_unknown_lengths_agrees(head, xla, models, build):
    decoder = head == "causal-lm"
    kind = "relative_key_query" if head in ("masked-lm", "causal-lm") else "absolute"
    model = build(
        head, dtype="float64", is_decoder=decoder, position_embedding_type=kind, use_cache=False,
        output_hidden_states=True, num_hidden_layers=1 if xla else 2,
    )  # fmt: skip
    twin = numpy_twin(models, head, model.config, 5)
    traced = 0

    @tf.function(jit_compile=xla, reduce_retracing=True)
    def compiled(given):
        nonlocal traced
        traced += 1
        return dict(model(given))

    # XLA compiles for each shape: one layer and two shapes, the second of which leaves the lengths open
    for lengths in ((9, 4, 9, 1), (7, 7)) if xla else ((9, 4, 9, 1), (7, 7), (5, 3, 2, 5, 1)):
        call = models.ragged(head, lengths, labels=True)
        call["head_mask"] = np.linspace(0.5, 1, 4)
        assert_agree(compiled({name: tf.constant(value) for name, value in call.items()}), twin(**call))
    assert traced <= 2  # one more that leaves the lengths open


@pytest.mark.parametrize("head", HEADS)
def test_a_functional_model_agrees(head, models, build):
    model = build(head, dtype="float64")
    twin = numpy_twin(models, head, model.config, 5)
    call = models.ragged(head)
    inner = (None,) * (call["input_ids"].ndim - 1)
    inputs = {name: keras.Input(inner, dtype="int64", name=name) for name in call}
    functional = keras.Model(inputs, dict(model(inputs)))
    found = functional({name: tf.constant(value) for name, value in call.items()})
    assert_agree({name: found[name] for name in HEADS[head].outputs}, twin(**call))
