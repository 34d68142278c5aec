"""The msgpack container of Flax's weights: nested maps of arrays, which are mapped. Nothing is copied.

Why not the package's reader: it copies every array into memory, and believes lengths up to the bound it is given. The
format is https://github.com/msgpack/msgpack/blob/master/spec.md; Flax writes an array as extension 1, which holds
shape, dtype and bytes, and one of more than 2^30 bytes as a map of pieces.
"""

import math
import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from robertakit.archives.mapped import map_file
from robertakit.checkpoints.dialects import FLAX
from robertakit.checkpoints.tensors import BITS, MOST_VALUES, StoredTensor
from robertakit.errors import CorruptFile, UnsupportedFormat

__all__ = ["read_msgpack"]

#: Most values of a file, and how deep they lie. RoBERTa-large has 600, seven deep.
_MOST_VALUES: Final = 100_000
_DEEPEST: Final = 16
_LONGEST_TEXT: Final = 1000
_MOST_AXES: Final = 8
_AGAIN: Final = "fetch the file again"
#: Extensions that Flax writes: an array, and a scalar of NumPy's in the same form.
_ARRAYS: Final = (1, 3)
_DTYPES: Final = {
    "float64": "F64",
    "float32": "F32",
    "float16": "F16",
    "bfloat16": "BF16",
    "int64": "I64",
    "int32": "I32",
    "int16": "I16",
    "int8": "I8",
    "uint64": "U64",
    "uint32": "U32",
    "uint16": "U16",
    "uint8": "U8",
    "bool": "BOOL",
}
#: First byte -> how the number, or the length, behind it is packed.
_INTEGERS: Final = dict(zip(range(0xCC, 0xD4), (">B", ">H", ">I", ">Q", ">b", ">h", ">i", ">q"), strict=True))
_FLOATS: Final = {0xCA: 4, 0xCB: 8}
_BYTES: Final = {0xC4: ">B", 0xC5: ">H", 0xC6: ">I"}
_EXTENSIONS: Final = {0xC7: ">B", 0xC8: ">H", 0xC9: ">I"}
_TEXTS: Final = {0xD9: ">B", 0xDA: ">H", 0xDB: ">I"}
_LISTS: Final = {0xDC: ">H", 0xDD: ">I"}
_MAPS: Final = {0xDE: ">H", 0xDF: ">I"}
_CONSTANTS: Final = {0xC0: None, 0xC2: False, 0xC3: True}
#: Keys of an array in pieces.
_PIECES: Final = "__msgpack_chunked_array__"


class _Refused(Exception):
    """A file that is not what it says; becomes a CorruptFile that names it."""


@dataclass(frozen=True, slots=True)
class _Stretch:
    """Bytes of the file; those of an extension with its number."""

    first: int
    length: int
    extension: int | None = None


def read_msgpack(path: Path) -> dict[str, StoredTensor]:
    """Read the weights that Flax wrote: their places now, their values when they are asked for.

    Returns:
        Our name -> tensor in our layout.

    Raises:
        CorruptFile: the file is cut, or its lengths contradict each other.
        UnsupportedFormat: a dtype that is not known.
    """
    data = map_file(path)
    tensors: dict[str, StoredTensor] = {}
    try:
        reader = _Reader(data, 0, len(data))
        tree = reader.value()
        if not isinstance(tree, dict) or reader.position != len(data):
            raise _Refused("it is not one map")
        for parts, tensor in _arrays(data, tree, ()):
            name, ours = FLAX.read(parts, tensor)
            if name in tensors:
                raise _Refused(f"{name} stands in it twice")
            tensors[name] = ours
    except (_Refused, struct.error, IndexError, UnicodeDecodeError) as error:
        reason = str(error)[:200]
        raise CorruptFile(
            given=f"'{path}' holds no weights of Flax's ({reason})",
            expected="nested maps of arrays",
            hint=_AGAIN,
        ) from error
    return tensors


