"""Attention over padded rows, over packed tokens, and over an encoder's states; the layer is in ``encoder.py``.

An encoder calls its attention with the module's scope, the rows and the layer's number, and gets the context: the
weighted values of all heads side by side. What else a call needs or gives (masks, caches, maps) the attention
object holds.

Shape letters: B batch, L padded length, K keys, T packed tokens, S sequences, W width, H heads, D head width.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from robertakit.numpy.layers import Array, Scope, linear, softmax

if TYPE_CHECKING:
    from robertakit.configuration import PretrainedConfig

__all__ = ["Attention", "CrossAttention", "PackedAttention", "PaddedAttention", "additive_mask"]

#: Keys and values of one layer, and those of the encoder's states where there is cross-attention.
LayerCache = tuple[Array, ...]


class Attention(Protocol):
    """What an encoder layer asks of its attention."""

    def __call__(self, scope: Scope, x: Array, layer: int) -> Array:
        """Return the context of the rows ``x``."""


def additive_mask(keep: Array) -> Array:
    """Return what is added to scores: 0 where ``keep`` is 1, the smallest number where it is 0.

    Not minus infinity: a row that sees nothing then sees everything alike, as in the reference.
    """
    return (1 - keep) * np.finfo(keep.dtype).min


def split_heads(x: Array, width: int) -> Array:
    """(..., L, heads x D) to (..., heads, L, D)."""
    return x.reshape(*x.shape[:-1], x.shape[-1] // width, width).swapaxes(-2, -3)


def merge_heads(x: Array) -> Array:
    """(..., heads, L, D) to (..., L, heads x D)."""
    heads_last = x.swapaxes(-2, -3)
    return heads_last.reshape(*heads_last.shape[:-2], x.shape[-3] * x.shape[-1])


def attend(
    scope: Scope,
    query: Array,
    key: Array,
    value: Array,
    *,
    mask: Array | None = None,
    relative: "RelativePositions | None" = None,
    head_mask: Array | None = None,
) -> tuple[Array, Array]:
    """Scaled dot-product attention: softmax((Q K^T + relative) / sqrt(D) + mask) V (Vaswani et al. 2017).

    Args:
        scope: module ``attention.self``.
        query: (..., H, L, D).
        key: (..., H, K, D).
        value: (..., H, K, D).
        mask: added to the scores, broadcast to (..., H, L, K).
        relative: relative positions, or None.
        head_mask: multiplied with the probabilities, broadcast to (..., H, L, K).

    Returns:
        Context (..., H, L, D) and probabilities (..., H, L, K), after the head mask.
    """
    scores = query @ key.swapaxes(-1, -2)
    if relative is not None:
        scores += relative.scores(scope, query, key)
    scores *= scores.dtype.type(query.shape[-1] ** -0.5)
    scope.note(scores, "scores")
    if mask is not None:
        scores += mask
    probabilities = softmax(scores)
    if head_mask is not None:
        probabilities = probabilities * head_mask
    scope.note(probabilities, "probabilities")
    return probabilities @ value, probabilities


@dataclass(frozen=True, slots=True)
class RelativePositions:
    """Distances between queries and keys, as rows of ``distance_embedding``.

    ``relative_key`` (Shaw et al. 2018) adds query . E[distance]; ``relative_key_query`` (Huang et al. 2020) adds
    key . E[distance] as well.

    Attributes:
        rows: (L, K) row of the table for each pair.
        with_keys: whether the keys meet the table too.
    """

    rows: NDArray[np.intp]
    with_keys: bool

    @classmethod
    def of(cls, config: "PretrainedConfig", queries: int, keys: int) -> "RelativePositions | None":
        """Return the distances of the last ``queries`` of ``keys`` positions, or None where there are none."""
        if config.position_embedding_type == "absolute":
            return None
        position = np.arange(keys)
        distance = position[keys - queries :, None] - position[None, :]
        return cls(
            distance + config.max_position_embeddings - 1,
            config.position_embedding_type == "relative_key_query",
        )

    def scores(self, scope: Scope, query: Array, key: Array) -> Array:
        """Return what relative positions add to the scores, (..., H, L, K), before the scaling."""
        lowest, highest = int(self.rows.min()), int(self.rows.max())
        table = scope.rows("distance_embedding.weight", np.arange(lowest, highest + 1)).T
        rows = self.rows - lowest
        queries, keys = np.ogrid[: rows.shape[0], : rows.shape[1]]
        added = (query @ table)[..., queries, rows]
        if self.with_keys:
            added += (key @ table)[..., keys, rows]
        return added


@dataclass(slots=True)
class PaddedAttention:
    """Self-attention over (B, L, W), computed at every position, padding included.

    Attributes:
        config: the model's.
        mask: additive, broadcast to (B, H, L, K), or None.
        head_masks: one a layer, broadcast to (B, H, L, K), or None.
        past: keys and values of earlier tokens, one tuple a layer, or None.
        keep_maps: whether to keep the probabilities.
        keep_cache: whether to keep keys and values.
        maps: probabilities (B, H, L, K) of each layer so far.
        caches: keys and values (B, H, K, D) of each layer so far.
    """

    config: "PretrainedConfig"
    mask: Array | None = None
    head_masks: Sequence[Array] | None = None
    past: Sequence[LayerCache] | None = None
    keep_maps: bool = False
    keep_cache: bool = False
    maps: list[Array] = field(default_factory=list)
    caches: list[LayerCache] = field(default_factory=list)

    def __call__(self, scope: Scope, x: Array, layer: int) -> Array:
        """Return the context of the rows ``x``; note maps and caches."""
        width = _head_width(self.config)
        query = split_heads(linear(x, scope.at("query")), width)
        key = split_heads(linear(x, scope.at("key")), width)
        value = split_heads(linear(x, scope.at("value")), width)
        if self.past is not None:
            key = np.concatenate([self.past[layer][0], key], axis=2)
            value = np.concatenate([self.past[layer][1], value], axis=2)
        if self.keep_cache:
            self.caches.append((key, value))
        context, probabilities = attend(
            scope,
            query,
            key,
            value,
            mask=self.mask,
            relative=RelativePositions.of(self.config, query.shape[2], key.shape[2]),
            head_mask=self._head_mask(layer),
        )
        if self.keep_maps:
            self.maps.append(probabilities)
        return scope.note(merge_heads(context))

    def _head_mask(self, layer: int) -> Array | None:
        """The layer's head mask without the pruned heads: users number heads as they were before pruning."""
        mask = None if self.head_masks is None else self.head_masks[layer]
        pruned = self.config.pruned_heads.get(layer)
        if mask is None or not pruned or mask.shape[1] == 1:
            return mask
        return np.delete(mask, list(set(pruned)), axis=1)


