"""What a call asks for: the documented arguments, old spellings included, checked once and made plain."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

from robertakit.errors import ArgumentError, TokenizerError
from robertakit.logging import get_logger
from robertakit.tokenizers.padding import PaddingStrategy, TensorType, padding_strategy, side_of, tensor_type
from robertakit.tokenizers.truncation import TruncationStrategy, truncation_strategy
from robertakit.tokenizers.values import Value

UNKNOWN_LENGTH = int(1e30)
"""What `model_max_length` says where nothing is known, as in the reference."""
LARGEST_LENGTH = int(1e20)
logger = get_logger("robertakit.tokenizers")


class Defaults(Protocol):
    """What options take from the tokenizer where the call is silent."""

    model_max_length: int
    padding_side: str
    truncation_side: str
    model_input_names: list[str]
    split_special_tokens: bool

    @property
    def pad_token(self) -> str | None:
        """The padding token."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallOptions:
    """The arguments of one call, defaults filled in."""

    add_special_tokens: bool
    padding: PaddingStrategy
    truncation: TruncationStrategy
    max_length: int | None
    stride: int
    pre_split: bool
    multiple: int | None
    padding_side: str
    truncation_side: str
    tensors: TensorType | None
    token_type_ids: bool
    attention_mask: bool
    overflow: bool
    special_tokens_mask: bool
    offsets: bool
    length: bool
    verbose: bool
    split_special_tokens: bool
    prefix_space: bool | None


def refuse_unknown(
    given: Collection[str], known: Collection[str], where: str, signature: Collection[str] = ()
) -> None:
    """Raise ArgumentError where `given` holds a name that is not known; `signature` are others that are right."""
    for name in given:
        if name not in known:
            right = sorted({*known, *signature})
            close = difflib.get_close_matches(name, right, n=1)
            raise ArgumentError(
                given=f"unknown argument {name!r} of {where}",
                expected=f"{close[0]!r}, which is near it" if close else f"one of {', '.join(right)}",
            )


def call_options(
    tokenizer: Defaults,
    *,
    add_special_tokens: bool = True,
    padding: object = False,
    truncation: object = None,
    max_length: int | None = None,
    stride: int = 0,
    is_split_into_words: bool = False,
    pad_to_multiple_of: int | None = None,
    padding_side: str | None = None,
    return_tensors: object = None,
    return_token_type_ids: bool | None = None,
    return_attention_mask: bool | None = None,
    return_overflowing_tokens: bool = False,
    return_special_tokens_mask: bool = False,
    return_offsets_mapping: bool = False,
    return_length: bool = False,
    verbose: bool = True,
    extra: Mapping[str, Value] | None = None,
    known: Collection[str] = (),
) -> CallOptions:
    """Check the documented arguments and return what they mean.

    `extra` holds the ones beyond the signature, of which `known` are understood: `split_special_tokens`,
    `add_prefix_space` (byte-level BPE), and the old `pad_to_max_length` and `truncation_strategy`.

    Raises:
        ArgumentError: an argument that is unknown, or contradicts another.
        TokenizerError: padding without a padding token.
    """
    extra = extra or {}
    refuse_unknown(extra, known, "the call", _CALL_ARGUMENTS)
    padding, truncation = _old_spellings(padding, truncation, max_length, extra)
    if max_length is not None and padding is False and truncation is None:
        truncation = True  # as the reference does; it says so each time
        if verbose:
            logger.warning("max_length is given without truncation: texts are cut as by truncation=True")
    pad, cut = padding_strategy(padding), truncation_strategy(truncation)
    limit = _limit(tokenizer, pad, cut, max_length, verbose)
    if limit is None:
        pad = PaddingStrategy.DO_NOT_PAD if pad is PaddingStrategy.MAX_LENGTH else pad
        cut = TruncationStrategy.DO_NOT_TRUNCATE
    if pad is not PaddingStrategy.DO_NOT_PAD and tokenizer.pad_token is None:
        raise TokenizerError(
            given=f"padding={padding!r} and no padding token",
            hint="set one: tokenizer.pad_token = tokenizer.eos_token, or add_special_tokens({'pad_token': '<pad>'})",
        )
    _check_numbers(max_length, stride, pad_to_multiple_of)
    cutting = cut is not TruncationStrategy.DO_NOT_TRUNCATE
    if (
        cutting
        and pad is not PaddingStrategy.DO_NOT_PAD
        and pad_to_multiple_of
        and limit is not None
        and limit % pad_to_multiple_of
    ):
        raise ArgumentError(
            given=f"max_length={limit} with pad_to_multiple_of={pad_to_multiple_of}",
            expected="a multiple of it where texts are cut and padded",
        )
    names = tokenizer.model_input_names
    return CallOptions(
        add_special_tokens=add_special_tokens,
        padding=pad,
        truncation=cut,
        max_length=limit,
        stride=stride,
        pre_split=is_split_into_words,
        multiple=pad_to_multiple_of,
        padding_side=side_of(padding_side or tokenizer.padding_side, "padding_side"),
        truncation_side=side_of(tokenizer.truncation_side, "truncation_side"),
        tensors=None if return_tensors is None else tensor_type(return_tensors),
        token_type_ids="token_type_ids" in names if return_token_type_ids is None else return_token_type_ids,
        attention_mask="attention_mask" in names if return_attention_mask is None else return_attention_mask,
        overflow=return_overflowing_tokens,
        special_tokens_mask=return_special_tokens_mask,
        offsets=return_offsets_mapping,
        length=return_length,
        verbose=verbose,
        split_special_tokens=bool(extra.get("split_special_tokens", tokenizer.split_special_tokens)),
        prefix_space=extra.get("add_prefix_space"),
    )


_CALL_ARGUMENTS = {"text", "text_pair", *(call_options.__kwdefaults__ or {})} - {"extra", "known"}


def _old_spellings(
    padding: object, truncation: object, max_length: int | None, extra: Mapping[str, object]
) -> tuple[object, object]:
    """`pad_to_max_length=True` and `truncation_strategy="..."`, which transformers 2 had."""
    if padding is False and extra.get("pad_to_max_length"):
        padding = PaddingStrategy.LONGEST if max_length is None else PaddingStrategy.MAX_LENGTH
    if truncation is None and extra.get("truncation_strategy") is not None:
        truncation = extra["truncation_strategy"]
    return padding, truncation


def _limit(
    tokenizer: Defaults, pad: PaddingStrategy, cut: TruncationStrategy, max_length: int | None, verbose: bool
) -> int | None:
    """The length that truncation and `padding="max_length"` go by."""
    if max_length is not None:
        return max_length
    if tokenizer.model_max_length <= LARGEST_LENGTH:
        return tokenizer.model_max_length
    wanted = pad is PaddingStrategy.MAX_LENGTH or cut is not TruncationStrategy.DO_NOT_TRUNCATE
    if wanted and verbose:
        logger.warning(
            "Neither max_length nor tokenizer.model_max_length is known: nothing is cut or padded to it"
        )
    return None


def _check_numbers(max_length: int | None, stride: int, multiple: int | None) -> None:
    given: list[tuple[str, object, int]] = [
        ("max_length", max_length, 0),
        ("stride", stride, 0),
        ("pad_to_multiple_of", multiple, 1),
    ]
    for name, value, least in given:
        if value is not None and (not isinstance(value, int) or value < least):
            raise ArgumentError(given=f"{name}={value!r}", expected=f"a whole number, at least {least}")
