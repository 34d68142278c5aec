"""`GenerationConfig`: fields, what counts as set, checks, files."""

import copy
import json
import pickle

import pytest

from robertakit import RobertaConfig
from robertakit.errors import ArgumentError, ConfigError, CorruptFile, NotFound
from robertakit.files import locate
from robertakit.generation import GenerationConfig

#: Names, order and defaults of the documented fields (transformers 4.57).
DOCUMENTED = {
    "max_length": 20, "max_new_tokens": None, "min_length": 0, "min_new_tokens": None, "early_stopping": False,
    "max_time": None, "stop_strings": None, "do_sample": False, "num_beams": 1, "use_cache": True,
    "cache_implementation": None, "cache_config": None, "return_legacy_cache": None, "prefill_chunk_size": None,
    "temperature": 1.0, "top_k": 50, "top_p": 1.0, "min_p": None, "typical_p": 1.0, "epsilon_cutoff": 0.0,
    "eta_cutoff": 0.0, "repetition_penalty": 1.0, "encoder_repetition_penalty": 1.0, "length_penalty": 1.0,
    "no_repeat_ngram_size": 0, "bad_words_ids": None, "renormalize_logits": False, "forced_bos_token_id": None,
    "forced_eos_token_id": None, "remove_invalid_values": False, "exponential_decay_length_penalty": None,
    "suppress_tokens": None, "begin_suppress_tokens": None, "sequence_bias": None, "token_healing": False,
    "guidance_scale": None, "watermarking_config": None, "num_return_sequences": 1, "output_attentions": False,
    "output_hidden_states": False, "output_scores": False, "output_logits": None, "return_dict_in_generate": False,
    "pad_token_id": None, "bos_token_id": None, "eos_token_id": None, "encoder_no_repeat_ngram_size": 0,
    "decoder_start_token_id": None, "is_assistant": False, "num_assistant_tokens": 20,
    "num_assistant_tokens_schedule": "constant", "assistant_confidence_threshold": 0.4,
    "prompt_lookup_num_tokens": None, "max_matching_ngram_size": None, "assistant_early_exit": None,
    "assistant_lookbehind": 10, "target_lookbehind": 10, "compile_config": None, "disable_compile": False,
    "low_memory": None, "penalty_alpha": None, "dola_layers": None, "diversity_penalty": 0.0, "num_beam_groups": 1,
    "constraints": None, "force_words_ids": None,
}  # fmt: skip


def test_fields_are_the_documented_ones() -> None:
    assert list(GenerationConfig.defaults.items()) == list(DOCUMENTED.items())
    assert GenerationConfig().to_dict() == DOCUMENTED
    GenerationConfig(**DOCUMENTED)  # each default is a value that the field can have


@pytest.mark.peers
def test_fields_are_those_of_transformers() -> None:
    transformers = pytest.importorskip("transformers")
    if transformers.__version__.startswith("4."):
        theirs = {k: v for k, v in vars(transformers.GenerationConfig()).items() if not k.startswith("_")}
        theirs.pop("transformers_version")
        assert theirs == DOCUMENTED


def test_only_what_is_set_counts() -> None:
    config = GenerationConfig(do_sample=False, top_k=None)
    assert config.given() == {"do_sample": False, "top_k": None}
    config.num_beams = 4
    assert config.to_diff_dict() == {"do_sample": False, "top_k": None, "num_beams": 4}
    assert config.update(num_beams=2, colour="red") == {"colour": "red"}
    assert config.num_beams == 2
    assert config == GenerationConfig(num_beams=2, top_k=None) != GenerationConfig(num_beams=2)
    assert config != "a config"
    for twin in (copy.deepcopy(config), pickle.loads(pickle.dumps(config))):
        assert twin == config
        assert twin.given() == config.given()


