"""The stack of layers, the pooler, the backbone, and the bare model; `embeddings.py` stands before it, `attention.py`
within it.

Shape letters: B batch, L padded length, K keys, W width, F feed-forward width, H heads, D head width. Layers carry the
documented names; where Keras reserves one (`output`), the attribute has the name of the reference's TensorFlow class.
"""

from typing import NamedTuple

import keras
import tensorflow as tf

from robertakit.configuration import RobertaConfig
from robertakit.outputs import BaseModelOutputWithPoolingAndCrossAttentions
from robertakit.tensorflow.activations import activation
from robertakit.tensorflow.attention import TFRobertaAttention, TFRobertaOutput
from robertakit.tensorflow.embeddings import TFRobertaEmbeddings
from robertakit.tensorflow.inputs import Cache, read_inputs
from robertakit.tensorflow.layers import ConfiguredLayer
from robertakit.tensorflow.pretrained import TFRobertaPreTrainedModel

__all__ = [
    "TFRobertaEncoder",
    "TFRobertaIntermediate",
    "TFRobertaLayer",
    "TFRobertaMainLayer",
    "TFRobertaModel",
    "TFRobertaPooler",
]


class LayerOutput(NamedTuple):
    """A layer's rows, its attention maps and those of its cross-attention, and its keys and values."""

    hidden_states: tf.Tensor
    attentions: tf.Tensor
    cross_attentions: tf.Tensor | None
    cache: tuple[tf.Tensor, ...]


class Stack(NamedTuple):
    """What the encoder gives; fields as in the documented outputs, None for what nobody asked for."""

    last_hidden_state: tf.Tensor
    past_key_values: Cache | None = None
    hidden_states: tuple[tf.Tensor, ...] | None = None
    attentions: tuple[tf.Tensor, ...] | None = None
    cross_attentions: tuple[tf.Tensor, ...] | None = None


@keras.saving.register_keras_serializable("robertakit")
class TFRobertaIntermediate(ConfiguredLayer):
    """The widening half of the feed-forward network."""

    def __init__(self, config: RobertaConfig, **kwargs: object) -> None:
        super().__init__(config, **kwargs)
        self.dense = self._dense(config.intermediate_size, "dense")
        self.intermediate_act_fn = activation(config.hidden_act)

    def build(self, input_shape: object = None) -> None:
        """Make the weights."""
        self.dense.build((None, None, self.config.hidden_size))

    def call(self, hidden_states: tf.Tensor) -> tf.Tensor:
        """(..., W) to (..., F)."""
        return self.intermediate_act_fn(self.dense(hidden_states))


