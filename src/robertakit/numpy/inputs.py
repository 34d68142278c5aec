"""What the documented arguments of a forward pass mean: checked, given their defaults, and made into arrays.

Everything that is wrong with a call raises here, before anything is computed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from robertakit.batch import check_ids, position_ids, sequential_position_ids
from robertakit.errors import ArgumentError, BadShape, InputError
from robertakit.numpy.attention import LayerCache, additive_mask
from robertakit.numpy.layers import Array

if TYPE_CHECKING:
    from robertakit.configuration import PretrainedConfig

__all__ = ["Inputs", "Past", "flatten_choices", "integers", "read_inputs"]

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
    if (input_ids is None) == (inputs_embeds is None):
        both = (
            "both input_ids and inputs_embeds"
            if input_ids is not None
            else "neither input_ids nor inputs_embeds"
        )
        raise InputError(given=both, expected="one of the two")
    if past_key_values is not None and not config.is_decoder:
        raise ArgumentError(
            given="past_key_values with is_decoder=False", expected="a decoder", hint="set is_decoder=True"
        )
    ids = None if input_ids is None else integers("input_ids", input_ids)
    embeds = None if inputs_embeds is None else np.asarray(inputs_embeds, dtype)
    if ids is not None and (ids.ndim != 2 or not ids.shape[1]):
        raise BadShape(
            given=f"input_ids of shape {ids.shape}", expected="(batch, length), with at least one token"
        )
    if embeds is not None and (
        embeds.ndim != 3 or not embeds.shape[1] or embeds.shape[-1] != config.hidden_size
    ):
        expected = f"(batch, length, {config.hidden_size}), with at least one token"
        raise BadShape(given=f"inputs_embeds of shape {embeds.shape}", expected=expected)
    shape = _leading_shape(ids, embeds)
    past = None if past_key_values is None else _checked_past(config, past_key_values, shape[0])
    past_length = 0 if past is None else past[0][0].shape[2]
    types = _row_like("token_type_ids", token_type_ids, shape)
    positions = _row_like("position_ids", position_ids, shape)
    if positions is None:
        positions = _default_positions(config, ids, shape, past_length)
    check_ids(config, ids, positions, types)
    states, encoder_mask = _encoder_inputs(
        config, dtype, encoder_hidden_states, encoder_attention_mask, shape
    )
    return Inputs(
        input_ids=ids,
        inputs_embeds=embeds,
        token_type_ids=types,
        position_ids=positions,
        mask=_self_attention_mask(config, dtype, attention_mask, shape, past_length),
        head_masks=None if head_mask is None else _head_masks(config, np.asarray(head_mask, dtype)),
        past=past,
        encoder_states=states,
        encoder_mask=encoder_mask,
    )


def integers(name: str, values: ArrayLike) -> Integers:
    """Return an array of integers, or raise."""
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise BadShape(
            given=f"{name} with rows of unequal length",
            expected="rows of equal length",
            hint="pad them: tokenizer(texts, padding=True)",
        ) from error
    if not np.issubdtype(array.dtype, np.integer):
        raise InputError(given=f"{name} of dtype {array.dtype}", expected="integers")
    return array


def flatten_choices(name: str, values: ArrayLike | None, axes: int = 3) -> NDArray[np.generic] | None:
    """Return (B, choices, ...) as (B x choices, ...): to the backbone every choice is a sequence."""
    if values is None:
        return None
    array = np.asarray(values)
    if array.ndim != axes:
        layout = "(batch, choices, length" + (", width)" if axes == 4 else ")")
        raise BadShape(given=f"{name} of shape {array.shape}", expected=layout)
    return array.reshape(-1, *array.shape[2:])


def _leading_shape(ids: Integers | None, embeds: Array | None) -> tuple[int, int]:
    array = ids if ids is not None else embeds
    assert array is not None
    return array.shape[0], array.shape[1]


def _default_positions(
    config: "PretrainedConfig", ids: Integers | None, shape: tuple[int, int], past_length: int
) -> Integers:
    if ids is None:
        return sequential_position_ids(shape[1], config.pad_token_id, past_length)
    return position_ids(ids, config.pad_token_id, past_length)


def _row_like(name: str, values: ArrayLike | None, shape: tuple[int, int]) -> Integers | None:
    """Integers of shape (B, L), or (1, L) for all rows alike."""
    if values is None:
        return None
    array = integers(name, values)
    if array.shape not in (shape, (1, shape[1])):
        raise BadShape(
            given=f"{name} of shape {array.shape}", expected=f"{shape} or {(1, shape[1])}, as the inputs"
        )
    return array


def _self_attention_mask(
    config: "PretrainedConfig",
    dtype: np.dtype[np.floating],
    attention_mask: ArrayLike | None,
    shape: tuple[int, int],
    past_length: int,
) -> Array | None:
    """The additive mask: padding from a 2-D mask, and the future of a decoder; a 3-D mask is taken as it is."""
    batch, length = shape
    total = past_length + length
    keep = None if attention_mask is None else np.asarray(attention_mask, dtype)
    if keep is not None and keep.shape not in ((batch, total), (batch, length, total)):
        what = "the inputs and the cache" if past_length else "the inputs"
        raise BadShape(
            given=f"attention_mask of shape {keep.shape}",
            expected=f"{(batch, total)} or {(batch, length, total)}, as {what}",
        )
    if keep is not None and (other := keep[(keep != 0) & (keep != 1)]).size:
        raise InputError(
            given=f"attention_mask with {other[0]:g}", expected="1 for real tokens, 0 for padding"
        )
    if keep is not None and keep.ndim == 3:
        return additive_mask(keep[:, None])
    if not config.is_decoder:
        return None if keep is None else additive_mask(keep[:, None, None])
    causal = np.tri(length, total, past_length, dtype=dtype)[None, None]
    return additive_mask(causal if keep is None else causal * keep[:, None, None])


def _head_masks(config: "PretrainedConfig", mask: Array) -> list[Array]:
    layers, heads = config.num_hidden_layers, config.num_attention_heads
    if mask.shape == (heads,):
        return [mask[None, :, None, None]] * layers
    if mask.shape == (layers, heads):
        return [row[None, :, None, None] for row in mask]
    if mask.ndim == 5 and mask.shape[0] == layers and mask.shape[2] in (1, heads):
        return list(mask)
    raise BadShape(given=f"head_mask of shape {mask.shape}", expected=f"{(heads,)} or {(layers, heads)}")


def _checked_past(config: "PretrainedConfig", past: Past, batch: int) -> Past:
    if len(past) != config.num_hidden_layers:
        raise BadShape(given=f"past_key_values of {len(past)} layers", expected=f"{config.num_hidden_layers}")
    for layer in past:
        if len(layer) not in (2, 4) or any(tensor.ndim != 4 or tensor.shape[0] != batch for tensor in layer):
            raise BadShape(
                given=f"past_key_values with {[tensor.shape for tensor in layer]}",
                expected=f"two or four tensors a layer of shape ({batch}, heads, length, head width)",
            )
    return past


def _encoder_inputs(
    config: "PretrainedConfig",
    dtype: np.dtype[np.floating],
    states: ArrayLike | None,
    mask: ArrayLike | None,
    shape: tuple[int, int],
) -> tuple[Array | None, Array | None]:
    if states is None or not config.is_decoder:  # an encoder leaves them aside, as the reference does
        return None, None
    if not config.add_cross_attention:
        raise InputError(
            given="encoder_hidden_states to a decoder without cross-attention",
            expected="config.add_cross_attention=True",
        )
    values = np.asarray(states, dtype)
    if values.ndim != 3 or values.shape[0] != shape[0] or values.shape[2] != config.hidden_size:
        expected = f"({shape[0]}, length, {config.hidden_size})"
        raise BadShape(given=f"encoder_hidden_states of shape {values.shape}", expected=expected)
    if mask is None:
        return values, None
    keep = np.asarray(mask, dtype)
    keys = values.shape[1]
    if keep.shape not in ((shape[0], keys), (*shape, keys)):
        raise BadShape(
            given=f"encoder_attention_mask of shape {keep.shape}",
            expected=f"{(shape[0], keys)} or {(*shape, keys)}",
        )
    return values, additive_mask(keep[:, None] if keep.ndim == 3 else keep[:, None, None])
