"""The encoder as the paper draws it: embeddings, layers, pooler. Rows may be padded (B, L, W) or packed (T, W).

Devlin et al. 2019 and Liu et al. 2019; post-LayerNorm as in Vaswani et al. 2017.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from robertakit.numpy.activations import activation
from robertakit.numpy.attention import Attention
from robertakit.numpy.layers import Array, Scope, layer_norm, linear

if TYPE_CHECKING:
    from robertakit.configuration import PretrainedConfig

__all__ = ["embed", "encode", "pool"]

#: Values of the feed-forward's inner activations that are held at once.
_INNER_VALUES = 1 << 23


def embed(
    scope: Scope,
    config: "PretrainedConfig",
    *,
    position_ids: NDArray[np.integer],
    input_ids: NDArray[np.integer] | None = None,
    inputs_embeds: Array | None = None,
    token_type_ids: NDArray[np.integer] | None = None,
) -> Array:
    """Word, token type and position embeddings, summed and normalised.

    Args:
        scope: module ``embeddings``.
        config: the model's.
        position_ids: rows of the position table, broadcast to (...); unused with relative positions.
        input_ids: (...) rows of the word table; or
        inputs_embeds: (..., W) in their place.
        token_type_ids: (...) rows of the type table, None for zeros.

    Returns:
        (..., W).
    """
    if inputs_embeds is None:
        assert input_ids is not None
        words = scope.at("word_embeddings").note(scope.rows("word_embeddings.weight", input_ids))
    else:
        words = inputs_embeds
    types = np.zeros(1, np.int32) if token_type_ids is None else token_type_ids
    x = words + scope.at("token_type_embeddings").note(scope.rows("token_type_embeddings.weight", types))
    if config.position_embedding_type == "absolute":
        positions = scope.rows("position_embeddings.weight", position_ids)
        x += scope.at("position_embeddings").note(positions)
    return scope.note(layer_norm(x, scope.at("LayerNorm"), config.layer_norm_eps))


def encode(
    scope: Scope, config: "PretrainedConfig", x: Array, attention: Attention, cross: Attention | None = None
) -> Iterator[Array]:
    """Yield the rows after each layer.

    Args:
        scope: module ``encoder``.
        config: the model's.
        x: rows of ``embed``.
        attention: self-attention, which knows how the rows are laid out.
        cross: attention to an encoder's states, or None.
    """
    for index in range(config.num_hidden_layers):
        layer = scope.at(f"layer.{index}")
        x = _attention_block(layer.at("attention"), config, x, attention, index)
        if cross is not None:
            x = _attention_block(layer.at("crossattention"), config, x, cross, index)
        x = layer.note(_feed_forward(layer, config, x))
        yield x


def _attention_block(
    scope: Scope, config: "PretrainedConfig", x: Array, attention: Attention, layer: int
) -> Array:
    context = attention(scope.at("self"), x, layer)
    added = linear(context, scope.at("output.dense"))
    added += x
    return scope.note(layer_norm(added, scope.at("output.LayerNorm"), config.layer_norm_eps))


def _feed_forward(scope: Scope, config: "PretrainedConfig", x: Array) -> Array:
    """Two matrices with the activation between, over chunks of rows: the result is the same, the memory is less."""
    function = activation(config.hidden_act)
    rows = x.reshape(-1, x.shape[-1])
    chunk = config.chunk_size_feed_forward or max(_INNER_VALUES // config.intermediate_size, 1)
    if len(rows) <= chunk or scope.trace is not None:  # a trace holds whole results
        rows, chunk = x, max(len(x), 1)
    parts = []
    for start in range(0, max(len(rows), 1), chunk):
        inner = function(linear(rows[start : start + chunk], scope.at("intermediate.dense")))
        parts.append(linear(scope.at("intermediate").note(inner), scope.at("output.dense")))
    added = parts[0] if len(parts) == 1 else np.concatenate(parts)
    added += rows
    return layer_norm(added.reshape(x.shape), scope.at("output.LayerNorm"), config.layer_norm_eps)


def pool(scope: Scope, first: Array) -> Array:
    """tanh of a matrix product of the first token's rows, (B, W)."""
    return scope.note(np.tanh(linear(first, scope.at("dense"))))
