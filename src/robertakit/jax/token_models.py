"""The models that score every token: its class, and whether an answer starts or ends with it.

Shape letters: B batch, L length, K keys, W width, C classes, H heads.
"""

import jax
from flax import linen as nn

from robertakit.architecture import head_dropout
from robertakit.calls import check_labels
from robertakit.jax.head_module import FlaxRobertaHeadModule, last_rows
from robertakit.jax.inputs import kind_of
from robertakit.jax.layers import dense
from robertakit.jax.losses import cross_entropy, span_loss
from robertakit.jax.pretrained import FlaxRobertaPreTrainedModel
from robertakit.outputs import QuestionAnsweringModelOutput, TokenClassifierOutput

__all__ = [
    "FlaxRobertaForQuestionAnswering",
    "FlaxRobertaForQuestionAnsweringModule",
    "FlaxRobertaForTokenClassification",
    "FlaxRobertaForTokenClassificationModule",
]


class FlaxRobertaForTokenClassificationModule(FlaxRobertaHeadModule):
    """The encoder with a head for a class of each token."""

    def setup(self) -> None:
        """Name the parts."""
        self.roberta = self.backbone()
        self.dropout = nn.Dropout(head_dropout(self.config))
        self.classifier = dense(self.config, self.config.num_labels, self.dtype)

    def score(self, rows: jax.Array) -> dict[str, jax.Array]:
        """The head on (..., W): `logits` (..., C)."""
        return {"logits": self.classifier(rows)}

    def __call__(
        self,
        input_ids: jax.Array | None = None,
        attention_mask: jax.Array | None = None,
        token_type_ids: jax.Array | None = None,
        position_ids: jax.Array | None = None,
        head_mask: jax.Array | None = None,
        inputs_embeds: jax.Array | None = None,
        encoder_hidden_states: jax.Array | None = None,
        encoder_attention_mask: jax.Array | None = None,
        labels: jax.Array | None = None,
        *,
        use_cache: bool = False,
        output_attentions: bool = False,
        output_hidden_states: bool = False,
        deterministic: bool = True,
    ) -> TokenClassifierOutput[jax.Array]:
        """Score the classes of each token.

        Args:
            input_ids: (B, L); see `FlaxRobertaModule`, as for all others that are not named here.
            attention_mask: (B, L) or (B, L, L).
            token_type_ids: (B, L).
            position_ids: (B, L).
            head_mask: (H,) or (layers, H).
            inputs_embeds: (B, L, W).
            encoder_hidden_states: (B, K, W).
            encoder_attention_mask: (B, K).
            labels: (B, L) classes, -100 where a token has none.
            use_cache: of no use to this head.
            output_attentions: whether to return the maps.
            output_hidden_states: whether to return every layer's states.
            deterministic: no dropout.

        Returns:
            `loss` () if there are labels, `logits` (B, L, C), and what was asked for.

        Raises:
            InputError: labels that are no integers, or of another shape (`BadShape`).
        """
        out = self.roberta(
            input_ids,
            attention_mask,
            token_type_ids,
            position_ids,
            head_mask,
            inputs_embeds,
            encoder_hidden_states,
            encoder_attention_mask,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            deterministic=deterministic,
        )
        states, loss = last_rows(out), None
        logits = self.classifier(self.dropout(states, deterministic=deterministic))
        if labels is not None:
            check_labels(
                self.config, "token-classification", {"labels": labels}, states.shape[:2], kind_of=kind_of
            )
            loss = cross_entropy(logits, labels)
        return TokenClassifierOutput(
            loss=loss, logits=logits, hidden_states=out.hidden_states, attentions=out.attentions
        )


