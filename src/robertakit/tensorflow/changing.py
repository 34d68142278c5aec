"""Changing a model that is there: its embeddings, its vocabulary, its heads."""

from collections.abc import Iterable, Mapping
from typing import ClassVar, cast

import keras
import numpy as np
import tensorflow as tf

from robertakit.configuration import PretrainedConfig
from robertakit.errors import ArgumentError, BadShape
from robertakit.tensorflow.contents import contents_of
from robertakit.tensorflow.resizing import count_heads, forget_compiled, prune_heads, resize_vocabulary
from robertakit.tensorflow.serving import Servable
from robertakit.tensorflow.training import Trainable

__all__ = ["Changeable"]


class Changeable(Trainable, Servable):
    """The documented methods that reach into a model's parts."""

    config: PretrainedConfig
    base_model_prefix: ClassVar[str] = ""
    model_tags: list[str] | None = None

    @property
    def base_model(self) -> keras.Layer:
        """The backbone: what stands under `base_model_prefix`; the model itself where nothing does."""
        return cast(keras.Layer, getattr(self, self.base_model_prefix, self))

    @property
    def check_inputs(self) -> bool:
        """Whether eager calls look for ids and labels without a row; False spares an accelerator the wait."""
        return bool(self.__dict__.get("_checks_inputs", True))

    @check_inputs.setter
    def check_inputs(self, value: bool) -> None:
        self.__dict__["_checks_inputs"] = bool(value)
        for layer in self._flatten_layers(include_self=False):
            if hasattr(layer, "check_inputs"):
                layer.check_inputs = bool(value)

    def get_input_embeddings(self) -> keras.layers.Embedding:
        """The word embeddings.

        Raises:
            NotImplementedError: a model without an encoder of the family.
        """
        table = getattr(getattr(self.base_model, "embeddings", None), "word_embeddings", None)
        if table is None:
            raise NotImplementedError(f"{type(self).__name__} has no word embeddings that robertakit knows")
        return cast(keras.layers.Embedding, table)

    def set_input_embeddings(self, value: object) -> None:
        """Give the word embeddings other values, of any number of rows; a tied decoder has them, too.

        Args:
            value: an array (V, W), or a layer that holds one.

        Raises:
            BadShape: not of the model's width.
        """
        array = np.asarray(getattr(value, "embeddings", value))
        width = self.config.hidden_size
        if array.ndim != 2 or array.shape[1] != width:
            raise BadShape(given=f"embeddings of shape {array.shape}", expected=f"(rows, {width})")
        if len(array) != self.config.vocab_size:
            self.resize_token_embeddings(len(array), mean_resizing=False)
        self.get_input_embeddings().embeddings.assign(tf.cast(array, self.dtype))

    def get_output_embeddings(self) -> keras.Layer | None:
        """What scores the vocabulary: the word embeddings where it is tied to them; None where nothing does."""
        head = getattr(self, "lm_head", None)
        if head is None:
            return None
        return cast(keras.Layer, getattr(head, "decoder", None) or self.get_input_embeddings())

    def set_output_embeddings(self, value: object) -> None:
        """Give what scores the vocabulary other values; tied word embeddings have them, too.

        Args:
            value: an array (V, W), one row a word; or a layer that holds one, a dense layer's kernel (W, V) included.

        Raises:
            ArgumentError: the model scores no vocabulary.
            BadShape: not one row of the model's width a word (`resize_token_embeddings` changes their number).
        """
        decoder = self.get_output_embeddings()
        if decoder is None:
            raise ArgumentError(
                given=f"output embeddings for {type(self).__name__}", expected="a language model"
            )
        kernel = getattr(value, "kernel", None)
        held = getattr(value, "embeddings", value)
        array = np.asarray(held) if kernel is None else np.asarray(kernel).T
        shape = (self.config.vocab_size, self.config.hidden_size)
        if array.shape != shape:
            raise BadShape(given=f"output embeddings of shape {array.shape}", expected=f"{shape}")
        if isinstance(decoder, keras.layers.Embedding):
            decoder.embeddings.assign(tf.cast(array, self.dtype))
        else:
            decoder.kernel.assign(tf.cast(array.T, self.dtype))

    def get_lm_head(self) -> keras.Layer | None:
        """The layer that scores the vocabulary; None for a model without."""
        return getattr(self, "lm_head", None)

    def get_bias(self) -> dict[str, keras.Variable] | None:
        """The bias of the scores, by its name; None for a model without."""
        head = self.get_lm_head()
        return None if head is None else {"lm_head.bias": head.bias}

    def set_bias(self, value: Mapping[str, object]) -> None:
        """Give the bias of the scores other values, as `get_bias` names it."""
        bias = (self.get_bias() or {}).get("lm_head.bias")
        if bias is None or set(value) != {"lm_head.bias"}:
            raise ArgumentError(
                given=f"a bias {sorted(value)} for {type(self).__name__}", expected="lm_head.bias"
            )
        array = np.asarray(value["lm_head.bias"])
        if array.shape != tuple(bias.shape):
            raise BadShape(given=f"a bias of shape {array.shape}", expected=f"{tuple(bias.shape)}")
        bias.assign(tf.cast(array, bias.dtype))

    def resize_token_embeddings(
        self,
        new_num_tokens: int | None = None,
        pad_to_multiple_of: int | None = None,
        mean_resizing: bool = True,
    ) -> keras.layers.Embedding:
        """Give the vocabulary another number of rows, at its end; the decoder and its bias follow.

        A model that was compiled has to be compiled again.

        Args:
            new_num_tokens: rows; None keeps them.
            pad_to_multiple_of: rounds up to a multiple of this, for kernels that like it.
            mean_resizing: draw new rows close to the mean of the old ones, so that the old tokens' probabilities
                hardly change; False draws them as a new model's.

        Returns:
            The word embeddings, the same layer as before.

        Raises:
            ArgumentError: a size that cuts off a special token of the configuration.

        Example:
            >>> from robertakit import RobertaConfig, TFRobertaForMaskedLM
            >>> sizes = {"vocab_size": 9, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
            >>> model = TFRobertaForMaskedLM(RobertaConfig(**sizes))
            >>> model.resize_token_embeddings(11, pad_to_multiple_of=8).input_dim
            16
            >>> model.lm_head.bias.shape, model.config.vocab_size
            (TensorShape([16]), 16)
        """
        embeddings = self.get_input_embeddings()
        if new_num_tokens is None and pad_to_multiple_of is None:
            return embeddings
        before = self.config.vocab_size
        size = resize_vocabulary(contents_of(self), new_num_tokens, pad_to_multiple_of, mean_resizing)
        if size != before:
            self.config.vocab_size = embeddings.input_dim = size
            decoder = self.get_output_embeddings()
            if isinstance(decoder, keras.layers.Dense):
                decoder.units = size
            forget_compiled(self)
        return embeddings

    def prune_heads(self, heads_to_prune: Mapping[int, Iterable[int]]) -> None:
        """Cut attention heads out; the configuration keeps which. A compiled model has to be compiled again.

        Args:
            heads_to_prune: layer -> heads, by their numbers before any pruning; those that are gone are passed over.

        Raises:
            ArgumentError: no such layer or head.
        """
        layers = getattr(getattr(self.base_model, "encoder", None), "layer", None)
        if layers is None:
            raise ArgumentError(
                given=f"pruning {type(self).__name__}, which has no layers of the family",
                expected="a model with an encoder of the family",
            )
        gone = prune_heads(contents_of(self), heads_to_prune)
        if gone != self.config.pruned_heads:
            self.config.pruned_heads = gone
            for number, layer in enumerate(layers):
                count_heads(self.config, number, layer.attention)
            forget_compiled(self)

    @classmethod
    def can_generate(cls) -> bool:
        """Whether the class has `generate`."""
        return hasattr(cls, "generate")

    def add_model_tags(self, tags: list[str] | str) -> None:
        """Add tags to those that the card of a pushed model gets; none comes twice."""
        given = [tags] if isinstance(tags, str) else list(tags)
        self.model_tags = list(dict.fromkeys([*(self.model_tags or []), *given]))
