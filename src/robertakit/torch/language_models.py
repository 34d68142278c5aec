"""The models with a language-modelling head: masked words, and the next word.

Shape letters: B batch, L padded length, K keys, R rows that the head is asked for, H heads, W width, V vocabulary.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from robertakit.architecture import IGNORED_LABEL
from robertakit.configuration import RobertaConfig
from robertakit.errors import ArgumentError, InputError
from robertakit.outputs import CausalLMOutputWithCrossAttentions, MaskedLMOutput
from robertakit.torch.cache import PastKeyValues
from robertakit.torch.encoder import RobertaModel
from robertakit.torch.generation import GenerationMixin
from robertakit.torch.inputs import leading_shape
from robertakit.torch.linear import linear
from robertakit.torch.losses import check_token_labels, cross_entropy, next_tokens
from robertakit.torch.packing import labelled_tokens
from robertakit.torch.pretrained import RobertaPreTrainedModel, as_part
from robertakit.torch.rows import Rows

__all__ = ["RobertaForCausalLM", "RobertaForMaskedLM", "RobertaLMHead"]


class RobertaLMHead(nn.Module):
    """Dense, GELU whatever `hidden_act` says, LayerNorm, then a decoder that may share the word embeddings."""

    def __init__(self, config: RobertaConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.layer_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.decoder = nn.Linear(config.hidden_size, config.vocab_size)
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))
        self.decoder.bias = self.bias

    def forward(self, features: Tensor) -> Tensor:
        """(..., W) to logits (..., V)."""
        return linear(self.decoder, self.transform(features))

    def transform(self, features: Tensor) -> Tensor:
        """(..., W) to what the decoder compares with each word, (..., W)."""
        compared: Tensor = self.layer_norm(F.gelu(linear(self.dense, features)))
        return compared


class _LanguageModel(RobertaPreTrainedModel):
    """The encoder and the head; its decoder shares the word embeddings unless the config says otherwise."""

    def __init__(self, config: RobertaConfig) -> None:
        super().__init__(config)
        with as_part():
            self.roberta = RobertaModel(config, add_pooling_layer=False)
            self.lm_head = RobertaLMHead(config)
            if config.tie_word_embeddings:
                self.lm_head.decoder.weight = self.roberta.embeddings.word_embeddings.weight
        self.post_init()

    def get_output_embeddings(self) -> nn.Linear:
        """The decoder."""
        return self.lm_head.decoder

    def set_output_embeddings(self, new_embeddings: nn.Linear) -> None:
        """Replace the decoder; its bias is the head's."""
        self.lm_head.decoder = new_embeddings
        if isinstance(new_embeddings.bias, nn.Parameter):
            self.lm_head.bias = new_embeddings.bias

    def score(self, rows: Tensor) -> dict[str, Tensor]:
        """The head on (..., W): `logits` (..., V)."""
        return {"logits": self.lm_head(rows)}

    def _logits_and_loss(
        self, states: Tensor, real: Tensor | None, targets: Tensor | None, kept: int | Tensor
    ) -> tuple[Tensor, Tensor | None]:
        """Logits of the rows that are wanted, and the mean loss of those that have a target (B, L)."""
        if isinstance(kept, Tensor):
            return self._logits_at(states, real, targets, kept)
        if kept:
            logits = self.score(states[:, -kept:])["logits"]
            return logits if real is None else logits * real[:, -kept:, None], None
        rows = None if real is None else Rows.of(real)
        logits = self.score(states if rows is None else rows.gather(states))["logits"]
        loss = None
        if targets is not None:
            wanted = targets.flatten() if rows is None else rows.gather(targets)
            loss = cross_entropy(logits.reshape(-1, logits.shape[-1]), wanted)
        return logits if rows is None else rows.pad(logits), loss

    def _logits_at(
        self, states: Tensor, real: Tensor | None, targets: Tensor | None, kept: Tensor
    ) -> tuple[Tensor, Tensor | None]:
        """Logits (R, V) of the tokens that `kept` (B, L) marks, and the loss of their targets."""
        if kept.dtype != torch.bool or kept.shape != states.shape[:2]:
            raise ArgumentError(
                given=f"logits_to_keep of dtype {kept.dtype} and shape {tuple(kept.shape)}",
                expected=f"bool, {tuple(states.shape[:2])}",
            )
        if targets is not None and bool((targets.ne(IGNORED_LABEL) & ~kept).any()):
            raise InputError(
                given="labels for tokens that logits_to_keep leaves out",
                expected="every token that predicts to be kept",
                hint="a causal model predicts a label from the token before it",
            )
        logits = self.score(states[kept])["logits"]
        if real is not None:
            logits = logits * real[kept][:, None]
        return logits, None if targets is None else cross_entropy(logits, targets[kept])