@keras.saving.register_keras_serializable("robertakit")
class TFRobertaLayer(ConfiguredLayer):
    """Attention, a decoder's cross-attention, then the feed-forward network, whose end is `bert_output`."""

    def __init__(self, config: RobertaConfig, layer: int = 0, **kwargs: object) -> None:
        super().__init__(config, **kwargs)
        self.layer = layer
        self.attention = TFRobertaAttention(config, layer, dtype=self.dtype_policy, name="attention")
        self.crossattention = None
        if config.add_cross_attention:
            self.crossattention = TFRobertaAttention(
                config, layer, cross=True, dtype=self.dtype_policy, name="crossattention"
            )
        self.intermediate = TFRobertaIntermediate(config, dtype=self.dtype_policy, name="intermediate")
        self.bert_output = TFRobertaOutput(
            config, config.intermediate_size, dtype=self.dtype_policy, name="output"
        )
        self.chunk_size_feed_forward = config.chunk_size_feed_forward

    def build(self, input_shape: object = None) -> None:
        """Make the weights."""
        for part in (self.attention, self.crossattention, self.intermediate, self.bert_output):
            if part is not None:
                part.build(None)

    def call(
        self,
        hidden_states: tf.Tensor,
        keep: tf.Tensor | None = None,
        head_mask: tf.Tensor | None = None,
        past: tuple[tf.Tensor, ...] | None = None,
        encoder_states: tf.Tensor | None = None,
        encoder_keep: tf.Tensor | None = None,
        training: bool | None = None,
    ) -> LayerOutput:
        """Compute one layer.

        Args:
            hidden_states: (B, L, W).
            keep: (B, 1, 1 or L, K) bool, which keys a query sees; None: all.
            head_mask: factors for the attention maps, broadcast to (B, H, L, K).
            past: key and value of earlier tokens, and perhaps those of the encoder's states.
            encoder_states: (B, K, W) for the cross-attention.
            encoder_keep: (B, 1, 1 or L, K) bool, which of them a query sees; None: all.
            training: whether dropout is at work.
        """
        known = None if past is None else past[:2]
        attended, maps, cache = self.attention(
            hidden_states, keep=keep, head_mask=head_mask, past=known, training=training
        )
        cross_maps, cross_cache = None, ()
        if self.crossattention is not None and encoder_states is not None:
            attended, cross_maps, cross_cache = self.crossattention(
                attended, keep=encoder_keep, head_mask=head_mask, past=(past or ())[2:] or None,
                encoder_states=encoder_states, training=training,
            )  # fmt: skip
        elif past is not None:
            cross_cache = past[2:]
        return LayerOutput(self._feed_forward(attended, training), maps, cross_maps, (*cache, *cross_cache))

    def _feed_forward(self, attended: tf.Tensor, training: bool | None) -> tf.Tensor:
        """Row by row, in chunks of tokens where the configuration asks for them and their number is known."""
        size, length = self.chunk_size_feed_forward, attended.shape[1]
        if not size or length is None or size >= length:
            return self.bert_output(self.intermediate(attended), attended, training=training)
        chunks = [attended[:, start : start + size] for start in range(0, length, size)]
        return tf.concat(
            [self.bert_output(self.intermediate(chunk), chunk, training=training) for chunk in chunks], 1
        )

    def get_config(self) -> dict[str, object]:
        """What the constructor takes."""
        return {**super().get_config(), "layer": self.layer}


@keras.saving.register_keras_serializable("robertakit")
class TFRobertaEncoder(ConfiguredLayer):
    """The stack of layers."""

    def __init__(self, config: RobertaConfig, **kwargs: object) -> None:
        super().__init__(config, **kwargs)
        self.layer = [
            TFRobertaLayer(config, i, dtype=self.dtype_policy, name=f"layer_._{i}")
            for i in range(config.num_hidden_layers)
        ]

    def build(self, input_shape: object = None) -> None:
        """Make the weights."""
        for layer in self.layer:
            layer.build(None)

    def call(
        self,
        hidden_states: tf.Tensor,
        keep: tf.Tensor | None = None,
        head_mask: tuple[tf.Tensor, ...] | None = None,
        past: Cache | None = None,
        encoder_states: tf.Tensor | None = None,
        encoder_keep: tf.Tensor | None = None,
        output_attentions: bool = False,
        output_hidden_states: bool = False,
        training: bool | None = None,
    ) -> Stack:
        """Run all layers.

        Args:
            hidden_states: (B, L, W).
            keep: (B, 1, 1 or L, K) bool, which keys a query sees; None: all.
            head_mask: None, or factors for each layer.
            past: None, or earlier keys and values for each layer.
            encoder_states: (B, K, W) for the cross-attention, or None.
            encoder_keep: (B, 1, 1 or L, K) bool, which of them a query sees; None: all.
            output_attentions: collect the maps.
            output_hidden_states: collect the input and each layer's output.
            training: whether dropout is at work.
        """
        states, maps, cross_maps, caches = [hidden_states], [], [], []
        for index, layer in enumerate(self.layer):
            factors = None if head_mask is None else head_mask[index]
            known = None if past is None else past[index]
            out = layer(
                states[-1], keep=keep, head_mask=factors, past=known, encoder_states=encoder_states,
                encoder_keep=encoder_keep, training=training,
            )  # fmt: skip
            states = [*states, out.hidden_states] if output_hidden_states else [out.hidden_states]
            maps.append(out.attentions)
            cross_maps += [] if out.cross_attentions is None else [out.cross_attentions]
            caches.append(out.cache)
        return Stack(
            last_hidden_state=states[-1],
            past_key_values=tuple(caches),
            hidden_states=tuple(states) if output_hidden_states else None,
            attentions=tuple(maps) if output_attentions else None,
            cross_attentions=tuple(cross_maps) if output_attentions and cross_maps else None,
        )


