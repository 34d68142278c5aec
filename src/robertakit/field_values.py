"""The fields that all configurations have, and what one value of a field may be.

The classes that hold the fields are in ``pretrained_config.py`` and ``configuration.py``.
"""

import difflib
import operator
from collections.abc import Iterable, Mapping
from typing import TypeVar

from robertakit.errors import ArgumentError, ConfigError, listed

__all__ = [
    "ALIASES",
    "COMMON_FIELDS",
    "LABEL_FIELDS",
    "PROVENANCE",
    "as_integer",
    "as_list",
    "as_mapping",
    "check_integer",
    "check_number",
    "dtype_name",
    "integer_keys",
    "one_dtype",
    "parse_as",
    "refuse_misspelling",
    "refuse_unknown",
    "string_keys",
]

T = TypeVar("T")

#: Fields that every configuration has, with the reference's defaults. A file leaves out what stands here.
COMMON_FIELDS: dict[str, object] = {
    "return_dict": True, "output_hidden_states": False, "output_attentions": False, "torchscript": False,
    "dtype": None, "pruned_heads": {}, "tie_word_embeddings": True, "chunk_size_feed_forward": 0,
    "is_encoder_decoder": False, "is_decoder": False, "cross_attention_hidden_size": None,
    "add_cross_attention": False, "tie_encoder_decoder": False, "architectures": None,
    "finetuning_task": None, "task_specific_params": None, "problem_type": None, "tokenizer_class": None,
    "prefix": None, "bos_token_id": None, "pad_token_id": None, "eos_token_id": None, "sep_token_id": None,
    "decoder_start_token_id": None, "tf_legacy_loss": False, "use_bfloat16": False,
    "transformers_version": None, "_name_or_path": "", "_commit_hash": None, "_attn_implementation": None,
    # What `generate` falls back on.
    "max_length": 20, "min_length": 0, "do_sample": False, "early_stopping": False, "num_beams": 1,
    "temperature": 1.0, "top_k": 50, "top_p": 1.0, "typical_p": 1.0, "repetition_penalty": 1.0,
    "length_penalty": 1.0, "no_repeat_ngram_size": 0, "encoder_no_repeat_ngram_size": 0,
    "bad_words_ids": None, "num_return_sequences": 1, "output_scores": False,
    "return_dict_in_generate": False, "forced_bos_token_id": None, "forced_eos_token_id": None,
    "remove_invalid_values": False,
    "exponential_decay_length_penalty": None, "suppress_tokens": None, "begin_suppress_tokens": None,
    "num_beam_groups": 1, "diversity_penalty": 0.0,
}  # fmt: skip
LABEL_FIELDS = ("id2label", "label2id", "num_labels")
#: Other spellings that are accepted: releases of the reference named the same thing differently.
ALIASES = {
    "torch_dtype": "dtype",
    "name_or_path": "_name_or_path",
    "attn_implementation": "_attn_implementation",
}
#: Where a configuration came from and how it is run: no part of what it is.
PROVENANCE = ("_name_or_path", "_commit_hash", "_attn_implementation")
_INFINITE = float("inf")
#: Likeness from which an unknown keyword is taken for a slip of the pen (`num_atention_heads`: 0.97).
_TYPO = 0.87


def refuse_misspelling(name: str, documented: set[str]) -> None:
    """Raise where an unknown keyword is nearly the name of a documented field."""
    near = [] if name.startswith("_") else difflib.get_close_matches(name, documented, n=1, cutoff=_TYPO)
    if near and name not in documented:
        raise ArgumentError(
            given=f"unknown field {name!r}",
            expected=f"{near[0]!r}, which is near it",
            hint="a field of your own needs a name that is further from the documented ones",
        )


