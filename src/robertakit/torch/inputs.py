"""What a call of a model means: positions, checks of ids and masks, and which rows are real.

Shape letters: B batch, L padded length, T packed tokens, W width, H heads.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from robertakit.architecture import IGNORED_LABEL
from robertakit.batch import check_ids, sequential_position_ids
from robertakit.configuration import RobertaConfig
from robertakit.errors import ArgumentError, BadShape, InputError

__all__ = [
    "Rows",
    "check_labels",
    "check_rows",
    "checked_head_mask",
    "checked_mask",
    "first_real",
    "leading_shape",
    "position_ids",
    "positions_of",
    "refuse_decoder_arguments",
]


def position_ids(input_ids: Tensor, padding_idx: int) -> Tensor:
    """Rows of the position table for (B, L) ids, as `batch.position_ids` makes them in NumPy."""
    real = input_ids.ne(padding_idx).long()
    return real.cumsum(-1) * real + padding_idx


def positions_of(input_ids: Tensor | None, inputs_embeds: Tensor | None, padding_idx: int) -> Tensor:
    """Positions that a call without `position_ids` means: (B, L) from ids, (1, L) from embeddings alone."""
    if input_ids is not None:
        return position_ids(input_ids, padding_idx)
    assert inputs_embeds is not None
    sequential = torch.from_numpy(sequential_position_ids(inputs_embeds.shape[1], padding_idx))
    return sequential.long().to(inputs_embeds.device)


def leading_shape(input_ids: Tensor | None, inputs_embeds: Tensor | None) -> torch.Size:
    """(B, L) of a call's input, which is one of the two.

    Raises:
        ArgumentError: both or none is given.
        InputError: ids that are no tensor of integers.
        BadShape: not (B, L) ids or (B, L, W) embeddings of at least one token.
    """
    if input_ids is not None and inputs_embeds is None:
        _check_integers("input_ids", input_ids)
        return _leading("input_ids", input_ids, "(batch, length)")
    if inputs_embeds is not None and input_ids is None:
        return _leading("inputs_embeds", inputs_embeds, "(batch, length, width)")
    raise ArgumentError(
        given="no input" if input_ids is None else "both input_ids and inputs_embeds",
        expected="one of input_ids and inputs_embeds",
    )


def _leading(name: str, given: Tensor, layout: str) -> torch.Size:
    if given.dim() != layout.count(",") + 1 or not given.shape[1]:
        raise BadShape(
            given=f"{name} of shape {tuple(given.shape)}", expected=f"{layout}, with at least one token"
        )
    return given.shape[:2]


def _check_integers(name: str, given: object) -> None:
    if not isinstance(given, Tensor):
        raise InputError(
            given=f"{name} of type {type(given).__name__}",
            expected="a tensor",
            hint="tokenizer(texts, padding=True, return_tensors='pt') gives tensors",
        )
    if given.is_floating_point() or given.dtype == torch.bool:
        raise InputError(given=f"{name} of dtype {given.dtype}", expected="integers")


def check_labels(labels: Tensor, shape: torch.Size, classes: int) -> None:
    """Raise for labels that are not (B, L) integers from 0 to classes - 1, or -100."""
    _check_integers("labels", labels)
    if labels.shape != shape:
        raise BadShape(given=f"labels of shape {tuple(labels.shape)}", expected=f"{tuple(shape)}")
    if torch.compiler.is_compiling() or labels.is_meta:
        return
    wrong = labels[(labels.ge(classes) | labels.lt(0)) & labels.ne(IGNORED_LABEL)]
    if wrong.numel():
        raise InputError(
            given=f"label {int(wrong[0])}",
            expected=f"0 to {classes - 1}, or {IGNORED_LABEL} for nothing to predict",
        )


def refuse_decoder_arguments(**given: object) -> None:
    """Raise for documented arguments that only a decoder takes; `torch/` has encoders so far."""
    for name, value in given.items():
        if value is not None:
            raise ArgumentError(
                given=f"{name} to an encoder",
                expected="None",
                hint="robertakit.numpy computes decoders",
            )


def check_rows(
    config: RobertaConfig, input_ids: Tensor | None, positions: Tensor, token_type_ids: Tensor | None
) -> None:
    """Raise for ids without a row; inside `torch.compile` no check costs time."""
    if torch.compiler.is_compiling() or positions.is_meta:
        return
    ids, where, types = (
        None if tensor is None else tensor.detach().cpu().numpy()
        for tensor in (input_ids, positions, token_type_ids)
    )
    check_ids(config, ids, where, types)


def checked_mask(mask: Tensor, shape: torch.Size) -> Tensor:
    """A mask (B, L) or (B, L, L), of 1 for real tokens and 0 for padding."""
    batch, length = shape
    if mask.shape not in ((batch, length), (batch, length, length)):
        raise BadShape(
            given=f"attention_mask {tuple(mask.shape)} for inputs {tuple(shape)}",
            expected=f"{(batch, length)} or {(batch, length, length)}",
        )
    if mask.dtype != torch.bool and not torch.compiler.is_compiling() and not mask.is_meta:
        other = mask[mask.ne(0) & mask.ne(1)]
        if other.numel():
            raise InputError(
                given=f"attention_mask with {other[0].item():g}", expected="1 for real tokens, 0 for padding"
            )
    return mask


def checked_head_mask(head_mask: Tensor, config: RobertaConfig) -> Tensor:
    """Factors for each layer, (layers, 1, H, 1, 1)."""
    layers, heads = config.num_hidden_layers, config.num_attention_heads
    if head_mask.shape == (heads,):
        return head_mask.view(1, 1, heads, 1, 1).expand(layers, 1, heads, 1, 1)
    if head_mask.shape == (layers, heads):
        return head_mask.view(layers, 1, heads, 1, 1)
    raise BadShape(given=f"head_mask {tuple(head_mask.shape)}", expected=f"({heads},) or ({layers}, {heads})")


def first_real(padded: Tensor, real: Tensor) -> Tensor:
    """The first real row of each sequence, (B, L, W) to (B, W)."""
    first = real.int().argmax(1)
    return padded[torch.arange(len(padded), device=padded.device), first]


@dataclass(frozen=True, slots=True)
class Rows:
    """How padded rows were packed: `real` (B, L) says which, `flat` (T,) where they lie in (B·L)."""

    real: Tensor
    flat: Tensor

    def pad(self, packed: Tensor) -> Tensor:
        """(T, W) to (B, L, W), zeros at padding."""
        padded = packed.new_zeros(self.real.numel(), packed.shape[-1])
        return padded.index_copy(0, self.flat, packed).view(*self.real.shape, -1)
