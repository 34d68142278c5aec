"""Attention over padded rows and over an encoder's states; the layers are in `encoder.py`.

Shape letters: B batch, L padded length, K keys, W width, H heads, D head width.
"""

import keras
import tensorflow as tf

from robertakit.architecture import kept_heads
from robertakit.configuration import RobertaConfig
from robertakit.tensorflow.layers import ConfiguredLayer, sizes
from robertakit.tensorflow.relative_positions import relative_scores

__all__ = ["LayerCache", "TFRobertaAttention", "TFRobertaOutput", "TFRobertaSelfAttention"]

#: Key and value (B, H, K, D) of one attention.
LayerCache = tuple[tf.Tensor, tf.Tensor]


@keras.saving.register_keras_serializable("robertakit")
class TFRobertaSelfAttention(ConfiguredLayer):
    """Scaled dot-product attention (Vaswani et al. 2017) with the heads that pruning left.

    Args:
        config: the model's.
        layer: number of the layer.
        cross: whether its keys are an encoder's states; such attention is never pruned and has no relative
            positions.
        **kwargs: Keras' own.
    """

    def __init__(self, config: RobertaConfig, layer: int = 0, cross: bool = False, **kwargs: object) -> None:
        super().__init__(config, **kwargs)
        self.layer, self.cross = layer, cross
        self.pruned_heads = () if cross else tuple(sorted(set(config.pruned_heads.get(layer, ()))))
        self.attention_head_size = config.hidden_size // config.num_attention_heads
        self.num_attention_heads = config.num_attention_heads if cross else kept_heads(config, layer)
        self.all_head_size = self.num_attention_heads * self.attention_head_size
        self.query = self._dense(self.all_head_size, "query")
        self.key = self._dense(self.all_head_size, "key")
        self.value = self._dense(self.all_head_size, "value")
        self.dropout = self._dropout(config.attention_probs_dropout_prob)
        self.distance_embedding = None
        self.with_keys = config.position_embedding_type == "relative_key_query"
        if config.position_embedding_type != "absolute" and not cross:
            self.distances = 2 * config.max_position_embeddings - 1
            self.distance_embedding = self._embedding(
                self.distances, self.attention_head_size, "distance_embedding"
            )

    def build(self, input_shape: object = None) -> None:
        """Make the weights; their shapes are the configuration's."""
        for dense in (self.query, self.key, self.value):
            dense.build((None, None, self.config.hidden_size))
        if self.distance_embedding is not None:
            self.distance_embedding.build(None)

    def call(
        self,
        hidden_states: tf.Tensor,
        keep: tf.Tensor | None = None,
        head_mask: tf.Tensor | None = None,
        past: LayerCache | None = None,
        encoder_states: tf.Tensor | None = None,
        training: bool | None = None,
    ) -> tuple[tf.Tensor, tf.Tensor, LayerCache]:
        """Mix values.

        Args:
            hidden_states: (B, L, W).
            keep: (B, 1, 1 or L, K) bool, which keys a query sees; None: all.
            head_mask: factors for the attention maps, broadcast to (B, H, L, K).
            past: keys and values of earlier tokens, or, of cross-attention, those of the encoder's states.
            encoder_states: (B, K, W), of which keys and values are made in place of `hidden_states`.
            training: whether to drop attention weights.

        Returns:
            (B, L, H·D), the maps (B, H, L, K) after dropout and head mask, and all keys and values.
        """
        query = self._heads(self.query(hidden_states)) * self.attention_head_size**-0.5
        key, value = self._keys_and_values(hidden_states, past, encoder_states)
        scores = tf.matmul(query, key, transpose_b=True)
        if self.distance_embedding is not None:
            table = self.distance_embedding(tf.range(self.distances))
            scaled = key * self.attention_head_size**-0.5 if self.with_keys else key
            scores += relative_scores(query, scaled, table, self.with_keys)
        probabilities = tf.cast(_softmax(scores, keep), value.dtype)
        probabilities = self.dropout(probabilities, training=training)
        if head_mask is not None:
            probabilities *= tf.cast(self._without_pruned(head_mask), probabilities.dtype)
        context = tf.transpose(tf.matmul(probabilities, value), (0, 2, 1, 3))
        batch, length, *_ = sizes(context)
        return tf.reshape(context, (batch, length, self.all_head_size)), probabilities, (key, value)

    def _heads(self, x: tf.Tensor) -> tf.Tensor:
        """(B, L, H·D) to (B, H, L, D)."""
        batch, length, _ = sizes(x)
        split = tf.reshape(x, (batch, length, self.num_attention_heads, self.attention_head_size))
        return tf.transpose(split, (0, 2, 1, 3))

    def _keys_and_values(
        self, hidden_states: tf.Tensor, past: LayerCache | None, encoder_states: tf.Tensor | None
    ) -> LayerCache:
        """Both (B, H, K, D): of the rows and what the cache holds, or of the encoder's states, computed once."""
        if self.cross and past is not None:
            return past
        rows = hidden_states if encoder_states is None else encoder_states
        key, value = self._heads(self.key(rows)), self._heads(self.value(rows))
        if past is None:
            return key, value
        return tf.concat([past[0], key], 2), tf.concat([past[1], value], 2)

    def _without_pruned(self, head_mask: tf.Tensor) -> tf.Tensor:
        """The mask of the heads that are left: users number heads as they were before pruning."""
        if not self.pruned_heads or head_mask.shape[-3] == 1:
            return head_mask
        left = [head for head in range(self.config.num_attention_heads) if head not in self.pruned_heads]
        return tf.gather(head_mask, left, axis=-3)

    def get_config(self) -> dict[str, object]:
        """What the constructor takes."""
        return {**super().get_config(), "layer": self.layer, "cross": self.cross}


