"""The models that score every token: its class, and whether an answer starts or ends with it.

Shape letters: B batch, L padded length, R rows, W width, C classes.
"""

import torch
from torch import Tensor, nn

from robertakit.architecture import IGNORED_LABEL, check_head, head_dropout
from robertakit.configuration import RobertaConfig
from robertakit.outputs import QuestionAnsweringModelOutput, TokenClassifierOutput
from robertakit.torch.encoder import RobertaModel
from robertakit.torch.inputs import leading_shape
from robertakit.torch.losses import check_token_labels, cross_entropy, span_loss, span_positions
from robertakit.torch.packing import labelled_tokens
from robertakit.torch.pretrained import RobertaPreTrainedModel, as_part
from robertakit.torch.rows import Rows

__all__ = ["RobertaForQuestionAnswering", "RobertaForTokenClassification"]


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
            self.dropout = nn.Dropout(head_dropout(config))
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
            labels = check_token_labels(labels, shape, self.config.num_labels, self.check_inputs)
        attention_mask, real = labelled_tokens(
            self.config,
            attention_mask,
            head_mask,
            output_attentions,
            None if labels is None else labels.ne(IGNORED_LABEL),
        )
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
        own = {"loss": loss, "logits": logits if rows is None else rows.pad(logits)}
        as_dict = self.config.use_return_dict if return_dict is None else return_dict
        return TokenClassifierOutput.answer(own, out, as_dict=as_dict)


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
        check_head(config, self.head)
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
        labelled = None if spans is None else _needed_by_spans(torch.stack(spans), attention_mask, length)
        attention_mask, real = labelled_tokens(
            self.config, attention_mask, head_mask, output_attentions, labelled
        )
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
        as_dict = self.config.use_return_dict if return_dict is None else return_dict
        own = {"loss": loss, "start_logits": start, "end_logits": end}
        return QuestionAnsweringModelOutput.answer(own, out, as_dict=as_dict)


def _needed_by_spans(positions: Tensor, mask: Tensor | None, length: int) -> Tensor | None:
    """Which tokens (B, L) the positions (2, B) need; a row without any real token has no part in the loss."""
    batch = positions.shape[1]
    if not isinstance(mask, Tensor) or mask.shape != (batch, length):
        return None
    needed = torch.zeros(batch, length + 1, dtype=torch.bool, device=mask.device)
    needed = needed.scatter(1, positions.long().T, True)
    return needed[:, :length] & mask.bool().any(1, keepdim=True)
