"""The stack of layers, the pooler, and the bare model; `embeddings.py` stands before it, `attention.py` within it.

Shape letters: B batch, L padded length, K keys, T packed tokens, S sequences, W width, F feed-forward width,
H heads. Modules carry the documented names.
"""

from collections.abc import Callable
from typing import NamedTuple
from warnings import warn

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from robertakit.configuration import RobertaConfig
from robertakit.errors import ArgumentError
from robertakit.outputs import (
    BaseModelOutputWithPoolingAndCrossAttentions,
)
from robertakit.torch.activations import activation
from robertakit.torch.attention import (
    EVERYTHING,
    Layout,
    PackedLayout,
    PaddedLayout,
    RobertaAttention,
    RobertaOutput,
)
from robertakit.torch.cache import DynamicCache, LegacyCache, PastKeyValues
from robertakit.torch.embeddings import RobertaEmbeddings
from robertakit.torch.inputs import (
    Inputs,
    check_lengths,
    check_rows,
    read_inputs,
)
from robertakit.torch.linear import linear
from robertakit.torch.packing import makes_graph
from robertakit.torch.pretrained import RobertaPreTrainedModel, as_part
from robertakit.torch.rows import first_tokens, with_first_token

__all__ = ["RobertaEncoder", "RobertaLayer", "RobertaModel", "RobertaPooler"]

#: A layer's rows, its attention maps and those of its cross-attention.
LayerOutput = tuple[Tensor, Tensor | None, Tensor | None]


class Stack(NamedTuple):
    """What the encoder gives; fields as in the documented outputs, None for what nobody asked for."""

    last_hidden_state: Tensor
    past_key_values: LegacyCache | DynamicCache | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None
    cross_attentions: tuple[Tensor, ...] | None = None


class RobertaIntermediate(nn.Module):
    """The widening half of the feed-forward network."""

    def __init__(self, config: RobertaConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.intermediate_size)
        self.intermediate_act_fn = activation(config.hidden_act)

    def forward(self, hidden_states: Tensor) -> Tensor:
        """(..., W) to (..., F)."""
        return self.intermediate_act_fn(linear(self.dense, hidden_states))


class RobertaLayer(nn.Module):
    """Attention, a decoder's cross-attention, then the feed-forward network."""

    def __init__(self, config: RobertaConfig, layer: int) -> None:
        super().__init__()
        self.attention = RobertaAttention(config, layer)
        self.crossattention = (
            RobertaAttention(config, layer, cross=True) if config.add_cross_attention else None
        )
        self.intermediate = RobertaIntermediate(config)
        self.output = RobertaOutput(config, config.intermediate_size)
        self.chunk_size_feed_forward = config.chunk_size_feed_forward

    def forward(
        self,
        hidden_states: Tensor,
        layout: Layout = EVERYTHING,
        head_mask: Tensor | None = None,
        cache: DynamicCache | None = None,
        output_attentions: bool = False,
        encoder_states: Tensor | None = None,
        encoder_layout: PaddedLayout | None = None,
    ) -> LayerOutput:
        """(..., W) to (..., W), the attention maps (B, H, L, K) or None, and those of the cross-attention."""
        attended, maps = self.attention(hidden_states, layout, head_mask, cache, output_attentions)
        cross_maps = None
        if encoder_states is not None and encoder_layout is not None and self.crossattention is not None:
            attended, cross_maps = self.crossattention(
                attended, encoder_layout, head_mask, cache, output_attentions, encoder_states
            )
        size = self.chunk_size_feed_forward or attended.shape[-2]
        if size >= attended.shape[-2]:
            return self._feed_forward(attended), maps, cross_maps
        chunks = [self._feed_forward(chunk) for chunk in attended.split(size, -2)]
        return torch.cat(chunks, -2), maps, cross_maps

    def _feed_forward(self, attended: Tensor) -> Tensor:
        out: Tensor = self.output(self.intermediate(attended), attended)
        return out


