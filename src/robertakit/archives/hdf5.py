"""The HDF5 container, as h5py writes it unless it is told otherwise: which datasets there are, and where they lie.

Why not the HDF5 library: it takes a file's word for sizes, and ten changed bytes made it fill all memory of a machine.
Here nothing is allocated by what a file declares, every address is checked against the file, every node is entered
once, no link is followed, and no filter exists. What the library can store in other ways (chunks, filters, virtual and
external data, groups of the newer form) Keras never writes, and it is refused. The format is
https://support.hdfgroup.org/documentation/hdf5/latest/_f_m_t11.html; names in capitals are signatures of its nodes.
"""

import math
import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from robertakit.archives.mapped import map_file
from robertakit.errors import CorruptFile, UnsupportedFormat

__all__ = ["HDF5_MAGIC", "Dataset", "Hdf5", "open_hdf5"]

HDF5_MAGIC: Final = b"\x89HDF\r\n\x1a\n"
#: Most nodes, names and messages of a file, how deep they lie, and the longest name. RoBERTa-base has 2,700, nine deep.
_MOST_STEPS: Final = 100_000
_DEEPEST: Final = 16
_LONGEST_NAME: Final = 255
_MOST_AXES: Final = 8
_MOST_VALUES: Final = 1 << 48
_NOWHERE: Final = (1 << 64) - 1  # the address of what is not there
_AGAIN: Final = "fetch the file again"
#: (bytes, place and width of the exponent, place and width of the mantissa, bias of the exponent) -> dtype
_FLOATS: Final = {
    (8, 52, 11, 0, 52, 1023): "F64",
    (4, 23, 8, 0, 23, 127): "F32",
    (2, 10, 5, 0, 10, 15): "F16",
    (2, 7, 8, 0, 7, 127): "BF16",
}
#: Kinds of messages in a header that say something here.
_SPACE, _TYPE, _LAYOUT, _ATTRIBUTE, _MORE, _SYMBOLS = 0x01, 0x03, 0x08, 0x0C, 0x10, 0x11
_REFUSED: Final = {
    0x02: "a group with links to elsewhere, or of the newer form",
    0x06: "a group with links to elsewhere, or of the newer form",
    0x07: "data in another file",
    0x0B: "data behind a filter",
}


@dataclass(frozen=True, slots=True)
class Dataset:
    """An array in the file: its dtype by safetensors' name, its sizes, and where its bytes lie."""

    dtype: str
    shape: tuple[int, ...]
    first: int
    nbytes: int


@dataclass(slots=True)
class Hdf5:
    """What is in a file.

    Attributes:
        data: the whole file.
        datasets: path -> dataset.
        attributes: path of a group -> names of its attributes.
    """

    data: mmap.mmap
    datasets: dict[tuple[str, ...], Dataset] = field(default_factory=dict)
    attributes: dict[tuple[str, ...], frozenset[str]] = field(default_factory=dict)


def open_hdf5(path: Path) -> Hdf5:
    """Read the directory of a file; no value is read.

    Raises:
        CorruptFile: the file contradicts itself.
        UnsupportedFormat: another form of HDF5 than that of h5py's default, links, filters, data elsewhere.
    """
    data = map_file(path)
    found = Hdf5(data)
    walk = _Walk(data, f"'{path}'")
    try:
        waiting: list[tuple[tuple[str, ...], int]] = [((), walk.root())]
        while waiting:
            parts, address = waiting.pop()
            here = _Object(walk, address, "/".join(parts))
            if here.symbols is None and parts:
                found.datasets[parts] = here.dataset()
                continue
            found.attributes[parts] = frozenset(here.attributes)
            if len(parts) >= _DEEPEST:
                raise CorruptFile(given=f"'{path}' has groups more than {_DEEPEST} deep", expected="weights")
            waiting += [((*parts, name), child) for name, child in walk.members(*(here.symbols or (0, 0)))]
    except (struct.error, UnicodeDecodeError, OverflowError) as error:
        raise CorruptFile(given=f"'{path}' is no whole HDF5 file ({error})", hint=_AGAIN) from error
    return found


