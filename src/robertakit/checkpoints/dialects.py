"""What Keras and Flax call the tensors, and how they lay them out: a function of a row's kind, never of its name.

A path such as ``roberta/encoder/layer_._0/attention/self/query/kernel:0`` says the same as the table's name; its last
part says the kind, and with it the layout: a ``kernel`` is a matrix (in, out), the transpose of ours.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from robertakit.architecture import ROWS
from robertakit.checkpoints.tensors import StoredTensor

__all__ = ["FLAX", "KERAS", "Dialect"]


@dataclass(frozen=True)
class Dialect:
    """How one framework spells the last part of a tensor's path.

    Attributes:
        leaves: kind of a row -> its spellings.
    """

    leaves: Mapping[str, tuple[str, ...]]
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
    }
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
