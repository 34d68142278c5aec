"""The models with a language-modelling head: masked words, and the next word.

Shape letters: B batch, L padded length, K keys, H heads, W width, V vocabulary.
"""

from collections.abc import Mapping
from typing import Self

import keras
import tensorflow as tf

from robertakit.calls import check_labels, leading_shape
from robertakit.configuration import RobertaConfig
from robertakit.outputs import CausalLMOutputWithCrossAttentions, MaskedLMOutput
from robertakit.tensorflow.activations import gelu
from robertakit.tensorflow.encoder import TFRobertaMainLayer
from robertakit.tensorflow.generation import TFGenerationMixin
from robertakit.tensorflow.inputs import Cache, check_label_values, kind_of
from robertakit.tensorflow.layers import ConfiguredLayer
from robertakit.tensorflow.losses import cross_entropy, next_tokens
from robertakit.tensorflow.pretrained import TFRobertaPreTrainedModel

__all__ = ["TFRobertaForCausalLM", "TFRobertaForMaskedLM", "TFRobertaLMHead"]


@keras.saving.register_keras_serializable("robertakit")
class TFRobertaLMHead(ConfiguredLayer):
    """Dense, GELU whatever `hidden_act` says, LayerNorm, then a decoder that may be the word embeddings themselves.

    Args:
        config: sizes and switches.
        input_embeddings: the word embeddings, which `decoder` is; None for a decoder of its own.
        **kwargs: Keras' own.
    """

    def __init__(
        self, config: RobertaConfig, input_embeddings: keras.layers.Embedding | None = None, **kwargs: object
    ) -> None:
        super().__init__(config, **kwargs)
        self.dense = self._dense(config.hidden_size, "dense")
        self.layer_norm = self._layer_norm("layer_norm")
        self.decoder: keras.layers.Layer = (
            self._dense(config.vocab_size, "decoder", use_bias=False)
            if input_embeddings is None
            else input_embeddings
        )

    def build(self, input_shape: object = None) -> None:
        """Make the weights; shared ones are made where the embeddings are."""
        width = self.config.hidden_size
        self.dense.build((None, None, width))
        self.layer_norm.build((None, None, width))
        if not self.decoder.built:
            self.decoder.build((None, None, width))
        self.bias = self.add_weight(name="bias", shape=(self.config.vocab_size,), initializer="zeros")

    def call(self, features: tf.Tensor) -> tf.Tensor:
        """(..., W) to logits (..., V)."""
        x = self.layer_norm(gelu(self.dense(features)))
        if isinstance(self.decoder, keras.layers.Embedding):
            table = tf.cast(self.decoder.embeddings, x.dtype)
            scores = keras.ops.matmul(x, tf.transpose(table))
        else:
            scores = self.decoder(x)
        return scores + tf.cast(self.bias, scores.dtype)

    def get_config(self) -> dict[str, object]:
        """What the constructor takes."""
        shared = isinstance(self.decoder, keras.layers.Embedding)
        table = keras.saving.serialize_keras_object(self.decoder) if shared else None
        return {**super().get_config(), "input_embeddings": table}

    @classmethod
    def from_config(cls, config: Mapping[str, object]) -> Self:
        """The layer that `get_config` describes."""
        table = config["input_embeddings"]
        restored = None if table is None else keras.saving.deserialize_keras_object(table)
        return super().from_config({**config, "input_embeddings": restored})


class _LanguageModel(TFRobertaPreTrainedModel):
    """The backbone and the head; its decoder is the word embeddings unless the config says otherwise."""

    def __init__(self, config: RobertaConfig, *inputs: object, **kwargs: object) -> None:
        super().__init__(config, *inputs, **kwargs)
        self.roberta = TFRobertaMainLayer(
            config, add_pooling_layer=False, dtype=self.dtype_policy, name="roberta"
        )
        shared = self.roberta.embeddings.word_embeddings if config.tie_word_embeddings else None
        self.lm_head = TFRobertaLMHead(config, shared, dtype=self.dtype_policy, name="lm_head")
        self.post_init()

    def build(self, input_shape: object = None) -> None:
        """Make the weights; their shapes are the configuration's."""
        self.roberta.build(None)
        self.lm_head.build(None)

    def score(self, rows: tf.Tensor) -> dict[str, tf.Tensor]:
        """The head on (..., W): `logits` (..., V)."""
        return {"logits": self.lm_head(rows)}

    def _check_labels(
        self, input_ids: tf.Tensor | None, inputs_embeds: tf.Tensor | None, labels: tf.Tensor | None
    ) -> None:
        if labels is None:
            return
        shape = leading_shape(input_ids, inputs_embeds, kind_of=kind_of)
        check_labels(self.config, self.head, {"labels": labels}, shape, kind_of=kind_of)
        check_label_values(labels, self.config.vocab_size, self.check_inputs)


