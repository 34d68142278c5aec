"""Real tokens of a padded batch: gathered, scattered back, and the first of each row.

Shape letters: B batch, L padded length, T real tokens.
"""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

__all__ = ["Rows", "first_tokens", "with_first_token"]


@dataclass(frozen=True, slots=True)
class Rows:
    """Which tokens of a padded batch are real.

    Attributes:
        real: (B, L) bool.
        flat: (T,) where they lie in (B·L).

    Example:
        >>> rows = Rows.of(torch.tensor([[True, True], [True, False]]))
        >>> packed = rows.gather(torch.tensor([[1, 2], [3, 9]]))
        >>> packed.tolist(), rows.pad(packed).tolist(), rows.cumulative_lengths.tolist()
        ([1, 2, 3], [[1, 2], [3, 0]], [0, 2, 3])
    """

    real: Tensor
    flat: Tensor

    @classmethod
    def of(cls, real: Tensor) -> Self:
        """Find the real tokens; an accelerator is waited for here."""
        return cls(real, real.flatten().nonzero().flatten())

    @property
    def cumulative_lengths(self) -> Tensor:
        """(B + 1,) where each row begins among all real tokens, and their number; on the processor, which plans."""
        lengths = self.real.sum(1).cpu()
        return torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])

    def gather(self, padded: Tensor) -> Tensor:
        """(B, L, ...) to (T, ...)."""
        flat = padded.flatten(0, 1)
        return flat if len(self.flat) == self.real.numel() else flat.index_select(0, self.flat)

    def pad(self, packed: Tensor) -> Tensor:
        """(T, ...) to (B, L, ...), zeros where there is no token."""
        if len(self.flat) < self.real.numel():
            padded = packed.new_zeros(self.real.numel(), *packed.shape[1:])
            packed = padded.index_copy_(0, self.flat, packed)
        return packed.view(*self.real.shape, *packed.shape[1:])


def first_tokens(states: Tensor, real: Tensor | None) -> Tensor:
    """The first token of each row, (B, L, W) to (B, W): the first real one where `real` (B, L) says which are."""
    if real is None:
        return states[:, 0]
    return states[torch.arange(len(states), device=states.device), real.int().argmax(1)]


def with_first_token(states: Tensor, real: Tensor | None) -> Tensor:
    """(B, L, W) with each row's first real token in front, for modules of somebody's own that read position 0."""
    if real is None:
        return states
    return torch.cat([first_tokens(states, real)[:, None], states[:, 1:]], 1)
