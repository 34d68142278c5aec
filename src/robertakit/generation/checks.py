"""What single fields of a `GenerationConfig` may be."""

import math
from collections.abc import Callable, Mapping

from robertakit.errors import ConfigError
from robertakit.field_values import as_integer

__all__ = ["CHECKS", "as_ids", "biased_sequences"]

Check = Callable[[str, object], None]


def as_ids(name: str, value: object) -> tuple[int, ...]:
    """Return the ids of a field that is one id, several, or None.

    Example:
        >>> as_ids("eos_token_id", 2), as_ids("eos_token_id", [2, 5]), as_ids("eos_token_id", None)
        ((2,), (2, 5), ())
    """
    if value is None:
        return ()
    ids = tuple(as_integer(name, item) for item in (value if isinstance(value, list | tuple) else (value,)))
    if any(token < 0 for token in ids):
        raise ConfigError(
            given=f"{name}={value!r}", expected="ids from 0 up", hint="None means no such token"
        )
    return ids


def biased_sequences(value: object) -> dict[tuple[int, ...], float]:
    """Return `sequence_bias` by sequence: `{(5, 6): -2.0}`, or `[[[5, 6], -2.0]]` as JSON has it.

    Example:
        >>> biased_sequences([[[5, 6], -2.0]])
        {(5, 6): -2.0}
    """
    pairs = list(value.items()) if isinstance(value, Mapping) else value
    right = isinstance(pairs, list | tuple) and all(
        isinstance(p, list | tuple) and len(p) == 2 for p in pairs
    )
    if not right or not pairs:
        raise ConfigError(
            given=f"sequence_bias={value!r}", expected="{(id, …): number} or [[[id, …], number], …]"
        )
    assert isinstance(pairs, list | tuple)
    found = {_sequence("sequence_bias", ids): bias for ids, bias in pairs}
    for bias in found.values():
        _number(-math.inf, math.inf)("sequence_bias", bias)
    return found


def _sequence(name: str, value: object) -> tuple[int, ...]:
    ids = as_ids(name, value) if isinstance(value, list | tuple) else ()
    if not ids:
        raise ConfigError(given=f"{name} with {value!r}", expected="sequences of at least one id")
    return ids


def _count(least: int) -> Check:
    def check(name: str, value: object) -> None:
        if as_integer(name, value) < least:
            raise ConfigError(given=f"{name}={value!r}", expected=f"an integer from {least} up")

    return check


def _number(least: float, most: float, *, above: bool = False) -> Check:
    """A finite number from `least`, or above it, to `most`."""

    def check(name: str, value: object) -> None:
        number = math.nan if isinstance(value, bool) or not isinstance(value, int | float) else float(value)
        if not math.isfinite(number) or not least <= number <= most or (above and number == least):
            limits = [f"{'above' if above else 'from'} {least:g}"] if least > -math.inf else []
            limits += [f"up to {most:g}"] if most < math.inf else []
            raise ConfigError(given=f"{name}={value!r}", expected=" ".join(["a number", *limits]))

    return check


def _flag(name: str, value: object) -> None:
    if not isinstance(value, bool):
        raise ConfigError(given=f"{name}={value!r}", expected="True or False")


def _optional(check: Check) -> Check:
    def checked(name: str, value: object) -> None:
        if value is not None:
            check(name, value)

    return checked


def _one_of(*values: object) -> Check:
    def check(name: str, value: object) -> None:
        if not any(value is right or (isinstance(right, str) and value == right) for right in values):
            raise ConfigError(given=f"{name}={value!r}", expected=f"one of {', '.join(map(repr, values))}")

    return check


def _ids(name: str, value: object) -> None:
    as_ids(name, value)


def _one_id(name: str, value: object) -> None:
    if isinstance(value, list | tuple):
        raise ConfigError(given=f"{name}={value!r}", expected="one id")
    as_ids(name, value)


def _id_list(name: str, value: object) -> None:
    if not isinstance(value, list | tuple):
        raise ConfigError(given=f"{name}={value!r}", expected="a list of ids")
    as_ids(name, value)


def _sequences(name: str, value: object) -> None:
    if not isinstance(value, list | tuple) or not value:
        raise ConfigError(given=f"{name}={value!r}", expected="a list of lists of ids")
    for ids in value:
        _sequence(name, ids)


def _strings(name: str, value: object) -> None:
    strings = [value] if isinstance(value, str) else value
    right = isinstance(strings, list | tuple) and all(isinstance(text, str) and text for text in strings)
    if not right or not strings:
        raise ConfigError(given=f"{name}={value!r}", expected="a string, or a list of strings, none empty")


def _bias(_: str, value: object) -> None:
    biased_sequences(value)


def _decay(name: str, value: object) -> None:
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise ConfigError(given=f"{name}={value!r}", expected="(first new token, factor)")
    _count(0)(name, value[0])
    _number(0.0, math.inf, above=True)(name, value[1])


#: The check of each field that `generate` acts on. None is right where the documentation has a default of None, and
#: where it switches a rule off.
CHECKS: dict[str, Check] = {
    **dict.fromkeys(("max_length", "max_new_tokens"), _optional(_count(1))),
    **dict.fromkeys(("min_length", "min_new_tokens", "top_k"), _optional(_count(0))),
    **dict.fromkeys(("no_repeat_ngram_size", "encoder_no_repeat_ngram_size"), _optional(_count(0))),
    **dict.fromkeys(("num_beams", "num_return_sequences"), _count(1)),
    **dict.fromkeys(("max_time", "temperature"), _optional(_number(0.0, math.inf))),
    **dict.fromkeys(("top_p", "min_p", "epsilon_cutoff", "eta_cutoff"), _optional(_number(0.0, 1.0))),
    "typical_p": _optional(_number(0.0, 1.0, above=True)),
    **dict.fromkeys(
        ("repetition_penalty", "encoder_repetition_penalty"), _optional(_number(0.0, math.inf, above=True))
    ),
    "length_penalty": _number(-math.inf, math.inf),
    **dict.fromkeys(
        ("do_sample", "use_cache", "renormalize_logits", "remove_invalid_values", "output_attentions",
         "output_hidden_states", "output_scores", "return_dict_in_generate", "disable_compile"), _flag
    ),
    **dict.fromkeys(("output_logits", "return_legacy_cache"), _optional(_flag)),
    "early_stopping": _one_of(True, False, "never"),
    "stop_strings": _optional(_strings),
    "bad_words_ids": _optional(_sequences),
    "sequence_bias": _optional(_bias),
    "exponential_decay_length_penalty": _optional(_decay),
    **dict.fromkeys(("suppress_tokens", "begin_suppress_tokens"), _optional(_id_list)),
    **dict.fromkeys(("pad_token_id", "bos_token_id", "forced_bos_token_id"), _optional(_one_id)),
    **dict.fromkeys(("eos_token_id", "forced_eos_token_id"), _optional(_ids)),
}  # fmt: skip
