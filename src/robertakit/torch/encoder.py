"""Embeddings, the stack of layers, the pooler, and the bare model of them; attention lives in `attention.py`.

Shape letters: B batch, L padded length, T packed tokens, S sequences, W width, H heads. Modules carry the documented
names.
"""

import torch
from torch import Tensor, nn

from robertakit.configuration import RobertaConfig
from robertakit.errors import BadShape
from robertakit.outputs import BaseModelOutputWithPoolingAndCrossAttentions
from robertakit.torch.activations import activation
from robertakit.torch.attention import PackedLayout, PaddedLayout, RobertaAttention, RobertaSelfOutput
from robertakit.torch.inputs import (
    Rows,
    check_rows,
    checked_head_mask,
    checked_mask,
    first_real,
    leading_shape,
    positions_of,
    refuse_decoder_arguments,
)
from robertakit.torch.pretrained import RobertaPreTrainedModel

__all__ = ["RobertaEmbeddings", "RobertaEncoder", "RobertaLayer", "RobertaModel", "RobertaPooler"]


class RobertaEmbeddings(nn.Module):
    """Sum of word, position and type embeddings, LayerNorm, dropout."""

    def __init__(self, config: RobertaConfig) -> None:
        super().__init__()
        pad, width = config.pad_token_id, config.hidden_size
        self.padding_idx = pad
        self.word_embeddings = nn.Embedding(config.vocab_size, width, padding_idx=pad)
        self.position_embeddings = nn.Embedding(config.max_position_embeddings, width, padding_idx=pad)
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, width)
        self.LayerNorm = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(
        self,
        input_ids: Tensor | None,
        position_ids: Tensor,
        token_type_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
    ) -> Tensor:
        """(B, L) or (T,) ids, or (B, L, W) word embeddings, to (..., W)."""
        words = self.word_embeddings(input_ids) if inputs_embeds is None else inputs_embeds
        if token_type_ids is None:  # one row for all tokens
            token_type_ids = position_ids.new_zeros(1)
        embedded: Tensor = self.LayerNorm(
            words + self.token_type_embeddings(token_type_ids) + self.position_embeddings(position_ids)
        )
        dropped: Tensor = self.dropout(embedded)
        return dropped


class RobertaIntermediate(nn.Module):
    """The widening half of the feed-forward network."""

    def __init__(self, config: RobertaConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.intermediate_size)
        self.intermediate_act_fn = activation(config.hidden_act)

    def forward(self, hidden_states: Tensor) -> Tensor:
        """(..., W) to (..., F)."""
        return self.intermediate_act_fn(self.dense(hidden_states))


