"""`generate()` of the causal Flax models: the ids of the specification, the steps that are compiled, the arguments.

The search itself is tested in `tests/generation`, recorded cases in `test_recorded_cases.py`.
"""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from robertakit.errors import ArgumentError, InputError, TooLong
from robertakit.generation import GenerateDecoderOnlyOutput, GenerationConfig
from robertakit.generation.outputs import FlaxBeamSearchOutput, FlaxGreedySearchOutput, FlaxSampleOutput
from robertakit.jax import FlaxRobertaForCausalLM

PAD = 1
PROMPTS = [[0, 42, 44, 5, 46, 43], [0, 39, 45], [0, 17, 31, 12, 9]]
IDS = np.array([[PAD] * (6 - len(row)) + row for row in PROMPTS])
STATES = np.random.default_rng(0).standard_normal((3, 4, 24)).astype(np.float32)
KEEP = np.array([[1, 1, 1, 1], [1, 1, 0, 0], [1, 1, 1, 0]])


@pytest.fixture(scope="module")
def decoder(models):
    """``decoder(**fields)``: a causal model; the same one, with what it has compiled, for the same fields."""

    @cache
    def make(family: str = "Roberta", **fields: object):
        return models.build("causal-lm", family, **({"is_decoder": True} | fields))

    return make


@pytest.fixture(scope="module")
def model(decoder):
    return decoder()


