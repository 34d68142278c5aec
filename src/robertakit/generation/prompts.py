"""The prompts of a call of `generate`, as arrays: checked, and with what is left out filled in, before anything runs.

Shape letters: B prompts, C columns (tokens, padding included), n columns of ids, W width, K tokens of an encoder.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from robertakit.calls import check_call, check_values
from robertakit.errors import ArgumentError, BadShape, InputError
from robertakit.generation.checks import as_ids
from robertakit.generation.config import GenerationConfig
from robertakit.pretrained_config import PretrainedConfig
from robertakit.shapes import Kind, kind_of_dtype

__all__ = ["INPUTS", "Prompts", "real_tokens"]

Ids = NDArray[np.int64]

#: What the model is given beside ids, as documented. The first two have a value for each column.
INPUTS = (
    "token_type_ids", "position_ids", "attention_mask", "inputs_embeds", "head_mask", "encoder_hidden_states",
    "encoder_attention_mask",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Prompts:
    """What rows begin with.

    Attributes:
        ids: (B, n); n is 0 where the prompts are embeddings.
        mask: (B, C), 1 for real tokens.
        embeds: (B, C, W) in place of ids, or None.
        token_type_ids: (B, C), or None.
        position_ids: (B, C), or None for those that are counted.
        static: what the model is given at each step alike: `head_mask` (H,) or (layers, H), `encoder_hidden_states`
            (B, K, W), `encoder_attention_mask` (B, K).
        positions: those that the prompt with most real tokens takes.
    """

    ids: Ids
    mask: Ids
    embeds: NDArray[np.generic] | None
    token_type_ids: Ids | None
    position_ids: Ids | None
    static: dict[str, NDArray[np.generic]]
    positions: int

    @classmethod
    def read(
        cls,
        inputs: ArrayLike | None,
        given: Mapping[str, ArrayLike],
        config: GenerationConfig,
        model_config: PretrainedConfig,
    ) -> "Prompts":
        """Check what the caller gave, and fill in what is left out.

        Args:
            inputs: (B, C) ids, or None.
            given: of `input_ids` and `INPUTS`, those that the call has.
            config: says which tokens are special.
            model_config: the model's.

        Raises:
            ArgumentError: prompts of two kinds, or none and no `bos_token_id`.
            InputError: padding on the right, ids outside their tables, masks of other numbers than 0 and 1.
            BadShape: shapes that do not fit each other.
            TooLong: positions that the model has not.
        """
        rest = {name: _array(name, value) for name, value in given.items()}
        named, embeds = rest.pop("input_ids", None), rest.get("inputs_embeds")
        kinds = {"inputs": inputs, "input_ids": named, "inputs_embeds": embeds}
        present = [name for name, value in kinds.items() if value is not None]
        if len(present) > 1:
            raise ArgumentError(given=" and ".join(present), expected="one of them")
        if inputs is not None:
            named = _array("input_ids", inputs)
        if embeds is None:
            named = _first_tokens(rest, config) if named is None else _checked_ids(named)
        batch, columns = check_call(model_config, {"input_ids": named, **rest}, kind_of=_kind)
        assert batch is not None
        assert columns is not None
        _check_steps(rest)
        ids = np.zeros((batch, 0), np.int64) if named is None else named.astype(np.int64)
        mask = _mask(rest.pop("attention_mask", None), ids, (batch, columns), config)
        types, where = (
            _of_columns(rest.pop(name, None), batch) for name in ("token_type_ids", "position_ids")
        )
        real = real_tokens(ids, mask, model_config.pad_token_id)
        if not real[:, -1].all():
            raise InputError(
                given=f"prompt {int(np.argmin(real[:, -1]))} ends in padding",
                expected="padding on the left",
                hint='tokenizer(texts, padding=True, padding_side="left", return_tensors=...)',
            )
        longest = real.sum(-1) if where is None else where - model_config.pad_token_id
        counted = np.cumsum(real, -1) * real + model_config.pad_token_id if where is None else where
        masks = {name: rest[name] for name in ("encoder_attention_mask",) if name in rest}
        check_values(
            model_config,
            input_ids=ids,
            position_ids=counted,
            token_type_ids=types,
            masks={"attention_mask": mask, **masks},
        )
        embeds = rest.pop("inputs_embeds", None)
        return cls(ids, mask.astype(np.int64), embeds, types, where, rest, int(longest.max()))


def real_tokens(ids: Ids, mask: NDArray[np.generic], padding_idx: int) -> NDArray[np.bool_]:
    """Return which columns (R, C) hold a token that counts: the mask keeps it, and it is not the padding's id.

    Args:
        ids: (R, n) ids of the last n columns; those before them hold embeddings.
        mask: (R, C).
        padding_idx: the padding's id.

    Example:
        >>> real_tokens(np.array([[1, 5, 6]]), np.array([[0, 0, 1, 1, 1]]), padding_idx=1).tolist()
        [[False, False, False, True, True]]
    """
    real: NDArray[np.bool_] = mask != 0
    real[:, real.shape[1] - ids.shape[1] :] &= ids != padding_idx
    return real


def _array(name: str, value: ArrayLike) -> NDArray[np.generic]:
    try:
        return np.asarray(value)
    except ValueError as error:
        raise BadShape(
            given=f"{name} with rows of unequal length",
            expected="rows of equal length",
            hint='pad them: tokenizer(texts, padding=True, padding_side="left")',
        ) from error


def _kind(value: object) -> Kind | None:
    if not isinstance(value, np.ndarray) or value.dtype.kind in "OUSM":
        return None
    return kind_of_dtype(value.dtype.name)


def _first_tokens(rest: Mapping[str, NDArray[np.generic]], config: GenerationConfig) -> Ids:
    """One first token for each row of the other inputs, or for one row."""
    if config.bos_token_id is None:
        raise ArgumentError(
            given="no prompt and bos_token_id=None",
            expected="input_ids, inputs_embeds, or a bos_token_id",
        )
    rows = next((len(value) for name, value in rest.items() if name != "head_mask" and value.ndim), 1)
    return np.full((rows, 1), config.bos_token_id, np.int64)


def _checked_ids(ids: NDArray[np.generic]) -> NDArray[np.generic]:
    """(B, C), at least one of each; the kind is looked at with that of the other inputs."""
    if ids.ndim != 2 or not ids.size:
        raise BadShape(
            given=f"input_ids of shape {ids.shape}",
            expected="(prompts, tokens), at least one of each",
            hint="without a prompt, leave them out",
        )
    return ids


def _check_steps(rest: Mapping[str, NDArray[np.generic]]) -> None:
    """Raise for masks that fit one length only, where rows grow."""
    expected = {"head_mask": "(heads,) or (layers, heads)", "encoder_attention_mask": "(prompts, keys)"}
    for name, layout in expected.items():
        if name in rest and rest[name].ndim > 2:
            raise BadShape(given=f"{name} of shape {rest[name].shape} to generate", expected=layout)


def _mask(
    given: NDArray[np.generic] | None, ids: Ids, shape: tuple[int, int], config: GenerationConfig
) -> NDArray[np.generic]:
    """The caller's mask; without one, padding is where its id stands, unless that ends sequences, too."""
    if given is not None:
        if given.shape != shape:
            raise BadShape(given=f"attention_mask {given.shape}", expected=f"{shape}")
        return given
    padding = config.pad_token_id
    if padding is None or padding in as_ids("eos_token_id", config.eos_token_id) or not ids.size:
        return np.ones(shape, np.int64)
    real: NDArray[np.bool_] = ids != padding
    return real


def _of_columns(given: NDArray[np.generic] | None, batch: int) -> Ids | None:
    """(B, C) of (B, C), or of (1, C) or (C,) for all rows alike."""
    if given is None:
        return None
    values = np.atleast_2d(given.astype(np.int64))
    return np.broadcast_to(values, (batch, values.shape[1]))
