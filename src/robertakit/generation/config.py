"""`GenerationConfig`: what `generate()` is asked for, with the documented fields, defaults and files."""

import copy
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import ClassVar, Literal, Self, overload

from robertakit.errors import ArgumentError, ConfigError, CorruptFile
from robertakit.field_values import COMMON_FIELDS, refuse_misspelling, refuse_unknown, string_keys
from robertakit.files import Location, locate, read_json, take_where, text_writer, write_atomically
from robertakit.generation.fields import CHECKS
from robertakit.pretrained_config import PretrainedConfig

__all__ = ["GENERATION_CONFIG_FILE", "GenerationConfig"]

GENERATION_CONFIG_FILE = "generation_config.json"
#: Arguments of `generate` that are no fields.
_ARGUMENTS = (
    "logits_processor", "stopping_criteria", "prefix_allowed_tokens_fn", "synced_gpus", "assistant_model",
    "streamer", "negative_prompt_ids", "negative_prompt_attention_mask", "use_model_defaults", "generator",
)  # fmt: skip
#: What a model's configuration holds beside the legacy fields of generation.
_OF_MODELS = (
    "pad_token_id", "bos_token_id", "eos_token_id", "use_cache", "output_attentions", "output_hidden_states",
)  # fmt: skip


class GenerationConfig:  # noqa: PLW1641  mutable, so it has no hash
    """What `generate()` is asked for: the fields that are set here win over those of the model.

    A field that nobody set has its documented default and does not count as set, so that a field may be set to its
    default, too. Lengths count columns: the tokens of the longest prompt of a batch, padding included, and the new
    ones.

    Args:
        **kwargs: any documented field: the attributes below. A keyword that nothing knows is kept as an attribute and
            written back, unless it is nearly the name of a field.

    Attributes:
        max_length: most tokens of a sequence, prompt included; without it and `max_new_tokens`, 20 new ones.
        max_new_tokens: most new tokens; wins over `max_length`.
        min_length: least tokens of a sequence, prompt included, before one of `eos_token_id` may follow.
        min_new_tokens: least new tokens; wins over `min_length`.
        early_stopping: when beam search of a prompt ends: True as soon as `num_beams` sequences are finished; False
            when the best running one, at its length, is worse than all of them; "never" when none could become better
            at any length.
        max_time: seconds after which the token that is being computed is the last.
        stop_strings: texts after which a sequence ends; `generate` needs `tokenizer=` for them.
        do_sample: draw tokens, in place of the most probable one.
        num_beams: width of the beam search; 1 for none.
        use_cache: keep keys and values of earlier tokens.
        return_legacy_cache: True returns the cache as tuples.
        temperature: divides the scores before a draw.
        top_k: draw among so many most probable tokens; None or 0 for all.
        top_p: draw among the fewest most probable tokens whose probabilities sum to at least this.
        min_p: draw among tokens of at least this fraction of the most probable one's probability.
        typical_p: draw among the most typical tokens (Meister et al. 2023) whose probabilities sum to at least this.
        epsilon_cutoff: draw among tokens of at least this probability (Hewitt et al. 2022).
        eta_cutoff: the same, less strict where the distribution is flat.
        repetition_penalty: scores of tokens that the sequence has are divided by it, negative ones multiplied (Keskar
            et al. 2019).
        encoder_repetition_penalty: the reverse for the tokens of the prompt.
        length_penalty: a finished beam's score is its log-probability / (new tokens ** this).
        no_repeat_ngram_size: sequences of so many tokens occur once only; 0 for no rule.
        bad_words_ids: sequences of ids that are not written.
        renormalize_logits: make processed scores log-probabilities again.
        forced_bos_token_id: first new token behind a prompt of one token.
        forced_eos_token_id: token, or tokens one of which, the last token is at `max_length`.
        remove_invalid_values: replace not-a-number and infinities in what the model computed.
        exponential_decay_length_penalty: (first new token, factor): from there on ending grows more likely.
        suppress_tokens: ids that are not written.
        begin_suppress_tokens: ids that are not written first.
        sequence_bias: `{(id, …): number}` that is added to the score of the id that completes a sequence.
        num_return_sequences: sequences for each prompt: draws, or best beams.
        output_attentions: return the attention maps of each step.
        output_hidden_states: return the hidden states of each step.
        output_scores: return the processed scores of each step.
        output_logits: return the scores of each step as the model gave them.
        return_dict_in_generate: return a container, in place of the sequences alone.
        pad_token_id: fills finished sequences.
        bos_token_id: where a sequence without prompt starts.
        eos_token_id: id, or ids, that end a sequence.
        encoder_no_repeat_ngram_size: sequences of so many tokens that the prompt has are not written.

    Raises:
        ConfigError: a value that a field cannot have, or fields that contradict each other.
        ArgumentError: a keyword that looks like a misspelt field, or is an argument of `generate`.

    Example:
        >>> config = GenerationConfig(num_beams=3, max_new_tokens=12)
        >>> config.num_beams, config.top_k, config.to_diff_dict()
        (3, 50, {'num_beams': 3, 'max_new_tokens': 12})
    """

    # Length.
    max_length: int | None = 20
    max_new_tokens: int | None = None
    min_length: int | None = 0
    min_new_tokens: int | None = None
    early_stopping: bool | str = False
    max_time: float | None = None
    stop_strings: str | list[str] | None = None
    # Strategy.
    do_sample: bool = False
    num_beams: int = 1
    # Cache.
    use_cache: bool = True
    cache_implementation: str | None = None
    cache_config: object = None
    return_legacy_cache: bool | None = None
    prefill_chunk_size: int | None = None
    # Scores.
    temperature: float | None = 1.0
    top_k: int | None = 50
    top_p: float | None = 1.0
    min_p: float | None = None
    typical_p: float | None = 1.0
    epsilon_cutoff: float | None = 0.0
    eta_cutoff: float | None = 0.0
    repetition_penalty: float | None = 1.0
    encoder_repetition_penalty: float | None = 1.0
    length_penalty: float = 1.0
    no_repeat_ngram_size: int | None = 0
    bad_words_ids: list[list[int]] | None = None
    renormalize_logits: bool = False
    forced_bos_token_id: int | None = None
    forced_eos_token_id: int | list[int] | None = None
    remove_invalid_values: bool = False
    exponential_decay_length_penalty: tuple[int, float] | None = None
    suppress_tokens: list[int] | None = None
    begin_suppress_tokens: list[int] | None = None
    sequence_bias: dict[tuple[int, ...], float] | list[list[object]] | None = None
    token_healing: bool = False
    guidance_scale: float | None = None
    watermarking_config: object = None
    # What is returned.
    num_return_sequences: int = 1
    output_attentions: bool = False
    output_hidden_states: bool = False
    output_scores: bool = False
    output_logits: bool | None = None
    return_dict_in_generate: bool = False
    # Special tokens.
    pad_token_id: int | None = None
    bos_token_id: int | None = None
    eos_token_id: int | list[int] | None = None
    # Of models with an encoder and a decoder.
    encoder_no_repeat_ngram_size: int | None = 0
    decoder_start_token_id: int | list[int] | None = None
    # With a second model.
    is_assistant: bool = False
    num_assistant_tokens: int = 20
    num_assistant_tokens_schedule: str = "constant"
    assistant_confidence_threshold: float = 0.4
    prompt_lookup_num_tokens: int | None = None
    max_matching_ngram_size: int | None = None
    assistant_early_exit: int | None = None
    assistant_lookbehind: int = 10
    target_lookbehind: int = 10
    # Compilation.
    compile_config: object = None
    disable_compile: bool = False
    # Other searches.
    low_memory: bool | None = None
    penalty_alpha: float | None = None
    dola_layers: str | list[int] | None = None
    diversity_penalty: float = 0.0
    num_beam_groups: int = 1
    constraints: object = None
    force_words_ids: object = None

    _from_model_config: bool = False
    #: The documented fields and their defaults, in their order.
    defaults: ClassVar[dict[str, object]]

    def __init__(self, **kwargs: object) -> None:
        for name, value in kwargs.items():
            if name in _ARGUMENTS:
                raise ArgumentError(
                    given=f"{name} as a field of GenerationConfig", expected=f"generate({name}=…)"
                )
            refuse_misspelling(name, set(self.defaults))
            setattr(self, name, value)
        self.validate()

    # Validation ------------------------------------------------------------------------------------------

    def validate(self, strict: bool = False) -> None:
        """Raise unless each field has a value that it can have, and they agree with each other.

        Args:
            strict: raise for fields that have no effect, too.

        Raises:
            ConfigError: names the field and its value.
        """
        for name, value in vars(self).items():
            if name in CHECKS:
                CHECKS[name](name, value)
        if self.do_sample and self.temperature == 0:
            raise ConfigError(
                given="temperature=0 with do_sample=True",
                expected="a temperature above 0",
                hint="or do_sample=False",
            )
        if self.num_return_sequences > self.num_beams and not (self.do_sample and self.num_beams == 1):
            raise ConfigError(
                given=f"num_return_sequences={self.num_return_sequences} with num_beams={self.num_beams}"
                f" and do_sample={self.do_sample}",
                expected="at most num_beams sequences of each prompt, or do_sample=True without beams",
            )
        without = self.without_effect() if strict else {}
        for name, reason in without.items():
            raise ConfigError(given=f"{name}={getattr(self, name)!r}, which has no effect", expected=reason)

    def without_effect(self) -> dict[str, str]:
        """Return the fields that are set and change nothing, with what would make them count."""
        of_draws = ("temperature", "top_k", "top_p", "min_p", "typical_p", "epsilon_cutoff", "eta_cutoff")
        of_beams = ("early_stopping", "length_penalty")
        of_containers = ("output_attentions", "output_hidden_states", "output_scores", "output_logits")
        reasons: dict[str, str] = {}
        if not self.do_sample:
            reasons |= dict.fromkeys(of_draws, "do_sample=True")
        if self.num_beams == 1:
            reasons |= dict.fromkeys(of_beams, "num_beams above 1")
        if not self.return_dict_in_generate:
            reasons |= dict.fromkeys((*of_containers, "return_legacy_cache"), "return_dict_in_generate=True")
        if not self.use_cache:
            reasons["return_legacy_cache"] = "use_cache=True"
        return {
            name: reason
            for name, reason in reasons.items()
            if getattr(self, name) is not None and getattr(self, name) != self.defaults[name]
        }

    def get_generation_mode(self, assistant_model: object = None) -> str:
        """Return how tokens are chosen: "greedy_search", "sample", "beam_search" or "beam_sample".

        Raises:
            ArgumentError: an assistant model, which is not supported.
        """
        if assistant_model is not None:
            raise ArgumentError(
                given="assistant_model", expected="None", hint="there is no assisted generation here"
            )
        if self.num_beams > 1:
            return "beam_sample" if self.do_sample else "beam_search"
        return "sample" if self.do_sample else "greedy_search"

    # Fields ----------------------------------------------------------------------------------------------

    def given(self) -> dict[str, object]:
        """Return the fields that are set, private ones left out."""
        return {name: copy.deepcopy(value) for name, value in vars(self).items() if not name.startswith("_")}

    def own(self) -> dict[str, object]:
        """Return the fields that were set by hand: not those that a model's configuration gave, and gives still."""
        derived = vars(self).get("_derived", {})
        return {
            name: value
            for name, value in self.given().items()
            if name not in derived or derived[name] != value
        }

    def update(self, **kwargs: object) -> dict[str, object]:
        """Set fields; return the keywords that are none."""
        known = {name: value for name, value in kwargs.items() if name in self.defaults or name in vars(self)}
        for name, value in known.items():
            setattr(self, name, value)
        self.validate()
        return {name: value for name, value in kwargs.items() if name not in known}

    @classmethod
    def from_model_config(cls, model_config: PretrainedConfig) -> Self:
        """Make one of what a model's configuration says: its special tokens, and the legacy fields of generation."""
        fields = {
            name: value
            for name, value in vars(model_config).items()
            if (name in _OF_MODELS or name in COMMON_FIELDS)
            and name in cls.defaults
            and value is not None
            and value != COMMON_FIELDS.get(name, cls.defaults[name])
        }
        if any(name.startswith("output_") for name in fields):
            fields.setdefault("return_dict_in_generate", True)
        make: Callable[..., Self] = cls
        config = make(**copy.deepcopy(fields))
        vars(config).update(_from_model_config=True, _derived=copy.deepcopy(fields))
        return config

    def to_dict(self) -> dict[str, object]:
        """Return every field, in a copy of its own."""
        return copy.deepcopy(self.defaults) | self.given()

    def to_diff_dict(self) -> dict[str, object]:
        """Return the fields that are set, which is what a file holds."""
        return self.given()

    def to_json_string(self, use_diff: bool = True, ignore_metadata: bool = False) -> str:
        """Return the fields as JSON with sorted keys.

        Args:
            use_diff: only those that are set.
            ignore_metadata: leave out who wrote them.

        Raises:
            ConfigError: a field holds what JSON cannot say.
        """
        fields = self.to_diff_dict() if use_diff else self.to_dict()
        if isinstance(bias := fields.get("sequence_bias"), Mapping):
            fields["sequence_bias"] = [[list(ids), number] for ids, number in bias.items()]
        if ignore_metadata:
            fields.pop("transformers_version", None)
        try:
            return json.dumps(string_keys(fields), indent=2, sort_keys=True) + "\n"
        except TypeError as error:
            raise ConfigError(given=f"a field that JSON cannot hold ({error})") from error

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, GenerationConfig):
            return NotImplemented
        mine, others = self.to_dict(), other.to_dict()
        return mine | {"transformers_version": None} == others | {"transformers_version": None}

    def __repr__(self) -> str:
        return f"{type(self).__name__} {self.to_json_string(ignore_metadata=True)}"

    # Files -----------------------------------------------------------------------------------------------

    @overload
    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name: str | os.PathLike[str],
        config_file_name: str | None = None,
        *,
        return_unused_kwargs: Literal[False] = False,
        **kwargs: object,
    ) -> Self: ...
    @overload
    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name: str | os.PathLike[str],
        config_file_name: str | None = None,
        *,
        return_unused_kwargs: Literal[True],
        **kwargs: object,
    ) -> tuple[Self, dict[str, object]]: ...
    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name: str | os.PathLike[str],
        config_file_name: str | None = None,
        *,
        return_unused_kwargs: bool = False,
        **kwargs: object,
    ) -> Self | tuple[Self, dict[str, object]]:
        """Read a `generation_config.json` from a folder or the Hub.

        Args:
            pretrained_model_name: folder, or name on the Hub.
            config_file_name: another name of the file.
            return_unused_kwargs: return `(config, keywords that are no field)`; otherwise those raise.
            **kwargs: `cache_dir`, `force_download`, `local_files_only`, `token`, `revision` and `subfolder` say where
                to look; fields override those of the file.

        Raises:
            NotFound: no such folder, file or repository.
            CorruptFile: the file is not a JSON object.
            ConfigError: a value that a field cannot have.
            ArgumentError: a keyword that is no field.
        """
        where = take_where(kwargs)
        find: Callable[..., Location] = locate
        path = find(pretrained_model_name, **where).require(config_file_name or GENERATION_CONFIG_FILE)
        config = cls._read(path)
        unused = config.update(**kwargs)
        if not return_unused_kwargs:
            refuse_unknown(unused, f"{cls.__name__}.from_pretrained", cls.defaults)
        return (config, unused) if return_unused_kwargs else config

    @classmethod
    def at(cls, location: Location) -> Self | None:
        """Read the `generation_config.json` of a place that was found; None where it has none."""
        path = location.path_of(GENERATION_CONFIG_FILE)
        return None if path is None else cls._read(path)

    @classmethod
    def _read(cls, path: Path) -> Self:
        fields = read_json(path)
        if not isinstance(fields, dict):
            raise CorruptFile(given=f"'{path}' holds a {type(fields).__name__}", expected="a JSON object")
        return cls.from_dict(fields)

    @classmethod
    def from_dict(cls, config_dict: Mapping[str, object], **kwargs: object) -> Self:
        """Make one of the fields of a file; `kwargs` override them, and keys that nothing knows are kept."""
        make: Callable[..., Self] = cls
        fields = {name: value for name, value in config_dict.items() if name in cls.defaults}
        config = make(**copy.deepcopy(fields | kwargs))
        for name in config_dict.keys() - fields.keys() - kwargs.keys():
            if not name.startswith("_"):
                setattr(config, name, copy.deepcopy(config_dict[name]))
        return config

    def to_json_file(self, json_file_path: str | os.PathLike[str], use_diff: bool = True) -> None:
        """Write the fields to a JSON file."""
        Path(json_file_path).write_text(self.to_json_string(use_diff), encoding="utf-8")

    def save_pretrained(
        self,
        save_directory: str | os.PathLike[str],
        config_file_name: str | None = None,
        push_to_hub: bool = False,
        **kwargs: object,
    ) -> None:
        """Write `generation_config.json` into a folder, which is made if need be; an old file is replaced whole.

        Raises:
            ConfigError: a field has no effect with the others.
            SaveFailed: the disk refused.
        """
        if push_to_hub or kwargs:
            raise ArgumentError(
                given="push_to_hub=True" if push_to_hub else f"unknown argument {next(iter(kwargs))!r}",
                expected="a folder to write to",
                hint="save, then call huggingface_hub.upload_folder",
            )
        self.validate(strict=True)
        name = config_file_name or GENERATION_CONFIG_FILE
        write_atomically(save_directory, {name: text_writer(self.to_json_string())})


GenerationConfig.defaults = {
    name: vars(GenerationConfig)[name]
    for name in GenerationConfig.__annotations__
    if not name.startswith("_") and name != "defaults"
}
