"""The HDF5 container of TensorFlow's weights: h5py says where each tensor lies, and the bytes are mapped.

No value is read through the library, so that no filter runs and nothing is allocated by what a file declares: a tensor
is a stretch of the file, or it is refused. Links that leave a group (soft, external) are never opened.
"""

import math
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Final, Protocol

import numpy as np

from robertakit.archives.mapped import map_file
from robertakit.checkpoints.dialects import KERAS
from robertakit.checkpoints.tensors import BITS, ITEM_SIZES, MOST_VALUES, StoredTensor, agree
from robertakit.errors import CorruptFile, RobertakitError, UnsupportedFormat, require

__all__ = ["HDF5_MAGIC", "read_hdf5"]

HDF5_MAGIC: Final = b"\x89HDF\r\n\x1a\n"
#: Most groups and tensors of a file, and how deep they lie. RoBERTa-large has 1,700, seven deep.
_MOST_OBJECTS: Final = 10_000
_DEEPEST: Final = 16
_LONGEST_NAME: Final = 1000
#: A group of a Keras file that has this attribute is a layer; below it stands the model's name. Long lists are cut.
_LAYER_MARKS: Final = (b"weight_names", b"weight_names0")
_AGAIN: Final = "fetch the file again"
_REWRITE: Final = "write it again with h5repack -l CONTI -f NONE"
#: (bytes, bias of the exponent, its place and width, width of the mantissa) -> dtype
_FLOATS: Final = {
    (8, 1023, 52, 11, 52): "F64",
    (4, 127, 23, 8, 23): "F32",
    (2, 15, 10, 5, 10): "F16",
    (2, 127, 7, 8, 7): "BF16",
}


class _Link(Protocol):
    """Where a name of a group leads."""

    type: int


class _Links(Protocol):
    """The names of a group, which h5py does not follow here."""

    def iterate(self, note: Callable[[bytes], bool | None]) -> object: ...
    def get_info(self, name: bytes) -> _Link: ...


class _Group(Protocol):
    """A group of h5py's lower level."""

    links: _Links


class _Plan(Protocol):
    """How a dataset was created."""

    def get_layout(self) -> int: ...
    def get_nfilters(self) -> int: ...
    def get_external_count(self) -> int: ...


class _Type(Protocol):
    """The type of a dataset's values."""

    def get_class(self) -> int: ...
    def get_size(self) -> int: ...
    def get_order(self) -> int: ...
    def get_fields(self) -> tuple[int, ...]: ...
    def get_ebias(self) -> int: ...
    def get_sign(self) -> int: ...


class _Dataset(Protocol):
    """A dataset of h5py's lower level."""

    shape: tuple[int, ...]

    def get_create_plist(self) -> _Plan: ...
    def get_type(self) -> _Type: ...
    def get_offset(self) -> int | None: ...
    def get_storage_size(self) -> int: ...


def read_hdf5(path: Path) -> dict[str, StoredTensor]:
    """Read the weights that Keras wrote: their places now, their values when they are asked for.

    Returns:
        Our name -> tensor in our layout. A tensor that two layers share is there once.

    Raises:
        CorruptFile: the file contradicts itself.
        UnsupportedFormat: links to elsewhere, virtual or external data, chunks, filters, a dtype that is not known.
        DependencyError: h5py is not installed.
    """
    h5py = require("h5py", extra="convert", needed_for=f"reading '{path}'")
    data = map_file(path)
    found: dict[str, StoredTensor] = {}
    stretches: list[tuple[int, int]] = []
    try:
        for parts, own, dataset in _datasets(h5py, path):
            what = f"tensor '{'/'.join(parts):.200}' of '{path}'"
            dtype, first, last = _place(h5py, dataset, what)
            if last > len(data):
                raise CorruptFile(given=f"{what} ends at byte {last:,} of {len(data):,}", hint=_AGAIN)
            stretches.append((first, last))
            bits = np.frombuffer(data, BITS[dtype], math.prod(dataset.shape), first).reshape(dataset.shape)
            name, tensor = KERAS.read(parts, StoredTensor(dtype, bits), own)
            if name in found and not _same(found[name], tensor):
                raise CorruptFile(given=f"'{path}' stores {name} twice, with other values as {what}")
            found.setdefault(name, tensor)
    except RobertakitError:
        raise
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, OverflowError) as error:
        reason = f"{type(error).__name__}: {error}"[:200]
        raise CorruptFile(given=f"'{path}' is no whole HDF5 file ({reason})", hint=_AGAIN) from error
    stretches.sort()
    if any(after < end for (_, end), (after, _) in pairwise(stretches)):
        raise CorruptFile(given=f"'{path}' has tensors that overlap", hint=_AGAIN)
    return found


