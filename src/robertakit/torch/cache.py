"""Keys and values of earlier tokens, which a decoder need not compute again.

Shape letters: B batch, H heads, K keys, D head width.
"""

from collections.abc import Iterator, Sequence
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from robertakit.errors import ArgumentError

__all__ = ["DynamicCache", "LegacyCache", "PastKeyValues", "read_cache"]

#: The documented form: for each layer key and value, and with cross-attention those of the encoder's states.
LegacyCache = tuple[tuple[Tensor, ...], ...]


@runtime_checkable
class _ForeignCache(Protocol):
    """Another library's cache object."""

    def to_legacy_cache(self) -> LegacyCache: ...


class DynamicCache:
    """A cache that grows with every call: `model(ids, past_key_values=cache)` adds to it in place.

    Each layer is a tuple of key and value (B, H, K, D), and, behind cross-attention, key and value of the encoder's
    states.

    Example:
        >>> cache = DynamicCache()
        >>> key, value = cache.update(torch.zeros(1, 2, 3, 4), torch.zeros(1, 2, 3, 4), layer=0)
        >>> cache.get_seq_length(), len(cache.to_legacy_cache()[0])
        (3, 2)
    """

    def __init__(self) -> None:
        self._layers: list[tuple[Tensor, ...]] = []

    @classmethod
    def from_legacy_cache(
        cls, past_key_values: Sequence[Sequence[Tensor | None]] | None = None
    ) -> "DynamicCache":
        """Take the documented tuples; their tensors are shared, and never changed.

        transformers' own caches put None where nothing is kept (yet), such as for a cross-attention that is not there.
        """
        cache = cls()
        for given in past_key_values or ():
            layer = [tensor for tensor in given if tensor is not None]
            if given and not layer:
                continue
            if len(layer) not in (2, 4) or any(tensor.dim() != 4 for tensor in layer):
                raise ArgumentError(
                    given=f"past_key_values with {[tuple(tensor.shape) for tensor in layer]} for a layer",
                    expected="two or four tensors of shape (batch, heads, length, head width)",
                )
            cache._layers.append(tuple(layer))
        return cache

    def to_legacy_cache(self) -> LegacyCache:
        """Return the documented tuples."""
        return tuple(self._layers)

    def update(self, key: Tensor, value: Tensor, layer: int) -> tuple[Tensor, Tensor]:
        """Add the newest keys and values (B, H, L, D) of a layer; return all of them, (B, H, K, D)."""
        if layer == len(self._layers):
            self._layers.append((key, value))
        else:
            old_key, old_value, *cross = self._layers[layer]
            key, value = torch.cat([old_key, key], 2), torch.cat([old_value, value], 2)
            self._layers[layer] = (key, value, *cross)
        return key, value

    def cross(self, layer: int) -> tuple[Tensor, Tensor] | None:
        """Key and value of the encoder's states, or None where they were not computed yet."""
        found = self._layers[layer][2:] if layer < len(self._layers) else ()
        return (found[0], found[1]) if found else None

    def set_cross(self, key: Tensor, value: Tensor, layer: int) -> None:
        """Keep key and value of the encoder's states."""
        self._layers[layer] = (*self._layers[layer][:2], key, value)

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Return how many tokens a layer holds."""
        return self._layers[layer_idx][0].shape[2] if layer_idx < len(self._layers) else 0

    def reorder_cache(self, beam_idx: Tensor) -> None:
        """Let row i go on from what row `beam_idx[i]` was, (B,)."""
        self._layers = [
            tuple(tensor.index_select(0, beam_idx.to(tensor.device)) for tensor in layer)
            for layer in self._layers
        ]

    def __len__(self) -> int:
        return len(self._layers)

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        return iter(self._layers)

    def __getitem__(self, layer: int) -> tuple[Tensor, ...]:
        return self._layers[layer]


#: What `past_key_values` may be.
PastKeyValues = DynamicCache | _ForeignCache | Sequence[Sequence[Tensor]]


def read_cache(given: object, layers: int, batch: int) -> DynamicCache:
    """Return the cache that a call means by `past_key_values`.

    Raises:
        ArgumentError: none of the known forms, or one of another model or batch.
    """
    if isinstance(given, DynamicCache):
        cache = given
    elif isinstance(given, _ForeignCache):
        cache = DynamicCache.from_legacy_cache(given.to_legacy_cache())
    elif isinstance(given, tuple | list):
        cache = DynamicCache.from_legacy_cache(given)
    else:
        raise ArgumentError(
            given=f"past_key_values of type {type(given).__name__}", expected="what an earlier call returned"
        )
    if len(cache) not in (0, layers):
        raise ArgumentError(given=f"past_key_values of {len(cache)} layers", expected=f"{layers}")
    if len(cache) and cache[0][0].shape[0] != batch:
        raise ArgumentError(
            given=f"past_key_values of {cache[0][0].shape[0]} rows for inputs of {batch}",
            expected="equal numbers",
        )
    return cache
