"""TensorFlow's weights: the arrays of an HDF5 file under our names, each a stretch of the file."""

from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np

from robertakit.archives.hdf5 import open_hdf5
from robertakit.checkpoints.dialects import KERAS
from robertakit.checkpoints.tensors import BITS, StoredTensor, agree
from robertakit.errors import CorruptFile

__all__ = ["read_hdf5"]

#: A group of a Keras file that has this attribute is a layer; below it stands the model's name. Long lists are cut.
_LAYER_MARKS: Final = frozenset({"weight_names", "weight_names0"})


def read_hdf5(path: Path) -> dict[str, StoredTensor]:
    """Read the weights that Keras wrote: their places now, their values when they are asked for.

    Returns:
        Our name -> tensor in our layout. A tensor that two layers share is there once.

    Raises:
        CorruptFile: the file contradicts itself.
        UnsupportedFormat: what is no stretch of plain values (see ``archives.hdf5``).
    """
    file = open_hdf5(path)
    found: dict[str, StoredTensor] = {}
    for parts, dataset in file.datasets.items():
        size = dataset.nbytes // BITS[dataset.dtype].itemsize
        bits = np.frombuffer(file.data, BITS[dataset.dtype], size, dataset.first).reshape(dataset.shape)
        is_in_layer = not _LAYER_MARKS.isdisjoint(file.attributes.get(parts[:1], ()))
        name, tensor = KERAS.read(parts, StoredTensor(dataset.dtype, bits), own=2 if is_in_layer else 0)
        if name in found and not _same(found[name], tensor):
            raise CorruptFile(
                given=f"'{path}' stores {name} twice, with other values as {'/'.join(parts):.200}",
                hint="fetch the file again",
            )
        found.setdefault(name, tensor)
    stretches = sorted((each.first, each.first + each.nbytes) for each in file.datasets.values())
    if any(after < end for (_, end), (after, _) in pairwise(stretches)):
        raise CorruptFile(given=f"'{path}' has tensors that overlap", hint="fetch the file again")
    return found


def _same(one: StoredTensor, other: StoredTensor) -> bool:
    return (one.dtype, one.shape) == (other.dtype, other.shape) and agree(one, other)
