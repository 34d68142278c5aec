"""What the documented arguments of a call mean: checked, and given their defaults.

Shapes and kinds are checked whenever a call is computed or traced, values in eager use alone: inside `tf.function`
no check costs time.

Shape letters: B batch, L padded length, K keys, W width, H heads.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import tensorflow as tf

from robertakit.calls import (
    check_call,
    check_choices,
    check_classes,
    check_past,
    check_values,
    leading_shape,
)
from robertakit.configuration import RobertaConfig
from robertakit.shapes import Kind, kind_of_dtype
from robertakit.tensorflow.layers import sizes

__all__ = [
    "Inputs",
    "check_label_values",
    "default_positions",
    "flatten_choices",
    "kind_of",
    "position_ids",
    "read_inputs",
]

#: For each layer key and value (B, H, K, D), and behind cross-attention those of the encoder's states.
Cache = tuple[tuple[tf.Tensor, ...], ...]


@dataclass(frozen=True, slots=True)
class Inputs:
    """One call of the backbone, ready to compute.

    Attributes:
        input_ids: (B, L), or None.
        inputs_embeds: (B, L, W), or None.
        token_type_ids: (B, L), (1, L) or (L,), or None for zeros.
        position_ids: (B, L), (1, L) or (L,).
        keep: (B, 1, 1 or L, K) bool, which keys a query sees; None: all.
        head_mask: one for each layer, broadcast to (B, H, L, K), or None.
        past: keys and values of earlier tokens, or None.
        encoder_states: (B, K, W) that cross-attention sees, or None.
        encoder_keep: (B, 1, 1 or L, K) bool, which of them a query sees; None: all.
    """

    input_ids: tf.Tensor | None
    inputs_embeds: tf.Tensor | None
    token_type_ids: tf.Tensor | None
    position_ids: tf.Tensor
    keep: tf.Tensor | None
    head_mask: tuple[tf.Tensor, ...] | None
    past: Cache | None
    encoder_states: tf.Tensor | None
    encoder_keep: tf.Tensor | None


def read_inputs(config: RobertaConfig, given: Mapping[str, object], *, check: bool) -> Inputs:
    """Check the documented arguments of the backbone and give them their defaults.

    Args:
        config: the model's.
        given: documented name -> tensor or None; `past_key_values` is the documented tuple.
        check: whether to look, in eager use, for ids without a row and for masks of other numbers than 0 and 1.

    Raises:
        ArgumentError: a cache for an encoder.
        InputError: both or none of `input_ids` and `inputs_embeds`, an id without a row, a mask of other numbers.
        TooLong: more tokens than positions.
        BadShape: shapes that do not fit each other.
    """
    tensors: dict[str, tf.Tensor | None] = dict(given)
    batch, _ = leading_shape(tensors["input_ids"], tensors["inputs_embeds"], kind_of=kind_of)
    past: Cache | None = tensors["past_key_values"]
    if past is not None and config.is_decoder:
        known = check_past(config, past, batch)
        length: int | tf.Tensor = sizes(past[0][0])[2]
    else:
        known, length = 0, 0
    # where a graph does not know how much the cache holds, it does not know how long a mask has to be
    checked = given if known is not None else {**given, "attention_mask": None}
    check_call(config, checked, past=known or 0, kind_of=kind_of)
    if check and tf.executing_eagerly():
        _check_values(config, tensors, known or 0)
    ids, embeds, positions = (tensors[name] for name in ("input_ids", "inputs_embeds", "position_ids"))
    if positions is None:
        positions = default_positions(config.pad_token_id, ids, embeds, length)
    states = tensors["encoder_hidden_states"] if config.is_decoder else None  # an encoder leaves them aside
    seen = tensors["encoder_attention_mask"] if states is not None else None
    head_mask = tensors["head_mask"]
    return Inputs(
        input_ids=ids,
        inputs_embeds=embeds,
        token_type_ids=tensors["token_type_ids"],
        position_ids=positions,
        keep=_kept_keys(config, tensors["attention_mask"], ids if embeds is None else embeds, length),
        head_mask=None if head_mask is None else _head_masks(config, head_mask),
        past=past,
        encoder_states=states,
        encoder_keep=None if seen is None else _for_heads(tf.cast(seen, tf.bool)),
    )


def kind_of(value: object) -> Kind | None:
    """What a tensor holds; None for what is no tensor."""
    tensor: tf.Tensor | None = value if tf.is_tensor(value) else None
    return None if tensor is None else kind_of_dtype(tensor.dtype.name)


def position_ids(input_ids: tf.Tensor, padding_idx: int, past_length: int | tf.Tensor = 0) -> tf.Tensor:
    """Rows of the position table for (B, L) ids, as `batch.position_ids` makes them in NumPy.

    Example:
        >>> position_ids(tf.constant([[0, 5, 2, 1]]), padding_idx=1).numpy().tolist()
        [[2, 3, 4, 1]]
    """
    real = tf.cast(tf.not_equal(input_ids, tf.cast(padding_idx, input_ids.dtype)), tf.int32)
    return (tf.cumsum(real, axis=-1) + past_length) * real + padding_idx


def default_positions(
    padding_idx: int,
    input_ids: tf.Tensor | None,
    inputs_embeds: tf.Tensor | None,
    past: int | tf.Tensor,
) -> tf.Tensor:
    """(B, L) counted over the ids, or (1, L) in order from embeddings alone."""
    if input_ids is not None:
        return position_ids(input_ids, padding_idx, past)
    return (tf.range(sizes(inputs_embeds)[1]) + past + padding_idx + 1)[None]


def flatten_choices(name: str, values: tf.Tensor | None, axes: int = 3) -> tf.Tensor | None:
    """Return (B, choices, ...) as (B x choices, ...): to the backbone every choice is a sequence."""
    if values is None:
        return None
    check_choices(name, values, axes)
    batch, choices, *rest = sizes(values)
    return tf.reshape(values, (batch * choices, *rest))


def check_label_values(labels: tf.Tensor, classes: int, check: bool) -> None:
    """Raise, in eager use, for labels without a class."""
    if check and tf.executing_eagerly():
        check_classes(labels.numpy(), classes)


def _check_values(config: RobertaConfig, tensors: Mapping[str, tf.Tensor | None], past: int) -> None:
    given = {name: tensor for name, tensor in tensors.items() if name != "past_key_values"}
    values = {name: tensor.numpy() for name, tensor in given.items() if tensor is not None}
    masks = {name: mask for name, mask in values.items() if name.endswith("attention_mask")}
    ids = ("input_ids", "position_ids", "token_type_ids")
    check_values(config, **{name: values.get(name) for name in ids}, masks=masks, past=past)


def _kept_keys(
    config: RobertaConfig, mask: tf.Tensor | None, tokens: tf.Tensor, past: int | tf.Tensor
) -> tf.Tensor | None:
    """(B, 1, 1 or L, K): padding from a 2-D mask, and the future of a decoder; a 3-D mask is taken as it is."""
    keep = None if mask is None else _for_heads(tf.cast(mask, tf.bool))
    length = sizes(tokens)[1]
    if (mask is not None and mask.shape.rank == 3) or not config.is_decoder:
        return keep
    if isinstance(length, int) and length == 1:  # one new token sees all that is there
        return keep
    causal = tf.range(past + length)[None, :] <= tf.range(length)[:, None] + past
    return causal[None, None] if keep is None else tf.logical_and(causal[None, None], keep)


def _for_heads(keep: tf.Tensor) -> tf.Tensor:
    """(B, K) or (B, L, K) to (B, 1, 1 or L, K)."""
    return keep[:, None] if keep.shape.rank == 3 else keep[:, None, None]


def _head_masks(config: RobertaConfig, head_mask: tf.Tensor) -> tuple[tf.Tensor, ...]:
    """Factors for each layer, (1 or B, H, 1 or L, 1 or K)."""
    layers = config.num_hidden_layers
    if head_mask.shape.rank == 1:
        return (head_mask[None, :, None, None],) * layers
    if head_mask.shape.rank == 2:
        return tuple(head_mask[layer][None, :, None, None] for layer in range(layers))
    return tuple(head_mask[layer] for layer in range(layers))
