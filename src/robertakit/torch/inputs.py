"""What a call of a model means: positions, checks of ids and masks, and which rows are real.

Shape letters: B batch, L padded length, T packed tokens, W width, H heads.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from robertakit.batch import check_ids, sequential_position_ids
from robertakit.configuration import RobertaConfig
from robertakit.errors import ArgumentError, BadShape

__all__ = [
    "Rows",
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
    """
    if input_ids is not None and inputs_embeds is None:
        return input_ids.shape
    if inputs_embeds is not None and input_ids is None:
        return inputs_embeds.shape[:2]
    raise ArgumentError(
        given="no input" if input_ids is None else "both input_ids and inputs_embeds",
        expected="one of input_ids and inputs_embeds",
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
    """A mask (B, L) or (B, L, L)."""
    batch, length = shape
    if mask.shape not in ((batch, length), (batch, length, length)):
        raise BadShape(
            given=f"attention_mask {tuple(mask.shape)} for inputs {tuple(shape)}",
            expected=f"{(batch, length)} or {(batch, length, length)}",
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
