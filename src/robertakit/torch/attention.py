"""Self-attention over padded rows and over packed tokens; the layers around it live in `encoder.py`.

Shape letters: B batch, L padded length, T packed tokens, S sequences, W width, H heads, D head width.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from robertakit.configuration import RobertaConfig

__all__ = ["PackedLayout", "PaddedLayout", "RobertaAttention", "RobertaSelfAttention", "RobertaSelfOutput"]


@dataclass(frozen=True, slots=True)
class PaddedLayout:
    """Rows of equal length, (B, L, W). `keep` (B, 1, 1 or L, L) says which keys a query sees; None: all."""

    keep: Tensor | None = None

    def additive(self, dtype: torch.dtype) -> Tensor | None:
        """The mask as the reference adds it to the scores: a row that sees nothing sees all alike."""
        if self.keep is None:
            return None
        hidden = torch.tensor(torch.finfo(dtype).min, dtype=dtype, device=self.keep.device)
        return torch.where(self.keep, hidden.new_zeros(()), hidden)


@dataclass(frozen=True, slots=True)
class PackedLayout:
    """Sequences end to end, (T, W), in groups of equal length that share one attention call each.

    Attributes:
        groups: (number of sequences, length) of each group.
        order: (T,) rows in the order of the groups, or None where they lie so already.
        inverse: (T,) the way back.
    """

    groups: tuple[tuple[int, int], ...]
    order: Tensor | None = None
    inverse: Tensor | None = None

    @classmethod
    def from_lengths(cls, lengths: list[int], device: torch.device) -> "PackedLayout":
        """Group sequences by length; neighbours that are grouped already are not moved."""
        by_length: dict[int, list[int]] = {}
        for index, length in enumerate(lengths):
            if length:
                by_length.setdefault(length, []).append(index)
        groups = tuple((len(indices), length) for length, indices in by_length.items())
        taken = [index for indices in by_length.values() for index in indices]
        if taken == sorted(taken):
            return cls(groups)
        starts = torch.tensor([0, *lengths]).cumsum(0).tolist()
        order = torch.cat([torch.arange(starts[index], starts[index + 1]) for index in taken])
        return cls(groups, order.to(device), torch.argsort(order).to(device))


class RobertaSelfAttention(nn.Module):
    """Scaled dot-product attention with the heads that pruning left."""

    def __init__(self, config: RobertaConfig, layer: int) -> None:
        super().__init__()
        pruned = len(set(config.pruned_heads.get(layer, ())))
        self.attention_head_size = config.hidden_size // config.num_attention_heads
        self.num_attention_heads = config.num_attention_heads - pruned
        self.all_head_size = self.num_attention_heads * self.attention_head_size
        self.query = nn.Linear(config.hidden_size, self.all_head_size)
        self.key = nn.Linear(config.hidden_size, self.all_head_size)
        self.value = nn.Linear(config.hidden_size, self.all_head_size)
        self.dropout = nn.Dropout(config.attention_probs_dropout_prob)

    def forward(
        self,
        hidden_states: Tensor,
        layout: PaddedLayout | PackedLayout,
        head_mask: Tensor | None = None,
        maps: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Mix values.

        Args:
            hidden_states: (B, L, W) with a padded layout, (T, W) with a packed one.
            layout: which tokens see each other.
            head_mask: factors for the attention maps, broadcast to (B, H, L, L); padded only.
            maps: compute and return the maps; padded only.

        Returns:
            (B, L, H·D) or (T, H·D), and the maps (B, H, L, L) or None.
        """
        split = (*hidden_states.shape[:-1], self.num_attention_heads, self.attention_head_size)
        query, key, value = (
            linear(hidden_states).view(split) for linear in (self.query, self.key, self.value)
        )
        probabilities = None
        if isinstance(layout, PackedLayout):
            context = self._packed(query, key, value, layout)
        elif maps or head_mask is not None:
            context, probabilities = self._eager(query, key, value, layout, head_mask)
        else:
            context = self._sdpa(query, key, value, layout.additive(query.dtype))
        return context.flatten(-2), probabilities if maps else None

    def _sdpa(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, L, H, D) three times to (B, L, H, D)."""
        dropout = self.dropout.p if self.training else 0.0
        query, key, value = (x.transpose(1, 2) for x in (query, key, value))
        return F.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=dropout).transpose(
            1, 2
        )

    def _eager(
        self, query: Tensor, key: Tensor, value: Tensor, layout: PaddedLayout, head_mask: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        query, key, value = (x.transpose(1, 2) for x in (query, key, value))
        scores = query @ key.transpose(-1, -2) * self.attention_head_size**-0.5
        mask = layout.additive(scores.dtype)
        if mask is not None:
            scores = scores + mask
        probabilities = self.dropout(torch.softmax(scores, -1, dtype=_at_least_float32(scores)).to(scores))
        if head_mask is not None:
            probabilities = probabilities * head_mask
        return (probabilities @ value).transpose(1, 2), probabilities

    def _packed(self, query: Tensor, key: Tensor, value: Tensor, layout: PackedLayout) -> Tensor:
        """(T, H, D) three times to (T, H, D): one call for each length."""
        if layout.order is not None:
            query, key, value = query[layout.order], key[layout.order], value[layout.order]
        pieces = []
        start = 0
        for sequences, length in layout.groups:
            stop = start + sequences * length
            shape = (sequences, length, *query.shape[1:])
            grouped = [x[start:stop].reshape(shape) for x in (query, key, value)]
            pieces.append(self._sdpa(*grouped).flatten(0, 1))
            start = stop
        if not pieces:
            return value
        context = torch.cat(pieces) if len(pieces) > 1 else pieces[0]
        return context if layout.inverse is None else context[layout.inverse]


def _at_least_float32(x: Tensor) -> torch.dtype:
    return torch.float64 if x.dtype == torch.float64 else torch.float32


class RobertaSelfOutput(nn.Module):
    """Projection, dropout, residual and LayerNorm behind the attention."""

    def __init__(self, config: RobertaConfig, inner: int) -> None:
        super().__init__()
        self.dense = nn.Linear(inner, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, hidden_states: Tensor, input_tensor: Tensor) -> Tensor:
        """Both (..., ·); returns (..., W)."""
        normalised: Tensor = self.LayerNorm(self.dropout(self.dense(hidden_states)) + input_tensor)
        return normalised


class RobertaAttention(nn.Module):
    """Self-attention and what follows it; `self` is the documented name of the first."""

    def __init__(self, config: RobertaConfig, layer: int) -> None:
        super().__init__()
        self.self = RobertaSelfAttention(config, layer)
        self.output = RobertaSelfOutput(config, self.self.all_head_size)

    def forward(
        self,
        hidden_states: Tensor,
        layout: PaddedLayout | PackedLayout,
        head_mask: Tensor | None = None,
        maps: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """As `RobertaSelfAttention`, but (..., W) out."""
        context, probabilities = self.self(hidden_states, layout, head_mask, maps)
        return self.output(context, hidden_states), probabilities
