"""Attention over padded rows, and over an encoder's states; the layers are in `encoder.py`.

Shape letters: B batch, L length, K keys, W width, H heads, D head width.
"""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from robertakit.architecture import kept_heads
from robertakit.configuration import RobertaConfig
from robertakit.jax.cache import new_cache_length
from robertakit.jax.layers import dense, embed, layer_norm, wide
from robertakit.jax.relative_positions import relative_scores

__all__ = ["FlaxRobertaAttention", "FlaxRobertaOutput", "FlaxRobertaSelfAttention"]


class FlaxRobertaSelfAttention(nn.Module):
    """Scaled dot-product attention (Vaswani et al. 2017) with the heads that pruning left.

    Attributes:
        config: the model's.
        layer: number of the layer.
        cross: whether its keys are an encoder's states; such attention is never pruned and has no relative
            positions.
        dtype: of the computation.
    """

    config: RobertaConfig
    layer: int
    cross: bool = False
    dtype: DTypeLike = jnp.float32

    def setup(self) -> None:
        """Name the parts."""
        config = self.config
        self.attention_head_size = config.hidden_size // config.num_attention_heads
        self.num_attention_heads = (
            config.num_attention_heads if self.cross else kept_heads(config, self.layer)
        )
        width = self.num_attention_heads * self.attention_head_size
        self.query = dense(config, width, self.dtype)
        self.key = dense(config, width, self.dtype)
        self.value = dense(config, width, self.dtype)
        self.dropout = nn.Dropout(config.attention_probs_dropout_prob)
        self.relative = config.position_embedding_type != "absolute" and not self.cross
        if self.relative:
            self.distances = 2 * config.max_position_embeddings - 1
            self.distance_embedding = embed(config, self.distances, self.attention_head_size, self.dtype)

    def __call__(
        self,
        hidden_states: jax.Array,
        bias: jax.Array | None = None,
        head_mask: jax.Array | None = None,
        cache_index: jax.Array | None = None,
        encoder_states: jax.Array | None = None,
        output_attentions: bool = False,
        deterministic: bool = True,
    ) -> tuple[jax.Array, jax.Array | None]:
        """Mix values.

        Args:
            hidden_states: (B, L, W).
            bias: added to the scores, broadcast to (B, H, L, K).
            head_mask: factors for the attention maps, broadcast to (B, H, L, K).
            cache_index: tokens in the cache, behind which this call's are put; None: there is no cache.
            encoder_states: (B, K, W), of which keys and values are made in place of `hidden_states`.
            output_attentions: return the maps.
            deterministic: no dropout.

        Returns:
            (B, L, H·D), and the maps (B, H, L, K), after dropout and head mask, or None.
        """
        query = self._heads(self.query(hidden_states))
        if encoder_states is None:
            key, value = self._own(hidden_states, cache_index)
        else:
            key, value = self._cross(encoder_states, cache_index)
        scale = self.attention_head_size**-0.5  # on the queries: scores are the larger array
        scores = wide(jnp.einsum("blhd,bkhd->bhlk", query * scale, key))
        if self.relative:
            with_keys = self.config.position_embedding_type == "relative_key_query"
            table = self.distance_embedding(jnp.arange(self.distances))
            first = 0 if cache_index is None else cache_index
            scores = scores + relative_scores(query, key, table, with_keys, first) * scale
        if bias is not None:
            scores = scores + bias
        probabilities = jax.nn.softmax(scores, axis=-1).astype(self.dtype)
        probabilities = self.dropout(probabilities, deterministic=deterministic)
        if head_mask is not None:
            probabilities = probabilities * self._without_pruned(head_mask).astype(self.dtype)
        context = jnp.einsum("bhlk,bkhd->blhd", probabilities, value)
        return context.reshape(*context.shape[:2], -1), probabilities if output_attentions else None

    def _heads(self, x: jax.Array) -> jax.Array:
        """(..., H·D) to (..., H, D)."""
        return x.reshape(*x.shape[:-1], self.num_attention_heads, self.attention_head_size)

    def _own(self, hidden_states: jax.Array, cache_index: jax.Array | None) -> tuple[jax.Array, jax.Array]:
        """Keys and values (B, K, H, D) of the rows; with a cache those of its whole length, these put in."""
        new = {"cached_key": self.key, "cached_value": self.value}
        known = {name: self._heads(matrix(hidden_states)) for name, matrix in new.items()}
        if cache_index is not None:
            for name, rows in known.items():
                known[name] = jax.lax.dynamic_update_slice_in_dim(
                    self._slots(name, rows), rows, cache_index, axis=1
                )
            self._keep(known)
        return known["cached_key"], known["cached_value"]

    def _cross(self, encoder_states: jax.Array, cache_index: jax.Array | None) -> tuple[jax.Array, jax.Array]:
        """Keys and values (B, K, H, D) of the encoder's states; with a cache they are computed once."""
        if cache_index is not None and self.has_variable("cache", "cached_key"):
            return self.get_variable("cache", "cached_key"), self.get_variable("cache", "cached_value")
        new = {"cached_key": self.key, "cached_value": self.value}
        known = {name: self._heads(matrix(encoder_states)) for name, matrix in new.items()}
        if cache_index is not None:
            self._keep(known)
        return known["cached_key"], known["cached_value"]

    def _slots(self, name: str, rows: jax.Array) -> jax.Array:
        """What the cache holds under a name, or as many zeros as a new one has room for."""
        if self.has_variable("cache", name):
            slots: jax.Array = self.get_variable("cache", name)
            return slots
        length = new_cache_length(self.config, rows.shape[1])
        return jnp.zeros((rows.shape[0], length, *rows.shape[2:]), rows.dtype)

    def _keep(self, known: dict[str, jax.Array]) -> None:
        if self.is_mutable_collection("cache"):  # else the cache is only read
            for name, rows in known.items():
                self.put_variable("cache", name, rows)

    def _without_pruned(self, head_mask: jax.Array) -> jax.Array:
        """The mask of the heads that are left: users number heads as they were before pruning."""
        pruned = () if self.cross else self.config.pruned_heads.get(self.layer, ())
        if not pruned or head_mask.shape[-3] == 1:
            return head_mask
        left = [head for head in range(head_mask.shape[-3]) if head not in pruned]
        return head_mask[..., jnp.array(left), :, :]


