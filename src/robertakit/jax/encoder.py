"""The stack of layers, the pooler, and the bare model; `embeddings.py` stands before it, `attention.py` within it.

Modules carry the documented names, and compute padded: what the reference gives, at every position.

Shape letters: B batch, L length, K keys, W width, F feed-forward width, H heads.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from robertakit.configuration import RobertaConfig
from robertakit.jax.activations import activation
from robertakit.jax.attention import FlaxRobertaAttention, FlaxRobertaOutput
from robertakit.jax.embeddings import FlaxRobertaEmbeddings
from robertakit.jax.inputs import Inputs, read_inputs
from robertakit.jax.layers import dense
from robertakit.jax.pretrained import FlaxRobertaPreTrainedModel
from robertakit.outputs import BaseModelOutputWithPoolingAndCrossAttentions

__all__ = [
    "FlaxRobertaEncoder",
    "FlaxRobertaIntermediate",
    "FlaxRobertaLayer",
    "FlaxRobertaLayerCollection",
    "FlaxRobertaModel",
    "FlaxRobertaModule",
    "FlaxRobertaPooler",
]

#: A layer's rows, its attention maps and those of its cross-attention.
LayerOutput = tuple[jax.Array, jax.Array | None, jax.Array | None]


class Stack(NamedTuple):
    """What the encoder gives; fields as in the documented outputs, None for what nobody asked for."""

    last_hidden_state: jax.Array
    hidden_states: tuple[jax.Array, ...] | None = None
    attentions: tuple[jax.Array, ...] | None = None
    cross_attentions: tuple[jax.Array, ...] | None = None


class FlaxRobertaIntermediate(nn.Module):
    """The widening half of the feed-forward network."""

    config: RobertaConfig
    dtype: DTypeLike = jnp.float32

    def setup(self) -> None:
        """Name the parts."""
        self.dense = dense(self.config, self.config.intermediate_size, self.dtype)

    def __call__(self, hidden_states: jax.Array) -> jax.Array:
        """(..., W) to (..., F)."""
        return activation(self.config.hidden_act)(self.dense(hidden_states))


class FlaxRobertaLayer(nn.Module):
    """Attention, a decoder's cross-attention, then the feed-forward network."""

    config: RobertaConfig
    layer: int
    dtype: DTypeLike = jnp.float32

    def setup(self) -> None:
        """Name the parts."""
        config = self.config
        self.attention = FlaxRobertaAttention(config, self.layer, dtype=self.dtype)
        if config.add_cross_attention:
            self.crossattention = FlaxRobertaAttention(config, self.layer, cross=True, dtype=self.dtype)
        self.intermediate = FlaxRobertaIntermediate(config, self.dtype)
        self.output = FlaxRobertaOutput(config, self.dtype)

    def __call__(
        self,
        hidden_states: jax.Array,
        bias: jax.Array | None = None,
        head_mask: jax.Array | None = None,
        cache_index: jax.Array | None = None,
        encoder_states: jax.Array | None = None,
        encoder_bias: jax.Array | None = None,
        output_attentions: bool = False,
        deterministic: bool = True,
    ) -> LayerOutput:
        """(B, L, W) to (B, L, W), the attention maps (B, H, L, K) or None, and those of the cross-attention."""
        attended, maps = self.attention(
            hidden_states, bias, head_mask, cache_index, None, output_attentions, deterministic
        )
        cross_maps = None
        if encoder_states is not None:
            attended, cross_maps = self.crossattention(
                attended,
                encoder_bias,
                head_mask,
                cache_index,
                encoder_states,
                output_attentions,
                deterministic,
            )
        size = self.config.chunk_size_feed_forward or attended.shape[1]
        chunks = [
            self._feed_forward(attended[:, start : start + size], deterministic)
            for start in range(0, attended.shape[1], size)
        ]
        return chunks[0] if len(chunks) == 1 else jnp.concatenate(chunks, axis=1), maps, cross_maps

    def _feed_forward(self, attended: jax.Array, deterministic: bool) -> jax.Array:
        return self.output(self.intermediate(attended), attended, deterministic)


#: Where `FlaxRobertaLayer.__call__` has its switches, which are no arrays; the module itself is number 0.
_SWITCHES = (7, 8)


