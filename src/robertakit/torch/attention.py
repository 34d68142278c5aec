"""Attention over padded rows, over packed tokens, and over an encoder's states; the layers are in `encoder.py`.

Shape letters: B batch, L padded length, K keys, T packed tokens, S sequences, W width, H heads, D head width.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from robertakit.architecture import kept_heads
from robertakit.configuration import RobertaConfig
from robertakit.errors import ArgumentError
from robertakit.torch.cache import DynamicCache
from robertakit.torch.linear import linear
from robertakit.torch.packed_attention import packed_attention
from robertakit.torch.relative_positions import relative_scores

__all__ = [
    "EVERYTHING",
    "Layout",
    "PackedLayout",
    "PaddedLayout",
    "RobertaAttention",
    "RobertaOutput",
    "RobertaSelfAttention",
]


@dataclass(frozen=True, slots=True)
class PaddedLayout:
    """Rows of equal length, (B, L, W).

    Attributes:
        keep: (B, 1, 1 or L, K) bool, which keys a query sees; None: all.
        eager: whether to compute the scores step by step, as the reference's `"eager"`.
    """

    keep: Tensor | None = None
    eager: bool = False

    def additive(self, dtype: torch.dtype) -> Tensor | None:
        """The mask as the reference adds it to the scores: a row that sees nothing sees all alike."""
        if self.keep is None:
            return None
        return torch.zeros_like(self.keep, dtype=dtype).masked_fill(~self.keep, torch.finfo(dtype).min)

    def to(self, device: torch.device, non_blocking: bool = False) -> "PaddedLayout":
        """The same on another device: where layers lie on several, their inputs are moved."""
        keep = None if self.keep is None else self.keep.to(device, non_blocking=non_blocking)
        return PaddedLayout(keep, self.eager)


@dataclass(frozen=True, slots=True)
class PackedLayout:
    """Sequences end to end, (T, W): sequence s has the rows from `cumulative_lengths[s]` up to `[s + 1]`."""

    cumulative_lengths: Tensor

    def to(self, device: torch.device, non_blocking: bool = False) -> "PackedLayout":
        """Itself: lengths lie on the processor, which plans."""
        return self


Layout = PaddedLayout | PackedLayout
#: Every token sees every other.
EVERYTHING = PaddedLayout()


class RobertaSelfAttention(nn.Module):
    """Scaled dot-product attention (Vaswani et al. 2017) with the heads that pruning left.

    Args:
        config: the model's.
        layer: number of the layer.
        cross: whether its keys are an encoder's states; such attention is never pruned and has no relative
            positions.
    """

    def __init__(self, config: RobertaConfig, layer: int, cross: bool = False) -> None:
        super().__init__()
        self.layer = layer
        self.pruned_heads = set() if cross else set(config.pruned_heads.get(layer, ()))
        self.attention_head_size = config.hidden_size // config.num_attention_heads
        self.num_attention_heads = config.num_attention_heads if cross else kept_heads(config, layer)
        self.all_head_size = self.num_attention_heads * self.attention_head_size
        self.query = nn.Linear(config.hidden_size, self.all_head_size)
        self.key = nn.Linear(config.hidden_size, self.all_head_size)
        self.value = nn.Linear(config.hidden_size, self.all_head_size)
        self.dropout = nn.Dropout(config.attention_probs_dropout_prob)
        self.distance_embedding: nn.Embedding | None = None
        self.with_keys = config.position_embedding_type == "relative_key_query"
        if config.position_embedding_type != "absolute" and not cross:
            self.distances = 2 * config.max_position_embeddings - 1
            self.distance_embedding = nn.Embedding(self.distances, self.attention_head_size)

    def forward(
        self,
        hidden_states: Tensor,
        layout: Layout = EVERYTHING,
        head_mask: Tensor | None = None,
        cache: DynamicCache | None = None,
        output_attentions: bool = False,
        encoder_states: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Mix values.

        Args:
            hidden_states: (B, L, W) with a padded layout, (T, W) with a packed one.
            layout: which tokens see each other.
            head_mask: factors for the attention maps, broadcast to (B, H, L, K); padded only.
            cache: earlier keys and values, to which this call's are added; padded only.
            output_attentions: compute and return the maps; padded only.
            encoder_states: (B, K, W), of which keys and values are made in place of `hidden_states`.

        Returns:
            (B, L, H·D) or (T, H·D), and the maps (B, H, L, K), after dropout and head mask, or None.
        """
        query = self._heads(linear(self.query, hidden_states))
        if isinstance(layout, PackedLayout):
            key, value = (self._heads(linear(layer, hidden_states)) for layer in (self.key, self.value))
            context = packed_attention(
                query,
                key,
                value,
                layout.cumulative_lengths,
                self._dropped(),
                self._table(query.device),
                self.with_keys,
            )
            return context.flatten(-2), None
        query = query.transpose(1, 2)
        key, value = self._keys_and_values(hidden_states, cache, encoder_states)
        if layout.eager or output_attentions or head_mask is not None:
            context, probabilities = self._eager(query, key, value, layout, head_mask)
        else:
            context, probabilities = self._sdpa(query, key, value, layout), None
        return context.transpose(1, 2).flatten(-2), probabilities if output_attentions else None

    def _dropped(self) -> float:
        """The share of attention weights that the dropout module drops now."""
        module: nn.Module = self.dropout
        return module.p if isinstance(module, nn.Dropout) and module.training else 0.0

    def _table(self, device: torch.device) -> Tensor | None:
        """All rows of the table of relative positions, by way of the module: it may be hooked or replaced."""
        if self.distance_embedding is None:
            return None
        table: Tensor = self.distance_embedding(torch.arange(self.distances, device=device))
        return table

    def _heads(self, x: Tensor) -> Tensor:
        """(..., H·D) to (..., H, D)."""
        return x.view(*x.shape[:-1], self.num_attention_heads, self.attention_head_size)

    def _keys_and_values(
        self, hidden_states: Tensor, cache: DynamicCache | None, encoder_states: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Both (B, H, K, D): of the rows and what the cache holds, or of the encoder's states, computed once."""
        if encoder_states is not None and cache is not None:
            known = cache.cross(self.layer)
            if known is not None:
                return known
        rows = hidden_states if encoder_states is None else encoder_states
        key, value = (self._heads(linear(layer, rows)).transpose(1, 2) for layer in (self.key, self.value))
        if cache is None:
            return key, value
        if encoder_states is None:
            return cache.update(key, value, self.layer)
        cache.set_cross(key, value, self.layer)
        return key, value

    def _added(self, query: Tensor, key: Tensor, layout: PaddedLayout) -> Tensor | None:
        """What is added to the scaled scores, broadcast to (B, H, L, K): relative positions and the mask."""
        mask = layout.additive(query.dtype)
        table = self._table(query.device)
        if table is None:
            return mask
        relative = relative_scores(query, key, table, self.with_keys)
        relative = relative.mul(self.attention_head_size**-0.5)
        return relative if mask is None else relative + mask

    def _sdpa(self, query: Tensor, key: Tensor, value: Tensor, layout: PaddedLayout) -> Tensor:
        added = self._added(query, key, layout)
        return F.scaled_dot_product_attention(query, key, value, attn_mask=added, dropout_p=self._dropped())

    def _eager(
        self, query: Tensor, key: Tensor, value: Tensor, layout: PaddedLayout, head_mask: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        scores = query @ key.transpose(-1, -2) * self.attention_head_size**-0.5
        added = self._added(query, key, layout)
        if added is not None:
            scores = scores + added
        wide = torch.float64 if scores.dtype == torch.float64 else torch.float32
        probabilities = self.dropout(torch.softmax(scores, -1, dtype=wide).to(value.dtype))
        if head_mask is not None:
            probabilities = probabilities * self._without_pruned(head_mask).to(probabilities.dtype)
        return probabilities @ value, probabilities

    def _without_pruned(self, head_mask: Tensor) -> Tensor:
        """The mask of the heads that are left: users number heads as they were before pruning."""
        if not self.pruned_heads or head_mask.shape[-3] == 1:
            return head_mask
        left = [head for head in range(head_mask.shape[-3]) if head not in self.pruned_heads]
        return head_mask[..., left, :, :]


class RobertaOutput(nn.Module):
    """Projection, dropout, residual and LayerNorm behind attention and behind the feed-forward network."""

    def __init__(self, config: RobertaConfig, inner: int) -> None:
        super().__init__()
        self.dense = nn.Linear(inner, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, hidden_states: Tensor, input_tensor: Tensor) -> Tensor:
        """(..., inner) and the residual (..., W); returns (..., W)."""
        normalised: Tensor = self.LayerNorm(self.dropout(linear(self.dense, hidden_states)) + input_tensor)
        return normalised


class RobertaAttention(nn.Module):
    """Attention and what follows it; `self` is the documented name of the first."""

    def __init__(self, config: RobertaConfig, layer: int, cross: bool = False) -> None:
        super().__init__()
        self.self = RobertaSelfAttention(config, layer, cross)
        self.output = RobertaOutput(config, self.self.all_head_size)

    def forward(
        self,
        hidden_states: Tensor,
        layout: Layout = EVERYTHING,
        head_mask: Tensor | None = None,
        cache: DynamicCache | None = None,
        output_attentions: bool = False,
        encoder_states: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """As `RobertaSelfAttention`, but (..., W) out."""
        context, probabilities = self.self(
            hidden_states, layout, head_mask, cache, output_attentions, encoder_states
        )
        return self.output(context, hidden_states), probabilities

    @torch.no_grad()
    def prune_heads(self, heads: Iterable[int]) -> None:
        """Cut heads out of this layer.

        Args:
            heads: by their numbers before any pruning; what is cut already is passed over.

        Raises:
            ArgumentError: a head that the layer never had.
        """
        inner = self.self
        asked, total = set(heads), inner.num_attention_heads + len(inner.pruned_heads)
        if unknown := sorted(asked - set(range(total))):
            raise ArgumentError(given=f"the head {unknown[0]}", expected=f"0 to {total - 1}")
        left = [head for head in range(total) if head not in inner.pruned_heads]
        kept = [index for index, head in enumerate(left) if head not in asked]
        if len(kept) == len(left):
            return
        width = inner.attention_head_size
        rows = torch.tensor([head * width + i for head in kept for i in range(width)], dtype=torch.long)
        for module in (inner.query, inner.key, inner.value):
            _keep(module, rows, 0)
        _keep(self.output.dense, rows, 1)
        inner.pruned_heads |= asked
        inner.num_attention_heads = len(kept)
        inner.all_head_size = len(rows)


def _keep(linear: nn.Linear, kept: Tensor, axis: int) -> None:
    """Keep some outputs (axis 0) or inputs (axis 1) of a linear layer; the module stays the same object."""
    weight, kept = linear.weight, kept.to(linear.weight.device)
    linear.weight = nn.Parameter(weight.index_select(axis, kept), requires_grad=weight.requires_grad)
    if axis == 1:
        linear.in_features = len(kept)
        return
    linear.out_features = len(kept)
    linear.bias = nn.Parameter(linear.bias.index_select(0, kept), requires_grad=linear.bias.requires_grad)