def refuse_unknown(unknown: Iterable[str], where: str, right: Iterable[str]) -> None:
    """Raise for the first keyword that nothing knows; ``right`` are those that are known."""
    for name in unknown:
        near = difflib.get_close_matches(name, [*LABEL_FIELDS, *right], n=1)
        raise ArgumentError(
            given=f"unknown argument {name!r} of {where}",
            expected=f"{near[0]!r}, which is near it"
            if near
            else "a documented argument, or a field of the config",
        )


def dtype_name(dtype: object) -> object:
    """``torch.float16`` and friends by their names: a configuration imports no framework."""
    if dtype is None:
        return None
    return str(getattr(dtype, "__name__", getattr(dtype, "name", dtype))).removeprefix("torch.")


def one_dtype(dtype: T | None, torch_dtype: T | None, default: T) -> T:
    """Return the dtype under either of its names, or ``default`` where both are None.

    Raises:
        ArgumentError: two that differ.

    Example:
        >>> one_dtype(None, "float16", "float32"), one_dtype(None, None, "float32")
        ('float16', 'float32')
    """
    if dtype is not None and torch_dtype is not None and dtype_name(dtype) != dtype_name(torch_dtype):
        raise ArgumentError(
            given=f"dtype={dtype!r} and torch_dtype={torch_dtype!r}", expected="one of the two names"
        )
    chosen = torch_dtype if dtype is None else dtype
    return default if chosen is None else chosen


def string_keys(value: object) -> object:
    """``value`` with the keys of all its mappings as strings, which is what JSON makes of them."""
    if isinstance(value, Mapping):
        return {str(key): string_keys(item) for key, item in value.items()}
    return [string_keys(item) for item in value] if isinstance(value, list | tuple) else value


def parse_as(name: str, text: str, old: object) -> object:
    """``text`` as a value of the type that ``old`` has."""
    try:
        if isinstance(old, bool):
            return {"true": True, "1": True, "yes": True, "y": True}.get(text.lower()) or (
                {"false": False, "0": False, "no": False, "n": False}[text.lower()]
            )
        if isinstance(old, int | float | str):
            return type(old)(text)
    except (KeyError, ValueError):
        pass
    raise ConfigError(given=f"{name}={text}", expected=f"a value like {old!r}")


def check_integer(name: str, value: object, *, least: int) -> None:
    """Raise unless a field is an integer of at least ``least``."""
    if as_integer(name, value) < least:
        raise ConfigError(given=f"{name}={value!r}", expected=f"at least {least}")


def check_number(name: str, value: object, *, most: float = _INFINITE, optional: bool = False) -> None:
    """Raise unless a field is a number from 0 to ``most``, or None where it is optional."""
    if value is None and optional:
        return
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not (0.0 <= value <= most and value < _INFINITE)
    ):
        limits = "at least 0" if most == _INFINITE else f"from 0 to {most:g}"
        raise ConfigError(given=f"{name}={value!r}", expected=f"a number {limits}")


def as_integer(name: str, value: object) -> int:
    """Return the value of a field that must be an integer."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):  # NumPy's integers are welcome
        raise ConfigError(given=f"{name}={value!r}", expected="an integer")
    return operator.index(value)


def as_mapping(name: str, value: object) -> Mapping[object, object]:
    """Return the value of a field that must be a mapping."""
    if not isinstance(value, Mapping):
        raise ConfigError(given=f"{name}={value!r}", expected="a mapping")
    return value


def as_list(name: str, value: object) -> list[object]:
    """Return the value of a field that must be a list."""
    if not isinstance(value, list | tuple | set | frozenset):
        raise ConfigError(given=f"{name}={value!r}", expected="a list")
    return list(value)


def integer_keys(name: str, value: object) -> dict[int, object]:
    """A mapping with integer keys, which JSON can only write as strings."""
    try:
        return {int(str(key)): item for key, item in as_mapping(name, value).items()}
    except ValueError as error:
        raise ConfigError(
            given=f"{name} with the keys {listed(as_mapping(name, value))}", expected="integers"
        ) from error
