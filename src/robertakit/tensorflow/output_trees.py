"""The documented outputs as trees of tensors: what functional models, `fit` and `predict` look through.

They are registered when `robertakit.tensorflow` is imported. TensorFlow's own functions take them as mappings.
"""

from collections.abc import Callable, Iterable
from typing import cast

import optree

from robertakit.outputs import ModelOutput

__all__ = ["register_outputs"]

_registered: set[type[ModelOutput[object]]] = set()


def _register(kind: type[ModelOutput[object]]) -> None:
    def flatten(
        output: ModelOutput[object],
    ) -> tuple[tuple[object, ...], tuple[str, ...], tuple[str, ...]]:
        names = tuple(output)
        return tuple(output.values()), names, names

    def unflatten(names: tuple[str, ...], values: Iterable[object]) -> ModelOutput[object]:
        return kind(dict(zip(names, values, strict=True)))

    register = cast(Callable[..., object], optree.register_pytree_node)
    register(kind, flatten, unflatten, namespace="keras")


def register_outputs() -> None:
    """Tell Keras how to take every output container apart and how to put it together again."""
    for kind in ModelOutput.registry:
        if kind not in _registered:
            _register(kind)
            _registered.add(kind)
