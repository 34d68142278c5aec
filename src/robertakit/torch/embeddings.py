"""Words, types and positions, summed: what enters the first layer.

Shape letters: B batch, L padded length, T packed tokens, W width.
"""

from torch import Tensor, nn

from robertakit.configuration import RobertaConfig
from robertakit.torch.inputs import default_positions, leading_shape

__all__ = ["RobertaEmbeddings"]


class RobertaEmbeddings(nn.Module):
    """Sum of word, type and, unless positions are relative, position embeddings; LayerNorm, dropout."""

    def __init__(self, config: RobertaConfig) -> None:
        super().__init__()
        pad, width = config.pad_token_id, config.hidden_size
        self.padding_idx = pad
        self.position_embedding_type = config.position_embedding_type
        self.word_embeddings = nn.Embedding(config.vocab_size, width, padding_idx=pad)
        self.position_embeddings = nn.Embedding(config.max_position_embeddings, width, padding_idx=pad)
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, width)
        self.LayerNorm = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(
        self,
        input_ids: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        past_key_values_length: int = 0,
    ) -> Tensor:
        """(B, L) ids or (B, L, W) word embeddings to (B, L, W); packed (T,) or (T, W) where positions are given."""
        if position_ids is None:
            leading_shape(input_ids, inputs_embeds)
            position_ids = default_positions(
                self.padding_idx, input_ids, inputs_embeds, past_key_values_length
            )
        words = self.word_embeddings(input_ids) if inputs_embeds is None else inputs_embeds
        if token_type_ids is None:  # one row for all tokens
            token_type_ids = position_ids.new_zeros(1)
        summed = words + self.token_type_embeddings(token_type_ids)
        if self.position_embedding_type == "absolute":
            summed = summed + self.position_embeddings(position_ids)
        embedded: Tensor = self.dropout(self.LayerNorm(summed))
        return embedded
