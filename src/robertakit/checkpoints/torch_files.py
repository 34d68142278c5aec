"""Tensors of a file that ``torch.save`` wrote: views of its storages, which are mapped."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from robertakit.archives.pickles import StorageReference, TensorReference
from robertakit.archives.torch_save import TorchArchive, open_torch_archive
from robertakit.checkpoints.tensors import BITS, StoredTensor, strided_view
from robertakit.errors import CorruptFile

__all__ = ["read_torch_file"]


def read_torch_file(path: Path) -> dict[str, StoredTensor]:
    """Read the weights that ``torch.save`` wrote; a checkpoint of fairseq's comes under our names.

    Raises:
        CorruptFile: the archive, its pickle or a view contradicts the file, or the pickle asks for more than tensors.
        UnsupportedFormat: compressed or encrypted entries, big-endian values, a TorchScript archive.
    """
    from robertakit.fairseq_settings import fairseq_model  # here: other files do without

    archive = open_torch_archive(path)
    model = fairseq_model(archive.state)
    if model is not None:
        from robertakit.checkpoints.fairseq import in_our_names

        return in_our_names(_tensors(archive, model), path)
    if not isinstance(archive.state, dict):
        raise CorruptFile(
            given=f"'{path}' holds a {type(archive.state).__name__}", expected="a dictionary of tensors"
        )
    return _tensors(archive, archive.state)


def _tensors(archive: TorchArchive, state: Mapping[object, object]) -> dict[str, StoredTensor]:
    tensors: dict[str, StoredTensor] = {}
    for name, value in state.items():
        if not isinstance(name, str) or not isinstance(value, TensorReference):
            hint = (
                f"the tensors may lie below {name!r:.50}: save them alone" if isinstance(value, dict) else ""
            )
            raise CorruptFile(
                given=f"entry {name!r:.100} of '{archive.path}' is no tensor",
                expected="tensors only",
                hint=hint,
            )
        what = f"tensor '{name:.100}' of '{archive.path}'"
        whole = _storage(archive, value.storage)
        tensors[name] = strided_view(
            value.storage.dtype, whole, value.offset, value.shape, value.strides, what
        )
    return tensors


def _storage(
    archive: TorchArchive, reference: StorageReference
) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]]:
    span = archive.storages.get(reference.key)
    if span is None:
        raise CorruptFile(
            given=f"'{archive.path}' lacks storage {reference.key:.50}", hint="fetch the file again"
        )
    bits = BITS[reference.dtype]
    if span[1] != reference.nbytes or span[1] % bits.itemsize:
        raise CorruptFile(
            given=f"storage {reference.key:.50} of '{archive.path}' has {span[1]} bytes",
            expected=f"{reference.nbytes}, in values of {bits.itemsize}",
            hint="fetch the file again",
        )
    return np.frombuffer(archive.data, bits, span[1] // bits.itemsize, span[0])