@keras.saving.register_keras_serializable("robertakit")
class TFRobertaPooler(ConfiguredLayer):
    """First token through a dense layer and tanh."""

    def __init__(self, config: RobertaConfig, **kwargs: object) -> None:
        super().__init__(config, **kwargs)
        self.dense = self._dense(config.hidden_size, "dense")

    def build(self, input_shape: object = None) -> None:
        """Make the weights."""
        self.dense.build((None, self.config.hidden_size))

    def call(self, hidden_states: tf.Tensor) -> tf.Tensor:
        """(B, L, W), of which the first token is read, to (B, W)."""
        return tf.tanh(self.dense(hidden_states[:, 0]))


@keras.saving.register_keras_serializable("robertakit")
class TFRobertaMainLayer(ConfiguredLayer):
    """The backbone, as a layer: every model keeps it as `roberta`.

    Args:
        config: sizes and switches.
        add_pooling_layer: whether to have the pooler.
        **kwargs: Keras' own.

    Attributes:
        check_inputs: whether eager calls look for ids without a row and for masks of other numbers than 0 and 1.
    """

    check_inputs = True

    def __init__(self, config: RobertaConfig, add_pooling_layer: bool = True, **kwargs: object) -> None:
        super().__init__(config, **kwargs)
        self.embeddings = TFRobertaEmbeddings(config, dtype=self.dtype_policy, name="embeddings")
        self.encoder = TFRobertaEncoder(config, dtype=self.dtype_policy, name="encoder")
        self.pooler: keras.layers.Layer | None = None
        if add_pooling_layer:
            self.pooler = TFRobertaPooler(config, dtype=self.dtype_policy, name="pooler")

    def build(self, input_shape: object = None) -> None:
        """Make the weights."""
        for part in (self.embeddings, self.encoder, self.pooler):
            if part is not None:
                part.build(None)

    def get_config(self) -> dict[str, object]:
        """What the constructor takes."""
        return {**super().get_config(), "add_pooling_layer": self.pooler is not None}

    def call(
        self,
        input_ids: tf.Tensor | None = None,
        attention_mask: tf.Tensor | None = None,
        token_type_ids: tf.Tensor | None = None,
        position_ids: tf.Tensor | None = None,
        head_mask: tf.Tensor | None = None,
        inputs_embeds: tf.Tensor | None = None,
        encoder_hidden_states: tf.Tensor | None = None,
        encoder_attention_mask: tf.Tensor | None = None,
        past_key_values: Cache | None = None,
        use_cache: bool | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        training: bool | None = None,
    ) -> BaseModelOutputWithPoolingAndCrossAttentions[tf.Tensor] | tuple[object, ...]:
        """Encode; see `TFRobertaModel.call`."""
        config = self.config
        inputs = read_inputs(
            config,
            {
                "input_ids": input_ids, "attention_mask": attention_mask, "token_type_ids": token_type_ids,
                "position_ids": position_ids, "head_mask": head_mask, "inputs_embeds": inputs_embeds,
                "encoder_hidden_states": encoder_hidden_states,
                "encoder_attention_mask": encoder_attention_mask, "past_key_values": past_key_values,
            },
            check=self.check_inputs,
        )  # fmt: skip
        embedded = self.embeddings(
            inputs.input_ids, token_type_ids=inputs.token_type_ids, position_ids=inputs.position_ids,
            inputs_embeds=inputs.inputs_embeds, training=training,
        )  # fmt: skip
        out: Stack = self.encoder(
            embedded, keep=inputs.keep, head_mask=inputs.head_mask, past=inputs.past,
            encoder_states=inputs.encoder_states, encoder_keep=inputs.encoder_keep,
            output_attentions=_or(output_attentions, config.output_attentions),
            output_hidden_states=_or(output_hidden_states, config.output_hidden_states),
            training=training,
        )  # fmt: skip
        if not (config.is_decoder and _or(use_cache, config.use_cache)):
            out = out._replace(past_key_values=None)
        last = out.last_hidden_state
        pooled = None if self.pooler is None else self.pooler(last)
        own = {"last_hidden_state": last, "pooler_output": pooled}
        return BaseModelOutputWithPoolingAndCrossAttentions.answer(
            own, out, as_dict=_or(return_dict, config.use_return_dict), keep_none=("pooler_output",)
        )


