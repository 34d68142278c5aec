"""The models that read a sequence's first token: classes of a text, and the best of several choices.

Shape letters: B batch, N choices, L padded length, S sequences, W width, C classes.
"""

import keras
import tensorflow as tf

from robertakit.architecture import head_dropout
from robertakit.calls import check_labels, leading_shape
from robertakit.configuration import RobertaConfig
from robertakit.outputs import MultipleChoiceModelOutput, SequenceClassifierOutput
from robertakit.shapes import shape_of
from robertakit.tensorflow.encoder import TFRobertaMainLayer
from robertakit.tensorflow.inputs import check_label_values, flatten_choices, kind_of
from robertakit.tensorflow.layers import ConfiguredLayer, InitialNormal, sizes
from robertakit.tensorflow.losses import classification_loss, cross_entropy
from robertakit.tensorflow.pretrained import TFRobertaPreTrainedModel

__all__ = ["TFRobertaClassificationHead", "TFRobertaForMultipleChoice", "TFRobertaForSequenceClassification"]


@keras.saving.register_keras_serializable("robertakit")
class TFRobertaClassificationHead(ConfiguredLayer):
    """Dense, tanh and projection of the first token."""

    def __init__(self, config: RobertaConfig, **kwargs: object) -> None:
        super().__init__(config, **kwargs)
        self.dense = self._dense(config.hidden_size, "dense")
        self.dropout = self._dropout(head_dropout(config))
        self.out_proj = self._dense(config.num_labels, "out_proj")

    def build(self, input_shape: object = None) -> None:
        """Make the weights."""
        for dense in (self.dense, self.out_proj):
            dense.build((None, self.config.hidden_size))

    def call(self, features: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """(B, L, W), of which the first token is read, to logits (B, C)."""
        dense = self.dense(self.dropout(features[:, 0], training=training))
        return self.out_proj(self.dropout(tf.tanh(dense), training=training))


class TFRobertaForSequenceClassification(TFRobertaPreTrainedModel):
    """The encoder with a head for classes of a text, or for numbers (regression).

    Example:
        >>> import tensorflow as tf
        >>> from robertakit import RobertaConfig
        >>> config = RobertaConfig(
        ...     vocab_size=99, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
        ...     num_labels=3,
        ... )
        >>> out = TFRobertaForSequenceClassification(config)(tf.constant([[0, 9, 2]]), labels=tf.constant([2]))
        >>> tuple(out.logits.shape), tuple(out.loss.shape)
        ((1, 3), ())
    """

    head = "sequence-classification"

    def __init__(self, config: RobertaConfig, *inputs: object, **kwargs: object) -> None:
        super().__init__(config, *inputs, **kwargs)
        self.num_labels = config.num_labels
        self.roberta = TFRobertaMainLayer(
            config, add_pooling_layer=False, dtype=self.dtype_policy, name="roberta"
        )
        self.classifier = TFRobertaClassificationHead(config, dtype=self.dtype_policy, name="classifier")
        self.post_init()

    def build(self, input_shape: object = None) -> None:
        """Make the weights; their shapes are the configuration's."""
        self.roberta.build(None)
        self.classifier.build(None)

    def score(self, rows: tf.Tensor) -> dict[str, tf.Tensor]:
        """The head on each sequence's first row, (S, W): `logits` (S, C)."""
        return {"logits": self.classifier(rows[:, None])}

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
    ) -> SequenceClassifierOutput[tf.Tensor] | tuple[object, ...]:
        """Score the classes of each text.

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
            labels: (B,) classes, or numbers where `config.num_labels` is 1, or (B, C) of several labels or numbers;
                `config.problem_type` says which, or else the first labels do.
            training: whether dropout is at work.

        Returns:
            `loss` () if there are labels, `logits` (B, C), and what was asked for.

        Raises:
            InputError: labels without a class (in eager use), or of another shape (`BadShape`).
        """
        problem = None
        if labels is not None:
            shape = leading_shape(input_ids, inputs_embeds, kind_of=kind_of)
            problem = check_labels(self.config, self.head, {"labels": labels}, shape, kind_of=kind_of)
            if problem == "single_label_classification":
                check_label_values(labels, self.config.num_labels, self.check_inputs)
            self.config.problem_type = problem  # settled by labels that fit
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
        logits = self.classifier(out.last_hidden_state, training=training)
        loss = None if problem is None else classification_loss(problem, logits, labels)
        as_dict = self.config.use_return_dict if return_dict is None else return_dict
        return SequenceClassifierOutput.answer({"loss": loss, "logits": logits}, out, as_dict=as_dict)


