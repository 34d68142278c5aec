"""The models that read a sequence's first token: classes of a text, and the best of several choices.

Shape letters: B batch, N choices, L length, S sequences, W width, C classes, H heads.
"""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from robertakit.architecture import head_dropout
from robertakit.calls import check_labels
from robertakit.configuration import RobertaConfig
from robertakit.jax.head_module import FlaxRobertaHeadModule, last_rows
from robertakit.jax.inputs import flatten_choices, kind_of
from robertakit.jax.layers import dense
from robertakit.jax.losses import classification_loss, cross_entropy
from robertakit.jax.pretrained import FlaxRobertaPreTrainedModel
from robertakit.outputs import MultipleChoiceModelOutput, SequenceClassifierOutput

__all__ = [
    "FlaxRobertaClassificationHead",
    "FlaxRobertaForMultipleChoice",
    "FlaxRobertaForMultipleChoiceModule",
    "FlaxRobertaForSequenceClassification",
    "FlaxRobertaForSequenceClassificationModule",
]


class FlaxRobertaClassificationHead(nn.Module):
    """Dense, tanh and projection of the first token."""

    config: RobertaConfig
    dtype: DTypeLike = jnp.float32

    def setup(self) -> None:
        """Name the parts."""
        self.dense = dense(self.config, self.config.hidden_size, self.dtype)
        self.dropout = nn.Dropout(head_dropout(self.config))
        self.out_proj = dense(self.config, self.config.num_labels, self.dtype)

    def __call__(self, features: jax.Array, deterministic: bool = True) -> jax.Array:
        """(B, L, W), of which the first token is read, to logits (B, C)."""
        hidden = self.dense(self.dropout(features[:, 0], deterministic=deterministic))
        return self.out_proj(self.dropout(jnp.tanh(hidden), deterministic=deterministic))


