"""`generate()` of the causal Keras models: the ids of the specification, the steps that are compiled, the arguments.

The search itself is tested in `tests/generation`, recorded cases in `test_recorded_cases.py`.
"""

from functools import cache

import numpy as np
import pytest
import tensorflow as tf

from robertakit import TFRobertaForCausalLM
from robertakit.errors import ArgumentError, BadShape, InputError, TooLong
from robertakit.generation import GenerateBeamDecoderOnlyOutput, GenerateDecoderOnlyOutput, GenerationConfig

PAD = 1
PROMPTS = [[0, 42, 44, 5, 46, 43], [0, 39, 45], [0, 17, 31, 12, 9]]
IDS = tf.constant([[PAD] * (6 - len(row)) + row for row in PROMPTS])
STATES = np.random.default_rng(0).standard_normal((3, 4, 24)).astype(np.float32)
KEEP = np.array([[1, 1, 1, 1], [1, 1, 0, 0], [1, 1, 1, 0]])


@pytest.fixture(scope="module")
def decoder(build):
    """``decoder(**fields)``: a causal model; the same one, with what it has compiled, for the same fields."""

    @cache
    def make(family: str = "Roberta", **fields: object):
        return build("causal-lm", family, **({"is_decoder": True} | fields))

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
    ids = tf.where(IDS == PAD, model.config.pad_token_id, tf.where(IDS == 0, 3, IDS))
    options = {"max_new_tokens": 10} | options
    wanted = specified.generate(specified.build(**family, **fields), ids.numpy(), seed=[4], **options)
    rows = model.generate(ids, seed=4, **options)
    assert rows.dtype == tf.int32
    assert rows.numpy().tolist() == wanted.tolist()


@pytest.mark.parametrize("options", [{}, {"num_beams": 2}, {"use_cache": False}], ids=str)
def test_a_padded_row_gets_what_it_gets_alone(model, options) -> None:
    batch = model.generate(IDS, max_new_tokens=8, **options).numpy()
    for row, prompt in zip(batch, PROMPTS, strict=True):
        alone = model.generate(tf.constant([prompt]), max_new_tokens=8, **options)[0, len(prompt) :].numpy()
        assert row[6:].tolist()[: len(alone)] == alone.tolist()


def test_a_handful_of_programs_serves_all_lengths(build) -> None:
    model = build("causal-lm", is_decoder=True, num_hidden_layers=1)
    for columns in (1, 3, 6):
        for beams in (1, 3):
            model.generate(IDS[:, -columns:], max_new_tokens=4 + columns, num_beams=beams)
    _, programs = vars(model)["_generation_programs"]
    assert [program.experimental_get_tracing_count() for program in programs.values()] == [1, 1]
    model.generate(IDS, max_new_tokens=2, use_cache=False)
    assert len(programs) == 3
    model.config.is_decoder = False
    model.generate(IDS, max_new_tokens=2)
    assert len(programs) == 4


def test_new_weights_count_and_so_do_new_variables(build) -> None:
    model = build("causal-lm", is_decoder=True, num_hidden_layers=1)
    options = {"max_new_tokens": 4, "min_new_tokens": 4}
    first = model.generate(IDS, **options).numpy()
    model.lm_head.bias.assign(tf.one_hot(9, 61) * 1000)
    assert model.generate(IDS, **options)[:, 6:].numpy().tolist() == [[9] * 4] * 3 != first[:, 6:].tolist()
    model.resize_token_embeddings(70)
    model.lm_head.bias.assign(tf.one_hot(69, 70) * 1000)
    assert model.generate(IDS, **options)[:, 6:].numpy().tolist() == [[69] * 4] * 3


def test_embeddings_in_place_of_ids(model) -> None:
    embeds = model.get_input_embeddings()(IDS)
    mask = tf.cast(IDS != PAD, tf.int32)
    for options in ({}, {"num_beams": 2}, {"use_cache": False}):
        wanted = model.generate(IDS, max_new_tokens=5, **options)[:, 6:]
        found = model.generate(inputs_embeds=embeds, attention_mask=mask, max_new_tokens=5, **options)
        assert found.numpy().tolist() == wanted.numpy().tolist()


@pytest.mark.parametrize("options", [{}, {"num_beams": 3}, {"use_cache": False}], ids=str)
def test_a_cache_of_the_first_tokens(model, options) -> None:
    wanted = model.generate(IDS, max_new_tokens=6, **options).numpy()
    mask = tf.cast(IDS != PAD, tf.int32)
    positions = tf.cumsum(mask, axis=1) * mask + PAD
    first = model(IDS[:, :4], attention_mask=mask[:, :4], position_ids=positions[:, :4], use_cache=True)
    past = first.past_key_values
    assert (
        model.generate(IDS, past_key_values=past, max_new_tokens=6, **options).numpy().tolist()
        == wanted.tolist()
    )
    assert past[0][0].shape[2] == 4
    with pytest.raises(ArgumentError, match="past_key_values of 4 tokens and prompts of 4"):
        model.generate(IDS[:, 2:], past_key_values=past, max_new_tokens=2)
    with pytest.raises(BadShape, match="past_key_values"):
        model.generate(IDS[:2], past_key_values=past, max_new_tokens=2)


