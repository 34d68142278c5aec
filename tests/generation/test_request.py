"""What a call asks for: layers of fields, refusals, lengths."""

import warnings

import pytest

from robertakit import RobertaConfig
from robertakit.errors import ArgumentError, ConfigError, InputError, TooLong
from robertakit.generation import GenerationConfig
from robertakit.generation.request import Lengths, check_tokens, merge, refuse_arguments, split_keywords


def merged(keywords=None, *, given=None, own=None, model=None, **options):
    return merge(model or RobertaConfig(), own or {}, given, keywords or {}, **options)


def test_later_layers_win() -> None:
    model = RobertaConfig(num_beams=2, top_p=0.5, do_sample=True, temperature=0.5)
    own = {"num_beams": 3, "top_p": 0.6}
    config = merged({"num_beams": 5}, given=GenerationConfig(num_beams=4, top_k=7), own=own, model=model)
    assert (config.num_beams, config.top_k, config.top_p, config.temperature) == (5, 7, 0.6, 0.5)
    assert (config.bos_token_id, config.pad_token_id, config.eos_token_id) == (0, 1, 2)
    assert merged(own={"do_sample": True}, given=GenerationConfig(do_sample=False)).do_sample is False
    assert merged({"eos_token_id": None}).eos_token_id is None


def test_use_model_defaults() -> None:
    given, own = GenerationConfig(num_beams=4), {"length_penalty": 2.0, "pad_token_id": 7}
    assert merged(given=given, own=own).length_penalty == 2.0
    alone = merged(given=given, own=own, use_model_defaults=False)
    assert (alone.length_penalty, alone.pad_token_id, alone.num_beams) == (1.0, 7, 4)
    assert merged(own=own | {"num_beams": 2}, use_model_defaults=False).length_penalty == 2.0


@pytest.mark.parametrize(
    ("limit", "rival"), [("max_length", "max_new_tokens"), ("min_length", "min_new_tokens")]
)
def test_a_later_limit_replaces_its_rival_of_an_earlier_layer(limit: str, rival: str) -> None:
    config = merged({limit: 9}, own={rival: 3})
    assert (getattr(config, limit), getattr(config, rival)) == (9, None)
    config = merged({limit: 9, rival: 3})
    assert (getattr(config, limit), getattr(config, rival)) == (9, 3)
    assert getattr(merged({rival: 3}, given=GenerationConfig(**{limit: 9})), rival) == 3


def test_fields_of_the_call_without_effect_warn_and_those_of_the_model_do_not() -> None:
    with pytest.warns(UserWarning, match=r"temperature=0.7 has no effect without do_sample=True"):
        merged({"temperature": 0.7})
    with pytest.warns(UserWarning, match="length_penalty"):
        merged(given=GenerationConfig(length_penalty=2.0))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        merged({"do_sample": False}, own={"temperature": 0.7, "top_p": 0.5})
        merged({"do_sample": True, "temperature": 0.7, "top_k": 50})


UNSUPPORTED = {
    "cache_implementation": "static", "cache_config": {"a": 1}, "prefill_chunk_size": 4, "token_healing": True,
    "guidance_scale": 1.5, "watermarking_config": {"bias": 2}, "is_assistant": True, "prompt_lookup_num_tokens": 3,
    "assistant_early_exit": 2, "compile_config": object(), "low_memory": True, "penalty_alpha": 0.6,
    "dola_layers": "high", "diversity_penalty": 0.5, "num_beam_groups": 2, "constraints": [1],
    "force_words_ids": [[1]],
}  # fmt: skip
NOT_FOR_US = {
    "decoder_start_token_id": 3, "num_assistant_tokens": 5, "num_assistant_tokens_schedule": "heuristic",
    "assistant_confidence_threshold": 0.1, "max_matching_ngram_size": 3, "assistant_lookbehind": 3,
    "target_lookbehind": 3,
}  # fmt: skip


@pytest.mark.parametrize(("name", "value"), [*UNSUPPORTED.items(), *NOT_FOR_US.items()])
def test_a_field_that_is_not_supported_raises_and_is_named(name: str, value: object) -> None:
    with pytest.raises(ArgumentError, match=name):
        merged({name: value})
    with pytest.raises(ArgumentError, match=name):
        merged(given=GenerationConfig(**{name: value}))
    merged({name: GenerationConfig.defaults[name]})  # its default asks for nothing
    if name in UNSUPPORTED:
        with pytest.raises(ArgumentError, match=name):
            merged(own={name: value})
    else:  # a model may carry it
        merged(own={name: value})


