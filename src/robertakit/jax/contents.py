"""What a model consists of: the architecture's tensors as a tree of parameters, and the tree as tensors.

The tree is that of the linen module: plain dictionaries, `params["roberta"]["encoder"]["layer"]["0"]…["kernel"]`.
Names and layouts come from the table by kind (`checkpoints.dialects.FLAX`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Self, TypeVar, cast

import jax
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from jax.typing import DTypeLike

from robertakit.architecture import Head, Parameter, parameters
from robertakit.checkpoints.dialects import FLAX
from robertakit.configuration import PretrainedConfig
from robertakit.errors import ArgumentError, TensorMismatch, listed

__all__ = ["Contents", "Params", "Path", "plain"]

#: A tree of parameters: dictionaries with arrays as leaves.
Params = dict[str, object]
#: Where a parameter stands in the tree.
Path = tuple[str, ...]
Item = TypeVar("Item")

# Flax and JAX ship no types for these.
_flatten = cast("Callable[[Params], dict[Path, object]]", flatten_dict)
_unflatten = cast("Callable[[Mapping[Path, object]], Params]", unflatten_dict)
_shaped = cast("Callable[[tuple[int, ...], DTypeLike], object]", jax.ShapeDtypeStruct)


@dataclass(frozen=True, slots=True)
class Contents:
    """The tensors of one model.

    Attributes:
        table: all of them by checkpoint name, tied copies included.
        paths: those that have a value of their own -> their place in the tree.
    """

    table: dict[str, Parameter]
    paths: dict[str, Path]

    @classmethod
    def of(cls, config: PretrainedConfig, head: str | Head, *, add_pooling_layer: bool = True) -> Self:
        """Return what a configuration and a head mean.

        Example:
            >>> from robertakit import RobertaConfig
            >>> contents = Contents.of(RobertaConfig(num_hidden_layers=1), "masked-lm")
            >>> contents.paths["lm_head.dense.weight"], "lm_head.decoder.weight" in contents.paths
            (('lm_head', 'dense', 'kernel'), False)
        """
        table = parameters(config, head, add_pooling_layer=add_pooling_layer)
        own = {name: row.kind for name, row in table.items() if row.tied_to is None}
        return cls(table, {name: FLAX.path(name, kind) for name, kind in own.items()})

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of a parameter in the tree."""
        return self._ordered(name, self.table[name].shape)

    def axes(self, name: str) -> tuple[str | None, ...]:
        """Return the logical names of a parameter's axes in the tree, None where one is never split."""
        return self._ordered(name, self.table[name].axes)

    def _ordered(self, name: str, of_axes: tuple[Item, ...]) -> tuple[Item, ...]:
        """What the table says of a tensor's axes, in the order that the layout gives them."""
        order = FLAX.layout(self.table[name].kind, np.empty(range(len(of_axes)))).shape
        return tuple(of_axes[axis] for axis in order)

    def tree(self, values: Mapping[str, object]) -> Params:
        """Return values by checkpoint name as a tree."""
        return _unflatten({path: values[name] for name, path in self.paths.items()})

    def named(self, params: Mapping[str, object]) -> dict[str, object]:
        """Return the leaves of a tree by checkpoint name, in the order of the table."""
        leaves = _flatten(plain(params))
        return {name: leaves[path] for name, path in self.paths.items()}

    def shapes(self, dtype: DTypeLike) -> Params:
        """Return the tree of shapes and dtypes."""
        return self.tree({name: _shaped(self.shape(name), dtype) for name in self.paths})

    def checked(self, params: object, model: str) -> Params:
        """Return a tree that has every parameter in its shape and no other one, as plain dictionaries.

        Args:
            params: dictionaries or `FrozenDict`s.
            model: name of the class, for the message.

        Raises:
            ArgumentError: no tree.
            TensorMismatch: what is missing, not known or of another shape, all in one sentence.
        """
        if not isinstance(params, Mapping):
            raise ArgumentError(
                given=f"params of type {type(params).__name__} to {model}", expected="a tree of dictionaries"
            )
        tree = plain(params)
        leaves = _flatten(tree)
        wanted = {path: self.shape(name) for name, path in self.paths.items()}
        found = {path: tuple(getattr(leaf, "shape", ())) for path, leaf in leaves.items()}
        misshapen = [
            f"{'/'.join(path)} {shape} instead of {wanted[path]}"
            for path, shape in found.items()
            if path in wanted and shape != wanted[path]
        ]
        lists = {
            "missing": ["/".join(path) for path in wanted.keys() - found.keys()],
            "unexpected": ["/".join(map(str, path)) for path in found.keys() - wanted.keys()],
            "misshapen": misshapen,
        }
        problems = [f"{kind} {listed(names, 5)}" for kind, names in lists.items() if names]
        if problems:
            raise TensorMismatch(
                given=f"params do not fit {model}: {'; '.join(problems)}",
                expected=f"its {len(wanted)} parameters, as model.params has them",
            )
        return tree


def plain(tree: Mapping[str, object]) -> Params:
    """Return a tree as dictionaries of its own: a `FrozenDict` is another kind of node to `jax.tree.map`."""
    return {name: plain(item) if isinstance(item, Mapping) else item for name, item in tree.items()}
