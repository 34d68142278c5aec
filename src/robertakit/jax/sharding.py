"""Parameters over a mesh of devices: from the table's logical names of axes to `PartitionSpec`s.

The modules know nothing of it: `jax.device_put` lays the parameters out, and `jax.jit` computes where they are.
"""

from collections.abc import Callable, Mapping
from typing import Final, cast

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from robertakit.errors import ArgumentError, listed
from robertakit.jax.changing import Changeable
from robertakit.jax.contents import Params
from robertakit.logging import get_logger

__all__ = ["RULES", "logical_axes", "params_shardings", "params_specs"]

_logger = get_logger(__name__)
_spec = cast("Callable[..., PartitionSpec]", PartitionSpec)  # JAX ships no types for it

#: Logical name of an axis -> axis of the mesh, None for whole. Each layer's attention heads and feed-forward units, and
#: the vocabulary, lie on several devices; what goes from layer to layer is whole on each (Shoeybi et al. 2019,
#: "Megatron-LM").
RULES: Final[Mapping[str, str | None]] = {
    "vocab": "model",
    "heads": "model",
    "mlp": "model",
    "embed": None,
    "position": None,
    "head": None,
    "class": None,
}


def logical_axes(model: Changeable) -> Params:
    """Return the tree of the parameters' logical axes, a tuple of names for each, None where an axis is never split.

    Example:
        >>> from robertakit import RobertaConfig
        >>> from robertakit.jax import FlaxRobertaModel
        >>> sizes = {"vocab_size": 9, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
        >>> model = FlaxRobertaModel(RobertaConfig(**sizes), _do_init=False)
        >>> logical_axes(model)["encoder"]["layer"]["0"]["attention"]["self"]["query"]["kernel"]
        ('embed', 'heads')
    """
    contents = model.contents
    return contents.tree({name: contents.axes(name) for name in contents.paths})


def params_specs(
    model: Changeable, mesh: Mesh | None = None, rules: Mapping[str, str | None] = RULES
) -> Params:
    """Return the tree of `PartitionSpec`s.

    Args:
        model: one of the models, with parameters or without.
        mesh: an axis that it has not, or that does not divide a parameter, splits nothing there, and a warning says
            so; None takes every rule as it stands.
        rules: logical name -> axis of the mesh, or None.

    Raises:
        ArgumentError: a rule for a name that no axis has.
    """
    unknown = set(rules) - set(RULES)
    if unknown:
        raise ArgumentError(given=f"rules for {listed(unknown)}", expected=f"some of {listed(RULES)}")
    contents, whole = model.contents, set[str]()
    specs: dict[str, PartitionSpec] = {}
    for name in contents.paths:
        chosen: list[str | None] = []
        for logical, size in zip(contents.axes(name), contents.shape(name), strict=True):
            axis = None if logical is None else rules.get(logical)
            if axis is not None and mesh is not None and (axis not in mesh.shape or size % mesh.shape[axis]):
                whole.add(f"{logical} ({size})")
                axis = None
            chosen.append(axis if axis not in chosen else None)
        specs[name] = _spec(*chosen)
    if whole and mesh is not None:
        _logger.warning(
            "a mesh of %s does not divide %s: they stay whole on each device.",
            dict(mesh.shape),
            listed(whole),
        )
    return contents.tree(specs)


def params_shardings(model: Changeable, mesh: Mesh, rules: Mapping[str, str | None] = RULES) -> Params:
    """Return the tree of `NamedSharding`s, for `jax.device_put(params, …)` and for `jax.jit(…, out_shardings=…)`.

    Args:
        model: one of the models, with parameters or without.
        mesh: devices with names for its axes.
        rules: see `params_specs`.

    Example:
        >>> from robertakit import RobertaConfig
        >>> from robertakit.jax import FlaxRobertaModel
        >>> sizes = {"vocab_size": 9, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
        >>> model = FlaxRobertaModel(RobertaConfig(**sizes))
        >>> mesh = jax.make_mesh((1, 1), ("data", "model"))
        >>> params = jax.device_put(model.params, params_shardings(model, mesh))
        >>> tuple(params["encoder"]["layer"]["0"]["intermediate"]["dense"]["kernel"].sharding.spec)
        (None, 'model')
    """
    specs = params_specs(model, mesh, rules)
    shardings = jax.tree.map(
        lambda spec: NamedSharding(mesh, spec), specs, is_leaf=lambda item: isinstance(item, PartitionSpec)
    )
    return cast(Params, shardings)