class FlaxRobertaForQuestionAnsweringModule(FlaxRobertaHeadModule):
    """The encoder with a head that finds where an answer starts and ends."""

    def setup(self) -> None:
        """Name the parts."""
        self.roberta = self.backbone()
        self.qa_outputs = dense(self.config, self.config.num_labels, self.dtype)

    def score(self, rows: jax.Array) -> dict[str, jax.Array]:
        """The head on (..., W): `start_logits` and `end_logits` (...)."""
        scores = self.qa_outputs(rows)
        return {"start_logits": scores[..., 0], "end_logits": scores[..., 1]}

    def __call__(
        self,
        input_ids: jax.Array | None = None,
        attention_mask: jax.Array | None = None,
        token_type_ids: jax.Array | None = None,
        position_ids: jax.Array | None = None,
        head_mask: jax.Array | None = None,
        inputs_embeds: jax.Array | None = None,
        encoder_hidden_states: jax.Array | None = None,
        encoder_attention_mask: jax.Array | None = None,
        start_positions: jax.Array | None = None,
        end_positions: jax.Array | None = None,
        *,
        use_cache: bool = False,
        output_attentions: bool = False,
        output_hidden_states: bool = False,
        deterministic: bool = True,
    ) -> QuestionAnsweringModelOutput[jax.Array]:
        """Score each token as an answer's first and as its last.

        Args:
            input_ids: (B, L); see `FlaxRobertaModule`, as for all others that are not named here.
            attention_mask: (B, L) or (B, L, L).
            token_type_ids: (B, L).
            position_ids: (B, L).
            head_mask: (H,) or (layers, H).
            inputs_embeds: (B, L, W).
            encoder_hidden_states: (B, K, W).
            encoder_attention_mask: (B, K).
            start_positions: (B,) the first token; negative counts as 0, past the end as none (as the reference).
            end_positions: (B,) the last token.
            use_cache: of no use to this head.
            output_attentions: whether to return the maps.
            output_hidden_states: whether to return every layer's states.
            deterministic: no dropout.

        Returns:
            `loss` () if there are both positions, `start_logits` and `end_logits` (B, L), and what was asked for.

        Raises:
            InputError: positions that are no integers, or of another shape (`BadShape`).
        """
        out = self.roberta(
            input_ids,
            attention_mask,
            token_type_ids,
            position_ids,
            head_mask,
            inputs_embeds,
            encoder_hidden_states,
            encoder_attention_mask,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            deterministic=deterministic,
        )
        states, loss = last_rows(out), None
        scores = self.score(states)
        if start_positions is not None and end_positions is not None:
            ends = {"start_positions": start_positions, "end_positions": end_positions}
            check_labels(self.config, "question-answering", ends, states.shape[:2], kind_of=kind_of)
            loss = span_loss(scores["start_logits"], scores["end_logits"], start_positions, end_positions)
        return QuestionAnsweringModelOutput(
            loss=loss, **scores, hidden_states=out.hidden_states, attentions=out.attentions
        )


class FlaxRobertaForTokenClassification(FlaxRobertaPreTrainedModel):
    """The encoder with a head for a class of each token.

    Example:
        >>> import jax.numpy as jnp
        >>> from robertakit import RobertaConfig
        >>> config = RobertaConfig(
        ...     vocab_size=99, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
        ...     num_labels=5,
        ... )
        >>> FlaxRobertaForTokenClassification(config)(jnp.array([[0, 9, 2]])).logits.shape
        (1, 3, 5)
    """

    head = "token-classification"
    module_class = FlaxRobertaForTokenClassificationModule


class FlaxRobertaForQuestionAnswering(FlaxRobertaPreTrainedModel):
    """The encoder with a head that finds where an answer starts and ends.

    Example:
        >>> import jax.numpy as jnp
        >>> from robertakit import RobertaConfig
        >>> config = RobertaConfig(
        ...     vocab_size=99, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32
        ... )
        >>> out = FlaxRobertaForQuestionAnswering(config)(jnp.array([[0, 9, 2]]))
        >>> out.start_logits.shape, out.end_logits.shape
        ((1, 3), (1, 3))
    """

    head = "question-answering"
    module_class = FlaxRobertaForQuestionAnsweringModule
