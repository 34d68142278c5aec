"""Changing a model that is there: its vocabulary, its heads, its parameters' dtype, what it keeps for gradients."""

import copy
from collections.abc import Iterable, Mapping
from typing import ClassVar, cast

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax.typing import DTypeLike

from robertakit.configuration import PretrainedConfig
from robertakit.errors import ArgumentError
from robertakit.jax.contents import Contents, Params, plain
from robertakit.jax.resizing import pruned_params, resized_params
from robertakit.jax.values import cast as cast_array
from robertakit.jax.values import dtype_named
from robertakit.resizing import heads_to_prune as heads_that_go
from robertakit.resizing import vocabulary_size

__all__ = ["Changeable"]


class Changeable:
    """The documented methods that change a model or a tree of its parameters."""

    #: A key of `architecture.HEADS`.
    head: ClassVar[str]
    config: PretrainedConfig
    seed: int
    dtype: np.dtype[np.generic]
    params: Params
    _module: nn.Module
    _params: Params | None
    contents: Contents

    def _contents_under(self, config: PretrainedConfig) -> Contents:
        """What the model consists of under a configuration."""
        pooler = bool(getattr(self._module, "add_pooling_layer", True))
        return Contents.of(config, self.head, add_pooling_layer=pooler)

    def _take(self, config: PretrainedConfig, contents: Contents) -> None:
        """Be a model of another configuration from now on."""
        self.config, self.contents = config, contents
        self._module = self._module.clone(config=copy.deepcopy(config))

    def _compute_in(self, dtype: DTypeLike) -> None:
        """Compute in another dtype from now on."""
        self.dtype = dtype_named(dtype)
        self._module = self._module.clone(dtype=self.dtype)

    # The dtype of parameters --------------------------------------------------------------------------------

    def to_bf16(self, params: Mapping[str, object], mask: object = None) -> Params:
        """Return parameters in bfloat16; the model's own stay as they are.

        Args:
            params: a tree of the model's.
            mask: a tree of bools in the same structure: False leaves a parameter as it is.

        Example:
            >>> from robertakit import RobertaConfig
            >>> from robertakit.jax import FlaxRobertaModel
            >>> sizes = {"vocab_size": 9, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
            >>> model = FlaxRobertaModel(RobertaConfig(**sizes))
            >>> model.params = model.to_bf16(model.params)
            >>> model.params["embeddings"]["word_embeddings"]["embedding"].dtype.name
            'bfloat16'
        """
        return _cast(params, jnp.bfloat16, mask)

    def to_fp16(self, params: Mapping[str, object], mask: object = None) -> Params:
        """Return parameters in float16; see `to_bf16`.

        Raises:
            TensorMismatch: a value that float16 cannot hold.
        """
        return _cast(params, jnp.float16, mask)

    def to_fp32(self, params: Mapping[str, object], mask: object = None) -> Params:
        """Return parameters in float32; see `to_bf16`."""
        return _cast(params, jnp.float32, mask)

    # Gradients ----------------------------------------------------------------------------------------------

    def enable_gradient_checkpointing(self) -> None:
        """Compute each layer a second time for the gradients, in place of keeping what it computed."""
        self._module = self._module.clone(gradient_checkpointing=True)

    # Sizes --------------------------------------------------------------------------------------------------

    def resize_token_embeddings(
        self,
        new_num_tokens: int | None = None,
        pad_to_multiple_of: int | None = None,
        mean_resizing: bool = True,
        *,
        params: Mapping[str, object] | None = None,
    ) -> Params:
        """Give the vocabulary another number of rows, at its end; decoder and bias follow.

        An optimizer's state is of the old sizes: make a new one.

        Args:
            new_num_tokens: rows; None keeps them.
            pad_to_multiple_of: rounds up to a multiple of this, which a mesh divides or kernels like.
            mean_resizing: draw new rows close to the mean of the old ones, so that the old tokens' probabilities
                hardly change; False draws them as a new model's.
            params: resized and returned in place of the model's own, for a model made with `_do_init=False`.

        Returns:
            The parameters.

        Raises:
            ArgumentError: a size that cuts off a special token of the configuration.

        Example:
            >>> from robertakit import RobertaConfig
            >>> from robertakit.jax import FlaxRobertaForMaskedLM
            >>> sizes = {"vocab_size": 9, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
            >>> model = FlaxRobertaForMaskedLM(RobertaConfig(**sizes))
            >>> params = model.resize_token_embeddings(11, pad_to_multiple_of=8)
            >>> params["lm_head"]["bias"].shape, model.config.vocab_size
            ((16,), 16)
        """
        before, tree = self.contents, self._given(params)
        config = copy.deepcopy(self.config)
        config.vocab_size = vocabulary_size(config, config.vocab_size, new_num_tokens, pad_to_multiple_of)
        if config.vocab_size != self.config.vocab_size:
            after = self._contents_under(config)
            tree = resized_params(before, after, tree, config, self.seed, mean_resizing)
            self._take(config, after)
        return self._keep(tree, own=params is None)

    def prune_heads(
        self, heads_to_prune: Mapping[int, Iterable[int]], *, params: Mapping[str, object] | None = None
    ) -> Params:
        """Cut attention heads out; the configuration keeps which.

        Args:
            heads_to_prune: layer -> heads, by their numbers before any pruning; those that are gone are passed over.
            params: see `resize_token_embeddings`.

        Returns:
            The parameters.

        Raises:
            ArgumentError: no such layer or head.
        """
        before, tree = self.contents, self._given(params)
        now, gone = heads_that_go(self.config, heads_to_prune)
        config = copy.deepcopy(self.config)
        earlier, config.pruned_heads = config.pruned_heads, gone
        here = {
            layer: [head for head in range(config.num_attention_heads) if head not in earlier.get(layer, ())]
            for layer in now
        }
        kept = {
            layer: [place for place, head in enumerate(heads) if head not in now[layer]]
            for layer, heads in here.items()
        }
        after = self._contents_under(config)
        width = config.hidden_size // config.num_attention_heads
        tree = pruned_params(before, after, tree, kept, width)
        self._take(config, after)
        return self._keep(tree, own=params is None)

    def _given(self, params: Mapping[str, object] | None) -> Params:
        return self.params if params is None else self.contents.checked(params, type(self).__name__)

    def _keep(self, tree: Params, *, own: bool) -> Params:
        if own:
            self._params = tree
        return tree


def _cast(params: Mapping[str, object], dtype: DTypeLike, mask: object) -> Params:
    """Floating-point leaves in another dtype, where the mask says so."""
    tree = plain(params)

    def one(leaf: jax.Array, chosen: object = True) -> jax.Array:
        wanted = bool(chosen) and jnp.issubdtype(leaf.dtype, jnp.floating)
        return cast_array(jnp.asarray(leaf), dtype) if wanted else leaf

    if mask is None:
        return cast(Params, jax.tree.map(one, tree))
    chosen = plain(mask) if isinstance(mask, Mapping) else mask
    structures: list[object] = [jax.tree.structure(chosen), jax.tree.structure(tree)]
    if structures[0] != structures[1]:
        raise ArgumentError(given="a mask of another structure than params", expected="a bool for each")
    return cast(Params, jax.tree.map(one, tree, chosen))