def test_the_container(model) -> None:
    options = {
        "max_new_tokens": 3, "min_new_tokens": 3, "return_dict_in_generate": True, "output_scores": True,
        "output_logits": True, "output_attentions": True, "output_hidden_states": True,
    }  # fmt: skip
    out = model.generate(IDS, **options)
    assert isinstance(out, GenerateDecoderOnlyOutput)
    assert all(tf.is_tensor(value) for value in tf.nest.flatten(dict(out)))
    assert [tuple(scores.shape) for scores in out.scores] == [(3, 61)] * 3
    assert [tuple(maps[0].shape) for maps in out.attentions] == [(3, 4, 6, 6), (3, 4, 1, 7), (3, 4, 1, 8)]
    assert [tuple(states[2].shape) for states in out.hidden_states] == [(3, 6, 24), (3, 1, 24), (3, 1, 24)]
    # the cache goes on from where it is
    more = model(
        out.sequences[:, -1:], attention_mask=tf.cast(out.sequences != PAD, tf.int32),
        position_ids=tf.reduce_sum(tf.cast(out.sequences != PAD, tf.int32), 1, keepdims=True) + PAD,
        past_key_values=out.past_key_values,
    )  # fmt: skip
    longer = model.generate(IDS, max_new_tokens=4, min_new_tokens=3)
    assert tf.argmax(more.logits[:, -1], -1).numpy().tolist() == longer[:, -1].numpy().tolist()
    beams = model.generate(IDS, num_beams=2, **options)
    assert isinstance(beams, GenerateBeamDecoderOnlyOutput)
    assert beams.sequences_scores.shape == (3,)
    assert beams.beam_indices.shape == (3, 3)


def test_seeds(model) -> None:
    options = {"do_sample": True, "top_k": 0, "temperature": 5.0, "max_new_tokens": 8}

    def drawn(**more):
        return model.generate(IDS, **options, **more).numpy().tolist()

    assert drawn(seed=(1, 2)) == drawn(seed=[1, 2]) == drawn(seed=tf.constant([1, 2]))
    assert drawn(seed=(1, 2)) != drawn(seed=(2, 1))
    assert drawn(seed=-1) == drawn(seed=-1)
    tf.random.set_seed(3)
    first, second = drawn(), drawn()
    tf.random.set_seed(3)
    assert [drawn(), drawn()] == [first, second]
    assert first != second
    with pytest.raises(Exception, match="seed"):
        drawn(seed=0.5)


def test_functions_of_the_caller_get_tensors(model) -> None:
    def lift(ids, scores, columns):
        assert tf.is_tensor(ids)
        assert columns == ids.shape[1]
        return scores + 1000 * tf.one_hot(9, 61)

    rows = model.generate(
        tf.cast(IDS, tf.int64), logits_processor=[lift], stopping_criteria=lambda ids, scores: ids.shape[1] >= 8,
        max_new_tokens=6,
    )  # fmt: skip
    assert rows[:, 6:].numpy().tolist() == [[9, 9]] * 3
    assert rows.dtype == tf.int64


def test_other_dtypes(build) -> None:
    wide = build("causal-lm", is_decoder=True, num_hidden_layers=1, dtype="float64")
    out = wide.generate(IDS, max_new_tokens=2, return_dict_in_generate=True, output_scores=True)
    assert out.scores[0].dtype == tf.float64
    narrow = build("causal-lm", is_decoder=True, num_hidden_layers=1, dtype="bfloat16")
    out = narrow.generate(
        IDS, max_new_tokens=2, return_dict_in_generate=True, output_scores=True, output_hidden_states=True
    )
    assert out.scores[0].dtype == tf.float32
    assert out.hidden_states[0][0].dtype == tf.bfloat16


@pytest.mark.parametrize(
    ("given", "error", "told"),
    [
        ({"inputs": IDS + 20}, InputError, "input_ids 66"),
        ({"inputs": IDS[:, ::-1]}, InputError, "ends in padding"),
        ({"inputs": IDS, "max_new_tokens": 34}, TooLong, "at most 33"),
        ({"inputs": IDS, "encoder_hidden_states": STATES}, InputError, "add_cross_attention"),
        ({"inputs": IDS, "labels": IDS}, ArgumentError, "labels"),
        ({"inputs": IDS, "assistant_model": "x"}, ArgumentError, "assistant_model"),
        ({"inputs": IDS, "past_key_values": 3}, InputError, "past_key_values of type int"),
    ],
)  # fmt: skip
def test_what_does_not_fit_raises(model, given, error, told) -> None:
    with pytest.raises(error, match=told):
        model.generate(**({"max_new_tokens": 2} | given))


def test_inside_a_function_it_raises(model) -> None:
    with pytest.raises(ArgumentError, match=r"generate inside tf\.function"):
        tf.function(lambda: model.generate(IDS, max_new_tokens=2))()


def test_the_generation_config_of_a_model(build, tmp_path) -> None:
    model = build("causal-lm", is_decoder=True, num_hidden_layers=1)
    model.generation_config = GenerationConfig(max_new_tokens=4, min_new_tokens=4)
    assert model.generate(IDS).shape == (3, 10)
    model.save_pretrained(tmp_path)
    again = TFRobertaForCausalLM.from_pretrained(tmp_path)
    assert again.generation_config.max_new_tokens == 4
    assert again.generate(IDS).numpy().tolist() == model.generate(IDS).numpy().tolist()
    assert model.can_generate()