class RobertaEncoder(nn.Module):
    """The stack of layers.

    Attributes:
        gradient_checkpointing: whether training keeps only each layer's input and computes the layer again for the
            gradient (Chen et al. 2016).
        checkpointing_arguments: keywords of `torch.utils.checkpoint.checkpoint`.
    """

    def __init__(self, config: RobertaConfig) -> None:
        super().__init__()
        self.layer = nn.ModuleList(RobertaLayer(config, i) for i in range(config.num_hidden_layers))
        self.gradient_checkpointing = False
        self.checkpointing_arguments: dict[str, object] = {"use_reentrant": False}

    def forward(
        self,
        hidden_states: Tensor,
        layout: Layout = EVERYTHING,
        head_mask: Tensor | None = None,
        cache: DynamicCache | None = None,
        encoder_states: Tensor | None = None,
        encoder_keep: Tensor | None = None,
        output_attentions: bool = False,
        output_hidden_states: bool = False,
    ) -> Stack:
        """Run all layers.

        Args:
            hidden_states: (B, L, W), or (T, W) with a packed layout.
            layout: which tokens see each other.
            head_mask: None, or factors with one leading entry for each layer.
            cache: earlier keys and values, to which this call's are added.
            encoder_states: (B, K, W) for the cross-attention, or None.
            encoder_keep: (B, 1, 1 or L, K) bool, which of them a query sees; None: all.
            output_attentions: collect the maps.
            output_hidden_states: collect the input and each layer's output.
        """
        states = [hidden_states]
        maps: list[Tensor] = []
        cross_maps: list[Tensor] = []
        eager = isinstance(layout, PaddedLayout) and layout.eager
        others = (cache, output_attentions, encoder_states, PaddedLayout(encoder_keep, eager))
        for index, layer in enumerate(self.layer):
            factors = None if head_mask is None else head_mask[index]
            if (
                self.gradient_checkpointing and self.training and cache is None
            ):  # a cache would be filled twice
                again: Callable[..., LayerOutput] = checkpoint
                out = again(layer, states[-1], layout, factors, *others, **self.checkpointing_arguments)
            else:
                out = layer(states[-1], layout, factors, *others)
            states = [*states, out[0]] if output_hidden_states else [out[0]]
            maps += [] if out[1] is None else [out[1]]
            cross_maps += [] if out[2] is None else [out[2]]
        return Stack(
            last_hidden_state=states[-1],
            past_key_values=None if cache is None else cache.to_legacy_cache(),
            hidden_states=tuple(states) if output_hidden_states else None,
            attentions=tuple(maps) if output_attentions else None,
            cross_attentions=tuple(cross_maps) if cross_maps else None,
        )


class RobertaPooler(nn.Module):
    """First token through a dense layer and tanh."""

    def __init__(self, config: RobertaConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, hidden_states: Tensor) -> Tensor:
        """(B, L, W), of which the first token is read, to (B, W)."""
        return torch.tanh(self.dense(hidden_states[:, 0]))