class _Walk:
    """The file's nodes, each entered once, and all steps counted."""

    def __init__(self, data: mmap.mmap, what: str) -> None:
        self.data, self.what = data, what
        self.entered: set[int] = set()
        self.steps = 0

    def corrupt(self, problem: str) -> CorruptFile:
        return CorruptFile(given=f"{self.what} {problem}", hint=_AGAIN)

    def root(self) -> int:
        """Return the address of the root group; judge the superblock."""
        if self.data[:8] != HDF5_MAGIC:
            raise self.corrupt("does not begin as an HDF5 file")
        version, offsets, lengths = struct.unpack_from("<8xB4xBB", self.data)
        if version > 1 or (offsets, lengths) != (8, 8):
            form = f"of superblock version {version}" if version > 1 else f"with addresses of {offsets} bytes"
            raise UnsupportedFormat(
                given=f"{self.what} is HDF5 {form}",
                expected="version 0, which h5py writes unless it is told otherwise (libver='earliest')",
                hint="write the file again",
            )
        start = 24 + 4 * version
        base, _, end, _, _, header = struct.unpack_from("<6Q", self.data, start)
        if base != 0 or end > len(self.data):
            problem = (
                f"is cut: {len(self.data):,} bytes of {end:,}" if base == 0 else "begins behind its beginning"
            )
            raise self.corrupt(problem)
        return int(header)

    def enter(self, address: int, signature: bytes) -> None:
        """Go to a node; raise where it is none of its kind, or where the walk has been before."""
        if self.data[address : address + len(signature)] != signature or address >= len(self.data):
            raise self.corrupt(f"has no {signature.decode() or 'header'} at byte {address:,}")
        if address in self.entered:
            raise self.corrupt(f"leads to byte {address:,} twice")
        self.entered.add(address)
        self.step()

    def step(self, count: int = 1) -> None:
        """Count nodes, names and messages: they may lie over each other, so that their bytes bound nothing."""
        self.steps += count
        if self.steps > _MOST_STEPS:
            raise self.corrupt(f"has more than {_MOST_STEPS:,} nodes, names and messages")

    def members(self, tree: int, heap: int) -> Iterator[tuple[str, int]]:
        """Yield name and address of each member of a group: a tree of tables, names in a heap."""
        self.enter(heap, b"HEAP")
        size, _, start = struct.unpack_from("<8x3Q", self.data, heap)
        if start + size > len(self.data):
            raise self.corrupt(f"has names of {size:,} bytes at byte {start:,} of {len(self.data):,}")
        nodes = [tree]
        while nodes:
            node = nodes.pop()
            self.enter(node, b"TREE")
            kind, level, used = struct.unpack_from("<4xBBH", self.data, node)
            if kind != 0:
                raise self.corrupt("has a tree of chunks where a group's should be")
            self.step(used)
            children = [
                struct.unpack_from("<Q", self.data, node + 32 + 16 * number)[0] for number in range(used)
            ]
            if level:
                nodes += reversed(children)
                continue
            for table in children:
                self.enter(table, b"SNOD")
                (count,) = struct.unpack_from("<6xH", self.data, table)
                self.step(count)
                for number in range(count):
                    name, header, cache = struct.unpack_from("<QQI", self.data, table + 8 + 40 * number)
                    yield self.name(start, size, name, is_link=cache == 2), header

    def name(self, start: int, size: int, offset: int, *, is_link: bool) -> str:
        """Return the name at an offset of a heap; raise where it is a link's."""
        first = min(start + offset, start + size)
        end = self.data.find(b"\0", first, min(first + _LONGEST_NAME, start + size))
        if end <= first:
            raise self.corrupt(f"has a name that is empty, longer than {_LONGEST_NAME}, or outside its heap")
        self.step((end - first) // 16)
        name = self.data[first:end].decode()
        if is_link:
            raise UnsupportedFormat(
                given=f"{self.what} has a link to elsewhere, {name!r:.100}", expected="tensors of its own"
            )
        return name


class _Object:
    """The header of a group or dataset: messages, each of a kind."""

    def __init__(self, walk: _Walk, address: int, name: str) -> None:
        self.walk, self.what = walk, f"'{name:.200}' of {walk.what}"
        self.symbols: tuple[int, int] | None = None
        self.attributes: list[str] = []
        self.places: dict[int, tuple[int, int]] = {}
        walk.enter(address, b"")
        version, size = struct.unpack_from("<B7xI", walk.data, address)
        if walk.data[address : address + 4] == b"OHDR":
            raise self.unsupported("is of the newer form")
        if version != 1:
            raise walk.corrupt(f"has no header at byte {address:,}")
        blocks = [(address + 16, size)]
        while blocks:
            first, length = blocks.pop()
            if first + length > len(walk.data):
                raise walk.corrupt(f"has a header that ends at byte {first + length:,} of {len(walk.data):,}")
            while length >= 8:
                walk.step()
                kind, room, flags = struct.unpack_from("<HHB", walk.data, first)
                if room + 8 > length:
                    raise walk.corrupt(f"has a header at byte {address:,} whose messages leave it")
                more = self.note(kind, first + 8, room, is_shared=bool(flags & 2))
                if more:
                    walk.enter(more[0], b"")
                    blocks.append(more)
                first, length = first + 8 + room, length - 8 - room

    def unsupported(self, problem: str) -> UnsupportedFormat:
        return UnsupportedFormat(
            given=f"{self.what} {problem}",
            expected="one stretch of plain values, as Keras writes it",
            hint="write the file again with h5py's defaults",
        )

    def note(self, kind: int, first: int, room: int, *, is_shared: bool) -> tuple[int, int] | None:
        """Take one message; return where more of them lie, if it says so."""
        data = self.walk.data
        if kind in _REFUSED:
            raise self.unsupported(f"is {_REFUSED[kind]}")
        if kind == _MORE:
            more: tuple[int, int] = struct.unpack_from("<QQ", data, first)
            return more
        if kind == _SYMBOLS:
            self.symbols = struct.unpack_from("<QQ", data, first)
        elif kind == _ATTRIBUTE:
            version, length = struct.unpack_from("<BxH", data, first)
            start = first + (9 if version == 3 else 8)
            self.attributes.append(
                data[start : start + min(length, room)].split(b"\0")[0].decode("utf-8", "replace")
            )
        elif kind in (_SPACE, _TYPE, _LAYOUT):
            if is_shared or kind in self.places:
                raise self.unsupported("has a type that is stored elsewhere")
            self.places[kind] = (first, room)
        return None

    def dataset(self) -> Dataset:
        """Return what the messages make, which must be one stretch of the file."""
        if not {_SPACE, _TYPE, _LAYOUT} <= self.places.keys():
            raise self.unsupported("is neither a group nor an array")
        version, layout, first, nbytes = struct.unpack_from("<BBQQ", self.walk.data, self.places[_LAYOUT][0])
        if version not in (3, 4) or layout != 1:
            raise self.unsupported("lies in chunks, in its header, or in other datasets")
        dtype, width = self.dtype()
        shape = self.shape()
        if first == _NOWHERE:
            raise CorruptFile(given=f"{self.what} of shape {shape} has no values in the file", hint=_AGAIN)
        if nbytes != math.prod(shape) * width or first + nbytes > len(self.walk.data):
            raise CorruptFile(
                given=f"{self.what} of shape {shape} has {nbytes:,} bytes at byte {first:,}",
                expected=f"{math.prod(shape) * width:,} within {len(self.walk.data):,}",
                hint=_AGAIN,
            )
        return Dataset(dtype, shape, first, nbytes)

    def dtype(self) -> tuple[str, int]:
        """Return the dtype and the bytes of a value."""
        head, flags, _, _, width = struct.unpack_from("<BBBBI", self.walk.data, self.places[_TYPE][0])
        kind, name = head & 15, None
        if kind == 0 and not flags & 1 and width in (1, 2, 4, 8):
            offset, precision = struct.unpack_from("<HH", self.walk.data, self.places[_TYPE][0] + 8)
            if (offset, precision) == (0, 8 * width):
                name = f"{'I' if flags & 8 else 'U'}{8 * width}"
        elif kind == 1 and not flags & 0x41:
            parts = struct.unpack_from("<4BI", self.walk.data, self.places[_TYPE][0] + 12)
            name = _FLOATS.get((width, *parts))
        if name is None:
            raise self.unsupported("has another dtype than little-endian numbers")
        return name, width

    def shape(self) -> tuple[int, ...]:
        """Return the sizes."""
        version, rank, _, kind = struct.unpack_from("<4B", self.walk.data, self.places[_SPACE][0])
        if version not in (1, 2) or (version == 2 and kind == 2) or rank > _MOST_AXES:
            raise self.unsupported("has no shape of at most eight sizes")
        start = self.places[_SPACE][0] + (8 if version == 1 else 4)
        shape = struct.unpack_from(f"<{rank}Q", self.walk.data, start)
        if any(size >= _MOST_VALUES for size in shape) or math.prod(filter(None, shape)) >= _MOST_VALUES:
            raise self.walk.corrupt(f"gives {self.what} the shape {shape}")
        return shape
