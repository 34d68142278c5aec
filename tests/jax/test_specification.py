"""Flax against the executable specification: random configurations and inputs, in float64."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import robertakit.jax
import robertakit.numpy as specification
from robertakit.architecture import HEADS

TOLERANCE = 1e-10
#: Sizes are few, so that few operations are compiled: those of `models`, and what these change.
CONFIGURATIONS = st.fixed_dictionaries(
    {},
    optional={
        "hidden_act": st.sampled_from(["gelu", "relu", "silu", "gelu_new", "tanh", "quick_gelu", "laplace"]),
        "position_embedding_type": st.sampled_from(["absolute", "relative_key", "relative_key_query"]),
        "layer_norm_eps": st.sampled_from([1e-12, 1e-5, 1e-2]),
        "num_hidden_layers": st.integers(1, 3),
        "num_attention_heads": st.sampled_from([1, 6]),
        "pad_token_id": st.sampled_from([0, 1, 5]),
        "chunk_size_feed_forward": st.sampled_from([0, 4]),
        "pruned_heads": st.sampled_from([{}, {0: [0]}, {0: [1], 1: [0, 1]}]),
        "is_decoder": st.booleans(),
        "tie_word_embeddings": st.booleans(),
    },
)
LENGTHS = st.sampled_from([(9, 4, 9, 1), (1,), (7, 7)])


def numpy_twin(models, head, config, seed):
    name = "Roberta" + HEADS[head].class_suffix
    return getattr(specification, name)(config, weights=models.weights(config, head, seed), dtype="float64")


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
    fields=CONFIGURATIONS, lengths=LENGTHS, seed=st.integers(0, 2**16), left=st.booleans(), labels=st.booleans(),
    maps=st.booleans(), masks=st.sampled_from([None, "layer", "head"]), shape=st.sampled_from(["2-D", "3-D", "none"]),
    embedded=st.booleans(),
)  # fmt: skip
def test_random_models_and_calls_agree(
    head, models, fields, lengths, seed, left, labels, maps, masks, shape, embedded
):
    fields = fitting(models.sizes, fields)
    call = models.call(head, lengths, left=left, seed=seed, labels=labels)
    generator = np.random.default_rng(seed)
    if shape == "none":
        del call["attention_mask"]
    elif shape == "3-D" and head != "multiple-choice":
        mask = call["attention_mask"]
        call["attention_mask"] = (
            mask[:, None] * (generator.random((*mask.shape, mask.shape[1])) < 0.7)
        ).astype(int)
    if embedded:
        ids = call.pop("input_ids")
        call["inputs_embeds"] = generator.standard_normal((*ids.shape, models.sizes["hidden_size"]))
    with jax.enable_x64(True):
        model = models.build(head, seed=seed, dtype=np.float64, **fields)
        heads, layers = model.config.num_attention_heads, model.config.num_hidden_layers
        if masks:
            call["head_mask"] = generator.random((heads,) if masks == "head" else (layers, heads))
        twin = numpy_twin(models, head, model.config, seed)
        flags = {"output_attentions": maps, "output_hidden_states": not maps}
        assert_agree(
            model(**call, **flags),
            twin(**call, **flags, **({"use_cache": False} if head in ("model", "causal-lm") else {})),
        )


#: Every kind of position with and without padding; the hardest of them with a step of one token, first or last.
KINDS = ("absolute", "relative_key", "relative_key_query")
STEPS = [
    pytest.param(
        padding, cut, kind, marks=() if cut == 5 or (padding and kind == KINDS[2]) else pytest.mark.slow
    )
    for padding in (False, True)
    for cut in (1, 5, 8)
    for kind in KINDS
]


@pytest.mark.parametrize(("padding", "cut", "kind"), STEPS)
def test_decoders_agree_in_steps_with_a_cache_longer_than_needed(kind, cut, padding, models):
    call = models.call("causal-lm", (9, 5) if padding else (9, 9), left=True, seed=cut)
    ids, mask = call["input_ids"], call["attention_mask"]
    with jax.enable_x64(True):
        model = models.build("causal-lm", dtype=np.float64, is_decoder=True, position_embedding_type=kind)
        whole = numpy_twin(models, "causal-lm", model.config, 5)(ids, attention_mask=mask).logits
        cache = model.init_cache(2, 12)
        first = model(ids[:, :cut], attention_mask=mask[:, :cut], past_key_values=cache)
        real = np.maximum(mask.cumsum(1) + 1, 1)[:, cut:] if padding else None  # pad_token_id is 1
        then = model(
            ids[:, cut:], attention_mask=mask, position_ids=real, past_key_values=first.past_key_values
        )
        found = np.concatenate([first.logits, then.logits], 1)[mask == 1]
    np.testing.assert_allclose(found, whole[mask == 1], rtol=0, atol=TOLERANCE * 10)


@pytest.mark.parametrize("states_mask", [False, True])
@pytest.mark.parametrize("kind", ["absolute", "relative_key_query"])
def test_decoders_with_cross_attention_agree_in_steps(kind, states_mask, models):
    generator = np.random.default_rng(3)
    ids = generator.integers(3, 61, (2, 9)).astype(np.int32)
    given = {"encoder_hidden_states": generator.standard_normal((2, 6, 24))}
    if states_mask:
        given["encoder_attention_mask"] = np.array([[1, 0, 1, 1, 0, 1], [1, 1, 1, 1, 1, 0]])
    flags = {"output_attentions": True, "output_hidden_states": True, "use_cache": False}
    with jax.enable_x64(True):
        model = models.build(
            "causal-lm",
            dtype=np.float64,
            is_decoder=True,
            add_cross_attention=True,
            position_embedding_type=kind,
        )
        want = numpy_twin(models, "causal-lm", model.config, 5)(ids, **given, **flags)
        assert_agree(model(ids, **given, **flags), want)
        first = model(ids[:, :4], **given, use_cache=True)
        changed = {**given, "encoder_hidden_states": np.zeros((2, 6, 24))}  # their keys are in the cache
        then = model(ids[:, 4:], **changed, past_key_values=first.past_key_values)
        found = np.concatenate([first.logits, then.logits], 1)
    np.testing.assert_allclose(found, want.logits, rtol=0, atol=TOLERANCE * 10)


@pytest.mark.parametrize("head", HEADS)
def test_encode_and_score_are_the_call_in_two_steps(head, models):
    model, call = models.build(head), models.call(head)
    flat = {name: value.reshape(-1, value.shape[-1]) for name, value in call.items()}
    variables = {"params": model.params}
    states = model.module.apply(variables, **flat, method="encode")
    wanted = model(**call)
    rows = states[:, 0] if HEADS[head].rows == "first" else states
    if head == "model":
        rows, wanted = states[:, 0], {"pooler_output": wanted.pooler_output}
    scores = model.module.apply(variables, rows, method="score")
    for name, score in scores.items():
        np.testing.assert_allclose(score.reshape(wanted[name].shape), wanted[name], rtol=0, atol=1e-5)


@pytest.mark.parametrize("head", HEADS)
def test_xlm_roberta_is_the_same_module(head):
    suffix = HEADS[head].class_suffix
    ours, theirs = (getattr(robertakit.jax, f"Flax{family}{suffix}") for family in ("Roberta", "XLMRoberta"))
    assert issubclass(theirs, ours)
    assert theirs.module_class is ours.module_class
    assert theirs.config_class.model_type == "xlm-roberta"
