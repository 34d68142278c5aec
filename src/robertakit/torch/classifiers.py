"""The models that classify: texts, choices, tokens, and where an answer lies.

Shape letters: B batch, N choices, L padded length, R rows, S sequences, W width, C classes.
"""

import torch
from torch import Tensor, nn

from robertakit.architecture import IGNORED_LABEL
from robertakit.configuration import RobertaConfig
from robertakit.errors import ConfigError
from robertakit.outputs import (
    MultipleChoiceModelOutput,
    QuestionAnsweringModelOutput,
    SequenceClassifierOutput,
    TokenClassifierOutput,
)
from robertakit.torch.encoder import RobertaModel
from robertakit.torch.inputs import (
    flatten_choices,
    leading_shape,
    mask_for_labels,
    packed_tokens,
)
from robertakit.torch.losses import (
    check_token_labels,
    classification_loss,
    cross_entropy,
    span_loss,
    span_positions,
)
from robertakit.torch.pretrained import RobertaPreTrainedModel, as_part
from robertakit.torch.rows import Rows, first_tokens

__all__ = [
    "RobertaClassificationHead",
    "RobertaForMultipleChoice",
    "RobertaForQuestionAnswering",
    "RobertaForSequenceClassification",
    "RobertaForTokenClassification",
]


def _dropout(config: RobertaConfig) -> nn.Dropout:
    """The heads' dropout: `classifier_dropout` where the configuration has one."""
    own = config.classifier_dropout
    return nn.Dropout(config.hidden_dropout_prob if own is None else own)