class RobertaLayer(nn.Module):
    """Attention, then the feed-forward network."""

    def __init__(self, config: RobertaConfig, layer: int) -> None:
        super().__init__()
        self.attention = RobertaAttention(config, layer)
        self.intermediate = RobertaIntermediate(config)
        self.output = RobertaSelfOutput(config, config.intermediate_size)
        self.chunk_size_feed_forward = config.chunk_size_feed_forward

    def forward(
        self,
        hidden_states: Tensor,
        layout: PaddedLayout | PackedLayout,
        head_mask: Tensor | None = None,
        maps: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """(..., W) to (..., W), and the attention maps (B, H, L, L) or None."""
        attended, probabilities = self.attention(hidden_states, layout, head_mask, maps)
        size = self.chunk_size_feed_forward or attended.shape[-2]
        chunks = [self._feed_forward(chunk) for chunk in attended.split(max(size, 1), -2)]
        return (torch.cat(chunks, -2) if len(chunks) > 1 else chunks[0]), probabilities

    def _feed_forward(self, attended: Tensor) -> Tensor:
        out: Tensor = self.output(self.intermediate(attended), attended)
        return out


class RobertaEncoder(nn.Module):
    """The stack of layers."""

    def __init__(self, config: RobertaConfig) -> None:
        super().__init__()
        self.layer = nn.ModuleList(RobertaLayer(config, i) for i in range(config.num_hidden_layers))

    def forward(
        self,
        hidden_states: Tensor,
        layout: PaddedLayout | PackedLayout,
        head_mask: Tensor | None = None,
        maps: bool = False,
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Run all layers.

        Args:
            hidden_states: (B, L, W), or (T, W) with a packed layout.
            layout: which tokens see each other.
            head_mask: None, or factors with one leading entry for each layer.
            maps: collect the attention maps.

        Returns:
            Hidden states: the input and each layer's output; and the maps, none if not asked for.
        """
        states, collected = [hidden_states], []
        for index, layer in enumerate(self.layer):
            factors = None if head_mask is None else head_mask[index]
            out, probabilities = layer(states[-1], layout, factors, maps)
            states.append(out)
            if maps:
                collected.append(probabilities)
        return states, collected


class RobertaPooler(nn.Module):
    """First token through a dense layer and tanh."""

    def __init__(self, config: RobertaConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, first_tokens: Tensor) -> Tensor:
        """(B, W) to (B, W)."""
        return torch.tanh(self.dense(first_tokens))


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
        self._draw_weights()

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
        encoder_hidden_states: Tensor | None = None,
        encoder_attention_mask: Tensor | None = None,
        past_key_values: object = None,
        use_cache: bool | None = None,
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
            encoder_hidden_states: of a decoder only.
            encoder_attention_mask: of a decoder only.
            past_key_values: of a decoder only.
            use_cache: no meaning for an encoder, as documented.
            output_attentions: also return the maps; the config's setting if None.
            output_hidden_states: also return every layer's states; the config's setting if None.
            return_dict: False for a tuple; the config's setting if None.

        Returns:
            `last_hidden_state` (B, L, W), `pooler_output` (B, W), and what was asked for.

        Raises:
            ArgumentError: both or none of ids and embeddings, or what only a decoder takes.
            InputError: an id without a row, or more tokens than positions (`TooLong`).
        """
        refuse_decoder_arguments(
            encoder_hidden_states=encoder_hidden_states,
            encoder_attention_mask=encoder_attention_mask,
            past_key_values=past_key_values,
        )
        shape = leading_shape(input_ids, inputs_embeds)
        maps = self.config.output_attentions if output_attentions is None else output_attentions
        all_states = (
            self.config.output_hidden_states if output_hidden_states is None else output_hidden_states
        )
        as_dict = self.config.use_return_dict if return_dict is None else return_dict
        positions = position_ids
        if positions is None:
            positions = positions_of(input_ids, inputs_embeds, self.config.pad_token_id)
        check_rows(self.config, input_ids, positions, token_type_ids)
        states, collected, rows = self._encode(
            shape, input_ids, attention_mask, token_type_ids, positions, head_mask, inputs_embeds, bool(maps)
        )
        last = states[-1] if rows is None else rows.pad(states[-1])
        pooled = None
        if self.pooler is not None:
            pooled = self.pooler(last[:, 0] if rows is None else first_real(last, rows.real))
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
        check_rows(self.config, input_ids, position_ids, token_type_ids)
        layout = PackedLayout.from_lengths(lengths, input_ids.device)
        states, _ = self.encoder(self.embeddings(input_ids, position_ids, token_type_ids), layout)
        last: Tensor = states[-1]
        return last

    def _encode(
        self,
        shape: torch.Size,
        input_ids: Tensor | None,
        attention_mask: Tensor | None,
        token_type_ids: Tensor | None,
        positions: Tensor,
        head_mask: Tensor | None,
        inputs_embeds: Tensor | None,
        maps: bool,
    ) -> tuple[list[Tensor], list[Tensor], Rows | None]:
        mask = None if attention_mask is None else checked_mask(attention_mask, shape)
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
                rows = Rows(real, real.flatten().nonzero().flatten())
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
        factors = None if head_mask is None else checked_head_mask(head_mask, self.config)
        states, collected = self.encoder(embedded, PaddedLayout(keep), factors, maps or way == "eager")
        return states, collected, None