WRONG = [
    {"max_new_tokens": 0}, {"max_length": 0}, {"max_length": 2.5}, {"min_length": -1}, {"num_beams": 0},
    {"num_beams": None}, {"num_beams": True}, {"num_return_sequences": 0}, {"early_stopping": "soon"},
    {"early_stopping": 1}, {"max_time": -1}, {"max_time": float("nan")}, {"stop_strings": ""}, {"stop_strings": []},
    {"stop_strings": [3]}, {"do_sample": "yes"}, {"use_cache": None}, {"temperature": -0.5}, {"temperature": "1"},
    {"top_k": -1}, {"top_p": 1.5}, {"top_p": -0.1}, {"min_p": 2}, {"typical_p": 0}, {"epsilon_cutoff": 2},
    {"eta_cutoff": -1}, {"repetition_penalty": 0}, {"repetition_penalty": float("inf")}, {"length_penalty": None},
    {"encoder_repetition_penalty": -1.0}, {"no_repeat_ngram_size": -2}, {"bad_words_ids": []},
    {"bad_words_ids": [5]}, {"bad_words_ids": [[]]}, {"bad_words_ids": [[-1]]}, {"forced_bos_token_id": [1]},
    {"eos_token_id": -1}, {"eos_token_id": [2, -1]}, {"eos_token_id": "2"}, {"pad_token_id": 1.0},
    {"exponential_decay_length_penalty": 3}, {"exponential_decay_length_penalty": (1, 0)},
    {"exponential_decay_length_penalty": (-1, 1.1)}, {"suppress_tokens": 3}, {"begin_suppress_tokens": ["a"]},
    {"sequence_bias": {}}, {"sequence_bias": {(): 1.0}}, {"sequence_bias": {(3,): "x"}},
    {"sequence_bias": [[[3], 1.0, 2]]}, {"output_logits": "x"}, {"return_legacy_cache": 1},
]  # fmt: skip


@pytest.mark.parametrize("field", WRONG, ids=lambda field: "-".join(f"{k}-{v}" for k, v in field.items()))
def test_a_wrong_value_raises_and_is_named(field: dict[str, object]) -> None:
    name = next(iter(field))
    with pytest.raises(ConfigError, match=name):
        GenerationConfig(**field)
    config = GenerationConfig()
    setattr(config, name, field[name])
    with pytest.raises(ConfigError, match=name):
        config.validate()


def test_fields_that_contradict_each_other() -> None:
    with pytest.raises(ConfigError, match="temperature=0 with do_sample=True"):
        GenerationConfig(temperature=0.0, do_sample=True)
    assert GenerationConfig(temperature=0.0).temperature == 0
    for fields in ({}, {"num_beams": 2}, {"num_beams": 2, "do_sample": True}):
        with pytest.raises(ConfigError, match="num_return_sequences=3"):
            GenerationConfig(num_return_sequences=3, **fields)
    GenerationConfig(num_return_sequences=3, do_sample=True)
    GenerationConfig(num_return_sequences=3, num_beams=3)


def test_keywords_that_are_no_fields() -> None:
    with pytest.raises(ArgumentError, match=r"max_new_token'.*max_new_tokens"):
        GenerationConfig(max_new_token=3)
    with pytest.raises(ArgumentError, match=r"generate\(streamer"):
        GenerationConfig(streamer=None)
    assert GenerationConfig(a_field_of_my_own=3).to_diff_dict() == {"a_field_of_my_own": 3}


def test_the_way_tokens_are_chosen() -> None:
    modes = {
        (1, False): "greedy_search",
        (1, True): "sample",
        (2, False): "beam_search",
        (2, True): "beam_sample",
    }
    for (beams, draw), mode in modes.items():
        assert GenerationConfig(num_beams=beams, do_sample=draw).get_generation_mode() == mode
    with pytest.raises(ArgumentError, match="assistant_model"):
        GenerationConfig().get_generation_mode(object())


def test_fields_without_effect_are_named() -> None:
    config = GenerationConfig(temperature=0.7, length_penalty=2.0, output_scores=True, top_k=50)
    assert list(config.without_effect()) == ["temperature", "length_penalty", "output_scores"]
    config.validate()
    with pytest.raises(ConfigError, match=r"temperature=0.7, which has no effect; expected do_sample=True"):
        config.validate(strict=True)
    assert not GenerationConfig(temperature=0.7, do_sample=True, top_k=3).without_effect()
    assert list(GenerationConfig(use_cache=False, return_legacy_cache=True).without_effect()) == [
        "return_legacy_cache"
    ]