class _Reader:
    """A place in a stretch of the file, and the value that begins there."""

    def __init__(self, data: mmap.mmap, first: int, end: int) -> None:
        self.data, self.position, self.end = data, first, end
        self.count = 0

    def value(self, depth: int = 0) -> object:
        """Read one value: maps, lists, texts, numbers; bytes as the stretch where they lie."""
        self.count += 1
        if depth > _DEEPEST or self.count > _MOST_VALUES:
            raise _Refused(f"it holds more than {_MOST_VALUES:,} values, or deeper than {_DEEPEST}")
        code = self.number(">B")
        if code < 0x80 or code >= 0xE0:
            return code if code < 0x80 else code - 0x100
        if code in _CONSTANTS:
            return _CONSTANTS[code]
        if code in _INTEGERS:
            return self.number(_INTEGERS[code])
        if code in _FLOATS:
            return self.stretch(_FLOATS[code])
        if code < 0x90 or code in _MAPS:
            return self.table(code & 15 if code < 0x90 else self.number(_MAPS[code]), depth)
        if code < 0xA0 or code in _LISTS:
            length = code & 15 if code < 0xA0 else self.number(_LISTS[code])
            return [self.value(depth + 1) for _ in range(length)]
        if code < 0xC0 or code in _TEXTS:
            return self.text(code & 31 if code < 0xC0 else self.number(_TEXTS[code]))
        if code in _BYTES:
            return self.stretch(self.number(_BYTES[code]))
        if 0xD4 <= code <= 0xD8 or code in _EXTENSIONS:
            length = 1 << (code - 0xD4) if code in range(0xD4, 0xD9) else self.number(_EXTENSIONS[code])
            return self.stretch(length, self.number(">b"))
        raise _Refused(f"byte {self.position - 1:,} begins no value")

    def number(self, form: str) -> int:
        """Read an integer that is packed as ``form`` says."""
        place = self.stretch(struct.calcsize(form))
        number: int = struct.unpack_from(form, self.data, place.first)[0]
        return number

    def stretch(self, length: int, extension: int | None = None) -> _Stretch:
        """Pass over some bytes, and return where they are."""
        first = self.position
        self.position += length
        if self.position > self.end:
            raise _Refused(f"{length:,} bytes are announced at byte {first:,} of {self.end:,}")
        return _Stretch(first, length, extension)

    def text(self, length: int) -> str:
        """Read a text of so many bytes."""
        if length > _LONGEST_TEXT:
            raise _Refused(f"a text of {length:,} bytes")
        place = self.stretch(length)
        return self.data[place.first : place.first + place.length].decode()

    def table(self, length: int, depth: int) -> dict[str, object]:
        """Read a map of so many entries."""
        found: dict[str, object] = {}
        for _ in range(length):
            key = self.value(depth + 1)
            if not isinstance(key, str) or key in found:
                raise _Refused("a map whose keys are no names, or one name twice")
            found[key] = self.value(depth + 1)
        return found


def _arrays(
    data: mmap.mmap, tree: dict[str, object], above: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], StoredTensor]]:
    """Yield path -> array of nested maps."""
    for key, value in tree.items():
        parts = (*above, key)
        if isinstance(value, dict) and _PIECES in value:
            yield parts, _joined(data, value, "/".join(parts))
        elif isinstance(value, dict):
            yield from _arrays(data, value, parts)
        elif isinstance(value, _Stretch) and value.extension in _ARRAYS:
            yield parts, _array(data, value, "/".join(parts))
        else:
            raise _Refused(f"{'/'.join(parts):.100} is no array")


def _array(data: mmap.mmap, place: _Stretch, what: str) -> StoredTensor:
    """An extension: shape, name of the dtype, bytes."""
    reader = _Reader(data, place.first, place.first + place.length)
    fields = reader.value()
    shape, dtype, stretch = fields if isinstance(fields, list) and len(fields) == 3 else (None, None, None)
    if (
        isinstance(dtype, _Stretch) and dtype.extension is None and dtype.length < 16
    ):  # old Flax: bytes, not text
        dtype = data[dtype.first : dtype.first + dtype.length].decode()
    if not isinstance(dtype, str) or not isinstance(stretch, _Stretch) or reader.position != reader.end:
        raise _Refused(f"{what:.100} is no array of shape, dtype and bytes")
    if dtype not in _DTYPES:
        raise UnsupportedFormat(
            given=f"tensor '{what:.100}' has dtype {dtype!r:.50}", expected="a dtype of numbers"
        )
    bits = BITS[_DTYPES[dtype]]
    sizes = _shape(shape, what)
    if stretch.length != math.prod(sizes) * bits.itemsize:
        raise _Refused(f"{what:.100} has {stretch.length:,} bytes for {dtype} of shape {sizes}")
    values = np.frombuffer(data, bits, math.prod(sizes), stretch.first).reshape(sizes)
    return StoredTensor(_DTYPES[dtype], values)


def _shape(value: object, what: str) -> tuple[int, ...]:
    sizes = value if isinstance(value, list) else [None]
    if len(sizes) > _MOST_AXES or not all(type(size) is int and 0 <= size < MOST_VALUES for size in sizes):
        raise _Refused(f"{what:.100} has no shape of at most {_MOST_AXES} sizes")
    if math.prod(filter(None, sizes)) >= MOST_VALUES:
        raise _Refused(f"{what:.100} has the shape {sizes}")
    return tuple(sizes)


def _joined(data: mmap.mmap, table: dict[str, object], what: str) -> StoredTensor:
    """An array of more than 2^30 bytes, which Flax cuts into flat pieces; joined here and now, it is a copy."""
    shape, pieces = (_items(table.get(key), what) for key in ("shape", "chunks"))
    sizes = _shape(shape, what)
    places = [piece for piece in pieces if isinstance(piece, _Stretch) and piece.extension in _ARRAYS]
    parts = [_array(data, place, what) for place in places]
    if len(places) != len(pieces) or len({part.dtype for part in parts}) != 1:
        raise _Refused(f"{what:.100} has pieces that are no arrays, or of several dtypes")
    if sum(part.size for part in parts) != math.prod(sizes):
        raise _Refused(f"the pieces of {what:.100} do not make the shape {sizes}")
    flat = [part.bits.reshape(-1) for part in parts]
    whole = flat[0] if len(flat) == 1 else np.concatenate(flat)
    return StoredTensor(parts[0].dtype, whole.reshape(sizes))


def _items(value: object, what: str) -> list[object]:
    """A tuple, which Flax writes as a map with the keys "0", "1", ..."""
    if not isinstance(value, dict) or list(value) != [str(number) for number in range(len(value))]:
        raise _Refused(f"{what:.100} is in pieces without an order")
    return list(value.values())