class TFRobertaForMultipleChoice(TFRobertaPreTrainedModel):
    """The model with a head that scores each of several choices; inputs are (B, N, L).

    Example:
        >>> import tensorflow as tf
        >>> from robertakit import RobertaConfig
        >>> config = RobertaConfig(
        ...     vocab_size=99, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32
        ... )
        >>> ids = tf.constant([[[0, 9, 2], [0, 8, 2]]])
        >>> tuple(TFRobertaForMultipleChoice(config)(ids).logits.shape)
        (1, 2)
    """

    head = "multiple-choice"

    def __init__(self, config: RobertaConfig, *inputs: object, **kwargs: object) -> None:
        super().__init__(config, *inputs, **kwargs)
        self.roberta: keras.layers.Layer = TFRobertaMainLayer(config, dtype=self.dtype_policy, name="roberta")
        self.dropout = keras.layers.Dropout(
            config.hidden_dropout_prob, dtype=self.dtype_policy, name="dropout"
        )
        self.classifier = keras.layers.Dense(
            1,
            kernel_initializer=InitialNormal(config.initializer_range),
            dtype=self.dtype_policy,
            name="classifier",
        )
        self.post_init()

    def build(self, input_shape: object = None) -> None:
        """Make the weights; their shapes are the configuration's."""
        self.roberta.build(None)
        self.classifier.build((None, self.config.hidden_size))

    def score(self, rows: tf.Tensor) -> dict[str, tf.Tensor]:
        """The pooler and the head on each choice's first row, (S, W): `logits` (S,)."""
        pooled = self.roberta.pooler(rows[:, None])
        return {"logits": self.classifier(pooled)[:, 0]}

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
    ) -> MultipleChoiceModelOutput[tf.Tensor] | tuple[object, ...]:
        """Score each choice.

        Args:
            input_ids: (B, N, L); see `TFRobertaModel.call`, as for all others that are not named here.
            attention_mask: (B, N, L).
            token_type_ids: (B, N, L).
            position_ids: (B, N, L).
            head_mask: (H,) or (layers, H).
            inputs_embeds: (B, N, L, W).
            output_attentions: whether to return the maps.
            output_hidden_states: whether to return every layer's states.
            return_dict: False for a tuple.
            labels: (B,) the right choice, from 0 to N - 1, or -100.
            training: whether dropout is at work.

        Returns:
            `loss` () if there are labels, `logits` (B, N), and what was asked for.

        Raises:
            InputError: labels that name no choice (in eager use).
        """
        ids = flatten_choices("input_ids", input_ids)
        embeds = flatten_choices("inputs_embeds", inputs_embeds, axes=4)
        leading_shape(ids, embeds, kind_of=kind_of)
        given = inputs_embeds if input_ids is None else input_ids
        if labels is not None:
            shape = shape_of(given)
            check_labels(
                self.config, self.head, {"labels": labels}, (shape or (None, None))[:2], kind_of=kind_of
            )
            check_label_values(labels, sizes(given)[1], self.check_inputs)
        out = self.roberta(
            ids,
            attention_mask=flatten_choices("attention_mask", attention_mask),
            token_type_ids=flatten_choices("token_type_ids", token_type_ids),
            position_ids=flatten_choices("position_ids", position_ids),
            head_mask=head_mask,
            inputs_embeds=embeds,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=True,
            training=training,
        )
        scores = self.classifier(self.dropout(out.pooler_output, training=training))
        logits = tf.reshape(scores, sizes(given)[:2])
        loss = None if labels is None else cross_entropy(logits, tf.reshape(labels, (-1,)))
        as_dict = self.config.use_return_dict if return_dict is None else return_dict
        return MultipleChoiceModelOutput.answer({"loss": loss, "logits": logits}, out, as_dict=as_dict)
