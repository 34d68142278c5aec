"""The seven documented models of RoBERTa, in NumPy. XLM-RoBERTa's are these with another configuration class.

Each ``forward`` has the documented arguments in the documented order; arrays, lists and CPU tensors are taken.
Shape letters: B batch, L length, W width, V vocabulary, C classes.
"""

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from robertakit.configuration import PretrainedConfig
from robertakit.numpy.activations import gelu
from robertakit.numpy.encoder import pool
from robertakit.numpy.inputs import Past, flatten_choices, read_inputs
from robertakit.numpy.layers import Array, Scope, layer_norm, linear
from robertakit.numpy.losses import causal_lm_loss, classification_loss, span_loss, token_loss
from robertakit.numpy.pretrained import Backbone, OutputT, PreTrainedModel, Weights
from robertakit.outputs import (
    BaseModelOutputWithPoolingAndCrossAttentions,
    CausalLMOutputWithCrossAttentions,
    MaskedLMOutput,
    MultipleChoiceModelOutput,
    QuestionAnsweringModelOutput,
    SequenceClassifierOutput,
    TokenClassifierOutput,
)

__all__ = [
    "RobertaForCausalLM",
    "RobertaForMaskedLM",
    "RobertaForMultipleChoice",
    "RobertaForQuestionAnswering",
    "RobertaForSequenceClassification",
    "RobertaForTokenClassification",
    "RobertaModel",
    "choice_scores",
    "class_logits",
    "lm_logits",
    "span_logits",
    "token_logits",
]


# The heads proper: rows in, scores out. The engine calls them on the rows that it needs.


def lm_logits(scope: Scope, config: PretrainedConfig, rows: Array) -> Array:
    """Scores of every word, (..., W) to (..., V): dense, GELU whatever ``hidden_act`` says, LayerNorm, decoder."""
    head = scope.at("lm_head")
    x = layer_norm(gelu(linear(rows, head.at("dense"))), head.at("layer_norm"), config.layer_norm_eps)
    return scope.note(linear(x, head.at("decoder")), "lm_head")


def class_logits(scope: Scope, first: Array) -> Array:
    """Scores of every class from the first token's rows, (B, W) to (B, C)."""
    head = scope.at("classifier")
    return scope.note(linear(np.tanh(linear(first, head.at("dense"))), head.at("out_proj")), "classifier")


def choice_scores(scope: Scope, backbone: Scope, first: Array) -> Array:
    """One score for each sequence from its first token's row, (B, W) to (B,)."""
    return linear(pool(backbone.at("pooler"), first), scope.at("classifier"))[:, 0]


def token_logits(scope: Scope, rows: Array) -> Array:
    """Scores of every class for each row, (..., W) to (..., C)."""
    return linear(rows, scope.at("classifier"))


def span_logits(scope: Scope, rows: Array) -> tuple[Array, Array]:
    """Scores of being an answer's first and last token, (..., W) to (...) each."""
    scores = linear(rows, scope.at("qa_outputs"))
    return scores[..., 0], scores[..., 1]


# The documented classes.