class TFRobertaForMaskedLM(_LanguageModel):
    """The encoder with the head that predicts masked words.

    Example:
        >>> import tensorflow as tf
        >>> from robertakit import RobertaConfig
        >>> config = RobertaConfig(
        ...     vocab_size=99, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32
        ... )
        >>> out = TFRobertaForMaskedLM(config)(tf.constant([[0, 9, 2]]), labels=tf.constant([[-100, 8, -100]]))
        >>> tuple(out.logits.shape), tuple(out.loss.shape)
        ((1, 3, 99), ())
    """

    head = "masked-lm"

    def call(
        self,
        input_ids: tf.Tensor | None = None,
        attention_mask: tf.Tensor | None = None,
        token_type_ids: tf.Tensor | None = None,
        position_ids: tf.Tensor | None = None,
        head_mask: tf.Tensor | None = None,
        inputs_embeds: tf.Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        labels: tf.Tensor | None = None,
        training: bool = False,
    ) -> MaskedLMOutput[tf.Tensor] | tuple[object, ...]:
        """Score the vocabulary at every position.

        Args:
            input_ids: (B, L); see `TFRobertaModel.call`, as for all others that are not named here.
            attention_mask: (B, L) or (B, L, L).
            token_type_ids: (B, L).
            position_ids: (B, L).
            head_mask: (H,) or (layers, H).
            inputs_embeds: (B, L, W).
            output_attentions: whether to return the maps.
            output_hidden_states: whether to return every layer's states.
            return_dict: False for a tuple.
            labels: (B, L) ids to predict, -100 where there is nothing to.
            training: whether dropout is at work.

        Returns:
            `loss` () if there are labels, `logits` (B, L, V), and what was asked for.

        Raises:
            InputError: labels outside the vocabulary (in eager use), or of another shape.
        """
        self._check_labels(input_ids, inputs_embeds, labels)
        out = self.roberta(
            input_ids,
            attention_mask=attention_mask,
            token_type_ids=token_type_ids,
            position_ids=position_ids,
            head_mask=head_mask,
            inputs_embeds=inputs_embeds,
            use_cache=False,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=True,
            training=training,
        )
        logits = self.score(out.last_hidden_state)["logits"]
        loss = None if labels is None else cross_entropy(logits, labels)
        as_dict = self.config.use_return_dict if return_dict is None else return_dict
        return MaskedLMOutput.answer({"loss": loss, "logits": logits}, out, as_dict=as_dict)


class TFRobertaForCausalLM(TFGenerationMixin, _LanguageModel):
    """The model with the head that predicts the next word; with `is_decoder` a token sees only those before it.

    Example:
        >>> import tensorflow as tf
        >>> from robertakit import RobertaConfig
        >>> config = RobertaConfig(
        ...     vocab_size=99, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
        ...     is_decoder=True,
        ... )
        >>> model = TFRobertaForCausalLM(config)
        >>> out = model(tf.constant([[0, 9]]))
        >>> more = model(tf.constant([[8]]), past_key_values=out.past_key_values)
        >>> tuple(more.logits.shape), tuple(more.past_key_values[0][0].shape)
        ((1, 1, 99), (1, 2, 3, 8))
    """

    head = "causal-lm"

    def call(
        self,
        input_ids: tf.Tensor | None = None,
        attention_mask: tf.Tensor | None = None,
        token_type_ids: tf.Tensor | None = None,
        position_ids: tf.Tensor | None = None,
        head_mask: tf.Tensor | None = None,
        inputs_embeds: tf.Tensor | None = None,
        encoder_hidden_states: tf.Tensor | None = None,
        encoder_attention_mask: tf.Tensor | None = None,
        past_key_values: Cache | None = None,
        use_cache: bool | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        labels: tf.Tensor | None = None,
        training: bool = False,
    ) -> CausalLMOutputWithCrossAttentions[tf.Tensor] | tuple[object, ...]:
        """Score the vocabulary for the token behind each position.

        Args:
            input_ids: (B, L); see `TFRobertaModel.call`, as for all others that are not named here.
            attention_mask: (B, L) or (B, L, L); with a cache (B, K).
            token_type_ids: (B, L).
            position_ids: (B, L).
            head_mask: (H,) or (layers, H).
            inputs_embeds: (B, L, W).
            encoder_hidden_states: (B, K, W).
            encoder_attention_mask: (B, K).
            past_key_values: what an earlier call returned.
            use_cache: whether to return `past_key_values`.
            output_attentions: whether to return the maps.
            output_hidden_states: whether to return every layer's states.
            return_dict: False for a tuple.
            labels: (B, L), usually `input_ids`: each token predicts the label behind it; -100 where there is nothing
                to. They switch the cache off.
            training: whether dropout is at work.

        Returns:
            `loss` () if there are labels, `logits` (B, L, V), and what was asked for.

        Raises:
            InputError: labels outside the vocabulary (in eager use), or of another shape.
        """
        self._check_labels(input_ids, inputs_embeds, labels)
        out = self.roberta(
            input_ids,
            attention_mask=attention_mask,
            token_type_ids=token_type_ids,
            position_ids=position_ids,
            head_mask=head_mask,
            inputs_embeds=inputs_embeds,
            encoder_hidden_states=encoder_hidden_states,
            encoder_attention_mask=encoder_attention_mask,
            past_key_values=past_key_values,
            use_cache=use_cache if labels is None else False,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=True,
            training=training,
        )
        logits = self.score(out.last_hidden_state)["logits"]
        loss = None if labels is None else cross_entropy(logits, next_tokens(labels))
        as_dict = self.config.use_return_dict if return_dict is None else return_dict
        return CausalLMOutputWithCrossAttentions.answer(
            {"loss": loss, "logits": logits}, out, as_dict=as_dict
        )