def _softmax(scores: tf.Tensor, keep: tf.Tensor | None) -> tf.Tensor:
    """Probabilities in float32 at least; a row that sees nothing sees all alike, as in the reference."""
    scores = scores if scores.dtype == tf.float64 else tf.cast(scores, tf.float32)
    if keep is not None:
        zero = tf.zeros((), scores.dtype)
        scores += tf.where(keep, zero, scores.dtype.min)
    return tf.nn.softmax(scores)


@keras.saving.register_keras_serializable("robertakit")
class TFRobertaOutput(ConfiguredLayer):
    """Projection, dropout, residual and LayerNorm behind attention and behind the feed-forward network."""

    def __init__(self, config: RobertaConfig, inner: int, **kwargs: object) -> None:
        super().__init__(config, **kwargs)
        self.inner = inner
        self.dense = self._dense(config.hidden_size, "dense")
        self.LayerNorm = self._layer_norm("LayerNorm")
        self.dropout = self._dropout(config.hidden_dropout_prob)

    def build(self, input_shape: object = None) -> None:
        """Make the weights."""
        self.dense.build((None, None, self.inner))
        self.LayerNorm.build((None, None, self.config.hidden_size))

    def call(
        self, hidden_states: tf.Tensor, input_tensor: tf.Tensor, training: bool | None = None
    ) -> tf.Tensor:
        """(..., inner) and the residual (..., W); returns (..., W)."""
        dropped = self.dropout(self.dense(hidden_states), training=training)
        return self.LayerNorm(dropped + input_tensor)

    def get_config(self) -> dict[str, object]:
        """What the constructor takes."""
        return {**super().get_config(), "inner": self.inner}


@keras.saving.register_keras_serializable("robertakit")
class TFRobertaAttention(ConfiguredLayer):
    """Attention and what follows it. Keras reserves `output`: the two are `self_attention` and `dense_output`."""

    def __init__(self, config: RobertaConfig, layer: int = 0, cross: bool = False, **kwargs: object) -> None:
        super().__init__(config, **kwargs)
        self.layer, self.cross = layer, cross
        self.self_attention = TFRobertaSelfAttention(
            config, layer, cross, dtype=self.dtype_policy, name="self"
        )
        self.dense_output = TFRobertaOutput(
            config, self.self_attention.all_head_size, dtype=self.dtype_policy, name="output"
        )

    def build(self, input_shape: object = None) -> None:
        """Make the weights."""
        self.self_attention.build(None)
        self.dense_output.build(None)

    def call(
        self,
        hidden_states: tf.Tensor,
        keep: tf.Tensor | None = None,
        head_mask: tf.Tensor | None = None,
        past: LayerCache | None = None,
        encoder_states: tf.Tensor | None = None,
        training: bool | None = None,
    ) -> tuple[tf.Tensor, tf.Tensor, LayerCache]:
        """As `TFRobertaSelfAttention`, but (B, L, W) out."""
        context, probabilities, cache = self.self_attention(
            hidden_states,
            keep=keep,
            head_mask=head_mask,
            past=past,
            encoder_states=encoder_states,
            training=training,
        )
        return self.dense_output(context, hidden_states, training=training), probabilities, cache

    def get_config(self) -> dict[str, object]:
        """What the constructor takes."""
        return {**super().get_config(), "layer": self.layer, "cross": self.cross}