class RobertaModel(PreTrainedModel[BaseModelOutputWithPoolingAndCrossAttentions[Array]]):
    """The bare model: hidden states, and the pooled first token.

    Args:
        config: sizes and switches.
        add_pooling_layer: whether there is a pooler.
        weights: as for all models; so are dtype and seed.
        dtype: float32 or float64.
        seed: of new weights.

    Example:
        >>> config = PretrainedConfig.families["roberta"](hidden_size=12, num_attention_heads=2, num_hidden_layers=1)
        >>> RobertaModel(config)([[0, 5, 2]]).last_hidden_state.shape
        (1, 3, 12)
    """

    output_class = BaseModelOutputWithPoolingAndCrossAttentions[Array]

    def __init__(
        self,
        config: PretrainedConfig,
        add_pooling_layer: bool = True,
        *,
        weights: Weights | None = None,
        dtype: DTypeLike = np.float32,
        seed: int = 0,
    ) -> None:
        super().__init__(config, weights=weights, dtype=dtype, seed=seed, add_pooling_layer=add_pooling_layer)

    def forward(
        self,
        input_ids: ArrayLike | None = None,
        attention_mask: ArrayLike | None = None,
        token_type_ids: ArrayLike | None = None,
        position_ids: ArrayLike | None = None,
        head_mask: ArrayLike | None = None,
        inputs_embeds: ArrayLike | None = None,
        encoder_hidden_states: ArrayLike | None = None,
        encoder_attention_mask: ArrayLike | None = None,
        past_key_values: Past | None = None,
        use_cache: bool | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> BaseModelOutputWithPoolingAndCrossAttentions[Array]:
        """Compute hidden states (B, L, W) and, with a pooler, the pooled first token (B, W)."""
        scope = self.scope()
        backbone = self.run_backbone(
            scope,
            read_inputs(
                self.config, self.dtype, input_ids, attention_mask, token_type_ids, position_ids, head_mask,
                inputs_embeds, encoder_hidden_states, encoder_attention_mask, past_key_values,
            ),
            use_cache, output_attentions, output_hidden_states,
        )  # fmt: skip
        pooled = pool(scope.at("pooler"), backbone.last[:, 0]) if self.add_pooling_layer else None
        return self.answer(
            backbone,
            return_dict,
            {"last_hidden_state": backbone.last, "pooler_output": pooled},
            keep_none=("pooler_output",),
        )


class RobertaForCausalLM(PreTrainedModel[CausalLMOutputWithCrossAttentions[Array]]):
    """Predicts the next token; with ``is_decoder`` a token sees only those before it."""

    output_class = CausalLMOutputWithCrossAttentions[Array]

    def forward(
        self,
        input_ids: ArrayLike | None = None,
        attention_mask: ArrayLike | None = None,
        token_type_ids: ArrayLike | None = None,
        position_ids: ArrayLike | None = None,
        head_mask: ArrayLike | None = None,
        inputs_embeds: ArrayLike | None = None,
        encoder_hidden_states: ArrayLike | None = None,
        encoder_attention_mask: ArrayLike | None = None,
        labels: ArrayLike | None = None,
        past_key_values: Past | None = None,
        use_cache: bool | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> CausalLMOutputWithCrossAttentions[Array]:
        """Compute logits (B, L, V), and the loss of ``labels`` (B, L): shifted here, and no cache then."""
        scope = self.scope()
        backbone = self.run_backbone(
            scope,
            read_inputs(
                self.config, self.dtype, input_ids, attention_mask, token_type_ids, position_ids, head_mask,
                inputs_embeds, encoder_hidden_states, encoder_attention_mask, past_key_values,
            ),
            use_cache if labels is None else False, output_attentions, output_hidden_states,
        )  # fmt: skip
        logits = lm_logits(scope, self.config, backbone.last)
        loss = None if labels is None else causal_lm_loss(logits, labels)
        return self.answer(backbone, return_dict, {"loss": loss, "logits": logits})


class RobertaForMaskedLM(PreTrainedModel[MaskedLMOutput[Array]]):
    """Predicts masked words."""

    output_class = MaskedLMOutput[Array]

    def forward(
        self,
        input_ids: ArrayLike | None = None,
        attention_mask: ArrayLike | None = None,
        token_type_ids: ArrayLike | None = None,
        position_ids: ArrayLike | None = None,
        head_mask: ArrayLike | None = None,
        inputs_embeds: ArrayLike | None = None,
        encoder_hidden_states: ArrayLike | None = None,
        encoder_attention_mask: ArrayLike | None = None,
        labels: ArrayLike | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> MaskedLMOutput[Array]:
        """Compute logits (B, L, V), and the loss of ``labels`` (B, L), -100 where there is nothing to predict."""
        scope = self.scope()
        backbone = self.run_backbone(
            scope,
            read_inputs(
                self.config, self.dtype, input_ids, attention_mask, token_type_ids, position_ids, head_mask,
                inputs_embeds, encoder_hidden_states, encoder_attention_mask,
            ),
            False, output_attentions, output_hidden_states,
        )  # fmt: skip
        logits = lm_logits(scope, self.config, backbone.last)
        loss = None if labels is None else token_loss(logits, labels)
        return self.answer(backbone, return_dict, {"loss": loss, "logits": logits})


class _Classifier(PreTrainedModel[OutputT]):
    """The backbone as the classification heads call it."""

    def run_classifier(
        self,
        scope: Scope,
        input_ids: ArrayLike | None,
        attention_mask: ArrayLike | None,
        token_type_ids: ArrayLike | None,
        position_ids: ArrayLike | None,
        head_mask: ArrayLike | None,
        inputs_embeds: ArrayLike | None,
        output_attentions: bool | None,
        output_hidden_states: bool | None,
    ) -> Backbone:
        """Compute the backbone of the documented arguments."""
        inputs = read_inputs(
            self.config,
            self.dtype,
            input_ids,
            attention_mask,
            token_type_ids,
            position_ids,
            head_mask,
            inputs_embeds,
        )
        return self.run_backbone(scope, inputs, False, output_attentions, output_hidden_states)


class RobertaForSequenceClassification(_Classifier[SequenceClassifierOutput[Array]]):
    """Classes of a text, or numbers (regression), from its first token."""

    output_class = SequenceClassifierOutput[Array]

    def forward(
        self,
        input_ids: ArrayLike | None = None,
        attention_mask: ArrayLike | None = None,
        token_type_ids: ArrayLike | None = None,
        position_ids: ArrayLike | None = None,
        head_mask: ArrayLike | None = None,
        inputs_embeds: ArrayLike | None = None,
        labels: ArrayLike | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> SequenceClassifierOutput[Array]:
        """Compute logits (B, C), and the loss that ``config.problem_type`` or the labels' kind means."""
        scope = self.scope()
        backbone = self.run_classifier(
            scope, input_ids, attention_mask, token_type_ids, position_ids, head_mask, inputs_embeds,
            output_attentions, output_hidden_states,
        )  # fmt: skip
        logits = class_logits(scope, backbone.last[:, 0])
        loss = None if labels is None else classification_loss(self.config, logits, labels)
        return self.answer(backbone, return_dict, {"loss": loss, "logits": logits})


class RobertaForMultipleChoice(_Classifier[MultipleChoiceModelOutput[Array]]):
    """The best of several choices: inputs are (B, choices, L)."""

    output_class = MultipleChoiceModelOutput[Array]

    def forward(
        self,
        input_ids: ArrayLike | None = None,
        token_type_ids: ArrayLike | None = None,
        attention_mask: ArrayLike | None = None,
        labels: ArrayLike | None = None,
        position_ids: ArrayLike | None = None,
        head_mask: ArrayLike | None = None,
        inputs_embeds: ArrayLike | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> MultipleChoiceModelOutput[Array]:
        """Compute a score for each choice, (B, choices), and the loss of ``labels`` (B,)."""
        scope = self.scope()
        backbone = self.run_classifier(
            scope,
            flatten_choices("input_ids", input_ids),
            flatten_choices("attention_mask", attention_mask),
            flatten_choices("token_type_ids", token_type_ids),
            flatten_choices("position_ids", position_ids),
            head_mask,
            flatten_choices("inputs_embeds", inputs_embeds, axes=4),
            output_attentions,
            output_hidden_states,
        )
        given: NDArray[np.generic] = np.asarray(inputs_embeds if input_ids is None else input_ids)
        logits = choice_scores(scope, self.backbone_scope(scope), backbone.last[:, 0]).reshape(
            given.shape[:2]
        )
        loss = None if labels is None else token_loss(logits, np.asarray(labels).reshape(-1))
        return self.answer(backbone, return_dict, {"loss": loss, "logits": logits})


class RobertaForTokenClassification(_Classifier[TokenClassifierOutput[Array]]):
    """A class for each token."""

    output_class = TokenClassifierOutput[Array]

    def forward(
        self,
        input_ids: ArrayLike | None = None,
        attention_mask: ArrayLike | None = None,
        token_type_ids: ArrayLike | None = None,
        position_ids: ArrayLike | None = None,
        head_mask: ArrayLike | None = None,
        inputs_embeds: ArrayLike | None = None,
        labels: ArrayLike | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> TokenClassifierOutput[Array]:
        """Compute logits (B, L, C), and the loss of ``labels`` (B, L), -100 where a token has none."""
        scope = self.scope()
        backbone = self.run_classifier(
            scope, input_ids, attention_mask, token_type_ids, position_ids, head_mask, inputs_embeds,
            output_attentions, output_hidden_states,
        )  # fmt: skip
        logits = token_logits(scope, backbone.last)
        loss = None if labels is None else token_loss(logits, labels)
        return self.answer(backbone, return_dict, {"loss": loss, "logits": logits})


class RobertaForQuestionAnswering(_Classifier[QuestionAnsweringModelOutput[Array]]):
    """Where in the text the answer starts and ends."""

    output_class = QuestionAnsweringModelOutput[Array]

    def forward(
        self,
        input_ids: ArrayLike | None = None,
        attention_mask: ArrayLike | None = None,
        token_type_ids: ArrayLike | None = None,
        position_ids: ArrayLike | None = None,
        head_mask: ArrayLike | None = None,
        inputs_embeds: ArrayLike | None = None,
        start_positions: ArrayLike | None = None,
        end_positions: ArrayLike | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> QuestionAnsweringModelOutput[Array]:
        """Compute start and end logits (B, L), and, where both positions are given, the loss."""
        scope = self.scope()
        backbone = self.run_classifier(
            scope, input_ids, attention_mask, token_type_ids, position_ids, head_mask, inputs_embeds,
            output_attentions, output_hidden_states,
        )  # fmt: skip
        starts, ends = span_logits(scope, backbone.last)
        loss = None
        if start_positions is not None and end_positions is not None:
            loss = span_loss(starts, ends, start_positions, end_positions)
        own = {"loss": loss, "start_logits": starts, "end_logits": ends}
        return self.answer(backbone, return_dict, own)
