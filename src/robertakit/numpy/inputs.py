"""What the documented arguments of a forward pass mean: checked, given their defaults, and made into arrays.

Everything that is wrong with a call raises here, before anything is computed.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from robertakit import batch as batches
from robertakit.calls import check_call, check_choices, check_past, check_values, leading_shape
from robertakit.errors import BadShape
from robertakit.numpy.attention import LayerCache, additive_mask
from robertakit.numpy.layers import Array
from robertakit.shapes import Kind, kind_of_dtype

if TYPE_CHECKING:
    from robertakit.configuration import PretrainedConfig

__all__ = ["Inputs", "Past", "flatten_choices", "kind_of", "read_inputs"]

Integers = NDArray[np.integer]
#: Keys and values of all layers, as the documented ``past_key_values``.
Past = Sequence[LayerCache]


@dataclass(frozen=True, slots=True)
class Inputs:
    """One call of the backbone, ready to compute.

    Attributes:
        input_ids: (B, L), or None.
        inputs_embeds: (B, L, W), or None.
        token_type_ids: (B, L) or (1, L), or None for zeros.
        position_ids: (B, L) or (1, L).
        mask: added to self-attention scores, broadcast to (B, H, L, K), or None.
        head_masks: one a layer, broadcast to (B, H, L, K), or None.
        past: keys and values of earlier tokens, or None.
        encoder_states: (B, K, W) that cross-attention sees, or None.
        encoder_mask: added to its scores, or None.
    """

    input_ids: Integers | None
    inputs_embeds: Array | None
    token_type_ids: Integers | None
    position_ids: Integers
    mask: Array | None
    head_masks: list[Array] | None
    past: Past | None
    encoder_states: Array | None
    encoder_mask: Array | None


def read_inputs(
    config: "PretrainedConfig",
    dtype: np.dtype[np.floating],
    input_ids: ArrayLike | None = None,
    attention_mask: ArrayLike | None = None,
    token_type_ids: ArrayLike | None = None,
    position_ids: ArrayLike | None = None,
    head_mask: ArrayLike | None = None,
    inputs_embeds: ArrayLike | None = None,
    encoder_hidden_states: ArrayLike | None = None,
    encoder_attention_mask: ArrayLike | None = None,
    past_key_values: Past | None = None,
) -> Inputs:
    """Check the documented arguments and give them their defaults.

    Raises:
        ArgumentError: both or none of ``input_ids`` and ``inputs_embeds``, or a cache for an encoder.
        InputError: an id outside its table.
        TooLong: more tokens than positions.
        BadShape: shapes that do not fit each other.
    """
    ids, types = _integers("input_ids", input_ids), _integers("token_type_ids", token_type_ids)
    positions = _integers("position_ids", position_ids)
    embeds = _numbers("inputs_embeds", inputs_embeds, dtype)
    keep = _numbers("attention_mask", attention_mask, dtype)
    heads = _numbers("head_mask", head_mask, dtype)
    states = encoder_keep = None
    if (
        config.is_decoder and encoder_hidden_states is not None
    ):  # an encoder leaves them aside, as the reference does
        states = _numbers("encoder_hidden_states", encoder_hidden_states, dtype)
        encoder_keep = _numbers("encoder_attention_mask", encoder_attention_mask, dtype)
    batch, length = leading_shape(ids, embeds, kind_of=kind_of)
    assert batch is not None  # only a graph knows no sizes
    assert length is not None
    decodes = config.is_decoder and past_key_values is not None
    past_length = (check_past(config, past_key_values, batch) or 0) if decodes else 0
    masks = {"attention_mask": keep, "encoder_attention_mask": encoder_keep}
    given = {
        "input_ids": ids, "inputs_embeds": embeds, "token_type_ids": types, "position_ids": positions,
        "head_mask": heads, "encoder_hidden_states": states, "past_key_values": past_key_values, **masks,
    }  # fmt: skip
    check_call(config, given, past=past_length, kind_of=kind_of)
    if positions is None:
        positions = (
            batches.sequential_position_ids(length, config.pad_token_id, past_length)
            if ids is None
            else batches.position_ids(ids, config.pad_token_id, past_length)
        )
    check_values(
        config,
        input_ids=ids,
        position_ids=positions,
        token_type_ids=types,
        masks={name: mask for name, mask in masks.items() if mask is not None},
    )
    return Inputs(
        input_ids=ids,
        inputs_embeds=embeds,
        token_type_ids=types,
        position_ids=np.atleast_2d(positions),
        mask=_self_attention_mask(config, dtype, keep, (batch, length), past_length),
        head_masks=None if heads is None else _head_masks(config, heads),
        past=past_key_values,
        encoder_states=states,
        encoder_mask=None if encoder_keep is None else additive_mask(_for_all_heads(encoder_keep)),
    )


def kind_of(array: object) -> Kind:
    """Tell what an array holds; all that comes here was made one."""
    return kind_of_dtype(np.asarray(array).dtype.name)


def flatten_choices(name: str, values: ArrayLike | None, axes: int = 3) -> NDArray[np.generic] | None:
    """Return (B, choices, ...) as (B x choices, ...): to the backbone every choice is a sequence."""
    if values is None:
        return None
    array = np.asarray(values)
    check_choices(name, array, axes)
    return array.reshape(-1, *array.shape[2:])


def _integers(name: str, values: ArrayLike | None) -> Integers | None:
    if values is None:
        return None
    with _told(name):
        array: Integers = np.asarray(values)  # `calls` looks whether they are integers
    return array


def _numbers(name: str, values: ArrayLike | None, dtype: np.dtype[np.floating]) -> Array | None:
    if values is None:
        return None
    with _told(name):
        return np.asarray(values, dtype)


@contextmanager
def _told(name: str) -> Iterator[None]:
    """Say by name what NumPy makes no array of."""
    try:
        yield
    except ValueError as error:
        raise BadShape(
            given=f"{name} with rows of unequal length",
            expected="rows of equal length",
            hint="pad them: tokenizer(texts, padding=True)",
        ) from error


def _self_attention_mask(
    config: "PretrainedConfig",
    dtype: np.dtype[np.floating],
    keep: Array | None,
    shape: tuple[int, int],
    past_length: int,
) -> Array | None:
    """The additive mask: padding from a 2-D mask, and the future of a decoder; a 3-D mask is taken as it is."""
    if keep is not None and keep.ndim == 3:
        return additive_mask(_for_all_heads(keep))
    if not config.is_decoder:
        return None if keep is None else additive_mask(_for_all_heads(keep))
    length = shape[1]
    causal = np.tri(length, past_length + length, past_length, dtype=dtype)[None, None]
    return additive_mask(causal if keep is None else causal * _for_all_heads(keep))


def _for_all_heads(keep: Array) -> Array:
    """(B, K) or (B, L, K) as (B, 1, 1 or L, K)."""
    return keep[:, None] if keep.ndim == 3 else keep[:, None, None]


def _head_masks(config: "PretrainedConfig", mask: Array) -> list[Array]:
    layers, heads = config.num_hidden_layers, config.num_attention_heads
    if mask.shape == (heads,):
        return [mask[None, :, None, None]] * layers
    return [row[None, :, None, None] for row in mask] if mask.shape == (layers, heads) else list(mask)