def _datasets(h5py: ModuleType, path: Path) -> Iterator[tuple[tuple[str, ...], int, _Dataset]]:
    """Yield each dataset: its path, how many leading parts of it are Keras' own, and itself."""
    with h5py.File(path, "r") as file:
        waiting: list[tuple[tuple[str, ...], int, _Group]] = [((), 0, file.id)]
        count = 0
        seen: set[object] = set()
        while waiting:
            parts, own, group = waiting.pop()
            for name in _links(h5py, group, f"'{path}'"):
                here = (*parts, name.decode())
                count += 1
                if count > _MOST_OBJECTS or len(here) > _DEEPEST or len(name) > _LONGEST_NAME:
                    raise CorruptFile(
                        given=f"'{path}' has more than {_MOST_OBJECTS:,} objects, or deeper or longer names",
                        expected="a file of weights",
                    )
                member = h5py.h5o.open(group, name)
                if isinstance(member, h5py.h5d.DatasetID):
                    yield here, own, member
                    continue
                address = h5py.h5o.get_info(member).addr
                if not isinstance(member, h5py.h5g.GroupID) or address in seen:
                    raise CorruptFile(
                        given=f"'{path}' has '{'/'.join(here):.200}', neither tensor nor group of its own",
                        hint=_AGAIN,
                    )
                seen.add(address)
                is_layer = not parts and any(h5py.h5a.exists(member, mark) for mark in _LAYER_MARKS)
                waiting.append((here, 2 if is_layer else own, member))


def _links(h5py: ModuleType, group: _Group, what: str) -> list[bytes]:
    """Names in a group; all of them must be its own objects."""
    names: list[bytes] = []

    def note(name: bytes) -> bool | None:
        names.append(name)
        return True if len(names) > _MOST_OBJECTS else None  # True ends the iteration

    group.links.iterate(note)
    if len(names) > _MOST_OBJECTS:
        raise CorruptFile(
            given=f"{what} has a group of more than {_MOST_OBJECTS:,} names", expected="weights"
        )
    for name in names:
        if group.links.get_info(name).type != h5py.h5l.TYPE_HARD:
            raise UnsupportedFormat(
                given=f"{what} has a link to elsewhere, {name!r:.200}", expected="tensors of the file's own"
            )
    return names


def _place(h5py: ModuleType, dataset: _Dataset, what: str) -> tuple[str, int, int]:
    """Return dtype, first byte and end of a dataset. Its plan is judged before its shape is asked for."""
    plan = dataset.get_create_plist()
    if plan.get_layout() != h5py.h5d.CONTIGUOUS or plan.get_nfilters() or plan.get_external_count():
        raise UnsupportedFormat(
            given=f"{what} lies in chunks, behind a filter, or in another file",
            expected="one stretch of plain values, as Keras writes it",
            hint=_REWRITE,
        )
    dtype = _dtype(h5py, dataset.get_type())
    if dtype is None:
        raise UnsupportedFormat(given=f"{what} has another dtype", expected="little-endian numbers")
    size = math.prod(dataset.shape)
    nbytes, first = dataset.get_storage_size(), dataset.get_offset()
    if first is None:
        raise CorruptFile(given=f"{what} of shape {dataset.shape} has no values in the file", hint=_AGAIN)
    if size >= MOST_VALUES or nbytes != size * ITEM_SIZES[dtype]:
        raise CorruptFile(
            given=f"{what} of shape {dataset.shape} has {nbytes:,} bytes in the file",
            expected=f"{size * ITEM_SIZES[dtype]:,}",
            hint=_AGAIN,
        )
    return dtype, first, first + nbytes


def _dtype(h5py: ModuleType, kind: _Type) -> str | None:
    group, size = kind.get_class(), kind.get_size()
    if group not in (h5py.h5t.FLOAT, h5py.h5t.INTEGER) or kind.get_order() != h5py.h5t.ORDER_LE:
        return None
    if group == h5py.h5t.FLOAT:
        _, place, width, _, mantissa = kind.get_fields()
        return _FLOATS.get((size, kind.get_ebias(), place, width, mantissa))
    name = f"{'U' if kind.get_sign() == h5py.h5t.SGN_NONE else 'I'}{8 * size}"
    return name if name in BITS else None


def _same(one: StoredTensor, other: StoredTensor) -> bool:
    return (one.dtype, one.shape) == (other.dtype, other.shape) and agree(one, other)