def test_a_models_configuration_gives_tokens_and_legacy_fields() -> None:
    config = GenerationConfig.from_model_config(
        RobertaConfig(max_length=9, num_beams=1, use_cache=False, top_p=0.5)
    )
    assert config.given() == {
        "bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2, "max_length": 9, "use_cache": False, "top_p": 0.5,
    }  # fmt: skip
    derived = config.given()
    assert config.own(derived) == {}
    config.top_p, config.max_length, config.eos_token_id = 0.6, 9, None
    assert config.own(derived) == {"top_p": 0.6, "eos_token_id": None}
    read = GenerationConfig.from_dict(json.loads(config.to_json_string()))
    assert read.own(derived) == {"top_p": 0.6, "eos_token_id": None}
    assert GenerationConfig(top_p=0.5).own(derived) == {"top_p": 0.5}
    assert GenerationConfig.from_model_config(RobertaConfig(output_attentions=True)).return_dict_in_generate


def test_files(tmp_path) -> None:
    config = GenerationConfig(
        num_beams=3, do_sample=False, sequence_bias={(5, 6): -2.0}, eos_token_id=[2, 5],
        exponential_decay_length_penalty=(3, 1.5), a_field_of_my_own=[1],
    )  # fmt: skip
    config.save_pretrained(tmp_path / "new")
    stored = json.loads((tmp_path / "new" / "generation_config.json").read_text())
    assert stored["sequence_bias"] == [[[5, 6], -2.0]]
    assert stored["do_sample"] is False  # set, if to its default
    read = GenerationConfig.from_pretrained(tmp_path / "new")
    assert read.to_json_string() == config.to_json_string()
    assert GenerationConfig.from_pretrained(tmp_path / "new", num_beams=4).num_beams == 4
    same, rest = GenerationConfig.from_pretrained(tmp_path / "new", colour="red", return_unused_kwargs=True)
    assert (same.to_json_string(), rest) == (config.to_json_string(), {"colour": "red"})
    with pytest.raises(ArgumentError, match="colour"):
        GenerationConfig.from_pretrained(tmp_path / "new", colour="red")
    config.save_pretrained(tmp_path / "new", "other.json")
    assert GenerationConfig.from_pretrained(tmp_path / "new", "other.json") == read
    assert GenerationConfig.at(locate(tmp_path / "new")) == read
    (tmp_path / "empty").mkdir()
    assert GenerationConfig.at(locate(tmp_path / "empty")) is None
    with pytest.raises(NotFound, match="generation_config"):
        GenerationConfig.from_pretrained(tmp_path / "empty")
    config.to_json_file(tmp_path / "whole.json", use_diff=False)
    assert json.loads((tmp_path / "whole.json").read_text()).keys() == DOCUMENTED.keys() | {
        "a_field_of_my_own"
    }


@pytest.mark.parametrize(
    ("text", "error"),
    [("[1]", CorruptFile), ("{", CorruptFile), ('{"num_beams": "many"}', ConfigError)],
)
def test_a_broken_file_raises(tmp_path, text: str, error: type[Exception]) -> None:
    (tmp_path / "generation_config.json").write_text(text)
    with pytest.raises(error):
        GenerationConfig.from_pretrained(tmp_path)


def test_what_cannot_be_saved_raises(tmp_path) -> None:
    with pytest.raises(ConfigError, match="top_p"):
        GenerationConfig(top_p=0.3).save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match="JSON"):
        GenerationConfig(cache_config=object()).save_pretrained(tmp_path)
    with pytest.raises(ArgumentError, match="repo_id"):
        GenerationConfig().save_pretrained(tmp_path, repo_id="x")
    assert not list(tmp_path.iterdir())


def test_keys_of_a_file_that_nothing_knows_are_kept_and_private_ones_are_not() -> None:
    config = GenerationConfig.from_dict({"top_k": 3, "transformers_version": "4.57.6", "_commit_hash": "x"})
    assert config.given() == {"top_k": 3, "transformers_version": "4.57.6"}
    assert not hasattr(config, "_commit_hash")
    assert config == GenerationConfig(top_k=3)
    assert repr(config) == 'GenerationConfig {\n  "top_k": 3\n}\n'
