"""The models that read a sequence's first token: classes of a text, and the best of several choices.

Shape letters: B batch, N choices, L padded length, S sequences, W width, C classes.
"""

import torch
from torch import Tensor, nn

from robertakit.architecture import IGNORED_LABEL, head_dropout
from robertakit.configuration import RobertaConfig
from robertakit.outputs import MultipleChoiceModelOutput, SequenceClassifierOutput
from robertakit.torch.encoder import RobertaModel
from robertakit.torch.inputs import flatten_choices, leading_shape
from robertakit.torch.losses import check_token_labels, classification_loss, cross_entropy
from robertakit.torch.packing import labelled_tokens, packed_tokens
from robertakit.torch.pretrained import RobertaPreTrainedModel, as_part
from robertakit.torch.rows import first_tokens, with_first_token

__all__ = ["RobertaClassificationHead", "RobertaForMultipleChoice", "RobertaForSequenceClassification"]


class RobertaClassificationHead(nn.Module):
    """Dense, tanh and projection of the first token."""

    def __init__(self, config: RobertaConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.dropout = nn.Dropout(head_dropout(config))
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
            logits = self.classifier(with_first_token(states, real))
        if isinstance(labels, Tensor) and real is not None and labels.shape[:1] == logits.shape[:1]:
            some = real.any(1)
            loss = classification_loss(self.config, logits[some], labels[some], self.check_inputs)
        elif labels is not None:
            loss = classification_loss(self.config, logits, labels, self.check_inputs)
        if real is not None:
            logits = logits * real.any(1, keepdim=True)
        as_dict = self.config.use_return_dict if return_dict is None else return_dict
        return SequenceClassifierOutput.answer({"loss": loss, "logits": logits}, out, as_dict=as_dict)


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
        labelled = None
        if labels is not None:
            labels = labels.reshape(-1)
            labels = check_token_labels(labels, given.shape[:1], given.shape[1], self.check_inputs)
            labelled = _needed_by_choices(labels, given.shape[:2], mask)
        mask, real = labelled_tokens(self.config, mask, head_mask, output_attentions, labelled)
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
        as_dict = self.config.use_return_dict if return_dict is None else return_dict
        return MultipleChoiceModelOutput.answer({"loss": loss, "logits": logits}, out, as_dict=as_dict)


def _needed_by_choices(labels: Tensor, shape: torch.Size, mask: Tensor | None) -> Tensor | None:
    """Which tokens (B·N, L) the labels need, as far as the mask can hide them: the first of the choices they name."""
    if mask is None or mask.dim() != 2 or len(mask) != shape.numel():
        return None
    empty = ~mask.bool().any(1).view(shape)
    named = torch.zeros_like(empty).scatter(
        1, labels.clamp(min=0).long()[:, None], labels.ne(IGNORED_LABEL)[:, None]
    )
    needed = torch.zeros_like(mask, dtype=torch.bool)
    needed[:, 0] = (named & empty).flatten()
    return needed
