"""What every module of the specification is made of: where its weights are, and the two or three operations.

A ``Scope`` stands for a module's place in the model. Results are noted under the module's path, which is the
checkpoint's: ``roberta.encoder.layer.0.attention.self.query`` is the output of that matrix.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
from numpy.typing import NDArray

from robertakit.checkpoints.tensors import StoredTensor

__all__ = ["Array", "Scope", "layer_norm", "linear", "softmax"]

Array = NDArray[np.floating]


@dataclass(frozen=True, slots=True)
class Scope:
    """A module: the weights below its path, the dtype to compute in, and the notes of a trace.

    Attributes:
        weights: tensors by full checkpoint name; each is widened when it is used, and not kept.
        dtype: float32 or float64.
        path: the module's path, empty for the model itself.
        trace: where results are noted by path, or None.
    """

    weights: Mapping[str, StoredTensor]
    dtype: np.dtype[np.floating]
    path: str = ""
    trace: dict[str, Array] | None = None

    def at(self, name: str) -> "Scope":
        """Return the scope of a part of this module."""
        return replace(self, path=self.name_of(name))

    def name_of(self, name: str) -> str:
        """Return the full name of a part or tensor of this module."""
        return f"{self.path}.{name}" if self.path else name

    def read(self, name: str) -> Array:
        """Return a tensor of this module in the dtype of computation; a view of the file where it has that."""
        return cast(Array, self.weights[self.name_of(name)].read(self.dtype))

    def rows(self, name: str, ids: NDArray[np.integer]) -> Array:
        """Return rows of a table: gathered first, widened after."""
        return cast(Array, self.weights[self.name_of(name)].rows(ids, self.dtype))

    def note(self, value: Array, name: str = "") -> Array:
        """Keep a copy of a result under this module's path (and a name, where it is no module's output)."""
        if self.trace is not None:
            self.trace[self.name_of(name) if name else self.path] = value.copy()
        return value


def linear(x: Array, scope: Scope) -> Array:
    """``x W^T + b``: (..., in) to (..., out), as one matrix product over all rows."""
    weight = scope.read("weight")
    rows = x.reshape(math.prod(x.shape[:-1]), x.shape[-1]) @ weight.T  # a width of 0 leaves no room for -1
    rows += scope.read("bias")
    return scope.note(rows.reshape(*x.shape[:-1], weight.shape[0]))


def layer_norm(x: Array, scope: Scope, epsilon: float) -> Array:
    """Each row less its mean, divided by its deviation (of all W values), scaled and shifted (Ba et al. 2016)."""
    centred = x - x.mean(axis=-1, keepdims=True)
    variance = np.square(centred).mean(axis=-1, keepdims=True)
    centred /= np.sqrt(variance + x.dtype.type(epsilon))
    centred *= scope.read("weight")
    centred += scope.read("bias")
    return scope.note(centred)


def softmax(scores: Array) -> Array:
    """Normalised exponentials over the last axis, in place."""
    scores -= scores.max(axis=-1, keepdims=True)
    np.exp(scores, out=scores)
    scores /= scores.sum(axis=-1, keepdims=True)
    return scores
