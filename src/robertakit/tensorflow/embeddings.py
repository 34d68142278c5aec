"""Words, types and positions, summed: what enters the first layer.

Shape letters: B batch, L padded length, W width.
"""

import keras
import tensorflow as tf

from robertakit.calls import leading_shape
from robertakit.configuration import RobertaConfig
from robertakit.tensorflow.inputs import default_positions, kind_of
from robertakit.tensorflow.layers import ConfiguredLayer

__all__ = ["TFRobertaEmbeddings"]


@keras.saving.register_keras_serializable("robertakit")
class TFRobertaEmbeddings(ConfiguredLayer):
    """Sum of word, type and, unless positions are relative, position embeddings; LayerNorm, dropout."""

    def __init__(self, config: RobertaConfig, **kwargs: object) -> None:
        super().__init__(config, **kwargs)
        pad, width = config.pad_token_id, config.hidden_size
        self.padding_idx = pad
        self.position_embedding_type = config.position_embedding_type
        self.word_embeddings = self._embedding(config.vocab_size, width, "word_embeddings", pad)
        self.position_embeddings = self._embedding(
            config.max_position_embeddings, width, "position_embeddings", pad
        )
        self.token_type_embeddings = self._embedding(config.type_vocab_size, width, "token_type_embeddings")
        self.LayerNorm = self._layer_norm("LayerNorm")
        self.dropout = self._dropout(config.hidden_dropout_prob)

    def build(self, input_shape: object = None) -> None:
        """Make the weights."""
        for table in (self.word_embeddings, self.position_embeddings, self.token_type_embeddings):
            table.build(None)
        self.LayerNorm.build((None, None, self.config.hidden_size))

    def call(
        self,
        input_ids: tf.Tensor | None = None,
        token_type_ids: tf.Tensor | None = None,
        position_ids: tf.Tensor | None = None,
        inputs_embeds: tf.Tensor | None = None,
        past_key_values_length: int | tf.Tensor = 0,
        training: bool | None = None,
    ) -> tf.Tensor:
        """(B, L) ids or (B, L, W) word embeddings to (B, L, W)."""
        if position_ids is None:
            leading_shape(input_ids, inputs_embeds, kind_of=kind_of)
            position_ids = default_positions(
                self.padding_idx, input_ids, inputs_embeds, past_key_values_length
            )
        words = self.word_embeddings(input_ids) if inputs_embeds is None else inputs_embeds
        if token_type_ids is None:  # one row for all tokens
            token_type_ids = tf.zeros((1,), tf.int32)
        summed = words + self.token_type_embeddings(token_type_ids)
        if self.position_embedding_type == "absolute":
            summed += self.position_embeddings(position_ids)
        return self.dropout(self.LayerNorm(summed), training=training)
