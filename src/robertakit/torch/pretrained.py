"""The documented classes in PyTorch. This part: the bare encoder and the masked-LM class.

Shape letters: B batch, L padded length, T packed tokens, S sequences, R rows asked for, W width, H heads, V vocabulary.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import ClassVar
from warnings import warn

import torch
from torch import Tensor, nn

from robertakit.architecture import IGNORED_LABEL, initial_value, parameters
from robertakit.batch import check_ids, sequential_position_ids
from robertakit.configuration import RobertaConfig
from robertakit.errors import ArgumentError, BadShape, ConfigError, InputError
from robertakit.outputs import BaseModelOutputWithPoolingAndCrossAttentions, MaskedLMOutput
from robertakit.torch.attention import PackedLayout, PaddedLayout
from robertakit.torch.encoder import RobertaEmbeddings, RobertaEncoder, RobertaPooler, position_ids
from robertakit.torch.heads import RobertaLMHead, masked_lm_loss

__all__ = ["RobertaForMaskedLM", "RobertaModel", "RobertaPreTrainedModel"]

_inside: ContextVar[bool] = ContextVar("inside", default=False)


@contextmanager
def _as_part() -> Iterator[None]:
    """Build a model that belongs to a larger one: the outermost draws all weights, once."""
    token = _inside.set(True)
    try:
        yield
    finally:
        _inside.reset(token)


class RobertaPreTrainedModel(nn.Module):
    """What all classes share: the configuration, and weights drawn by the architecture table.

    Two models of one configuration, built after the same `torch.manual_seed`, have the same weights; so has the
    model of another framework that is built from the same seed.
    """

    config_class: ClassVar[type[RobertaConfig]] = RobertaConfig
    base_model_prefix: ClassVar[str] = "roberta"
    head: ClassVar[str]

    def __init__(self, config: RobertaConfig) -> None:
        super().__init__()
        config.validate(building=True)
        for field, absent in (
            ("is_decoder", config.is_decoder),
            ("add_cross_attention", config.add_cross_attention),
            ("position_embedding_type", config.position_embedding_type != "absolute"),
        ):
            if absent:
                raise ConfigError(
                    given=f"{field}={getattr(config, field)!r}",
                    expected="an encoder with absolute positions in PyTorch for now",
                    hint="robertakit.numpy computes all of the family",
                )
        self.config = config
        # One draw from PyTorch's generator, whatever the class and its size: modules' own first values, which
        # nobody sees, are drawn behind it and taken back.
        if not _inside.get():
            self._seed = int(torch.randint(2**31 - 1, (), device="cpu"))
            self._generator_state = torch.get_rng_state()

    @torch.no_grad()
    def _draw_weights(self, add_pooling_layer: bool = False) -> None:
        """Give every parameter its initial value, unless a larger model will."""
        if _inside.get():
            return
        torch.set_rng_state(self._generator_state)
        named = dict(self.named_parameters(remove_duplicate=False))
        for name, row in parameters(self.config, self.head, add_pooling_layer=add_pooling_layer).items():
            if row.tied_to is None and not named[name].is_meta:
                named[name].copy_(torch.from_numpy(initial_value(row, self.config, self._seed)))


@dataclass(frozen=True, slots=True)
class _Rows:
    """How padded rows were packed: `real` (B, L) says which, `flat` (T,) where they lie in (B·L)."""

    real: Tensor
    flat: Tensor

    def pad(self, packed: Tensor) -> Tensor:
        """(T, W) to (B, L, W), zeros at padding."""
        padded = packed.new_zeros(self.real.numel(), packed.shape[-1])
        return padded.index_copy(0, self.flat, packed).view(*self.real.shape, -1)


class RobertaModel(RobertaPreTrainedModel):
    """The encoder, with a pooler unless told otherwise.

    Args:
        config: an encoder's configuration.
        add_pooling_layer: whether to have the pooler.

    Example:
        >>> import torch
        >>> from robertakit import RobertaConfig
        >>> config = RobertaConfig(
        ...     vocab_size=99, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32
        ... )
        >>> out = RobertaModel(config).eval()(torch.tensor([[0, 9, 2]]))
        >>> tuple(out.last_hidden_state.shape), tuple(out.pooler_output.shape)
        ((1, 3, 16), (1, 16))
    """

    head = "model"

    def __init__(self, config: RobertaConfig, add_pooling_layer: bool = True) -> None:
        super().__init__(config)
        self.embeddings = RobertaEmbeddings(config)
        self.encoder = RobertaEncoder(config)
        self.pooler = RobertaPooler(config) if add_pooling_layer else None
        self._draw_weights(add_pooling_layer)

    def get_input_embeddings(self) -> nn.Embedding:
        """The word embeddings."""
        return self.embeddings.word_embeddings

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        head_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> BaseModelOutputWithPoolingAndCrossAttentions[Tensor] | tuple[object, ...]:
        """Encode.

        Args:
            input_ids: (B, L).
            attention_mask: (B, L), 1 for real tokens; or (B, L, L), which keys each query sees. All ones if None.
            token_type_ids: (B, L), zeros if None.
            position_ids: (B, L) or (1, L); made from the ids if None.
            head_mask: (H,) or (layers, H), factors for the attention maps.
            inputs_embeds: (B, L, W), in place of the ids.
            output_attentions: also return the maps; the config's setting if None.
            output_hidden_states: also return every layer's states; the config's setting if None.
            return_dict: False for a tuple; the config's setting if None.

        Returns:
            `last_hidden_state` (B, L, W), `pooler_output` (B, W), and what was asked for.

        Raises:
            ArgumentError: both or none of ids and embeddings.
            InputError: an id without a row, or more tokens than positions (`TooLong`).
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise ArgumentError(
                given="both input_ids and inputs_embeds" if input_ids is not None else "no input",
                expected="one of input_ids and inputs_embeds",
            )
        maps = self.config.output_attentions if output_attentions is None else output_attentions
        all_states = (
            self.config.output_hidden_states if output_hidden_states is None else output_hidden_states
        )
        as_dict = self.config.use_return_dict if return_dict is None else return_dict
        positions = self._positions(input_ids, inputs_embeds) if position_ids is None else position_ids
        _check(self.config, input_ids, positions, token_type_ids)
        states, collected, rows = self._encode(
            input_ids, attention_mask, token_type_ids, positions, head_mask, inputs_embeds, bool(maps)
        )
        last = states[-1] if rows is None else rows.pad(states[-1])
        pooled = None
        if self.pooler is not None:
            pooled = self.pooler(last[:, 0] if rows is None else _first_real(last, rows.real))
            if rows is not None:
                pooled = pooled * rows.real.any(1, keepdim=True)
        shown = None
        if all_states:
            shown = tuple(states if rows is None else [rows.pad(state) for state in states])
        if not as_dict:
            optional = (shown, tuple(collected) if maps else None)
            return (last, pooled, *(part for part in optional if part is not None))
        return BaseModelOutputWithPoolingAndCrossAttentions(
            last_hidden_state=last,
            pooler_output=pooled,
            hidden_states=shown,
            attentions=tuple(collected) if maps else None,
        )

    def encode_packed(
        self,
        input_ids: Tensor,
        position_ids: Tensor,
        cumulative_lengths: Tensor,
        token_type_ids: Tensor | None = None,
    ) -> Tensor:
        """Encode sequences that lie end to end, without any padding.

        Args:
            input_ids: (T,).
            position_ids: (T,), as `batch.Batch` holds them.
            cumulative_lengths: (S+1,); sequence s has the rows from `[s]` up to `[s + 1]`.
            token_type_ids: (T,), zeros if None.

        Returns:
            (T, W).

        Example:
            >>> import torch
            >>> from robertakit import RobertaConfig
            >>> config = RobertaConfig(
            ...     vocab_size=99, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32
            ... )
            >>> model = RobertaModel(config, add_pooling_layer=False).eval()
            >>> ids, positions = torch.tensor([0, 9, 2, 0, 2]), torch.tensor([2, 3, 4, 2, 3])
            >>> tuple(model.encode_packed(ids, positions, torch.tensor([0, 3, 5])).shape)
            (5, 16)
        """
        lengths = cumulative_lengths.diff().tolist()
        if int(cumulative_lengths[0]) != 0 or sum(lengths) != len(input_ids) or min(lengths, default=0) < 0:
            raise BadShape(
                given=f"cumulative_lengths {cumulative_lengths.tolist()} for {len(input_ids)} tokens",
                expected="from 0 up to the number of tokens, never down",
            )
        _check(self.config, input_ids, position_ids, token_type_ids)
        layout = PackedLayout.from_lengths(lengths, input_ids.device)
        states, _ = self.encoder(self.embeddings(input_ids, position_ids, token_type_ids), layout)
        return states[-1]  # type: ignore[no-any-return]

    def _positions(self, input_ids: Tensor | None, inputs_embeds: Tensor | None) -> Tensor:
        pad = self.config.pad_token_id
        if input_ids is not None:
            return position_ids(input_ids, pad)
        assert inputs_embeds is not None
        sequential = torch.from_numpy(sequential_position_ids(inputs_embeds.shape[1], pad))
        return sequential.long().to(inputs_embeds.device)

    def _encode(
        self,
        input_ids: Tensor | None,
        attention_mask: Tensor | None,
        token_type_ids: Tensor | None,
        positions: Tensor,
        head_mask: Tensor | None,
        inputs_embeds: Tensor | None,
        maps: bool,
    ) -> tuple[list[Tensor], list[Tensor], _Rows | None]:
        shape = input_ids.shape if input_ids is not None else inputs_embeds.shape[:2]  # type: ignore[union-attr]
        mask = None if attention_mask is None else _checked_mask(attention_mask, shape)
        if token_type_ids is not None:
            token_type_ids = token_type_ids.expand(shape)
        way = self.config.attn_implementation
        if (
            mask is not None
            and mask.dim() == 2
            and way in (None, "packed")
            and not maps
            and head_mask is None
        ):
            real = mask.bool()
            lengths = real.sum(1).tolist()
            if sum(lengths) < real.numel():
                rows = _Rows(real, real.flatten().nonzero().flatten())
                embedded = self.embeddings(
                    None if input_ids is None else input_ids[real],
                    positions.expand(shape)[real],
                    None if token_type_ids is None else token_type_ids[real],
                    None if inputs_embeds is None else inputs_embeds[real],
                )
                states, _ = self.encoder(embedded, PackedLayout.from_lengths(lengths, real.device))
                return states, [], rows
            mask = None
        keep = None
        if mask is not None:
            keep = mask.bool()[:, None, None] if mask.dim() == 2 else mask.bool()[:, None]
        embedded = self.embeddings(input_ids, positions, token_type_ids, inputs_embeds)
        factors = None if head_mask is None else _checked_head_mask(head_mask, self.config)
        states, collected = self.encoder(embedded, PaddedLayout(keep), factors, maps or way == "eager")
        return states, collected, None


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
        with _as_part():
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
            labels: (B, L) ids to predict, -100 where there is nothing to.
            output_attentions: whether to return the maps.
            output_hidden_states: whether to return every layer's states.
            return_dict: False for a tuple.

        Returns:
            `loss` () if there are labels, `logits` (B, L, V), and what was asked for.

        Raises:
            InputError: labels on positions that the mask hides, with packed attention.
        """
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


def _check(
    config: RobertaConfig, input_ids: Tensor | None, positions: Tensor, token_type_ids: Tensor | None
) -> None:
    """Raise for ids without a row; inside `torch.compile` no check costs time."""
    if torch.compiler.is_compiling() or positions.is_meta:
        return
    ids, where, types = (
        None if tensor is None else tensor.detach().cpu().numpy()
        for tensor in (input_ids, positions, token_type_ids)
    )
    check_ids(config, ids, where, types)


def _checked_mask(mask: Tensor, shape: torch.Size) -> Tensor:
    """A mask (B, L) or (B, L, L)."""
    batch, length = shape
    if mask.shape not in ((batch, length), (batch, length, length)):
        raise BadShape(
            given=f"attention_mask {tuple(mask.shape)} for inputs {tuple(shape)}",
            expected=f"{(batch, length)} or {(batch, length, length)}",
        )
    return mask


def _checked_head_mask(head_mask: Tensor, config: RobertaConfig) -> Tensor:
    """Factors for each layer, (layers, 1, H, 1, 1)."""
    layers, heads = config.num_hidden_layers, config.num_attention_heads
    if head_mask.shape == (heads,):
        return head_mask.view(1, 1, heads, 1, 1).expand(layers, 1, heads, 1, 1)
    if head_mask.shape == (layers, heads):
        return head_mask.view(layers, 1, heads, 1, 1)
    raise BadShape(given=f"head_mask {tuple(head_mask.shape)}", expected=f"({heads},) or ({layers}, {heads})")


def _first_real(padded: Tensor, real: Tensor) -> Tensor:
    """The first real row of each sequence, (B, L, W) to (B, W)."""
    first = real.int().argmax(1)
    return padded[torch.arange(len(padded), device=padded.device), first]
