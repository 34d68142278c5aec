"""What one call of `generate()` asks for: whose field counts, what is refused, and how many tokens there may be."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from warnings import warn

from robertakit.batch import longest_input
from robertakit.errors import ArgumentError, ConfigError, InputError, TooLong
from robertakit.field_values import refuse_unknown
from robertakit.generation.checks import as_ids, biased_sequences
from robertakit.generation.config import GenerationConfig
from robertakit.pretrained_config import PretrainedConfig

__all__ = ["Lengths", "check_tokens", "merge", "refuse_arguments", "split_keywords"]

#: New tokens where nobody says how many.
_DEFAULT_NEW_TOKENS = 20
#: Documented fields that are not acted on, with the values that ask for nothing.
_NOT_SUPPORTED: dict[str, tuple[object, ...]] = {
    "cache_implementation": (None, "dynamic"),
    "cache_config": (None,),
    "prefill_chunk_size": (None,),
    "token_healing": (False, None),
    "guidance_scale": (None, 1, 1.0),
    "watermarking_config": (None,),
    "is_assistant": (False,),
    "prompt_lookup_num_tokens": (None,),
    "assistant_early_exit": (None,),
    "compile_config": (None,),
    "low_memory": (None, False),
    "penalty_alpha": (None, 0, 0.0),
    "dola_layers": (None,),
    "diversity_penalty": (None, 0, 0.0),
    "num_beam_groups": (None, 1),
    "constraints": (None,),
    "force_words_ids": (None,),
}
#: Documented fields that would only count beside one that is refused, or for an encoder with a decoder.
_NOT_FOR_US = (
    "decoder_start_token_id", "num_assistant_tokens", "num_assistant_tokens_schedule",
    "assistant_confidence_threshold", "max_matching_ngram_size", "assistant_lookbehind", "target_lookbehind",
)  # fmt: skip
#: Each pair limits one thing: a layer that sets the second field takes it out of the hands of the layers below.
_RIVALS = {"max_length": "max_new_tokens", "min_length": "min_new_tokens"}
_TOKENS = ("bos_token_id", "eos_token_id", "pad_token_id")


def refuse_arguments(**arguments: object) -> None:
    """Raise for documented arguments of `generate` that are not supported and ask for something."""
    for name, value in arguments.items():
        if value is not None and value is not False:
            raise ArgumentError(
                given=f"{name}={value!r} to generate",
                expected="None",
                hint=f"{name} is not supported; leave it out",
            )


def split_keywords(
    keywords: Mapping[str, object], inputs: Iterable[str]
) -> tuple[dict[str, object], dict[str, object]]:
    """Return the fields of the configuration among the keywords of a call, and the model's inputs.

    Raises:
        ArgumentError: a keyword that is neither.
    """
    fields = {name: value for name, value in keywords.items() if name in GenerationConfig.defaults}
    known = set(inputs)
    refuse_unknown(
        [name for name in keywords if name not in fields and name not in known],
        "generate",
        {*GenerationConfig.defaults, *known},
    )
    model_inputs = {name: value for name, value in keywords.items() if name in known and value is not None}
    return fields, model_inputs


def merge(
    model_config: PretrainedConfig,
    own: Mapping[str, object],
    given: GenerationConfig | None,
    keywords: Mapping[str, object],
    use_model_defaults: bool | None = None,
) -> GenerationConfig:
    """Return what a call asks for; later layers win, and only fields that are set count.

    The layers: the model's configuration, the model's `generation_config`, the one of the call, the call's keywords.

    Args:
        model_config: for its special tokens and legacy fields.
        own: fields of the model's `generation_config` that were set by hand.
        given: the argument `generation_config` of the call.
        keywords: fields among the keywords of the call.
        use_model_defaults: False takes nothing but special tokens from the model where `given` is there.

    Raises:
        ConfigError: fields contradict each other.
        ArgumentError: a field that is not supported.
    """
    base = GenerationConfig.from_model_config(model_config).given()
    _lay(base, own)
    if given is not None and use_model_defaults is False:
        base = {name: base[name] for name in _TOKENS if name in base}
    call = {} if given is None else given.given()
    _lay(call, keywords)
    _lay(base, call)
    config = GenerationConfig.from_dict(base)
    _refuse_fields(config, call)
    without = {name: reason for name, reason in config.without_effect().items() if name in call}
    for name, reason in without.items():
        warn(f"{name}={getattr(config, name)!r} has no effect without {reason}", stacklevel=4)
    return config


def _lay(below: dict[str, object], above: Mapping[str, object]) -> None:
    """Put a layer over another, in place."""
    for name, rival in _RIVALS.items():
        if name in above and rival not in above:
            below.pop(rival, None)
    below.update(above)


def _refuse_fields(config: GenerationConfig, call: Mapping[str, object]) -> None:
    for name, neutral in _NOT_SUPPORTED.items():
        value = getattr(config, name)
        if value not in neutral:
            raise ArgumentError(
                given=f"{name}={value!r} for generate",
                expected=" or ".join(map(repr, dict.fromkeys(neutral))),
                hint=f"{name} is not supported; leave it out",
            )
    for name in _NOT_FOR_US:
        if call.get(name) not in (None, GenerationConfig.defaults[name]):
            raise ArgumentError(
                given=f"{name}={call[name]!r} for generate",
                expected="a field that counts for a decoder alone",
                hint="leave it out",
            )


def check_tokens(config: GenerationConfig, vocab_size: int) -> None:
    """Raise for a field that names an id outside the vocabulary."""
    singles = ("pad_token_id", "eos_token_id", "forced_bos_token_id", "forced_eos_token_id", "suppress_tokens",
               "begin_suppress_tokens")  # fmt: skip
    named = {name: as_ids(name, getattr(config, name)) for name in singles}
    named["bad_words_ids"] = tuple(token for word in config.bad_words_ids or () for token in word)
    if config.sequence_bias is not None:
        named["sequence_bias"] = tuple(
            token for ids in biased_sequences(config.sequence_bias) for token in ids
        )
    for name, ids in named.items():
        if ids and max(ids) >= vocab_size:
            raise InputError(
                given=f"{name} with id {max(ids)}",
                expected=f"ids from 0 to {vocab_size - 1}, as the vocabulary",
            )


@dataclass(frozen=True, slots=True)
class Lengths:
    """Columns of the sequences of one call, padding included.

    Attributes:
        prompt: those of the prompts.
        longest: where the last new token stands, counted from 1.
        shortest: columns before one of `eos_token_id` may follow.
    """

    prompt: int
    longest: int
    shortest: int

    @property
    def new(self) -> int:
        """Most new tokens."""
        return self.longest - self.prompt

    @classmethod
    def read(
        cls, config: GenerationConfig, model_config: PretrainedConfig, prompt: int, positions: int
    ) -> "Lengths":
        """Decide how long sequences may grow.

        The last new token is not fed to the model again, so that it needs no position.

        Args:
            config: what the call asks for.
            model_config: says how many positions there are.
            prompt: columns of the prompts.
            positions: those that the prompt with most real tokens takes.

        Raises:
            TooLong: the model has not as many positions as the call asks for.
            ConfigError: lengths that contradict each other.

        Example:
            >>> from robertakit.configuration import RobertaConfig
            >>> Lengths.read(GenerationConfig(max_new_tokens=5), RobertaConfig(), prompt=8, positions=6)
            Lengths(prompt=8, longest=13, shortest=0)
        """
        room = longest_input(model_config) - positions + 1
        if model_config.position_embedding_type != "absolute":  # distances count columns
            room = min(room, model_config.max_position_embeddings - prompt + 1)
        given = vars(config)
        if config.max_new_tokens is not None:
            new, asked = config.max_new_tokens, f"max_new_tokens={config.max_new_tokens}"
        elif "max_length" in given and config.max_length is not None:
            new, asked = config.max_length - prompt, f"max_length={config.max_length}"
        else:
            new, asked = max(min(_DEFAULT_NEW_TOKENS, room), 1), "one new token"
        if new < 1:
            raise ConfigError(
                given=f"{asked} and prompts of {prompt} tokens",
                expected="a larger max_length",
                hint="max_new_tokens counts the new ones alone",
            )
        if new > room:
            raise TooLong(
                given=f"{asked} behind a prompt of {positions} tokens",
                expected=f"at most {max(room, 0)} new tokens: the model has {longest_input(model_config)} positions",
                hint="shorten the prompt, or ask for less",
            )
        return cls(prompt, prompt + new, _shortest(config, prompt, new))


def _shortest(config: GenerationConfig, prompt: int, new: int) -> int:
    """Columns before the end, from `min_new_tokens`, else from `min_length`."""
    if config.min_new_tokens is not None:
        least, asked = prompt + config.min_new_tokens, f"min_new_tokens={config.min_new_tokens}"
    else:
        least, asked = config.min_length or 0, f"min_length={config.min_length}"
    if least > prompt + new:
        raise ConfigError(
            given=f"{asked} and at most {new} new tokens behind {prompt}",
            expected="a minimum that the maximum allows",
            hint="set max_new_tokens",
        )
    return least