CASES = {
    "greedy": ({}, {}),
    "without cache": ({}, {"use_cache": False}),
    "an encoder": ({"is_decoder": False}, {}),
    "beams": ({}, {"num_beams": 3, "num_return_sequences": 2}),
    "beams without cache": ({}, {"num_beams": 2, "use_cache": False}),
    "rules": ({}, {"repetition_penalty": 1.7, "no_repeat_ngram_size": 2, "min_new_tokens": 5}),
    "relative positions": ({"position_embedding_type": "relative_key_query"}, {}),
    "no room for padding": ({"position_embedding_type": "relative_key"}, {"max_new_tokens": 33}),
    "another padding": ({"pad_token_id": 0, "bos_token_id": 3}, {"num_beams": 2}),
    "behind an encoder": (
        {"add_cross_attention": True}, {"encoder_hidden_states": STATES, "encoder_attention_mask": KEEP},
    ),
    "beams behind an encoder": (
        {"add_cross_attention": True},
        {"encoder_hidden_states": STATES, "encoder_attention_mask": KEEP, "num_beams": 2},
    ),
    "types": ({}, {"token_type_ids": np.ones((3, 6), int), "head_mask": np.array([1.0, 0.0, 1.0, 1.0])}),
    "draws": ({}, {"do_sample": True, "num_return_sequences": 3, "top_k": 5}),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_the_ids_of_the_specification(decoder, specified, case) -> None:
    fields, options = CASES[case]
    family = {"family": "XLMRoberta"} if "pad_token_id" in fields else {}
    model = decoder(**family, **fields)
    ids = np.where(IDS == PAD, model.config.pad_token_id, np.where(IDS == 0, 3, IDS))
    options = {"max_new_tokens": 10} | options
    wanted = specified.generate(specified.build(**family, **fields), ids, seed=[0, 4], **options)
    out = model.generate(jnp.asarray(ids), prng_key=jax.random.PRNGKey(4), **options)
    assert out.sequences.tolist() == wanted.tolist()


@pytest.mark.parametrize("options", [{}, {"num_beams": 2}, {"use_cache": False}], ids=str)
def test_a_padded_row_gets_what_it_gets_alone(model, options) -> None:
    batch = model.generate(IDS, max_new_tokens=8, **options).sequences.tolist()
    for row, prompt in zip(batch, PROMPTS, strict=True):
        alone = model.generate([prompt], max_new_tokens=8, **options).sequences[0, len(prompt) :].tolist()
        assert row[6:][: len(alone)] == alone


def test_few_programs_serve_all_lengths(models) -> None:
    model = models.build("causal-lm", is_decoder=True)
    for columns in (1, 3, 6):
        for new in (3, 8, 20):
            model.generate(IDS[:, -columns:], max_new_tokens=new)
    step = model._programs().step
    assert step._cache_size() == 2  # the prompts, and a token a row: 32 columns of prompts, 64 slots
    model.generate(IDS, max_new_tokens=4, num_beams=2)  # the prompts are computed once, as before
    assert step._cache_size() == 3
    for columns in (1, 6):  # as long as the longest bucket in each step
        model.generate(IDS[:, -columns:], max_new_tokens=8, use_cache=False)
    assert step._cache_size() == 4
    model.enable_gradient_checkpointing()  # another module
    assert model._programs().step is not step


def test_params_count(model) -> None:
    options = {"max_new_tokens": 4, "min_new_tokens": 4}
    first = model.generate(IDS, **options).sequences
    head = model.params["lm_head"] | {"bias": jnp.zeros(61).at[9].set(1000.0)}
    params = model.params | {"lm_head": head}
    assert model.generate(IDS, params=params, **options).sequences[:, 6:].tolist() == [[9] * 4] * 3
    assert model.generate(IDS, **options).sequences.tolist() == first.tolist()


def test_one_operation_at_a_time(model) -> None:
    found = model.generate(IDS, trace=False, max_new_tokens=2)
    assert found.sequences.tolist() == model.generate(IDS, max_new_tokens=2).sequences.tolist()


def test_embeddings_in_place_of_ids(model) -> None:
    embeds = model.params["roberta"]["embeddings"]["word_embeddings"]["embedding"][IDS]
    mask = (IDS != PAD).astype(int)
    for options in ({}, {"num_beams": 2}, {"use_cache": False}):
        wanted = model.generate(IDS, max_new_tokens=5, **options).sequences[:, 6:]
        found = model.generate(inputs_embeds=embeds, attention_mask=mask, max_new_tokens=5, **options)
        assert found.sequences.tolist() == wanted.tolist()


def test_what_is_returned(model) -> None:
    assert isinstance(model.generate(IDS, max_new_tokens=2), FlaxGreedySearchOutput)
    assert isinstance(model.generate(IDS, max_new_tokens=2, do_sample=True), FlaxSampleOutput)
    beams = model.generate(IDS, max_new_tokens=2, num_beams=3, num_return_sequences=2)
    assert isinstance(beams, FlaxBeamSearchOutput)
    assert beams.scores.shape == (6,)
    assert [type(leaf).__name__ for leaf in jax.tree.leaves(beams)] == ["ArrayImpl"] * 2


def test_the_container(model) -> None:
    options = {
        "max_new_tokens": 3, "min_new_tokens": 3, "return_dict_in_generate": True, "output_scores": True,
        "output_logits": True, "output_attentions": True, "output_hidden_states": True,
    }  # fmt: skip
    out = model.generate(IDS, **options)
    assert isinstance(out, GenerateDecoderOnlyOutput)
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(out))
    assert [scores.shape for scores in out.scores] == [(3, 61)] * 3
    assert [maps[0].shape for maps in out.attentions] == [(3, 4, 6, 6), (3, 4, 1, 7), (3, 4, 1, 8)]
    assert [states[2].shape for states in out.hidden_states] == [(3, 6, 24), (3, 1, 24), (3, 1, 24)]
    maps = model(IDS, attention_mask=IDS != PAD, output_attentions=True).attentions[1]
    np.testing.assert_allclose(out.attentions[0][1][:, :, -1], maps[:, :, -1], atol=2e-6)
    # the cache goes on from where it is
    real = np.asarray(out.sequences) != PAD
    more = model(
        out.sequences[:, -1:], attention_mask=real, position_ids=real.sum(1, keepdims=True) + PAD,
        past_key_values=out.past_key_values,
    )  # fmt: skip
    longer = model.generate(IDS, max_new_tokens=4, min_new_tokens=3).sequences
    assert more.logits[:, -1].argmax(-1).tolist() == longer[:, -1].tolist()
    without = model.generate(IDS, use_cache=False, **options)
    assert [maps[0].shape for maps in without.attentions] == [(3, 4, 6, 6), (3, 4, 7, 7), (3, 4, 8, 8)]
    assert without.past_key_values is None
    for mine, cached in zip(without.logits, out.logits, strict=True):
        np.testing.assert_allclose(mine, cached, rtol=1e-5, atol=1e-5)


