"""What the documented arguments of a call mean: checked by their shapes, given their defaults, made into arrays.

Nothing here looks at values, so that it is the same inside `jit`; ids without a row are looked for by the models,
in eager use.

Shape letters: B batch, L length, K keys, W width, H heads.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from robertakit.batch import sequential_position_ids
from robertakit.calls import check_call, check_choices
from robertakit.configuration import RobertaConfig
from robertakit.errors import BadShape
from robertakit.jax.cache import cache_length, check_room, new_cache_length, tokens_so_far
from robertakit.shapes import Kind, kind_of_dtype

__all__ = ["Inputs", "flatten_choices", "kind_of", "position_ids", "read_inputs"]


@dataclass(frozen=True, slots=True)
class Inputs:
    """One call of the backbone, ready to compute.

    Attributes:
        position_ids: (B, L) or (1, L).
        bias: (B or 1, 1, 1 or L, K), added to the scores of self-attention, or None.
        head_mask: factors with one leading entry for each layer, broadcast to (layers, B, H, L, K), or None.
        encoder_states: (B, K, W) that cross-attention sees, or None.
        encoder_bias: (B, 1, 1 or L, K), added to its scores, or None.
    """

    position_ids: jax.Array
    bias: jax.Array | None
    head_mask: jax.Array | None
    encoder_states: jax.Array | None
    encoder_bias: jax.Array | None


def kind_of(value: object) -> Kind | None:
    """What an array holds, for the checks of `calls`; None for what is no array."""
    if not isinstance(value, jax.Array | np.ndarray):
        return None
    return kind_of_dtype(value.dtype.name)


def read_inputs(
    config: RobertaConfig,
    dtype: DTypeLike,
    given: Mapping[str, jax.Array | None],
    *,
    cache: Mapping[str, object] | None = None,
    first: jax.Array | None = None,
) -> Inputs:
    """Check the documented arguments of `FlaxRobertaModule` and give them their defaults.

    Args:
        config: the model's.
        dtype: the one it computes in.
        given: documented name -> value, None for what was not given.
        cache: the backbone's part of the collection "cache", or None.
        first: number of tokens in the cache, None where there is none to read or fill.

    Raises:
        ArgumentError: a cache for an encoder.
        InputError: both or none of `input_ids` and `inputs_embeds`, or no arrays.
        TooLong: more tokens than positions, or than the cache has room for, where the shapes tell.
        BadShape: shapes that do not fit each other.
    """
    mask, keys, past = given["attention_mask"], None, 0
    if cache is not None and config.is_decoder:
        past = tokens_so_far(cache) or 0
        keys = _covered(cache, mask, given)
    shape = check_call(config, {**given, "past_key_values": cache}, past=past, keys=keys, kind_of=kind_of)
    batch, length = (int(size or 0) for size in shape)
    slots = length
    if cache is not None:
        check_room(cache, batch, length)
        slots = cache_length(cache)
    elif first is not None:
        slots = new_cache_length(config, length)
    positions = given["position_ids"]
    if positions is None:
        positions = _default_positions(config, given["input_ids"], length, 0 if first is None else first)
    wide = jnp.promote_types(dtype, jnp.float32)
    states = given["encoder_hidden_states"] if config.is_decoder else None
    encoder_mask = None if states is None else given["encoder_attention_mask"]
    return Inputs(
        position_ids=jnp.atleast_2d(positions),
        bias=_self_attention_bias(config, wide, mask, length, slots, first),
        head_mask=None if given["head_mask"] is None else _head_masks(config, given["head_mask"]),
        encoder_states=states,
        encoder_bias=None if encoder_mask is None else _additive(_over_heads(encoder_mask), wide),
    )


def position_ids(input_ids: jax.Array, padding_idx: int, past_length: int | jax.Array = 0) -> jax.Array:
    """Rows of the position table for (B, L) ids, as `batch.position_ids` makes them in NumPy.

    Example:
        >>> position_ids(jnp.array([[0, 9, 2, 1]]), 1).tolist()
        [[2, 3, 4, 1]]
    """
    real = (jnp.asarray(input_ids) != padding_idx).astype(jnp.int32)
    return (jnp.cumsum(real, -1, dtype=jnp.int32) + past_length) * real + padding_idx


def flatten_choices(name: str, values: jax.Array | None, axes: int = 3) -> jax.Array | None:
    """Return (B, choices, ...) as (B x choices, ...): to the backbone every choice is a sequence."""
    if values is None:
        return None
    check_choices(name, values, axes)
    return values.reshape(-1, *values.shape[2:])


def _default_positions(
    config: RobertaConfig, input_ids: jax.Array | None, length: int, past: int | jax.Array
) -> jax.Array:
    """(B, L) counted over the ids, or (1, L) in order from embeddings alone."""
    if input_ids is None:
        return jnp.asarray(sequential_position_ids(length, config.pad_token_id), jnp.int32) + past
    return position_ids(input_ids, config.pad_token_id, past)


def _covered(
    cache: Mapping[str, object], mask: jax.Array | None, given: Mapping[str, jax.Array | None]
) -> int | None:
    """How many keys the mask is to cover: the tokens so far and these, or the whole cache, at the caller's choice."""
    inputs = given["input_ids"] if given["input_ids"] is not None else given["inputs_embeds"]
    if mask is None or mask.ndim < 2 or inputs is None or inputs.ndim < 2:
        return None
    width, slots, past = mask.shape[-1], cache_length(cache), tokens_so_far(cache)
    if width == slots or past is not None:
        return slots if width == slots else None
    if not inputs.shape[1] <= width <= slots:
        raise BadShape(
            given=f"attention_mask of shape {mask.shape}", expected=f"{(mask.shape[0], slots)}, as the cache"
        )
    return int(width)


