"""What the documented arguments of a call may be, checked before anything is computed: the same in every framework.

Shapes and kinds are known while a graph is made, values in eager use alone; so they are checked apart.

Shape letters: B batch, N choices, L padded length, K keys, W width, H heads, D head width, C classes.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from robertakit.architecture import (
    IGNORED_LABEL,
    Head,
    ProblemType,
    head_named,
    kept_heads,
    problem_type,
)
from robertakit.batch import check_ids, longest_input, sequential_position_ids
from robertakit.batch import position_ids as counted_positions
from robertakit.errors import ArgumentError, BadShape, InputError, TooLong
from robertakit.shapes import (
    KindOf,
    Shape,
    check_array,
    check_integers,
    check_kind,
    check_shape,
    fits,
    has_size,
    shape_of,
)

if TYPE_CHECKING:
    from robertakit.configuration import PretrainedConfig

__all__ = [
    "check_call",
    "check_choices",
    "check_classes",
    "check_labels",
    "check_one_each",
    "check_past",
    "check_text_labels",
    "check_token_labels",
    "check_values",
    "leading_shape",
]


def leading_shape(
    input_ids: object, inputs_embeds: object, *, kind_of: KindOf
) -> tuple[int | None, int | None]:
    """Return (B, L) of a call's input, which is one of the two.

    Args:
        input_ids: (B, L) integers, or None.
        inputs_embeds: (B, L, W) numbers, or None.
        kind_of: see `shapes.KindOf`.

    Raises:
        InputError: both or none is given, or ids that are no array of integers.
        BadShape: not (B, L) ids or (B, L, W) embeddings of at least one token.
    """
    if (input_ids is None) == (inputs_embeds is None):
        raise InputError(
            given="neither input_ids nor inputs_embeds"
            if input_ids is None
            else "both input_ids and inputs_embeds",
            expected="one of input_ids and inputs_embeds",
        )
    if input_ids is not None:
        check_integers("input_ids", input_ids, kind_of=kind_of)
        return _leading("input_ids", input_ids, "(batch, length)")
    check_kind("inputs_embeds", inputs_embeds, kind_of=kind_of, kinds=("real",), expected="real numbers")
    return _leading("inputs_embeds", inputs_embeds, "(batch, length, width)")


def check_call(
    config: "PretrainedConfig",
    given: Mapping[str, object],
    *,
    past: int = 0,
    keys: int | None = None,
    kind_of: KindOf,
) -> tuple[int | None, int | None]:
    """Check the shapes and kinds of a backbone's arguments, and whether such a model takes them.

    Args:
        config: the model's.
        given: documented name -> value; one that is None or not there was not given.
        past: tokens that a cache holds.
        keys: how many keys an attention mask covers, where that is not ``past`` and L together: the length of a cache
            of fixed size.
        kind_of: see `shapes.KindOf`.

    Returns:
        (B, L).

    Raises:
        ArgumentError: a cache for an encoder.
        InputError: both or none of ``input_ids`` and ``inputs_embeds``, no arrays, encoder states that nothing sees.
        TooLong: more tokens than positions, where the shapes tell.
        BadShape: shapes that do not fit each other.

    Example:
        >>> from robertakit import RobertaConfig
        >>> from robertakit.shapes import kind_of_dtype
        >>> kind_of = lambda array: kind_of_dtype(array.dtype.name)
        >>> check_call(RobertaConfig(), {"input_ids": np.ones((3, 9), int)}, kind_of=kind_of)
        (3, 9)
    """
    batch, length = leading_shape(given.get("input_ids"), given.get("inputs_embeds"), kind_of=kind_of)
    if given.get("past_key_values") is not None and not config.is_decoder:
        raise ArgumentError(
            given="past_key_values with is_decoder=False", expected="a decoder", hint="set is_decoder=True"
        )
    for name in ("token_type_ids", "position_ids"):
        if given.get(name) is not None:
            check_integers(name, given[name], kind_of=kind_of)
            check_shape(name, given[name], [(batch, length), (1, length), (length,)], "the inputs")
    embeds = given.get("inputs_embeds")
    if embeds is not None:
        check_shape("inputs_embeds", embeds, [(batch, length, config.hidden_size)])
    total = None if length is None else past + length
    _check_length(config, total, counted=embeds is not None and given.get("position_ids") is None)
    covered = total if keys is None else keys
    if given.get("attention_mask") is not None:
        check_array("attention_mask", given["attention_mask"], kind_of=kind_of)
        what = "the inputs and the cache" if past or keys is not None else "the inputs"
        check_shape(
            "attention_mask", given["attention_mask"], [(batch, covered), (batch, length, covered)], what
        )
    if given.get("head_mask") is not None:
        check_array("head_mask", given["head_mask"], kind_of=kind_of)
        _check_head_mask(config, given["head_mask"], batch, length)
    if config.is_decoder:  # an encoder leaves encoder states aside, as the reference does
        _check_encoder_states(config, given, (batch, length), kind_of)
    return batch, length


def check_past(config: "PretrainedConfig", past: object, batch: int | None) -> int | None:
    """Check the documented cache, for each layer key and value and perhaps those of an encoder; return its length.

    Args:
        config: the model's.
        past: for each layer two or four arrays (B, H, K, D).
        batch: B of the call.

    Raises:
        InputError: no sequence of sequences.
        BadShape: another number of layers, or arrays of other shapes.
    """
    if not isinstance(past, Sequence) or not all(isinstance(layer, Sequence) for layer in past):
        raise InputError(
            given=f"past_key_values of type {type(past).__name__}", expected="what an earlier call returned"
        )
    if len(past) != config.num_hidden_layers:
        raise BadShape(given=f"past_key_values of {len(past)} layers", expected=f"{config.num_hidden_layers}")
    width = config.hidden_size // config.num_attention_heads
    length = None
    for number, layer in enumerate(past):
        shapes = [shape_of(array) for array in layer]
        first = shapes[0] if shapes else ()
        length = first[2] if first is not None and len(first) == 4 else None
        own: Shape = (batch, kept_heads(config, number), length, width)
        cross: Shape = (batch, config.num_attention_heads, None, width)
        wanted = (own, own, cross, cross)
        if len(shapes) not in (2, 4) or not all(map(fits, shapes, wanted[: len(shapes)])):
            raise BadShape(
                given=f"past_key_values with {shapes}",
                expected="two or four tensors a layer of shape "
                f"({batch}, {kept_heads(config, number)}, length, {width})",
            )
    return length


def check_values(
    config: "PretrainedConfig",
    *,
    input_ids: NDArray[np.integer] | None = None,
    position_ids: NDArray[np.integer] | None = None,
    token_type_ids: NDArray[np.integer] | None = None,
    masks: Mapping[str, "NDArray[np.generic]"] = MappingProxyType({}),
    past: int = 0,
) -> None:
    """Look for ids without a row, and masks of other numbers than 0 and 1. For eager use.

    Args:
        config: the model's.
        input_ids: (B, L), or None.
        position_ids: those that were given; else the ones that are made from the ids are looked at.
        token_type_ids: (B, L) or (1, L), or None.
        masks: name -> values.
        past: tokens that a cache holds.

    Raises:
        InputError: an id outside its table, or a mask of other numbers.
        TooLong: more tokens than positions.
    """
    if position_ids is None and input_ids is not None:
        position_ids = counted_positions(input_ids, config.pad_token_id, past)
    check_ids(config, input_ids, position_ids, token_type_ids)
    for name, mask in masks.items():
        strange = mask[(mask != 0) & (mask != 1)]
        if strange.size:
            raise InputError(
                given=f"{name} with {float(strange[0]):g}", expected="1 for real tokens, 0 for padding"
            )


def check_choices(name: str, value: object, axes: int = 3) -> None:
    """Raise for what has no axis of choices: (B, N, L), or (B, N, L, W) where ``axes`` is 4."""
    shape = shape_of(value)
    if shape is not None and len(shape) != axes:
        layout = "(batch, choices, length" + (", width)" if axes == 4 else ")")
        raise BadShape(given=f"{name} of shape {shape}", expected=layout)


def check_labels(
    config: "PretrainedConfig",
    head: str | Head,
    labels: Mapping[str, object],
    shape: Shape,
    *,
    kind_of: KindOf,
) -> ProblemType | None:
    """Check the shapes and kinds of labels.

    Args:
        config: the model's.
        head: a head, its name, or a class name.
        labels: documented name -> value; one that is None was not given.
        shape: what is scored: (B, L) tokens, or (B, N) choices; of a text's classes only B matters.
        kind_of: see `shapes.KindOf`.

    Returns:
        The loss that labels of sequence classification mean; None for the other heads.

    Raises:
        InputError: no array, or no integers where these are asked for.
        BadShape: labels of another shape; the common slip, another tokenization's length, is told by both lengths.
    """
    head = head_named(head) if isinstance(head, str) else head
    problem = None
    for name in head.labels:
        value = labels.get(name)
        if value is None:
            continue
        if head.name == "sequence-classification":
            problem = check_text_labels(config, value, (shape[0], config.num_labels), kind_of=kind_of)
        elif head.name in ("multiple-choice", "question-answering"):
            check_one_each(name, value, shape[0], kind_of=kind_of)
        else:
            check_token_labels(value, shape, kind_of=kind_of)
    return problem


def check_token_labels(labels: object, shape: Shape, *, kind_of: KindOf) -> None:
    """Raise for what is no integers of a shape, mostly (B, L).

    The common slip, another tokenization's length, is told by both lengths.
    """
    check_integers("labels", labels, kind_of=kind_of)
    own = shape_of(labels)
    rows_fit = own is not None and len(own) == len(shape) == 2 and fits(own[:1], shape[:1])
    if own is not None and rows_fit and not fits(own, shape):
        raise BadShape(
            given=f"labels of length {own[1]} with inputs of length {shape[1]}", expected="equal lengths"
        )
    check_shape("labels", labels, [shape])


def check_text_labels(
    config: "PretrainedConfig", labels: object, shape: Shape, *, kind_of: KindOf
) -> ProblemType:
    """Raise for labels that do not fit logits of a shape (B, C); return the loss that they mean."""
    check_array("labels", labels, kind_of=kind_of)
    problem = problem_type(config, labels_are_integers=kind_of(labels) == "integer")
    if problem == "single_label_classification":
        check_one_each("labels", labels, shape[0], kind_of=kind_of)
    elif not (problem == "regression" and config.num_labels == 1 and has_size(labels, shape[0])):
        check_shape("labels", labels, [shape])
    return problem


def check_one_each(name: str, labels: object, batch: int | None, *, kind_of: KindOf) -> None:
    """Raise for what is no integers (B,), or B of them in another shape."""
    check_integers(name, labels, kind_of=kind_of)
    if not has_size(labels, batch):
        check_shape(name, labels, [(batch,)])


def check_classes(labels: NDArray[np.integer], classes: int) -> None:
    """Raise for a label without a class: not from 0 to ``classes - 1``, nor -100. For eager use.

    Example:
        >>> check_classes(np.array([1, -100]), 2)
    """
    wrong = labels[((labels >= classes) | (labels < 0)) & (labels != IGNORED_LABEL)]
    if wrong.size:
        raise InputError(
            given=f"label {int(wrong[0])}",
            expected=f"0 to {classes - 1}, or {IGNORED_LABEL} for nothing to predict",
        )


def _leading(name: str, value: object, layout: str) -> tuple[int | None, int | None]:
    shape = shape_of(value)
    if shape is None:
        return None, None
    if len(shape) != layout.count(",") + 1 or shape[1] == 0:
        raise BadShape(given=f"{name} of shape {shape}", expected=f"{layout}, with at least one token")
    return shape[0], shape[1]


def _check_length(config: "PretrainedConfig", total: int | None, *, counted: bool) -> None:
    """Raise for more tokens than positions; ids may hold padding, which has no position of its own."""
    if total is None:
        return
    if counted and total > longest_input(config):
        check_ids(config, position_ids=sequential_position_ids(total, config.pad_token_id))
    if config.position_embedding_type != "absolute" and total > config.max_position_embeddings:
        raise TooLong(
            given=f"{total} tokens with {config.position_embedding_type} positions",
            expected=f"at most {config.max_position_embeddings} (max_position_embeddings), padding counted",
            hint="truncate the text, or split it into windows",
        )


def _check_head_mask(config: "PretrainedConfig", mask: object, batch: int | None, length: int | None) -> None:
    layers, heads = config.num_hidden_layers, config.num_attention_heads
    shape = shape_of(mask)
    if shape is None or fits(shape, (heads,)) or fits(shape, (layers, heads)):
        return
    if len(shape) == 5:  # broadcast to (layers, B, H, L, K)
        allowed = ((layers,), (1, batch), (1, heads), (1, length))
        if all(
            any(fits((size,), (one,)) for one in sizes)
            for size, sizes in zip(shape[:4], allowed, strict=True)
        ):
            return
    raise BadShape(given=f"head_mask of shape {shape}", expected=f"{(heads,)} or {(layers, heads)}")


def _check_encoder_states(
    config: "PretrainedConfig",
    given: Mapping[str, object],
    shape: tuple[int | None, int | None],
    kind_of: KindOf,
) -> None:
    states, mask = given.get("encoder_hidden_states"), given.get("encoder_attention_mask")
    if states is None:
        return
    if not config.add_cross_attention:
        raise InputError(
            given="encoder_hidden_states to a decoder without cross-attention",
            expected="config.add_cross_attention=True",
        )
    check_array("encoder_hidden_states", states, kind_of=kind_of)
    batch, length = shape
    sizes = shape_of(states)
    if not fits(sizes, (batch, None, config.hidden_size)):
        raise BadShape(
            given=f"encoder_hidden_states of shape {sizes}",
            expected=f"({batch}, length, {config.hidden_size})",
        )
    if mask is not None:
        check_array("encoder_attention_mask", mask, kind_of=kind_of)
        keys = None if sizes is None else sizes[1]
        check_shape(
            "encoder_attention_mask", mask, [(batch, keys), (batch, length, keys)], "the encoder's states"
        )