class FlaxRobertaLayerCollection(nn.Module):
    """The layers, named by their numbers.

    Attributes:
        gradient_checkpointing: whether a gradient keeps only each layer's input and computes the layer again
            (Chen et al. 2016).
    """

    config: RobertaConfig
    dtype: DTypeLike = jnp.float32
    gradient_checkpointing: bool = False

    def setup(self) -> None:
        """Name the parts."""
        kind = (
            nn.remat(FlaxRobertaLayer, static_argnums=_SWITCHES)
            if self.gradient_checkpointing
            else FlaxRobertaLayer
        )
        self.layers = [
            kind(self.config, index, self.dtype, name=str(index))
            for index in range(self.config.num_hidden_layers)
        ]

    def __call__(
        self,
        hidden_states: jax.Array,
        inputs: Inputs,
        cache_index: jax.Array | None = None,
        output_attentions: bool = False,
        output_hidden_states: bool = False,
        deterministic: bool = True,
    ) -> Stack:
        """Run all layers; see `FlaxRobertaEncoder`."""
        states = [hidden_states]
        maps: list[jax.Array] = []
        cross_maps: list[jax.Array] = []
        for index, layer in enumerate(self.layers):
            out: LayerOutput = layer(
                states[-1],
                inputs.bias,
                None if inputs.head_mask is None else inputs.head_mask[index],
                cache_index,
                inputs.encoder_states,
                inputs.encoder_bias,
                output_attentions,
                deterministic,
            )
            states = [*states, out[0]] if output_hidden_states else [out[0]]
            maps += [] if out[1] is None else [out[1]]
            cross_maps += [] if out[2] is None else [out[2]]
        return Stack(
            last_hidden_state=states[-1],
            hidden_states=tuple(states) if output_hidden_states else None,
            attentions=tuple(maps) if output_attentions else None,
            cross_attentions=tuple(cross_maps) if cross_maps else None,
        )


class FlaxRobertaEncoder(nn.Module):
    """The stack of layers."""

    config: RobertaConfig
    dtype: DTypeLike = jnp.float32
    gradient_checkpointing: bool = False

    def setup(self) -> None:
        """Name the parts."""
        self.layer = FlaxRobertaLayerCollection(self.config, self.dtype, self.gradient_checkpointing)

    def __call__(
        self,
        hidden_states: jax.Array,
        inputs: Inputs,
        cache_index: jax.Array | None = None,
        output_attentions: bool = False,
        output_hidden_states: bool = False,
        deterministic: bool = True,
    ) -> Stack:
        """Run all layers.

        Args:
            hidden_states: (B, L, W).
            inputs: masks, and the encoder's states.
            cache_index: tokens in the cache; None: there is no cache.
            output_attentions: collect the maps.
            output_hidden_states: collect the input and each layer's output.
            deterministic: no dropout.
        """
        out: Stack = self.layer(
            hidden_states, inputs, cache_index, output_attentions, output_hidden_states, deterministic
        )
        return out


class FlaxRobertaPooler(nn.Module):
    """First token through a dense layer and tanh."""

    config: RobertaConfig
    dtype: DTypeLike = jnp.float32

    def setup(self) -> None:
        """Name the parts."""
        self.dense = dense(self.config, self.config.hidden_size, self.dtype)

    def __call__(self, hidden_states: jax.Array) -> jax.Array:
        """(B, L, W), of which the first token is read, to (B, W)."""
        return jnp.tanh(self.dense(hidden_states[:, 0]))