class FlaxRobertaForSequenceClassificationModule(FlaxRobertaHeadModule):
    """The encoder with a head for classes of a text, or for numbers (regression)."""

    def setup(self) -> None:
        """Name the parts."""
        self.roberta = self.backbone()
        self.classifier = FlaxRobertaClassificationHead(self.config, self.dtype)

    def score(self, rows: jax.Array) -> dict[str, jax.Array]:
        """The head on each sequence's first row, (S, W): `logits` (S, C)."""
        return {"logits": self.classifier(rows[:, None])}

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
    ) -> SequenceClassifierOutput[jax.Array]:
        """Score the classes of each text.

        Args:
            input_ids: (B, L); see `FlaxRobertaModule`, as for all others that are not named here.
            attention_mask: (B, L) or (B, L, L).
            token_type_ids: (B, L).
            position_ids: (B, L).
            head_mask: (H,) or (layers, H).
            inputs_embeds: (B, L, W).
            encoder_hidden_states: (B, K, W).
            encoder_attention_mask: (B, K).
            labels: (B,) classes, or numbers where `config.num_labels` is 1, or (B, C) of several labels or numbers;
                `config.problem_type` says which, or else the labels of each call do: a module changes nothing.
            use_cache: of no use to this head.
            output_attentions: whether to return the maps.
            output_hidden_states: whether to return every layer's states.
            deterministic: no dropout.

        Returns:
            `loss` () if there are labels, `logits` (B, C), and what was asked for.

        Raises:
            InputError: labels of another kind, or shape (`BadShape`).
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
        logits = self.classifier(states, deterministic)
        if labels is not None:
            kind = check_labels(
                self.config,
                "sequence-classification",
                {"labels": labels},
                states.shape[:2],
                kind_of=kind_of,
            )
            loss = classification_loss(kind, logits, labels)
        return SequenceClassifierOutput(
            loss=loss, logits=logits, hidden_states=out.hidden_states, attentions=out.attentions
        )


class FlaxRobertaForMultipleChoiceModule(FlaxRobertaHeadModule):
    """The model with a head that scores each of several choices; inputs are (B, N, L)."""

    def setup(self) -> None:
        """Name the parts."""
        self.roberta = self.backbone(add_pooling_layer=True)
        self.dropout = nn.Dropout(self.config.hidden_dropout_prob)
        self.classifier = dense(self.config, 1, self.dtype)

    def score(self, rows: jax.Array) -> dict[str, jax.Array]:
        """The pooler and the head on each choice's first row, (S, W): `logits` (S,)."""
        return {"logits": self.classifier(self.roberta.score(rows)["pooler_output"])[:, 0]}

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
    ) -> MultipleChoiceModelOutput[jax.Array]:
        """Score each choice.

        Args:
            input_ids: (B, N, L); see `FlaxRobertaModule`, as for all others that are not named here.
            attention_mask: (B, N, L).
            token_type_ids: (B, N, L).
            position_ids: (B, N, L).
            head_mask: (H,) or (layers, H).
            inputs_embeds: (B, N, L, W).
            encoder_hidden_states: (B·N, K, W).
            encoder_attention_mask: (B·N, K).
            labels: (B,) the right choice, from 0 to N - 1, or -100.
            use_cache: of no use to this head.
            output_attentions: whether to return the maps.
            output_hidden_states: whether to return every layer's states.
            deterministic: no dropout.

        Returns:
            `loss` () if there are labels, `logits` (B, N), and what was asked for.

        Raises:
            InputError: labels that are no integers, or of another shape (`BadShape`).
        """
        ids = flatten_choices("input_ids", input_ids)
        embeds = flatten_choices("inputs_embeds", inputs_embeds, axes=4)
        out = self.roberta(
            ids,
            flatten_choices("attention_mask", attention_mask),
            flatten_choices("token_type_ids", token_type_ids),
            flatten_choices("position_ids", position_ids),
            head_mask,
            embeds,
            encoder_hidden_states,
            encoder_attention_mask,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            deterministic=deterministic,
        )
        given = input_ids if input_ids is not None else inputs_embeds
        assert given is not None  # the backbone has raised else
        pooled = self.dropout(out.pooler_output, deterministic=deterministic)
        logits, loss = self.classifier(pooled).reshape(given.shape[:2]), None
        if labels is not None:
            check_labels(self.config, "multiple-choice", {"labels": labels}, given.shape[:2], kind_of=kind_of)
            loss = cross_entropy(logits, labels.reshape(-1))
        return MultipleChoiceModelOutput(
            loss=loss, logits=logits, hidden_states=out.hidden_states, attentions=out.attentions
        )


class FlaxRobertaForSequenceClassification(FlaxRobertaPreTrainedModel):
    """The encoder with a head for classes of a text, or for numbers (regression).

    Example:
        >>> import jax.numpy as jnp
        >>> from robertakit import RobertaConfig
        >>> config = RobertaConfig(
        ...     vocab_size=99, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
        ...     num_labels=3,
        ... )
        >>> out = FlaxRobertaForSequenceClassification(config)(jnp.array([[0, 9, 2]]), labels=jnp.array([2]))
        >>> out.logits.shape, out.loss.shape
        ((1, 3), ())
    """

    head = "sequence-classification"
    module_class = FlaxRobertaForSequenceClassificationModule


class FlaxRobertaForMultipleChoice(FlaxRobertaPreTrainedModel):
    """The model with a head that scores each of several choices; inputs are (B, N, L).

    Example:
        >>> import jax.numpy as jnp
        >>> from robertakit import RobertaConfig
        >>> config = RobertaConfig(
        ...     vocab_size=99, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32
        ... )
        >>> FlaxRobertaForMultipleChoice(config)(jnp.array([[[0, 9, 2], [0, 8, 2]]])).logits.shape
        (1, 2)
    """

    head = "multiple-choice"
    module_class = FlaxRobertaForMultipleChoiceModule
