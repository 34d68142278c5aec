"""Changing a model that is there: its embeddings, its vocabulary, its heads, how it computes attention."""

from collections.abc import Iterable, Mapping
from typing import ClassVar, cast

from torch import Tensor, nn

from robertakit.configuration import PretrainedConfig
from robertakit.errors import ArgumentError
from robertakit.torch.contents import contents_of, head_of, parts_of
from robertakit.torch.module_methods import ModuleMethods
from robertakit.torch.resizing import prune_heads, resize_token_embeddings
from robertakit.torch.sharing import holders, put, tie_decoder

__all__ = ["Changeable"]


class Changeable(ModuleMethods):
    """The documented methods that reach into a model's parts."""

    base_model_prefix: ClassVar[str] = ""
    model_tags: list[str] | None = None

    @property
    def base_model(self) -> nn.Module:
        """The backbone: what stands under `base_model_prefix`; the model itself where nothing does."""
        return cast(nn.Module, getattr(self, self.base_model_prefix, self))

    def _backbone(self) -> nn.Module:
        """The base model, or the only model of the family in one of somebody's own."""
        parts = parts_of(self)
        if self.base_model is self and head_of(self) is None and len(parts) == 1:
            return next(iter(parts.values()))
        return self.base_model

    def get_input_embeddings(self) -> nn.Module:
        """The word embeddings.

        Raises:
            NotImplementedError: a model without an encoder of the family.
        """
        inner = self._backbone()
        if inner is not self and isinstance(inner, Changeable):
            return inner.get_input_embeddings()
        raise NotImplementedError(f"{type(self).__name__} has no word embeddings that robertakit knows")

    def set_input_embeddings(self, value: nn.Embedding) -> None:
        """Replace the word embeddings; `tie_weights()` lets the decoder share them."""
        inner = self._backbone()
        if inner is self or not isinstance(inner, Changeable):
            raise NotImplementedError(f"{type(self).__name__} has no word embeddings that robertakit knows")
        inner.set_input_embeddings(value)

    def get_output_embeddings(self) -> nn.Module | None:
        """What scores the vocabulary; None for a model that does not."""
        head = getattr(self, "lm_head", None)
        decoder = getattr(head, "decoder", head)
        return decoder if isinstance(decoder, nn.Linear) else None

    def set_output_embeddings(self, new_embeddings: nn.Linear) -> None:
        """Replace what scores the vocabulary."""
        raise NotImplementedError(f"{type(self).__name__} scores no vocabulary")

    def tie_weights(self) -> None:
        """Let tensors be one that the architecture, or a decoder of one's own, shares with the word embeddings."""
        places, contents = holders(self), contents_of(self)
        for name, source in contents.ties.items():
            copy, original = contents.tensors.get(name), contents.tensors.get(source)
            if copy is not None and original is not None and copy.shape == original.shape:
                put(places[id(copy)], original)
        decoder = self.get_output_embeddings()
        if self.config.tie_word_embeddings and isinstance(decoder, nn.Linear):
            table = getattr(self.get_input_embeddings(), "weight", None)
            of_family = any(contents.tensors.get(name) is decoder.weight for name in contents.ties)
            if isinstance(table, nn.Parameter) and (of_family or table.shape == decoder.weight.shape):
                tie_decoder(decoder, table)

    def resize_token_embeddings(
        self,
        new_num_tokens: int | None = None,
        pad_to_multiple_of: int | None = None,
        mean_resizing: bool = True,
    ) -> nn.Module:
        """Give the vocabulary another number of rows, at its end; the decoder and its bias follow.

        Args:
            new_num_tokens: rows; None keeps them.
            pad_to_multiple_of: rounds up to a multiple of this, for kernels that like it.
            mean_resizing: draw new rows close to the mean of the old ones, so that the old tokens' probabilities
                hardly change; False draws them as a new model's.

        Returns:
            The word embeddings, the same module as before.

        Raises:
            ArgumentError: a size that cuts off a special token of the configuration.

        Example:
            >>> from robertakit import RobertaConfig, RobertaForMaskedLM
            >>> sizes = {"vocab_size": 9, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
            >>> model = RobertaForMaskedLM(RobertaConfig(**sizes))
            >>> model.resize_token_embeddings(11, pad_to_multiple_of=8).num_embeddings
            16
            >>> model.lm_head.bias.shape, model.config.vocab_size
            (torch.Size([16]), 16)
        """
        embeddings = self.get_input_embeddings()
        if new_num_tokens is not None or pad_to_multiple_of is not None:
            decoder = self.get_output_embeddings()
            size = resize_token_embeddings(
                self.config, embeddings, decoder, new_num_tokens, pad_to_multiple_of, mean_resizing
            )
            for config in self._configs():
                config.vocab_size = size
        return embeddings

    def prune_heads(self, heads_to_prune: Mapping[int, Iterable[int]]) -> None:
        """Cut attention heads out; the configuration keeps which.

        Args:
            heads_to_prune: layer -> heads, by their numbers before any pruning; those that are gone are passed over.

        Raises:
            ArgumentError: no such layer or head.
        """
        encoder = getattr(self._backbone(), "encoder", None)
        layers = getattr(encoder, "layer", None)
        if not isinstance(layers, nn.ModuleList):
            raise ArgumentError(
                given=f"pruning {type(self).__name__}, which has no layers of the family",
                expected="a model with an encoder of the family",
            )
        gone = prune_heads(self.config, layers, heads_to_prune)
        for config in self._configs():
            config.pruned_heads = gone

    def _configs(self) -> list[PretrainedConfig]:
        """The configuration, and those of the parts, which mostly are the same object."""
        models = [self, *(part for part in parts_of(self).values() if isinstance(part, Changeable))]
        return [model.config for model in models]

    def set_attn_implementation(self, attn_implementation: str | None) -> None:
        """Choose how attention is computed: None (automatic), `"eager"`, `"sdpa"` or `"packed"`.

        Raises:
            ConfigError: another name.
        """
        for config in self._configs():
            before, config.attn_implementation = config.attn_implementation, attn_implementation
            try:
                config.validate()
            except ValueError:
                config.attn_implementation = before
                raise

    @classmethod
    def can_generate(cls) -> bool:
        """Whether the class has `generate`."""
        return hasattr(cls, "generate")

    def add_model_tags(self, tags: list[str] | str) -> None:
        """Add tags to those that the card of a pushed model gets; none comes twice."""
        given = [tags] if isinstance(tags, str) else list(tags)
        self.model_tags = list(dict.fromkeys([*(self.model_tags or []), *given]))

    def get_parameter_or_buffer(self, target: str) -> Tensor:
        """Return the parameter or buffer of a name.

        Raises:
            AttributeError: there is none.
        """
        tensors = {**dict(self.named_parameters(remove_duplicate=False)), **dict(self.named_buffers())}
        if target not in tensors:
            raise AttributeError(f"{type(self).__name__} has no parameter or buffer {target!r}")
        return tensors[target]