@dataclass(slots=True)
class CrossAttention:
    """Attention of a decoder's rows (B, L, W) to an encoder's states; it has no relative positions.

    Attributes:
        config: the decoder's.
        states: (B, K, W) of the encoder.
        mask: additive, broadcast to (B, H, L, K), or None.
        head_masks: those of the self-attention.
        past: cached keys and values; the third and fourth of each layer are used in place of ``states``.
        keep_maps: whether to keep the probabilities.
        maps: probabilities (B, H, L, K) of each layer so far.
        caches: keys and values (B, H, K, D) of each layer so far.
    """

    config: "PretrainedConfig"
    states: Array
    mask: Array | None = None
    head_masks: Sequence[Array] | None = None
    past: Sequence[LayerCache] | None = None
    keep_maps: bool = False
    maps: list[Array] = field(default_factory=list)
    caches: list[LayerCache] = field(default_factory=list)

    def __call__(self, scope: Scope, x: Array, layer: int) -> Array:
        """Return the context of the rows ``x``; note maps and caches."""
        width = _head_width(self.config)
        query = split_heads(linear(x, scope.at("query")), width)
        if self.past is not None and len(self.past[layer]) > 2:
            key, value = self.past[layer][2:]
        else:
            key = split_heads(linear(self.states, scope.at("key")), width)
            value = split_heads(linear(self.states, scope.at("value")), width)
        self.caches.append((key, value))
        head_mask = None if self.head_masks is None else self.head_masks[layer]
        context, probabilities = attend(scope, query, key, value, mask=self.mask, head_mask=head_mask)
        if self.keep_maps:
            self.maps.append(probabilities)
        return scope.note(merge_heads(context))


class PackedAttention:
    """Self-attention over packed tokens (T, W): each sequence sees itself alone, equal lengths are done together.

    Args:
        config: the model's; a decoder's tokens see only what stands before them.
        cumulative_lengths: (S+1,) where each sequence starts and the last ends.
        dtype: dtype of the computation.
    """

    def __init__(
        self,
        config: "PretrainedConfig",
        cumulative_lengths: NDArray[np.integer],
        dtype: np.dtype[np.floating],
    ) -> None:
        self.config = config
        starts, lengths = cumulative_lengths[:-1], np.diff(cumulative_lengths)
        #: Rows (s, n) of the sequences of each length n, with the causal mask and distances of that length.
        self._groups: list[tuple[NDArray[np.intp], Array | None, RelativePositions | None]] = []
        for length in np.unique(lengths[lengths > 0]):
            n = int(length)
            rows = starts[lengths == length][:, None] + np.arange(n)
            mask = additive_mask(np.tri(n, dtype=dtype)) if config.is_decoder else None
            self._groups.append((rows, mask, RelativePositions.of(config, n, n)))

    def __call__(self, scope: Scope, x: Array, layer: int) -> Array:
        """Return the context of the rows ``x`` (T, W)."""
        width = _head_width(self.config)
        query = linear(x, scope.at("query"))
        key = linear(x, scope.at("key"))
        value = linear(x, scope.at("value"))
        whole = np.empty_like(query)
        for rows, mask, relative in self._groups:
            context, _ = attend(
                scope,
                split_heads(query[rows], width),
                split_heads(key[rows], width),
                split_heads(value[rows], width),
                mask=mask,
                relative=relative,
            )
            whole[rows] = merge_heads(context)
        return scope.note(whole)


def _head_width(config: "PretrainedConfig") -> int:
    return config.hidden_size // config.num_attention_heads