class FlaxRobertaOutput(nn.Module):
    """Projection, dropout, residual and LayerNorm behind attention and behind the feed-forward network."""

    config: RobertaConfig
    dtype: DTypeLike = jnp.float32

    def setup(self) -> None:
        """Name the parts."""
        self.dense = dense(self.config, self.config.hidden_size, self.dtype)
        self.LayerNorm = layer_norm(self.config, self.dtype)
        self.dropout = nn.Dropout(self.config.hidden_dropout_prob)

    def __call__(
        self, hidden_states: jax.Array, input_tensor: jax.Array, deterministic: bool = True
    ) -> jax.Array:
        """(..., inner) and the residual (..., W); returns (..., W)."""
        added = self.dropout(self.dense(hidden_states), deterministic=deterministic) + input_tensor
        normalised: jax.Array = self.LayerNorm(added)
        return normalised


class FlaxRobertaAttention(nn.Module):
    """Attention and what follows it; `self` is the documented name of the first."""

    config: RobertaConfig
    layer: int
    cross: bool = False
    dtype: DTypeLike = jnp.float32

    def setup(self) -> None:
        """Name the parts."""
        self.self = FlaxRobertaSelfAttention(self.config, self.layer, self.cross, self.dtype)
        self.output = FlaxRobertaOutput(self.config, self.dtype)

    def __call__(
        self,
        hidden_states: jax.Array,
        bias: jax.Array | None = None,
        head_mask: jax.Array | None = None,
        cache_index: jax.Array | None = None,
        encoder_states: jax.Array | None = None,
        output_attentions: bool = False,
        deterministic: bool = True,
    ) -> tuple[jax.Array, jax.Array | None]:
        """As `FlaxRobertaSelfAttention`, but (..., W) out."""
        context, probabilities = self.self(
            hidden_states, bias, head_mask, cache_index, encoder_states, output_attentions, deterministic
        )
        return self.output(context, hidden_states, deterministic), probabilities
