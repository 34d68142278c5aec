"""What Keras and Flax call the tensors, and how they lay them out: a function of a row's kind, never of its name.

A path such as ``roberta/encoder/layer_._0/attention/self/query/kernel:0`` says the same as the table's name; its last
part says the kind, and with it the layout: a ``kernel`` is a matrix (in, out), the transpose of ours.

Files are read through it (`Dialect.read`), and models are built, filled and saved by it (`Dialect.path`, `attributes`,
`layout`, `stored`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from robertakit.architecture import ROWS, Kind
from robertakit.checkpoints.tensors import StoredTensor

__all__ = ["FLAX", "KERAS", "Dialect"]


@dataclass(frozen=True)
class Dialect:
    """How one framework spells the last part of a tensor's path.

    Attributes:
        leaves: kind of a row -> its spellings, today's first.
        renamed: parts of our names that the framework forbids an attribute, in their place (the parts of a stem up
            to them, ``{layer}`` for a number) -> what the attribute is called.
    """

    leaves: Mapping[Kind, tuple[str, ...]]
    renamed: Mapping[str, str] = field(default_factory=dict)
    #: (stem with ``{layer}``, their leaf) -> our leaf
    _ours: dict[tuple[str, str], str] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        kinds = {row.name: row.kind for row in ROWS}
        for row in ROWS:
            stem, _, leaf = row.name.rpartition(".")
            # a copy may be stored as what it is tied to: the decoder as the embedding
            for kind in {row.kind, kinds.get(row.tied_to or "", row.kind)}:
                for theirs in self.leaves[kind]:
                    self._ours[stem, theirs] = leaf

    def read(self, path: Sequence[str], tensor: StoredTensor, own: int = 0) -> tuple[str, StoredTensor]:
        """Return a tensor under its name here and in the layout of the table.

        Args:
            path: the parts of its path.
            tensor: as it is stored.
            own: see `name`.
        """
        is_matrix = _parts(path)[-1] in self.leaves["matrix"]
        return self.name(path, own), StoredTensor(tensor.dtype, tensor.bits.T) if is_matrix else tensor

    def name(self, path: Sequence[str], own: int = 0) -> str:
        """Return our name of a tensor. One that the table has not keeps its own, joined by dots.

        Args:
            path: the parts of its path.
            own: so many leading parts name the file's own things (Keras: a layer, a model) and are left out.

        Example:
            >>> KERAS.name("roberta/tf_model/roberta/encoder/layer_._0/output/dense/kernel:0".split("/"), own=2)
            'roberta.encoder.layer.0.output.dense.weight'
            >>> FLAX.name(["student", "embeddings", "LayerNorm", "scale"])
            'student.embeddings.LayerNorm.weight'
        """
        *stem, leaf = _parts(path)
        generic = ["{layer}" if part.isdecimal() else part for part in stem]
        for start in range(len(stem)):
            ours = self._ours.get((".".join(generic[start:]), leaf))
            if ours is not None:
                return ".".join([*stem[min(own, start) :], ours])
        return ".".join([*stem[own:], leaf])

    def path(self, name: str, kind: Kind) -> tuple[str, ...]:
        """Return where a tensor of the table stands in the framework's own tree of names.

        Args:
            name: full checkpoint name.
            kind: of its row.

        Example:
            >>> FLAX.path("roberta.encoder.layer.0.attention.self.query.weight", "matrix")
            ('roberta', 'encoder', 'layer', '0', 'attention', 'self', 'query', 'kernel')
        """
        *stem, _ = name.split(".")
        return (*stem, self.leaves[kind][0])

    def attributes(self, name: str, kind: Kind) -> tuple[str, ...]:
        """Return the attributes, and indices of lists, by which a model has a tensor.

        Example:
            >>> KERAS.attributes("roberta.encoder.layer.0.attention.output.dense.weight", "matrix")
            ('roberta', 'encoder', 'layer', '0', 'attention', 'dense_output', 'dense', 'kernel')
        """
        path = self.path(name, kind)
        generic = ["{layer}" if part.isdecimal() else part for part in path]
        return tuple(
            next(
                (new for old, new in self.renamed.items() if _ends_with(generic[: end + 1], old.split("."))),
                part,
            )
            for end, part in enumerate(path)
        )

    def layout(self, kind: Kind, array: NDArray[np.generic]) -> NDArray[np.generic]:
        """Return a tensor of ours as the framework lays it out: a matrix (out, in) becomes (in, out), a view.

        Example:
            >>> FLAX.layout("matrix", np.zeros((2, 3))).shape, FLAX.layout("embedding", np.zeros((2, 3))).shape
            ((3, 2), (2, 3))
        """
        return array.T if kind == "matrix" else array

    def stored(self, kind: Kind, array: NDArray[np.generic]) -> NDArray[np.generic]:
        """Return a tensor of the framework's as the table lays it out, in C order, as files want it."""
        return np.ascontiguousarray(array.T if kind == "matrix" else array)


def _ends_with(parts: Sequence[str], ending: Sequence[str]) -> bool:
    return list(parts[-len(ending) :]) == list(ending)


def _parts(path: Sequence[str]) -> list[str]:
    """Keras counts the variables of a name (``:0``) and writes an item of a list as ``layer_._0``."""
    return [piece for part in path for piece in part.removesuffix(":0").split("_._")]


KERAS = Dialect(
    {
        "embedding": ("embeddings", "weight"),
        "matrix": ("kernel",),
        "bias": ("bias",),
        "scale": ("gamma",),
        "shift": ("beta",),
    },
    # Keras keeps `output` for itself, and a layer has no attribute `self` in the reference's classes.
    renamed={
        "attention.self": "self_attention",
        "attention.output": "dense_output",
        "crossattention.self": "self_attention",
        "crossattention.output": "dense_output",
        "layer.{layer}.output": "bert_output",
    },
)
FLAX = Dialect(
    {
        "embedding": ("embedding",),
        "matrix": ("kernel",),
        "bias": ("bias",),
        "scale": ("scale",),
        "shift": ("bias",),
    }
)