def test_every_documented_field_is_acted_on_or_refused() -> None:
    from robertakit.generation.checks import CHECKS

    assert {*CHECKS, *UNSUPPORTED, *NOT_FOR_US} == {*GenerationConfig.defaults}
    assert not set(CHECKS) & {*UNSUPPORTED, *NOT_FOR_US}


def test_arguments_and_keywords() -> None:
    refuse_arguments(synced_gpus=False, assistant_model=None)
    with pytest.raises(ArgumentError, match="assistant_model"):
        refuse_arguments(assistant_model="a model")
    fields, inputs = split_keywords(
        {"num_beams": 2, "attention_mask": 5, "head_mask": None}, ["attention_mask", "head_mask"]
    )
    assert (fields, inputs) == ({"num_beams": 2}, {"attention_mask": 5})
    with pytest.raises(ArgumentError, match=r"max_new_token'.*'max_new_tokens'"):
        split_keywords({"max_new_token": 2}, ["attention_mask"])
    with pytest.raises(ArgumentError, match=r"atention_mask.*attention_mask"):
        split_keywords({"atention_mask": 2}, ["attention_mask"])


@pytest.mark.parametrize(
    "fields",
    [{"eos_token_id": [2, 50]}, {"pad_token_id": 50}, {"bad_words_ids": [[3, 50]]}, {"suppress_tokens": [50]},
     {"sequence_bias": {(4, 50): 1.0}}, {"forced_bos_token_id": 50}, {"forced_eos_token_id": [50]},
     {"begin_suppress_tokens": [50]}],
)  # fmt: skip
def test_ids_outside_the_vocabulary_raise(fields: dict[str, object]) -> None:
    with pytest.raises(InputError, match=f"{next(iter(fields))} with id 50"):
        check_tokens(GenerationConfig(**fields), 50)
    check_tokens(GenerationConfig(**fields), 51)


def lengths(prompt=8, positions=None, model=None, **fields):
    model = model or RobertaConfig(max_position_embeddings=34)  # 32 tokens
    return Lengths.read(GenerationConfig(**fields), model, prompt, prompt if positions is None else positions)


def test_lengths() -> None:
    assert lengths() == Lengths(8, 28, 0)
    assert lengths().new == 20
    assert lengths(max_length=20) == Lengths(8, 20, 0)  # set, if to its default
    assert lengths(max_length=None).longest == 28
    assert lengths(max_length=9, max_new_tokens=3).longest == 11
    assert lengths(max_new_tokens=3, min_new_tokens=2).shortest == 10
    assert lengths(min_length=9).shortest == 9


def test_the_last_token_needs_no_position() -> None:
    assert lengths(max_new_tokens=25).longest == 33
    with pytest.raises(TooLong, match=r"max_new_tokens=26.*8 tokens; expected at most 25.*32 positions"):
        lengths(max_new_tokens=26)
    with pytest.raises(TooLong, match=r"max_length=34.*at most 25"):
        lengths(max_length=34)
    assert lengths(prompt=40, positions=8, max_new_tokens=25).longest == 65  # padding takes none


def test_the_default_length_is_what_fits() -> None:
    assert lengths(prompt=30).new == 3
    assert lengths(prompt=32).new == 1
    with pytest.raises(TooLong, match=r"one new token behind a prompt of 33 tokens; expected at most 0"):
        lengths(prompt=33)


def test_relative_positions_count_columns() -> None:
    model = RobertaConfig(max_position_embeddings=34, position_embedding_type="relative_key")
    assert lengths(prompt=20, positions=8, model=model, max_new_tokens=15).longest == 35
    with pytest.raises(TooLong):
        lengths(prompt=20, positions=8, model=model, max_new_tokens=16)


@pytest.mark.parametrize(
    ("fields", "told"),
    [({"max_length": 8}, "max_length=8 and prompts of 8"),
     ({"min_new_tokens": 4, "max_new_tokens": 3}, "min_new_tokens=4"),
     ({"min_new_tokens": 21}, "set max_new_tokens"), ({"min_length": 12, "max_length": 11}, "min_length=12")],
)  # fmt: skip
def test_lengths_that_contradict_each_other_raise(fields: dict[str, object], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        lengths(**fields)
