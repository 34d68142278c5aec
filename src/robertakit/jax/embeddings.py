"""Words, types and positions, summed: what enters the first layer.

Shape letters: B batch, L length, W width.
"""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from robertakit.configuration import RobertaConfig
from robertakit.jax.layers import embed, layer_norm

__all__ = ["FlaxRobertaEmbeddings"]


class FlaxRobertaEmbeddings(nn.Module):
    """Sum of word, type and, unless positions are relative, position embeddings; LayerNorm, dropout.

    As PyTorch's `padding_idx` has it, looking up the row of padding gives that row no gradient.
    """

    config: RobertaConfig
    dtype: DTypeLike = jnp.float32

    def setup(self) -> None:
        """Name the parts."""
        config = self.config
        pad, width = config.pad_token_id, config.hidden_size
        self.word_embeddings = embed(config, config.vocab_size, width, self.dtype, padding_idx=pad)
        self.token_type_embeddings = embed(config, config.type_vocab_size, width, self.dtype)
        if config.position_embedding_type == "absolute":
            self.position_embeddings = embed(
                config, config.max_position_embeddings, width, self.dtype, padding_idx=pad
            )
        self.LayerNorm = layer_norm(config, self.dtype)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def __call__(
        self,
        input_ids: jax.Array | None,
        token_type_ids: jax.Array | None,
        position_ids: jax.Array,
        inputs_embeds: jax.Array | None = None,
        deterministic: bool = True,
    ) -> jax.Array:
        """(B, L) ids or (B, L, W) word embeddings to (B, L, W); positions (B, L) or (1, L)."""
        if inputs_embeds is not None:
            summed = jnp.asarray(inputs_embeds, self.dtype)
        else:
            assert input_ids is not None
            summed = self._look_up(self.word_embeddings, input_ids)
        if token_type_ids is None:  # one row for all tokens
            token_type_ids = jnp.zeros((1, 1), jnp.int32)
        summed = summed + self.token_type_embeddings(token_type_ids)
        if self.config.position_embedding_type == "absolute":
            summed = summed + self._look_up(self.position_embeddings, position_ids)
        embedded: jax.Array = self.dropout(self.LayerNorm(summed), deterministic=deterministic)
        return embedded

    def _look_up(self, table: nn.Embed, ids: jax.Array) -> jax.Array:
        rows = table(ids)
        padding = (ids == self.config.pad_token_id)[..., None]
        return jnp.where(padding, jax.lax.stop_gradient(rows), rows)