class TFRobertaModel(TFRobertaPreTrainedModel):
    """The bare model: hidden states, and the pooled first token. With `is_decoder` a token sees only those before it.

    Args:
        config: sizes and switches.
        add_pooling_layer: whether to have the pooler.
        **kwargs: Keras' own.

    Example:
        >>> import tensorflow as tf
        >>> from robertakit import RobertaConfig
        >>> config = RobertaConfig(
        ...     vocab_size=99, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32
        ... )
        >>> out = TFRobertaModel(config)(tf.constant([[0, 9, 2]]))
        >>> tuple(out.last_hidden_state.shape), tuple(out.pooler_output.shape)
        ((1, 3, 16), (1, 16))
    """

    head = "model"

    def __init__(
        self, config: RobertaConfig, *inputs: object, add_pooling_layer: bool = True, **kwargs: object
    ) -> None:
        super().__init__(config, *inputs, **kwargs)
        self.roberta = TFRobertaMainLayer(config, add_pooling_layer, dtype=self.dtype_policy, name="roberta")
        self.post_init()

    def build(self, input_shape: object = None) -> None:
        """Make the weights; their shapes are the configuration's."""
        self.roberta.build(None)

    def score(self, rows: tf.Tensor) -> dict[str, tf.Tensor]:
        """What the model makes of each sequence's first row, (S, W): `pooler_output` (S, W), if it has a pooler."""
        pooler = self.roberta.pooler
        return {} if pooler is None else {"pooler_output": pooler(rows[:, None])}

    def call(
        self,
        input_ids: tf.Tensor | None = None,
        attention_mask: tf.Tensor | None = None,
        token_type_ids: tf.Tensor | None = None,
        position_ids: tf.Tensor | None = None,
        head_mask: tf.Tensor | None = None,
        inputs_embeds: tf.Tensor | None = None,
        encoder_hidden_states: tf.Tensor | None = None,
        encoder_attention_mask: tf.Tensor | None = None,
        past_key_values: Cache | None = None,
        use_cache: bool | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        training: bool = False,
    ) -> BaseModelOutputWithPoolingAndCrossAttentions[tf.Tensor] | tuple[object, ...]:
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
            past_key_values: what an earlier call of a decoder returned.
            use_cache: whether a decoder returns `past_key_values`; the config's setting if None.
            output_attentions: also return the maps; the config's setting if None.
            output_hidden_states: also return every layer's states; the config's setting if None.
            return_dict: False for a tuple; the config's setting if None.
            training: whether dropout is at work.

        Returns:
            `last_hidden_state` (B, L, W), `pooler_output` (B, W), and what was asked for; computed at every position,
            padding included.

        Raises:
            ArgumentError: a cache for an encoder.
            InputError: both or none of ids and embeddings, or, in eager use, an id without a row; more tokens than
                positions (`TooLong`); shapes that do not fit (`BadShape`).
        """
        out: BaseModelOutputWithPoolingAndCrossAttentions[tf.Tensor] | tuple[object, ...] = self.roberta(
            input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids, position_ids=position_ids,
            head_mask=head_mask, inputs_embeds=inputs_embeds, encoder_hidden_states=encoder_hidden_states,
            encoder_attention_mask=encoder_attention_mask, past_key_values=past_key_values, use_cache=use_cache,
            output_attentions=output_attentions, output_hidden_states=output_hidden_states,
            return_dict=return_dict, training=training,
        )  # fmt: skip
        return out


def _or(asked: bool | None, setting: bool | None) -> bool:
    """What a call asks for, else the configuration's setting."""
    return bool(setting if asked is None else asked)