def _self_attention_bias(
    config: RobertaConfig,
    dtype: DTypeLike,
    mask: jax.Array | None,
    length: int,
    slots: int,
    first: jax.Array | None,
) -> jax.Array | None:
    """Padding from a 2-D mask, and the future of a decoder; a 3-D mask is taken as it is.

    A row that sees nothing sees all tokens alike, as in the reference; slots of the cache that hold none it never sees.
    """
    keep = None
    if mask is not None:
        missing = slots - mask.shape[-1]
        keep = _over_heads(jnp.pad(mask, [(0, 0)] * (mask.ndim - 1) + [(0, missing)]) if missing else mask)
    start = 0 if first is None else first
    if config.is_decoder and not (mask is not None and mask.ndim == 3):
        row, column = start + jnp.arange(length)[:, None], jnp.arange(slots)[None, :]
        causal = (column <= row)[None, None]
        keep = causal if keep is None else causal & keep
    if keep is None:
        return None
    bias = _additive(keep, dtype)
    return bias if first is None else jnp.where(jnp.arange(slots) < start + length, bias, -jnp.inf)


def _over_heads(mask: jax.Array) -> jax.Array:
    """A mask (B, K) or (B, L, K) as bool (B, 1, 1 or L, K)."""
    keep = jnp.asarray(mask).astype(bool)
    return keep[:, None] if keep.ndim == 3 else keep[:, None, None]


def _additive(keep: jax.Array, dtype: DTypeLike) -> jax.Array:
    """What is added to the scores: the smallest number for what is not seen, which softmax can bear in a whole row."""
    return jnp.where(keep, jnp.zeros((), dtype), np.finfo(np.dtype(dtype)).min)


def _head_masks(config: RobertaConfig, head_mask: jax.Array) -> jax.Array:
    """Factors for each layer, (layers, 1 or B, H, 1 or L, 1 or K)."""
    if head_mask.ndim == 5:
        return head_mask
    layers, heads = config.num_hidden_layers, config.num_attention_heads
    return jnp.broadcast_to(head_mask, (layers, heads))[:, None, :, None, None]