class RobertaForMaskedLM(_LanguageModel):
    """The encoder with the head that predicts masked words.

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
        *,
        logits_to_keep: Tensor | None = None,
    ) -> MaskedLMOutput[Tensor] | tuple[object, ...]:
        """Score the vocabulary at every position.

        Args:
            input_ids: (B, L); see `RobertaModel.forward`, as for all others that are not named here.
            attention_mask: (B, L) or (B, L, L).
            token_type_ids: (B, L).
            position_ids: (B, L).
            head_mask: (H,) or (layers, H).
            inputs_embeds: (B, L, W).
            encoder_hidden_states: (B, K, W).
            encoder_attention_mask: (B, K).
            labels: (B, L) ids to predict, -100 where there is nothing to.
            output_attentions: whether to return the maps.
            output_hidden_states: whether to return every layer's states.
            return_dict: False for a tuple.
            logits_to_keep: (B, L) bool: compute the head at these tokens only; `labels != -100` is what training
                needs, and an eighth of the head's work.

        Returns:
            `loss` () if there are labels, `logits` (B, L, V), or (R, V) of the tokens to keep, and what was asked for.

        Raises:
            InputError: labels outside the vocabulary, of another shape, or, with packed attention, on tokens that
                the mask hides.
        """
        if labels is not None:
            shape = leading_shape(input_ids, inputs_embeds)
            labels = check_token_labels(labels, shape, self.config.vocab_size, self.check_inputs)
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
            encoder_hidden_states,
            encoder_attention_mask,
            use_cache=False,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=True,
        )
        if logits_to_keep is not None and not isinstance(logits_to_keep, Tensor):
            raise ArgumentError(given=f"logits_to_keep={logits_to_keep!r}", expected="bool, (batch, length)")
        kept = 0 if logits_to_keep is None else logits_to_keep
        logits, loss = self._logits_and_loss(out.last_hidden_state, real, labels, kept)
        as_dict = self.config.use_return_dict if return_dict is None else return_dict
        return MaskedLMOutput.answer({"loss": loss, "logits": logits}, out, as_dict=as_dict)


class RobertaForCausalLM(GenerationMixin, _LanguageModel):
    """The model with the head that predicts the next word; with `is_decoder` a token sees only those before it.

    Example:
        >>> import torch
        >>> from robertakit import RobertaConfig
        >>> config = RobertaConfig(
        ...     vocab_size=99, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
        ...     is_decoder=True,
        ... )
        >>> model = RobertaForCausalLM(config).eval()
        >>> out = model(torch.tensor([[0, 9]]))
        >>> more = model(torch.tensor([[8]]), past_key_values=out.past_key_values)
        >>> tuple(more.logits.shape), tuple(more.past_key_values[0][0].shape)
        ((1, 1, 99), (1, 2, 3, 8))
    """

    head = "causal-lm"

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
        past_key_values: PastKeyValues | None = None,
        use_cache: bool | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        *,
        logits_to_keep: int | Tensor = 0,
    ) -> CausalLMOutputWithCrossAttentions[Tensor] | tuple[object, ...]:
        """Score the vocabulary for the token behind each position.

        Args:
            input_ids: (B, L); see `RobertaModel.forward`, as for all others that are not named here.
            attention_mask: (B, L) or (B, L, L); with a cache (B, K).
            token_type_ids: (B, L).
            position_ids: (B, L).
            head_mask: (H,) or (layers, H).
            inputs_embeds: (B, L, W).
            encoder_hidden_states: (B, K, W).
            encoder_attention_mask: (B, K).
            labels: (B, L), usually `input_ids`: each token predicts the label behind it; -100 where there is nothing
                to. They switch the cache off.
            past_key_values: what an earlier call returned.
            use_cache: whether to return `past_key_values`.
            output_attentions: whether to return the maps.
            output_hidden_states: whether to return every layer's states.
            return_dict: False for a tuple.
            logits_to_keep: n > 0: logits of the last n positions only; or (B, L) bool, of these tokens only.

        Returns:
            `loss` () if there are labels, `logits` (B, L, V), or of the tokens to keep, and what was asked for.

        Raises:
            InputError: labels outside the vocabulary, or of another shape.
            ArgumentError: labels and a number of positions to keep.
        """
        if not isinstance(logits_to_keep, Tensor) and logits_to_keep < 0:
            raise ArgumentError(given=f"logits_to_keep={logits_to_keep}", expected="0 or more positions")
        targets = None
        if labels is not None:
            shape = leading_shape(input_ids, inputs_embeds)
            labels = check_token_labels(labels, shape, self.config.vocab_size, self.check_inputs)
            targets = next_tokens(labels)
            if not isinstance(logits_to_keep, Tensor) and logits_to_keep:
                raise ArgumentError(
                    given=f"labels and logits_to_keep={logits_to_keep}", expected="one of the two"
                )
        attention_mask, real = labelled_tokens(
            self.config,
            attention_mask,
            head_mask,
            output_attentions,
            None if targets is None else targets.ne(IGNORED_LABEL),
        )
        out = self.roberta(
            input_ids,
            attention_mask,
            token_type_ids,
            position_ids,
            head_mask,
            inputs_embeds,
            encoder_hidden_states,
            encoder_attention_mask,
            past_key_values,
            use_cache if labels is None else False,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=True,
        )
        logits, loss = self._logits_and_loss(out.last_hidden_state, real, targets, logits_to_keep)
        as_dict = self.config.use_return_dict if return_dict is None else return_dict
        own = {"loss": loss, "logits": logits}
        return CausalLMOutputWithCrossAttentions.answer(own, out, as_dict=as_dict)
