"""What a model consists of: the architecture's rows, each beside the variable that holds it, and layers of one's own.

A variable is found by the attributes that lead to it, never by its path: Keras makes paths unique by counting.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import cast

import keras

from robertakit.architecture import BACKBONE_PREFIX, HEADS, Kind, Parameter, parameters
from robertakit.checkpoints.dialects import KERAS
from robertakit.configuration import PretrainedConfig

__all__ = ["Contents", "contents_of", "head_of", "variable_at"]

#: What Keras' layers call a variable -> its kind and what PyTorch's call it, so that layers of one's own, too, are
#: stored in one way by all frameworks.
_LEAVES: dict[str, tuple[Kind, str]] = {
    "kernel": ("matrix", "weight"),
    "embeddings": ("embedding", "weight"),
    "gamma": ("scale", "weight"),
    "beta": ("shift", "bias"),
    "bias": ("bias", "bias"),
}


@dataclass(frozen=True, slots=True)
class Contents:
    """The tensors that a model saves, by their names in a checkpoint.

    Attributes:
        table: every tensor, tied copies included, in the order of the architecture; own layers last.
        variables: the same names -> the variable that holds it; tied copies have none.
        config: to draw by; what the architecture describes are all rows whose part is not ``"own"``.
    """

    table: dict[str, Parameter]
    variables: dict[str, keras.Variable]
    config: PretrainedConfig


def head_of(model: object) -> str | None:
    """Return the head of a model of the family, or of its class; None for a model of somebody's own."""
    kind = model if isinstance(model, type) else type(model)
    head = getattr(kind, "head", None)
    return head if isinstance(head, str) and head in HEADS else None


def contents_of(model: keras.Model) -> Contents:
    """Return what a built model consists of.

    Example:
        >>> from robertakit import RobertaConfig, TFRobertaForMaskedLM
        >>> sizes = {"vocab_size": 9, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
        >>> contents = contents_of(TFRobertaForMaskedLM(RobertaConfig(**sizes)))
        >>> contents.table["lm_head.decoder.weight"].tied_to
        'roberta.embeddings.word_embeddings.weight'
        >>> contents.variables["lm_head.bias"].shape
        TensorShape([9])
    """
    config = cast(PretrainedConfig, getattr(model, "config"))  # noqa: B009
    head = head_of(model)
    backbone = getattr(model, BACKBONE_PREFIX.removesuffix("."), None)
    pooler = getattr(backbone, "pooler", None) is not None
    table: dict[str, Parameter] = {}
    variables: dict[str, keras.Variable] = {}
    if head is not None or backbone is not None:
        described = parameters(config, head or "model", add_pooling_layer=pooler)
        for name, row in described.items():
            path = KERAS.attributes(name, row.kind)
            if head is None:
                row = replace(row, name=BACKBONE_PREFIX + name)
            table[row.name] = row
            if row.tied_to is None:
                in_backbone = head is None or HEADS[head].group is None
                start: object = backbone if in_backbone else model
                variables[row.name] = variable_at(start, path)
    known = {id(variable) for variable in variables.values()}
    for name, kind, variable in _own_variables(model, known):
        shape = tuple(variable.shape)
        shape = shape[::-1] if kind == "matrix" else shape
        table[name] = Parameter(name, shape, kind, "zeros", "own", None, (None,) * len(shape))
        variables[name] = variable
    return Contents(table, variables, config)


def variable_at(start: object, path: tuple[str, ...]) -> keras.Variable:
    """Follow attributes, and indices of lists, to a variable."""
    place = start
    for part in path:
        place = cast("list[object]", place)[int(part)] if part.isdecimal() else getattr(place, part)
    return cast(keras.Variable, place)


def _own_variables(model: keras.Model, known: set[int]) -> Iterator[tuple[str, Kind, keras.Variable]]:
    """Name, kind and variable of what the architecture does not describe, by the attributes that lead to it."""
    seen = set(known)
    for path, layer in _layers(model, (), set()):
        inner = {id(variable) for child in _children(layer).values() for variable in child.weights}
        for variable in layer.weights:
            if id(variable) in seen or id(variable) in inner:
                continue
            seen.add(id(variable))
            kind, leaf = _LEAVES.get(variable.name, ("bias", variable.name))
            if kind == "matrix" and len(variable.shape) != 2:
                kind = "embedding"  # a convolution's, as Keras lays it out
            yield ".".join((*path, leaf)), kind, variable


def _layers(
    layer: keras.Layer, path: tuple[str, ...], seen: set[int]
) -> Iterator[tuple[tuple[str, ...], keras.Layer]]:
    if id(layer) in seen:
        return
    seen.add(id(layer))
    yield path, layer
    for name, child in _children(layer).items():
        yield from _layers(child, (*path, *name.split(".")), seen)


def _children(layer: keras.Layer) -> dict[str, keras.Layer]:
    """The layers that are a layer's attributes, or items of its lists: name -> layer."""
    found: dict[str, keras.Layer] = {}
    for name, value in vars(layer).items():
        if name.startswith("_"):
            continue
        if isinstance(value, keras.Layer):
            found[name] = value
        elif isinstance(value, list | tuple):
            found |= {f"{name}.{i}": item for i, item in enumerate(value) if isinstance(item, keras.Layer)}
        elif isinstance(value, dict):
            found |= {f"{name}.{key}": item for key, item in value.items() if isinstance(item, keras.Layer)}
    return found
