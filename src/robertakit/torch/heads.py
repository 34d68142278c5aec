"""The models with a head. This part: masked language modelling; the others follow with the PyTorch issue.

Shape letters: B batch, L padded length, T packed tokens, R rows that the head is asked for, H heads, W width,
V vocabulary.
"""

from warnings import warn

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from robertakit.architecture import IGNORED_LABEL
from robertakit.configuration import RobertaConfig
from robertakit.errors import InputError
from robertakit.outputs import MaskedLMOutput
from robertakit.torch.encoder import RobertaModel
from robertakit.torch.inputs import check_labels, leading_shape, refuse_decoder_arguments
from robertakit.torch.pretrained import RobertaPreTrainedModel, as_part

__all__ = ["RobertaForMaskedLM", "RobertaLMHead", "masked_lm_loss"]


class RobertaLMHead(nn.Module):
    """Dense, GELU, LayerNorm, then a decoder that may share the word embeddings."""

    def __init__(self, config: RobertaConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.layer_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.decoder = nn.Linear(config.hidden_size, config.vocab_size)
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))
        self.decoder.bias = self.bias

    def forward(self, features: Tensor) -> Tensor:
        """(..., W) to logits (..., V)."""
        logits: Tensor = self.decoder(self.layer_norm(F.gelu(self.dense(features))))
        return logits


def masked_lm_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy in float32 over the rows that carry a label; 0, with gradient 0, where none does.

    Args:
        logits: (R, V).
        labels: (R,) ids, -100 where there is nothing to predict.
    """
    logits = logits if logits.dtype == torch.float64 else logits.float()
    total = F.cross_entropy(logits, labels, ignore_index=IGNORED_LABEL, reduction="sum")
    return total / labels.ne(IGNORED_LABEL).sum().clamp(min=1)


class RobertaForMaskedLM(RobertaPreTrainedModel):
    """The encoder with the language-modelling head; its decoder shares the word embeddings.

    Example:
        >>> import torch
        >>> from robertakit import RobertaConfig
        >>> config = RobertaConfig(
        ...     vocab_size=99, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32
        ... )
        >>> model = RobertaForMaskedLM(config).eval()
        >>> ids = torch.tensor([[0, 9, 2]])
        >>> out = model(ids, labels=torch.tensor([[-100, 8, -100]]))
        >>> tuple(out.logits.shape), out.loss.dim()
        ((1, 3, 99), 0)
    """

    head = "masked-lm"

    def __init__(self, config: RobertaConfig) -> None:
        super().__init__(config)
        with as_part():
            self.roberta = RobertaModel(config, add_pooling_layer=False)
        self.lm_head = RobertaLMHead(config)
        if config.tie_word_embeddings:
            self.lm_head.decoder.weight = self.roberta.embeddings.word_embeddings.weight
        self._draw_weights()

    def get_input_embeddings(self) -> nn.Embedding:
        """The word embeddings."""
        return self.roberta.get_input_embeddings()

    def get_output_embeddings(self) -> nn.Linear:
        """The decoder."""
        return self.lm_head.decoder

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        head_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        encoder_hidden_states: Tensor | None = None,
        encoder_attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> MaskedLMOutput[Tensor] | tuple[object, ...]:
        """Score the vocabulary at every position.

        Args:
            input_ids: see `RobertaModel.forward`, as all others that are not named here.
            attention_mask: (B, L).
            token_type_ids: (B, L).
            position_ids: (B, L).
            head_mask: (H,) or (layers, H).
            inputs_embeds: (B, L, W).
            encoder_hidden_states: of a decoder only.
            encoder_attention_mask: of a decoder only.
            labels: (B, L) ids to predict, -100 where there is nothing to.
            output_attentions: whether to return the maps.
            output_hidden_states: whether to return every layer's states.
            return_dict: False for a tuple.

        Returns:
            `loss` () if there are labels, `logits` (B, L, V), and what was asked for.

        Raises:
            InputError: labels on positions that the mask hides, with packed attention.
        """
        refuse_decoder_arguments(
            encoder_hidden_states=encoder_hidden_states, encoder_attention_mask=encoder_attention_mask
        )
        if labels is not None:
            check_labels(labels, leading_shape(input_ids, inputs_embeds), self.config.vocab_size)
        if labels is not None and attention_mask is not None:
            attention_mask = self._mask_for_labels(labels, attention_mask)
        as_dict = self.config.use_return_dict if return_dict is None else return_dict
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
        )
        logits = self.lm_head(out.last_hidden_state)
        loss = None
        if labels is not None:
            labelled = labels.ne(IGNORED_LABEL)
            loss = masked_lm_loss(logits[labelled], labels[labelled])
        result = MaskedLMOutput(
            loss=loss, logits=logits, hidden_states=out.hidden_states, attentions=out.attentions
        )
        return result if as_dict else result.to_tuple()

    def _mask_for_labels(self, labels: Tensor, attention_mask: Tensor) -> Tensor:
        """The mask as it is, or, where labels stand on hidden positions, one that keeps them in the batch."""
        way = self.config.attn_implementation
        if way not in (None, "packed") or attention_mask.dim() != 2 or torch.compiler.is_compiling():
            return attention_mask
        hidden = int((labels.ne(IGNORED_LABEL) & attention_mask.eq(0)).sum())
        if not hidden:
            return attention_mask
        if way == "packed":
            raise InputError(
                given=f"{hidden} labels on positions that attention_mask hides",
                expected="labels on real tokens only with packed attention",
                hint='set them to -100, or choose attn_implementation="sdpa"',
            )
        warn(
            f"{hidden} labels stand on positions that attention_mask hides; this batch is padded",
            stacklevel=3,
        )
        return attention_mask[:, None].expand(
            -1, attention_mask.shape[1], -1
        )  # the same mask, for each query

    def loss_at(self, hidden_states: Tensor, rows: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Loss and logits of single rows: what pre-training needs, and an eighth of the head's work.

        Args:
            hidden_states: (T, W) packed, or (B, L, W), whose rows are counted through.
            rows: (R,) which rows.
            labels: (R,) ids to predict, -100 to leave a row out.

        Returns:
            The loss () and the logits (R, V).
        """
        logits = self.lm_head(hidden_states.reshape(-1, hidden_states.shape[-1])[rows])
        return masked_lm_loss(logits, labels), logits