class FlaxRobertaModule(nn.Module):
    """The bare model: hidden states, and the pooled first token. With `is_decoder` a token sees only those before it.

    Attributes:
        config: sizes and switches.
        dtype: of the computation; parameters keep theirs.
        add_pooling_layer: whether to have the pooler.
        gradient_checkpointing: whether a gradient computes each layer again in place of keeping what it needs.

    Example:
        >>> import jax.numpy as jnp
        >>> from robertakit import RobertaConfig
        >>> config = RobertaConfig(
        ...     vocab_size=99, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32
        ... )
        >>> module = FlaxRobertaModule(config)
        >>> variables = module.init(jax.random.key(0), jnp.array([[0, 9, 2]]))
        >>> jax.jit(module.apply)(variables, jnp.array([[0, 9, 8, 2]])).pooler_output.shape
        (1, 16)
    """

    config: RobertaConfig
    dtype: DTypeLike = jnp.float32
    add_pooling_layer: bool = True
    gradient_checkpointing: bool = False

    def setup(self) -> None:
        """Name the parts."""
        self.embeddings = FlaxRobertaEmbeddings(self.config, self.dtype)
        self.encoder = FlaxRobertaEncoder(self.config, self.dtype, self.gradient_checkpointing)
        if self.add_pooling_layer:
            self.pooler = FlaxRobertaPooler(self.config, self.dtype)

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
        *,
        use_cache: bool = False,
        output_attentions: bool = False,
        output_hidden_states: bool = False,
        deterministic: bool = True,
    ) -> BaseModelOutputWithPoolingAndCrossAttentions[jax.Array]:
        """Encode.

        Args:
            input_ids: (B, L). One without a row gives NaN: inside a trace nobody can look.
            attention_mask: (B, L), 1 for real tokens; or (B, L, L), which keys each query sees; all ones if None.
                With a cache the keys are the tokens so far and these, or all that it has room for.
            token_type_ids: (B, L), zeros if None.
            position_ids: (B, L) or (1, L); made from the ids if None.
            head_mask: (H,) or (layers, H), factors for the attention maps.
            inputs_embeds: (B, L, W), in place of the ids.
            encoder_hidden_states: (B, K, W) for the cross-attention of a decoder; an encoder leaves them aside.
            encoder_attention_mask: (B, K) or (B, L, K), 1 for real states.
            use_cache: make the collection "cache" of a decoder where there is none, for as many tokens as it has
                positions; `apply` needs `mutable=["cache"]`. One that is there (see `cache.init_cache`) is read,
                and, where it is mutable, written, at all events.
            output_attentions: also return the maps; with a cache over all its slots, 0 where they hold nothing.
            output_hidden_states: also return every layer's states.
            deterministic: no dropout; else `apply` needs `rngs={"dropout": key}`.

        Returns:
            `last_hidden_state` (B, L, W), `pooler_output` (B, W), and what was asked for.

        Raises:
            ArgumentError: a cache for an encoder.
            InputError: both or none of ids and embeddings; shapes that do not fit (`BadShape`); more tokens than
                positions, or than the cache has room for (`TooLong`), where the shapes tell.
        """
        cache = self.variables.get("cache")
        cache_index: jax.Array | None = None
        if cache or (use_cache and self.config.is_decoder):
            cache_index = cache["cache_index"] if cache else jnp.zeros((), jnp.int32)
        inputs = read_inputs(
            self.config,
            self.dtype,
            {
                "input_ids": input_ids,
                "attention_mask": attention_mask,
                "token_type_ids": token_type_ids,
                "position_ids": position_ids,
                "head_mask": head_mask,
                "inputs_embeds": inputs_embeds,
                "encoder_hidden_states": encoder_hidden_states,
                "encoder_attention_mask": encoder_attention_mask,
            },
            cache=cache or None,
            first=cache_index,
        )
        embedded = self.embeddings(
            input_ids, token_type_ids, inputs.position_ids, inputs_embeds, deterministic
        )
        out: Stack = self.encoder(
            embedded, inputs, cache_index, output_attentions, output_hidden_states, deterministic
        )
        if cache_index is not None and self.is_mutable_collection("cache"):
            self.put_variable("cache", "cache_index", cache_index + embedded.shape[1])
        return BaseModelOutputWithPoolingAndCrossAttentions(
            last_hidden_state=out.last_hidden_state,
            pooler_output=self.pooler(out.last_hidden_state) if self.add_pooling_layer else None,
            hidden_states=out.hidden_states,
            attentions=out.attentions,
            cross_attentions=out.cross_attentions,
        )

    def encode(
        self,
        input_ids: jax.Array,
        attention_mask: jax.Array | None = None,
        token_type_ids: jax.Array | None = None,
        position_ids: jax.Array | None = None,
    ) -> jax.Array:
        """The last hidden states (B, L, W) alone."""
        last = self(input_ids, attention_mask, token_type_ids, position_ids).last_hidden_state
        assert last is not None
        return last

    def score(self, rows: jax.Array) -> dict[str, jax.Array]:
        """What the model makes of each sequence's first row, (S, W): `pooler_output` (S, W), if it has a pooler."""
        return {"pooler_output": self.pooler(rows[:, None])} if self.add_pooling_layer else {}


class FlaxRobertaModel(FlaxRobertaPreTrainedModel):
    """The bare model: hidden states, and the pooled first token. With `is_decoder` a token sees only those before it.

    Example:
        >>> import jax.numpy as jnp
        >>> from robertakit import RobertaConfig
        >>> config = RobertaConfig(
        ...     vocab_size=99, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32
        ... )
        >>> out = FlaxRobertaModel(config)(jnp.array([[0, 9, 2]]))
        >>> out.last_hidden_state.shape, out.pooler_output.shape
        ((1, 3, 16), (1, 16))
    """

    head = "model"
    module_class = FlaxRobertaModule
