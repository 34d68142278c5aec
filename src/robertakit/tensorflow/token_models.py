"""The models that score every token: its class, and whether an answer starts or ends with it.

Shape letters: B batch, L padded length, W width, C classes.
"""

import keras
import tensorflow as tf

from robertakit.architecture import check_head, head_dropout
from robertakit.calls import check_labels, leading_shape
from robertakit.configuration import RobertaConfig
from robertakit.outputs import QuestionAnsweringModelOutput, TokenClassifierOutput
from robertakit.tensorflow.encoder import TFRobertaMainLayer
from robertakit.tensorflow.inputs import check_label_values, kind_of
from robertakit.tensorflow.layers import InitialNormal
from robertakit.tensorflow.losses import cross_entropy, span_loss, span_positions
from robertakit.tensorflow.pretrained import TFRobertaPreTrainedModel

__all__ = ["TFRobertaForQuestionAnswering", "TFRobertaForTokenClassification"]


class TFRobertaForTokenClassification(TFRobertaPreTrainedModel):
    """The encoder with a head for a class of each token.

    Example:
        >>> import tensorflow as tf
        >>> from robertakit import RobertaConfig
        >>> config = RobertaConfig(
        ...     vocab_size=99, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
        ...     num_labels=5,
        ... )
        >>> tuple(TFRobertaForTokenClassification(config)(tf.constant([[0, 9, 2]])).logits.shape)
        (1, 3, 5)
    """

    head = "token-classification"

    def __init__(self, config: RobertaConfig, *inputs: object, **kwargs: object) -> None:
        super().__init__(config, *inputs, **kwargs)
        self.num_labels = config.num_labels
        self.roberta = TFRobertaMainLayer(
            config, add_pooling_layer=False, dtype=self.dtype_policy, name="roberta"
        )
        self.dropout = keras.layers.Dropout(head_dropout(config), dtype=self.dtype_policy, name="dropout")
        self.classifier = keras.layers.Dense(
            config.num_labels,
            kernel_initializer=InitialNormal(config.initializer_range),
            dtype=self.dtype_policy,
            name="classifier",
        )
        self.post_init()

    def build(self, input_shape: object = None) -> None:
        """Make the weights; their shapes are the configuration's."""
        self.roberta.build(None)
        self.classifier.build((None, None, self.config.hidden_size))

    def score(self, rows: tf.Tensor) -> dict[str, tf.Tensor]:
        """The head on (..., W): `logits` (..., C)."""
        return {"logits": self.classifier(rows)}

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
    ) -> TokenClassifierOutput[tf.Tensor] | tuple[object, ...]:
        """Score the classes of each token.

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
            labels: (B, L) classes, -100 where a token has none.
            training: whether dropout is at work.

        Returns:
            `loss` () if there are labels, `logits` (B, L, C), and what was asked for.

        Raises:
            InputError: labels without a class (in eager use), or of another shape.
        """
        if labels is not None:
            shape = leading_shape(input_ids, inputs_embeds, kind_of=kind_of)
            check_labels(self.config, self.head, {"labels": labels}, shape, kind_of=kind_of)
            check_label_values(labels, self.config.num_labels, self.check_inputs)
        out = self.roberta(
            input_ids,
            attention_mask=attention_mask,
            token_type_ids=token_type_ids,
            position_ids=position_ids,
            head_mask=head_mask,
            inputs_embeds=inputs_embeds,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=True,
            training=training,
        )
        logits = self.classifier(self.dropout(out.last_hidden_state, training=training))
        loss = None if labels is None else cross_entropy(logits, labels)
        as_dict = self.config.use_return_dict if return_dict is None else return_dict
        return TokenClassifierOutput.answer({"loss": loss, "logits": logits}, out, as_dict=as_dict)


class TFRobertaForQuestionAnswering(TFRobertaPreTrainedModel):
    """The encoder with a head that finds where an answer starts and ends.

    Example:
        >>> import tensorflow as tf
        >>> from robertakit import RobertaConfig
        >>> config = RobertaConfig(
        ...     vocab_size=99, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32
        ... )
        >>> out = TFRobertaForQuestionAnswering(config)(tf.constant([[0, 9, 2]]))
        >>> tuple(out.start_logits.shape), tuple(out.end_logits.shape)
        ((1, 3), (1, 3))
    """

    head = "question-answering"

    def __init__(self, config: RobertaConfig, *inputs: object, **kwargs: object) -> None:
        super().__init__(config, *inputs, **kwargs)
        check_head(config, self.head)
        self.roberta = TFRobertaMainLayer(
            config, add_pooling_layer=False, dtype=self.dtype_policy, name="roberta"
        )
        self.qa_outputs = keras.layers.Dense(
            config.num_labels,
            kernel_initializer=InitialNormal(config.initializer_range),
            dtype=self.dtype_policy,
            name="qa_outputs",
        )
        self.post_init()

    def build(self, input_shape: object = None) -> None:
        """Make the weights; their shapes are the configuration's."""
        self.roberta.build(None)
        self.qa_outputs.build((None, None, self.config.hidden_size))

    def score(self, rows: tf.Tensor) -> dict[str, tf.Tensor]:
        """The head on (..., W): `start_logits` and `end_logits` (...)."""
        start, end = tf.unstack(self.qa_outputs(rows), axis=-1)
        return {"start_logits": start, "end_logits": end}

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
        start_positions: tf.Tensor | None = None,
        end_positions: tf.Tensor | None = None,
        training: bool = False,
    ) -> QuestionAnsweringModelOutput[tf.Tensor] | tuple[object, ...]:
        """Score each token as an answer's first and as its last.

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
            start_positions: (B,) the first token; negative counts as 0, past the end as none (as the reference).
            end_positions: (B,) the last token.
            training: whether dropout is at work.

        Returns:
            `loss` () if there are both positions, `start_logits` and `end_logits` (B, L), and what was asked for.

        Raises:
            InputError: positions that are no integers.
        """
        shape = leading_shape(input_ids, inputs_embeds, kind_of=kind_of)
        spans = {"start_positions": start_positions, "end_positions": end_positions}
        check_labels(self.config, self.head, spans, shape, kind_of=kind_of)
        out = self.roberta(
            input_ids,
            attention_mask=attention_mask,
            token_type_ids=token_type_ids,
            position_ids=position_ids,
            head_mask=head_mask,
            inputs_embeds=inputs_embeds,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=True,
            training=training,
        )
        own = self.score(out.last_hidden_state)
        loss = None
        if start_positions is not None and end_positions is not None:
            length = tf.shape(out.last_hidden_state)[1]
            loss = span_loss(*own.values(), *(span_positions(given, length) for given in spans.values()))
        as_dict = self.config.use_return_dict if return_dict is None else return_dict
        return QuestionAnsweringModelOutput.answer({"loss": loss, **own}, out, as_dict=as_dict)
