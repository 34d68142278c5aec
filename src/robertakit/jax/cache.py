"""A decoder's cache: linen's collection "cache", of a length that is fixed when it is made.

Its tree is the model's: every attention has `cached_key` and `cached_value` (B, K, H, D), the backbone one
`cache_index`, the number of tokens so far. Attention to an encoder's states keeps their keys and values once it has
seen them. It is an ordinary tree of arrays, which `jit` and `lax.scan` carry along.

Shape letters: B batch, L length of a call, K length of the cache, H heads (those that pruning left), D head width.
"""

from collections.abc import Mapping
from typing import cast

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from robertakit.architecture import BACKBONE_PREFIX, Head, head_named, kept_heads
from robertakit.configuration import PretrainedConfig
from robertakit.errors import ArgumentError, BadShape, TooLong

__all__ = [
    "Cache",
    "cache_length",
    "check_room",
    "init_cache",
    "is_concrete",
    "new_cache_length",
    "tokens_so_far",
]

#: A tree of arrays.
Cache = dict[str, object]


def init_cache(
    config: PretrainedConfig,
    head: str | Head,
    batch_size: int,
    max_length: int,
    dtype: DTypeLike = jnp.float32,
) -> Cache:
    """Return an empty cache, the collection "cache" of a module.

    Args:
        config: a decoder's.
        head: the model's head, its name, or a class name.
        batch_size: B.
        max_length: K, the tokens that it has room for: the prompt's and the ones to come.
        dtype: the model's.

    Raises:
        ArgumentError: no decoder.
        TooLong: more room than there are relative positions.

    Example:
        >>> from robertakit import RobertaConfig
        >>> config = RobertaConfig(hidden_size=8, num_attention_heads=2, num_hidden_layers=1, is_decoder=True)
        >>> cache = init_cache(config, "causal-lm", 1, 20)["roberta"]
        >>> cache["encoder"]["layer"]["0"]["attention"]["self"]["cached_key"].shape, int(cache["cache_index"])
        ((1, 20, 2, 4), 0)
    """
    if not config.is_decoder:
        raise ArgumentError(
            given="a cache with is_decoder=False", expected="a decoder", hint="set is_decoder=True"
        )
    if config.position_embedding_type != "absolute" and max_length > config.max_position_embeddings:
        raise TooLong(  # a padded token has no absolute position, but a distance
            given=f"a cache of {max_length} tokens with {config.position_embedding_type} positions",
            expected=f"at most {config.max_position_embeddings} (max_position_embeddings), padding counted",
        )
    width = config.hidden_size // config.num_attention_heads

    def attention(heads: int) -> Cache:
        shape = (batch_size, max_length, heads, width)
        return {"cached_key": jnp.zeros(shape, dtype), "cached_value": jnp.zeros(shape, dtype)}

    layers: Cache = {
        str(layer): {"attention": {"self": attention(kept_heads(config, layer))}}
        for layer in range(config.num_hidden_layers)
    }
    backbone: Cache = {"cache_index": jnp.zeros((), jnp.int32), "encoder": {"layer": layers}}
    head = head_named(head) if isinstance(head, str) else head
    return backbone if head.group is None else {BACKBONE_PREFIX.rstrip("."): backbone}


def cache_length(backbone: Mapping[str, object]) -> int:
    """Return K of a backbone's part of a cache."""
    return _first_keys(backbone).shape[1]


def new_cache_length(config: PretrainedConfig, length: int) -> int:
    """Return K of the cache that `use_cache=True` makes where none is given: all that the model has positions for."""
    return max(config.max_position_embeddings, length)


def tokens_so_far(backbone: Mapping[str, object]) -> int | None:
    """Return how many tokens a backbone's part of a cache holds; None where a trace does not know."""
    index = cast(jax.Array, backbone["cache_index"])
    return int(index) if is_concrete(index) else None


def check_room(backbone: Mapping[str, object], batch: int, length: int) -> None:
    """Raise for a cache of another batch, and for one without room: JAX would overwrite its end in silence.

    Raises:
        BadShape: a cache for another number of rows.
        TooLong: the cache is full; inside a trace only where the call alone is too long.
    """
    keys = _first_keys(backbone)
    if keys.shape[0] != batch:
        raise BadShape(given=f"a cache for {keys.shape[0]} rows", expected=f"{batch}, as the inputs")
    past = tokens_so_far(backbone) or 0
    if past + length > keys.shape[1]:
        raise TooLong(
            given=f"{length} tokens to a cache that holds {past} of at most {keys.shape[1]}",
            expected=f"at most {keys.shape[1] - past}",
            hint="init_cache(batch_size, max_length) makes one with more room",
        )


def is_concrete(array: object) -> bool:
    """Whether an array has values that can be looked at: not while a function is traced."""
    return not isinstance(array, jax.core.Tracer)


def _first_keys(backbone: Mapping[str, object]) -> jax.Array:
    value: object = backbone
    for name in ("encoder", "layer", "0", "attention", "self", "cached_key"):
        value = cast(Mapping[str, object], value)[name]
    return cast(jax.Array, value)
