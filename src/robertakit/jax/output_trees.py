"""The documented outputs as trees of arrays, which `jit`, `vmap`, `lax.scan` and `jax.tree.map` look through.

They are registered when `robertakit.jax` is imported.
"""

from collections.abc import Iterable

import jax

from robertakit.outputs import ModelOutput

__all__ = ["register_outputs"]

_registered: set[type[ModelOutput[object]]] = set()


def _register(kind: type[ModelOutput[object]]) -> None:
    Keys = tuple[str, ...]

    def flatten(output: ModelOutput[object]) -> tuple[tuple[object, ...], Keys]:
        return tuple(output.values()), tuple(output)

    def flatten_with_keys(output: ModelOutput[object]) -> tuple[tuple[tuple[object, object], ...], Keys]:
        return tuple((jax.tree_util.DictKey(name), value) for name, value in output.items()), tuple(output)

    def unflatten(names: Keys, values: Iterable[object]) -> ModelOutput[object]:
        return kind(dict(zip(names, values, strict=True)))

    jax.tree_util.register_pytree_with_keys(kind, flatten_with_keys, unflatten, flatten)


def register_outputs() -> None:
    """Tell JAX how to take every output container apart and how to put it together again."""
    for kind in ModelOutput.registry:
        if kind not in _registered:
            _register(kind)
            _registered.add(kind)
