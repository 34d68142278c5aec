"""Embeddings, the stack of layers, and the pooler; attention itself lives in `attention.py`.

Shape letters: B batch, L padded length, T packed tokens, W width, H heads. Modules carry the documented names.
"""

import torch
from torch import Tensor, nn

from robertakit.configuration import RobertaConfig
from robertakit.torch.activations import ACTIVATIONS
from robertakit.torch.attention import PackedLayout, PaddedLayout, RobertaAttention, RobertaSelfOutput

__all__ = ["RobertaEmbeddings", "RobertaEncoder", "RobertaLayer", "RobertaPooler", "position_ids"]


def position_ids(input_ids: Tensor, padding_idx: int) -> Tensor:
    """Rows of the position table for (B, L) ids, as `batch.position_ids` makes them in NumPy."""
    real = input_ids.ne(padding_idx).long()
    return real.cumsum(-1) * real + padding_idx


class RobertaEmbeddings(nn.Module):
    """Sum of word, position and type embeddings, LayerNorm, dropout."""

    def __init__(self, config: RobertaConfig) -> None:
        super().__init__()
        pad, width = config.pad_token_id, config.hidden_size
        self.padding_idx = pad
        self.word_embeddings = nn.Embedding(config.vocab_size, width, padding_idx=pad)
        self.position_embeddings = nn.Embedding(config.max_position_embeddings, width, padding_idx=pad)
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, width)
        self.LayerNorm = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(
        self,
        input_ids: Tensor | None,
        position_ids: Tensor,
        token_type_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
    ) -> Tensor:
        """(B, L) or (T,) ids, or (B, L, W) word embeddings, to (..., W)."""
        words = self.word_embeddings(input_ids) if inputs_embeds is None else inputs_embeds
        if token_type_ids is None:  # one row for all tokens
            token_type_ids = position_ids.new_zeros(1)
        embedded: Tensor = self.LayerNorm(
            words + self.token_type_embeddings(token_type_ids) + self.position_embeddings(position_ids)
        )
        return self.dropout(embedded)  # type: ignore[no-any-return]


class RobertaIntermediate(nn.Module):
    """The widening half of the feed-forward network."""

    def __init__(self, config: RobertaConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.intermediate_size)
        self.intermediate_act_fn = ACTIVATIONS[config.hidden_act]

    def forward(self, hidden_states: Tensor) -> Tensor:
        """(..., W) to (..., F)."""
        return self.intermediate_act_fn(self.dense(hidden_states))


class RobertaLayer(nn.Module):
    """Attention, then the feed-forward network."""

    def __init__(self, config: RobertaConfig, layer: int) -> None:
        super().__init__()
        self.attention = RobertaAttention(config, layer)
        self.intermediate = RobertaIntermediate(config)
        self.output = RobertaSelfOutput(config, config.intermediate_size)
        self.chunk_size_feed_forward = config.chunk_size_feed_forward

    def forward(
        self,
        hidden_states: Tensor,
        layout: PaddedLayout | PackedLayout,
        head_mask: Tensor | None = None,
        maps: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """(..., W) to (..., W), and the attention maps (B, H, L, L) or None."""
        attended, probabilities = self.attention(hidden_states, layout, head_mask, maps)
        size = self.chunk_size_feed_forward or attended.shape[-2]
        chunks = [self._feed_forward(chunk) for chunk in attended.split(max(size, 1), -2)]
        return (torch.cat(chunks, -2) if len(chunks) > 1 else chunks[0]), probabilities

    def _feed_forward(self, attended: Tensor) -> Tensor:
        out: Tensor = self.output(self.intermediate(attended), attended)
        return out


class RobertaEncoder(nn.Module):
    """The stack of layers."""

    def __init__(self, config: RobertaConfig) -> None:
        super().__init__()
        self.layer = nn.ModuleList(RobertaLayer(config, i) for i in range(config.num_hidden_layers))

    def forward(
        self,
        hidden_states: Tensor,
        layout: PaddedLayout | PackedLayout,
        head_mask: Tensor | None = None,
        maps: bool = False,
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Run all layers.

        Args:
            hidden_states: (B, L, W), or (T, W) with a packed layout.
            layout: which tokens see each other.
            head_mask: None, or factors with one leading entry for each layer.
            maps: collect the attention maps.

        Returns:
            Hidden states: the input and each layer's output; and the maps, none if not asked for.
        """
        states, collected = [hidden_states], []
        for index, layer in enumerate(self.layer):
            factors = None if head_mask is None else head_mask[index]
            out, probabilities = layer(states[-1], layout, factors, maps)
            states.append(out)
            if maps:
                collected.append(probabilities)
        return states, collected


class RobertaPooler(nn.Module):
    """First token through a dense layer and tanh."""

    def __init__(self, config: RobertaConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, first_tokens: Tensor) -> Tensor:
        """(B, W) to (B, W)."""
        return torch.tanh(self.dense(first_tokens))