class RobertaClassificationHead(nn.Module):
    """Dense, tanh and projection of the first token."""

    def __init__(self, config: RobertaConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.dropout = _dropout(config)
        self.out_proj = nn.Linear(config.hidden_size, config.num_labels)

    def forward(self, features: Tensor) -> Tensor:
        """(B, L, W), of which the first token is read, to logits (B, C)."""
        dense = self.dense(self.dropout(features[:, 0]))
        logits: Tensor = self.out_proj(self.dropout(torch.tanh(dense)))
        return logits


class RobertaForSequenceClassification(RobertaPreTrainedModel):
    """The encoder with a head for classes of a text, or for numbers (regression).

    Example:
        >>> import torch
        >>> from robertakit import RobertaConfig
        >>> config = RobertaConfig(
        ...     vocab_size=99, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
        ...     num_labels=3,
        ... )
        >>> out = RobertaForSequenceClassification(config).eval()(torch.tensor([[0, 9, 2]]), labels=torch.tensor([2]))
        >>> tuple(out.logits.shape), out.loss.dim()
        ((1, 3), 0)
    """

    head = "sequence-classification"

    def __init__(self, config: RobertaConfig) -> None:
        super().__init__(config)
        self.num_labels = config.num_labels
        with as_part():
            self.roberta = RobertaModel(config, add_pooling_layer=False)
        self.classifier = RobertaClassificationHead(config)
        self.post_init()

    def score(self, rows: Tensor) -> dict[str, Tensor]:
        """The head on each sequence's first row, (S, W): `logits` (S, C)."""
        return {"logits": self.classifier(rows[:, None])}

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        head_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> SequenceClassifierOutput[Tensor] | tuple[object, ...]:
        """Score the classes of each text.

        Args:
            input_ids: (B, L); see `RobertaModel.forward`, as for all others that are not named here.
            attention_mask: (B, L) or (B, L, L).
            token_type_ids: (B, L).
            position_ids: (B, L).
            head_mask: (H,) or (layers, H).
            inputs_embeds: (B, L, W).
            labels: (B,) classes, or numbers where `config.num_labels` is 1, or (B, C) of several labels or numbers;
                `config.problem_type` says which, or else the first labels do.
            output_attentions: whether to return the maps.
            output_hidden_states: whether to return every layer's states.
            return_dict: False for a tuple.

        Returns:
            `loss` () if there are labels, `logits` (B, C), and what was asked for. With packed attention a row
            without any real token has zeros, and no part in the loss.

        Raises:
            InputError: labels without a class, or of another shape (`BadShape`).
        """
        real = packed_tokens(self.config, attention_mask, head_mask, output_attentions)
        out = self.roberta(
            input_ids,
            attention_mask,
            token_type_ids,
            position_ids,
            head_mask,
            inputs_embeds,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=True,
        )
        states, loss = out.last_hidden_state, None
        if type(self.classifier) is RobertaClassificationHead:
            logits = self.score(first_tokens(states, real))["logits"]
        else:  # somebody's own head may read more than the first token
            logits = self.classifier(states)
        if labels is not None and real is not None and len(labels) == len(logits):
            some = real.any(1)
            loss = classification_loss(self.config, logits[some], labels[some], self.check_inputs)
        elif labels is not None:
            loss = classification_loss(self.config, logits, labels, self.check_inputs)
        if real is not None:
            logits = logits * real.any(1, keepdim=True)
        as_dict = bool(self.config.use_return_dict if return_dict is None else return_dict)
        return SequenceClassifierOutput[Tensor].answer(
            {"loss": loss, "logits": logits} | out, as_dict=as_dict
        )


class RobertaForMultipleChoice(RobertaPreTrainedModel):
    """The model with a head that scores each of several choices; inputs are (B, N, L).

    Example:
        >>> import torch
        >>> from robertakit import RobertaConfig
        >>> config = RobertaConfig(
        ...     vocab_size=99, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32
        ... )
        >>> ids = torch.tensor([[[0, 9, 2], [0, 8, 2]]])
        >>> tuple(RobertaForMultipleChoice(config).eval()(ids).logits.shape)
        (1, 2)
    """

    head = "multiple-choice"

    def __init__(self, config: RobertaConfig) -> None:
        super().__init__(config)
        with as_part():
            self.roberta = RobertaModel(config)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.classifier = nn.Linear(config.hidden_size, 1)
        self.post_init()

    def score(self, rows: Tensor) -> dict[str, Tensor]:
        """The pooler and the head on each choice's first row, (S, W): `logits` (S,)."""
        return {"logits": self._choice_scores(self.roberta.score(rows)["pooler_output"])}

    def _choice_scores(self, pooled: Tensor) -> Tensor:
        scores: Tensor = self.classifier(self.dropout(pooled))[:, 0]
        return scores

    def forward(
        self,
        input_ids: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        position_ids: Tensor | None = None,
        head_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> MultipleChoiceModelOutput[Tensor] | tuple[object, ...]:
        """Score each choice.

        Args:
            input_ids: (B, N, L); see `RobertaModel.forward`, as for all others that are not named here.
            token_type_ids: (B, N, L).
            attention_mask: (B, N, L).
            labels: (B,) the right choice, from 0 to N - 1, or -100.
            position_ids: (B, N, L).
            head_mask: (H,) or (layers, H).
            inputs_embeds: (B, N, L, W).
            output_attentions: whether to return the maps.
            output_hidden_states: whether to return every layer's states.
            return_dict: False for a tuple.

        Returns:
            `loss` () if there are labels, `logits` (B, N), and what was asked for. With packed attention a choice
            without any real token has score 0, and no part in the loss.

        Raises:
            InputError: labels that name no choice, or, with packed attention, a choice without tokens.
        """
        ids = flatten_choices("input_ids", input_ids)
        embeds = flatten_choices("inputs_embeds", inputs_embeds, axes=4)
        mask = flatten_choices("attention_mask", attention_mask)
        leading_shape(ids, embeds)
        given = input_ids if input_ids is not None else inputs_embeds
        assert given is not None
        real = packed_tokens(self.config, mask, head_mask, output_attentions)
        if labels is not None:
            labels = labels.reshape(-1)
            check_token_labels(labels, given.shape[:1], given.shape[1], self.check_inputs)
            if real is not None and mask is not None:
                some = real.any(1).view(given.shape[:2])
                named = labels.clamp(min=0)[:, None]
                hidden = labels.ne(IGNORED_LABEL) & ~some.gather(1, named.long())[:, 0]
                mask = mask_for_labels(self.config, mask, hidden)
                real = packed_tokens(self.config, mask, head_mask, output_attentions)
        out = self.roberta(
            ids,
            mask,
            flatten_choices("token_type_ids", token_type_ids),
            flatten_choices("position_ids", position_ids),
            head_mask,
            embeds,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=True,
        )
        logits = self._choice_scores(out.pooler_output).view(given.shape[:2])
        empty = None if real is None else ~real.any(1).view(given.shape[:2])
        loss = None
        if labels is not None:
            rivals = logits if empty is None else logits.masked_fill(empty, -torch.inf)
            loss = cross_entropy(rivals, labels)
        if empty is not None:
            logits = logits.masked_fill(empty, 0)
        as_dict = bool(self.config.use_return_dict if return_dict is None else return_dict)
        return MultipleChoiceModelOutput[Tensor].answer(
            {"loss": loss, "logits": logits} | out, as_dict=as_dict
        )


class RobertaForTokenClassification(RobertaPreTrainedModel):
    """The encoder with a head for a class of each token.

    Example:
        >>> import torch
        >>> from robertakit import RobertaConfig
        >>> config = RobertaConfig(
        ...     vocab_size=99, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
        ...     num_labels=5,
        ... )
        >>> tuple(RobertaForTokenClassification(config).eval()(torch.tensor([[0, 9, 2]])).logits.shape)
        (1, 3, 5)
    """

    head = "token-classification"

    def __init__(self, config: RobertaConfig) -> None:
        super().__init__(config)
        self.num_labels = config.num_labels
        with as_part():
            self.roberta = RobertaModel(config, add_pooling_layer=False)
        self.dropout = _dropout(config)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        self.post_init()

    def score(self, rows: Tensor) -> dict[str, Tensor]:
        """The head on (..., W): `logits` (..., C)."""
        return {"logits": self.classifier(self.dropout(rows))}

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        head_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> TokenClassifierOutput[Tensor] | tuple[object, ...]:
        """Score the classes of each token.

        Args:
            input_ids: (B, L); see `RobertaModel.forward`, as for all others that are not named here.
            attention_mask: (B, L) or (B, L, L).
            token_type_ids: (B, L).
            position_ids: (B, L).
            head_mask: (H,) or (layers, H).
            inputs_embeds: (B, L, W).
            labels: (B, L) classes, -100 where a token has none.
            output_attentions: whether to return the maps.
            output_hidden_states: whether to return every layer's states.
            return_dict: False for a tuple.

        Returns:
            `loss` () if there are labels, `logits` (B, L, C), and what was asked for.

        Raises:
            InputError: labels without a class, of another shape, or, with packed attention, on hidden tokens.
        """
        if labels is not None:
            shape = leading_shape(input_ids, inputs_embeds)
            check_token_labels(labels, shape, self.config.num_labels, self.check_inputs)
        real = packed_tokens(self.config, attention_mask, head_mask, output_attentions)
        if real is not None and attention_mask is not None and labels is not None:
            attention_mask = mask_for_labels(self.config, attention_mask, labels.ne(IGNORED_LABEL) & ~real)
            real = packed_tokens(self.config, attention_mask, head_mask, output_attentions)
        out = self.roberta(
            input_ids,
            attention_mask,
            token_type_ids,
            position_ids,
            head_mask,
            inputs_embeds,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=True,
        )
        states = out.last_hidden_state
        rows = None if real is None else Rows.of(real)
        logits = self.score(states if rows is None else rows.gather(states))["logits"]
        loss = None
        if labels is not None:
            wanted = labels.flatten() if rows is None else rows.gather(labels)
            loss = cross_entropy(logits.reshape(-1, logits.shape[-1]), wanted)
        fields = {"loss": loss, "logits": logits if rows is None else rows.pad(logits)} | out
        as_dict = bool(self.config.use_return_dict if return_dict is None else return_dict)
        return TokenClassifierOutput[Tensor].answer(fields, as_dict=as_dict)


class RobertaForQuestionAnswering(RobertaPreTrainedModel):
    """The encoder with a head that finds where an answer starts and ends.

    Example:
        >>> import torch
        >>> from robertakit import RobertaConfig
        >>> config = RobertaConfig(
        ...     vocab_size=99, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32
        ... )
        >>> out = RobertaForQuestionAnswering(config).eval()(torch.tensor([[0, 9, 2]]))
        >>> tuple(out.start_logits.shape), tuple(out.end_logits.shape)
        ((1, 3), (1, 3))
    """

    head = "question-answering"

    def __init__(self, config: RobertaConfig) -> None:
        super().__init__(config)
        if config.num_labels != 2:
            raise ConfigError(
                given=f"num_labels={config.num_labels} for question answering",
                expected="2, a start and an end",
            )
        with as_part():
            self.roberta = RobertaModel(config, add_pooling_layer=False)
        self.qa_outputs = nn.Linear(config.hidden_size, config.num_labels)
        self.post_init()

    def score(self, rows: Tensor) -> dict[str, Tensor]:
        """The head on (..., W): `start_logits` and `end_logits` (...)."""
        start, end = self.qa_outputs(rows).unbind(-1)
        return {"start_logits": start.contiguous(), "end_logits": end.contiguous()}

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        head_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        start_positions: Tensor | None = None,
        end_positions: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> QuestionAnsweringModelOutput[Tensor] | tuple[object, ...]:
        """Score each token as an answer's first and as its last.

        Args:
            input_ids: (B, L); see `RobertaModel.forward`, as for all others that are not named here.
            attention_mask: (B, L) or (B, L, L).
            token_type_ids: (B, L).
            position_ids: (B, L).
            head_mask: (H,) or (layers, H).
            inputs_embeds: (B, L, W).
            start_positions: (B,) the first token; negative counts as 0, past the end as none (as the reference).
            end_positions: (B,) the last token.
            output_attentions: whether to return the maps.
            output_hidden_states: whether to return every layer's states.
            return_dict: False for a tuple.

        Returns:
            `loss` () if there are both positions, `start_logits` and `end_logits` (B, L), and what was asked for.
            With packed attention only real tokens compete in the loss.

        Raises:
            InputError: positions that are no integers, or, with packed attention, on hidden tokens.
        """
        batch, length = leading_shape(input_ids, inputs_embeds)
        spans = None
        if start_positions is not None and end_positions is not None:
            spans = (
                span_positions("start_positions", start_positions, batch, length),
                span_positions("end_positions", end_positions, batch, length),
            )
        real = packed_tokens(self.config, attention_mask, head_mask, output_attentions)
        if real is not None and attention_mask is not None and spans is not None:
            attention_mask = mask_for_labels(
                self.config, attention_mask, _on_hidden(torch.stack(spans), real)
            )
            real = packed_tokens(self.config, attention_mask, head_mask, output_attentions)
        out = self.roberta(
            input_ids,
            attention_mask,
            token_type_ids,
            position_ids,
            head_mask,
            inputs_embeds,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=True,
        )
        states = out.last_hidden_state
        rows = None if real is None else Rows.of(real)
        scores = self.score(states if rows is None else rows.gather(states))
        start, end = (x if rows is None else rows.pad(x) for x in scores.values())
        loss = None if spans is None else span_loss(start, end, *spans, real)
        as_dict = bool(self.config.use_return_dict if return_dict is None else return_dict)
        fields = {"loss": loss, "start_logits": start, "end_logits": end} | out
        return QuestionAnsweringModelOutput[Tensor].answer(fields, as_dict=as_dict)


def _on_hidden(positions: Tensor, real: Tensor) -> Tensor:
    """Which positions (2, B) stand on a hidden token of a row that has real ones."""
    inside = positions.clamp(max=real.shape[1] - 1).long()
    kept = real.expand(2, *real.shape).gather(2, inside[..., None])[..., 0]
    return ~kept & positions.lt(real.shape[1]) & real.any(1)