def test_keys(model) -> None:
    options = {"do_sample": True, "top_k": 0, "temperature": 5.0, "max_new_tokens": 8}

    def drawn(key=None):
        return model.generate(IDS, prng_key=key, **options).sequences.tolist()

    assert drawn() == drawn() == drawn(jax.random.PRNGKey(0)) == drawn(jax.random.key(0))
    assert drawn() != drawn(jax.random.PRNGKey(1))


def test_functions_of_the_caller_get_arrays(model) -> None:
    def lift(ids, scores, columns):
        assert isinstance(ids, jax.Array)
        assert columns == ids.shape[1]
        return scores.at[:, 9].add(1000.0)

    out = model.generate(
        IDS,
        logits_processor=[lift],
        stopping_criteria=lambda ids, scores: ids.shape[1] >= 8,
        max_new_tokens=6,
    )
    assert out.sequences[:, 6:].tolist() == [[9, 9]] * 3


def test_half_precision(models) -> None:
    model = models.build("causal-lm", is_decoder=True, dtype=jnp.bfloat16)
    out = model.generate(
        IDS, max_new_tokens=2, return_dict_in_generate=True, output_scores=True, output_hidden_states=True
    )
    assert out.scores[0].dtype == jnp.float32
    assert out.hidden_states[0][0].dtype == jnp.bfloat16


@pytest.mark.parametrize(
    ("given", "error", "told"),
    [
        ({"input_ids": IDS + 20}, InputError, "input_ids 66"),
        ({"input_ids": IDS[:, ::-1]}, InputError, "ends in padding"),
        ({"input_ids": IDS, "max_new_tokens": 34}, TooLong, "at most 33"),
        ({"input_ids": IDS, "encoder_hidden_states": STATES}, InputError, "add_cross_attention"),
        ({"input_ids": IDS, "labels": IDS}, ArgumentError, "labels"),
        ({"input_ids": IDS, "assistant_model": "x"}, ArgumentError, "assistant_model"),
        ({"input_ids": IDS, "past_key_values": {}}, ArgumentError, "past_key_values"),
    ],
)  # fmt: skip
def test_what_does_not_fit_raises(model, given, error, told) -> None:
    with pytest.raises(error, match=told):
        model.generate(**({"max_new_tokens": 2} | given))


def test_inside_jit_it_raises(model) -> None:
    with pytest.raises(ArgumentError, match="generate inside jit"):
        jax.jit(lambda ids: model.generate(ids, max_new_tokens=2).sequences)(IDS)
    with pytest.raises(ArgumentError, match="generate inside jit"):
        jax.jit(lambda params: model.generate(IDS, params=params, max_new_tokens=2).sequences)(model.params)


def test_the_generation_config_of_a_model(models, tmp_path) -> None:
    model = models.build("causal-lm", is_decoder=True)
    model.generation_config = GenerationConfig(max_new_tokens=4, min_new_tokens=4)
    assert model.generate(IDS).sequences.shape == (3, 10)
    model.save_pretrained(tmp_path)
    again = FlaxRobertaForCausalLM.from_pretrained(tmp_path)
    assert again.generation_config.max_new_tokens == 4
    assert again.generate(IDS).sequences.tolist() == model.generate(IDS).sequences.tolist()
    assert model.can_generate()