class RobertaModel(RobertaPreTrainedModel):
    """The bare model: hidden states, and the pooled first token. With `is_decoder` a token sees only those before it.

    Args:
        config: sizes and switches.
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
        with as_part():
            self.embeddings = RobertaEmbeddings(config)
            self.encoder = RobertaEncoder(config)
            self.pooler = RobertaPooler(config) if add_pooling_layer else None
        self.post_init()

    def get_input_embeddings(self) -> nn.Embedding:
        """The word embeddings."""
        return self.embeddings.word_embeddings

    def set_input_embeddings(self, value: nn.Embedding) -> None:
        """Replace the word embeddings."""
        self.embeddings.word_embeddings = value

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
        past_key_values: PastKeyValues | None = None,
        use_cache: bool | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> BaseModelOutputWithPoolingAndCrossAttentions[Tensor] | tuple[object, ...]:
        """Encode.

        Args:
            input_ids: (B, L).
            attention_mask: (B, L), 1 for real tokens; or (B, L, L), which keys each query sees; all ones if None.
                With a cache the keys are the cached tokens and these.
            token_type_ids: (B, L), zeros if None.
            position_ids: (B, L) or (1, L); made from the ids if None.
            head_mask: (H,) or (layers, H), factors for the attention maps.
            inputs_embeds: (B, L, W), in place of the ids.
            encoder_hidden_states: (B, K, W) for the cross-attention of a decoder; an encoder leaves them aside.
            encoder_attention_mask: (B, K) or (B, L, K), 1 for real states.
            past_key_values: what an earlier call of a decoder returned, or a `DynamicCache`.
            use_cache: whether a decoder returns `past_key_values`; the config's setting if None.
            output_attentions: also return the maps; the config's setting if None.
            output_hidden_states: also return every layer's states; the config's setting if None.
            return_dict: False for a tuple; the config's setting if None.

        Returns:
            `last_hidden_state` (B, L, W), `pooler_output` (B, W), and what was asked for. Where the mask hides
            tokens and attention is packed, hidden tokens have zeros, and the pooler reads the first real token.

        Raises:
            ArgumentError: a cache for an encoder.
            InputError: both or none of ids and embeddings, or an id without a row; more tokens than positions
                (`TooLong`); shapes that do not fit (`BadShape`).
        """
        config = self.config
        maps = bool(config.output_attentions if output_attentions is None else output_attentions)
        cached = self._uses_cache(use_cache)
        inputs = read_inputs(
            config, input_ids, attention_mask, token_type_ids, position_ids, head_mask, inputs_embeds,
            encoder_hidden_states, encoder_attention_mask, past_key_values,
            use_cache=cached, output_attentions=maps, check=self.check_inputs,
        )  # fmt: skip
        out = self._encode(
            inputs,
            maps,
            bool(config.output_hidden_states if output_hidden_states is None else output_hidden_states),
        )
        rows = inputs.rows
        if rows is not None:
            out = out._replace(
                last_hidden_state=rows.pad(out.last_hidden_state),
                hidden_states=None if out.hidden_states is None else tuple(map(rows.pad, out.hidden_states)),
            )
        if out.hidden_states is not None:
            out = out._replace(last_hidden_state=out.hidden_states[-1])
        if not cached:
            out = out._replace(past_key_values=None)
        elif isinstance(past_key_values, DynamicCache):
            out = out._replace(past_key_values=past_key_values)
        last = out.last_hidden_state
        pooled = self._pool(last, None if rows is None else rows.real)
        as_dict = config.use_return_dict if return_dict is None else return_dict
        own = {"last_hidden_state": last, "pooler_output": pooled}
        return BaseModelOutputWithPoolingAndCrossAttentions.answer(
            own, out, as_dict=as_dict, keep_none=("pooler_output",)
        )

    def _uses_cache(self, asked: bool | None) -> bool:
        if not self.config.is_decoder:
            return False
        wanted = bool(self.config.use_cache if asked is None else asked)
        if wanted and self.training and self.encoder.gradient_checkpointing:
            if asked:
                warn(
                    "a model that computes its layers twice (gradient checkpointing) keeps no cache",
                    stacklevel=3,
                )
            return False
        return wanted

    def _pool(self, last: Tensor, real: Tensor | None) -> Tensor | None:
        if self.pooler is None:
            return None
        if type(self.pooler) is RobertaPooler:
            read = first_tokens(last, real)[:, None]
        else:  # somebody's own may read more than the first token
            read = with_first_token(last, real)
        pooled: Tensor = self.pooler(read)
        return pooled if real is None else pooled * real.any(1, keepdim=True)

    def score(self, rows: Tensor) -> dict[str, Tensor]:
        """What the model makes of each sequence's first row, (S, W): `pooler_output` (S, W), if it has a pooler."""
        return {} if self.pooler is None else {"pooler_output": self.pooler(rows[:, None])}

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

        Raises:
            BadShape: lengths that are not those of the tokens.
            InputError: an id without a row.
            ArgumentError: the model is a decoder.

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
        if self.config.is_decoder:
            raise ArgumentError(
                given="packed tokens to a decoder",
                expected="an encoder",
                hint="call the model on padded rows",
            )
        if not makes_graph():
            check_lengths(cumulative_lengths, len(input_ids))
        if self.check_inputs:
            check_rows(self.config, input_ids, position_ids, token_type_ids)
        embedded = self.embeddings(input_ids, token_type_ids, position_ids)
        last: Tensor = self.encoder(embedded, PackedLayout(cumulative_lengths)).last_hidden_state
        return last

    def _encode(self, inputs: Inputs, maps: bool, all_states: bool) -> Stack:
        rows = inputs.rows
        given = [inputs.input_ids, inputs.token_type_ids, inputs.position_ids, inputs.inputs_embeds]
        layout: Layout = PaddedLayout(inputs.keep, eager=self.config.attn_implementation == "eager")
        if rows is not None:
            layout = PackedLayout(rows.cumulative_lengths)
            shape = rows.real.shape
            given = [None if x is None else rows.gather(x.expand(*shape, *x.shape[2:])) for x in given]
        out: Stack = self.encoder(
            self.embeddings(*given),
            layout,
            head_mask=inputs.head_mask,
            cache=inputs.cache,
            encoder_states=inputs.encoder_states,
            encoder_keep=inputs.encoder_keep,
            output_attentions=maps,
            output_hidden_states=all_states,
        )
        return out
