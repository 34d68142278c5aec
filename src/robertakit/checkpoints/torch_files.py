"""PyTorch's two weight files: the zip archive (since 1.6) and the pickle stream of before. No PyTorch is needed.

Both hold a pickle that describes tensors as views of storages, and the storages' bytes, which are mapped.
"""

import mmap
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from robertakit.checkpoints.pickles import BYTES_LIMIT, StorageReference, TensorReference, read_pickle
from robertakit.checkpoints.safetensors import map_file
from robertakit.checkpoints.tensors import BITS, StoredTensor, strided_view
from robertakit.errors import CorruptFile, UnsupportedFormat

__all__ = ["LEGACY_MAGIC", "ZIP_MAGIC", "read_torch_stream", "read_torch_zip"]

ZIP_MAGIC = b"PK\x03\x04"
#: The first pickle of the old format: a protocol-2 pickle of the number 0x1950a86a20f9469cfc6c.
LEGACY_MAGIC = b"\x80\x02\x8a\n\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."
#: Most entries of an archive, and most bytes of its directory: two per tensor would do.
_MOST_ENTRIES = 20_000
_DIRECTORY_LIMIT = 4 << 20
_AGAIN = "fetch the file again"

Span = tuple[int, int]  # first byte and number of bytes


def read_torch_zip(path: Path) -> dict[str, StoredTensor]:
    """Read a ``pytorch_model.bin`` as ``torch.save`` writes it today.

    Raises:
        CorruptFile: the archive, its pickle or a view contradicts the file, or the pickle asks for more than tensors.
        UnsupportedFormat: compressed or encrypted entries, big-endian values, a TorchScript archive.
    """
    data = map_file(path)
    entries = _directory(path, data)
    pickles = [name for name in entries if name == "data.pkl" or name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise CorruptFile(
            given=f"'{path}' holds {len(pickles)} files data.pkl", expected="one, as torch.save writes"
        )
    root = pickles[0].removesuffix("data.pkl")
    if f"{root}constants.pkl" in entries:
        raise UnsupportedFormat(
            given=f"'{path}' is a TorchScript archive", expected="weights", hint="save a state_dict"
        )
    if f"{root}byteorder" in entries and _bytes(data, entries[f"{root}byteorder"]) != b"little":
        raise UnsupportedFormat(given=f"'{path}' holds big-endian values", expected="little-endian ones")
    if entries[pickles[0]][1] > BYTES_LIMIT:
        raise CorruptFile(
            given=f"'{path}' has a pickle of {entries[pickles[0]][1]:,} bytes", expected=f"<= {BYTES_LIMIT:,}"
        )
    state, _ = read_pickle(_bytes(data, entries[pickles[0]]), f"'{path}'")

    def storage(reference: StorageReference) -> NDArray[np.generic]:
        span = entries.get(f"{root}data/{reference.key}")
        if span is None:
            raise CorruptFile(given=f"'{path}' lacks storage {reference.key:.50}", hint=_AGAIN)
        bits = BITS[reference.dtype]
        if span[1] != reference.nbytes or span[1] % bits.itemsize:
            raise CorruptFile(
                given=f"storage {reference.key:.50} of '{path}' has {span[1]} bytes",
                expected=f"{reference.nbytes}",
                hint=_AGAIN,
            )
        return np.frombuffer(data, bits, span[1] // bits.itemsize, span[0])

    return _tensors(path, state, storage)


def read_torch_stream(path: Path) -> dict[str, StoredTensor]:
    """Read a ``pytorch_model.bin`` as PyTorch before 1.6 wrote it: five pickles, then the storages one by one.

    Raises:
        CorruptFile: as ``read_torch_zip``.
    """
    data = map_file(path)
    position = 0
    parts: list[object] = []
    for _ in range(5):
        part, length = read_pickle(data[position : position + BYTES_LIMIT], f"'{path}'")
        parts.append(part)
        position += length
        if len(parts) == 1 and data[:position] != LEGACY_MAGIC:
            raise CorruptFile(given=f"'{path}' is a pickle", expected="weights as torch.save writes them")
    _, protocol, system, state, keys = parts
    if protocol != 1001 or not isinstance(system, dict) or not isinstance(keys, list):
        raise CorruptFile(given=f"'{path}' has another layout than torch.save's", hint=_AGAIN)
    if system.get("little_endian") is not True:
        raise UnsupportedFormat(given=f"'{path}' holds big-endian values", expected="little-endian ones")
    references = {
        value.storage.key: value.storage
        for value in (state.values() if isinstance(state, dict) else ())
        if isinstance(value, TensorReference)
    }
    found: dict[str, NDArray[np.generic]] = {}
    for key in keys:
        if not isinstance(key, str) or key not in references or key in found:
            raise CorruptFile(given=f"'{path}' has a storage that no tensor names, or one twice", hint=_AGAIN)
        reference = references[key]
        bits = BITS[reference.dtype]
        size = int.from_bytes(data[position : position + 8], "little", signed=True)
        position += 8
        if (
            size != reference.size
            or position + reference.nbytes > len(data)
            or reference.nbytes % bits.itemsize
        ):
            raise CorruptFile(given=f"storage {key:.50} of '{path}' has {size} values or is cut", hint=_AGAIN)
        found[key] = np.frombuffer(data, bits, reference.nbytes // bits.itemsize, position)
        position += reference.nbytes
    if found.keys() != references.keys():
        raise CorruptFile(given=f"'{path}' lacks {len(references) - len(found)} storages", hint=_AGAIN)
    return _tensors(path, state, lambda reference: found[reference.key])


def _tensors(
    path: Path, state: object, storage: Callable[[StorageReference], NDArray[np.generic]]
) -> dict[str, StoredTensor]:
    if not isinstance(state, dict):
        raise CorruptFile(
            given=f"'{path}' holds a {type(state).__name__}", expected="a dictionary of tensors"
        )
    tensors: dict[str, StoredTensor] = {}
    for name, value in state.items():
        if not isinstance(name, str) or not isinstance(value, TensorReference):
            hint = (
                f"the tensors may lie below {name!r:.50}: save them alone" if isinstance(value, dict) else ""
            )
            raise CorruptFile(
                given=f"entry {name!r:.100} of '{path}' is no tensor", expected="tensors only", hint=hint
            )
        what = f"tensor '{name:.100}' of '{path}'"
        whole = storage(value.storage)
        tensors[name] = strided_view(
            value.storage.dtype, whole, value.offset, value.shape, value.strides, what
        )
    return tensors


def _bytes(data: mmap.mmap, span: Span) -> bytes:
    return data[span[0] : span[0] + span[1]]


# --- the zip archive: stored entries only, so that sizes cannot lie and nothing can blow up ---


def _directory(path: Path, data: mmap.mmap) -> dict[str, Span]:
    """Return the entries of a zip archive by name, from its central directory (APPNOTE.TXT 4.3)."""
    try:
        return _walk(path, data)
    except struct.error as error:
        raise CorruptFile(given=f"'{path}' is a cut zip archive", hint=_AGAIN) from error


def _walk(path: Path, data: mmap.mmap) -> dict[str, Span]:
    position, size, count = _directory_place(path, data)
    end = position + size
    entries: dict[str, Span] = {}
    for _ in range(count):
        if data[position : position + 4] != b"PK\x01\x02":
            raise CorruptFile(given=f"'{path}' is a zip archive with a broken directory", hint=_AGAIN)
        flags, method = struct.unpack_from("<HH", data, position + 8)
        packed, unpacked, name_length, extra_length, comment_length = struct.unpack_from(
            "<IIHHH", data, position + 20
        )
        (offset,) = struct.unpack_from("<I", data, position + 42)
        name = data[position + 46 : position + 46 + name_length].decode("utf-8", "replace")
        extra = data[position + 46 + name_length : position + 46 + name_length + extra_length]
        unpacked, packed, offset = _wide(extra, unpacked, packed, offset)
        position += 46 + name_length + extra_length + comment_length
        if flags & 1 or method != 0 or packed != unpacked:
            raise UnsupportedFormat(
                given=f"'{path}' has a compressed or encrypted entry '{name:.100}'",
                expected="stored entries, as torch.save writes them",
                hint="load it with PyTorch and save it again",
            )
        if data[offset : offset + 4] != ZIP_MAGIC or name in entries:
            raise CorruptFile(given=f"'{path}' has no entry '{name:.100}' where it says, or two", hint=_AGAIN)
        local_name, local_extra = struct.unpack_from("<HH", data, offset + 26)
        first = offset + 30 + local_name + local_extra
        if first + unpacked > len(data):
            raise CorruptFile(given=f"entry '{name:.100}' of '{path}' leaves the file", hint=_AGAIN)
        entries[name] = (first, unpacked)
    if position != end:
        raise CorruptFile(given=f"'{path}' is a zip archive with a broken directory", hint=_AGAIN)
    return entries


def _directory_place(path: Path, data: mmap.mmap) -> tuple[int, int, int]:
    """Return first byte, length and number of entries of the central directory, by the record at the end."""
    end = data.rfind(b"PK\x05\x06", max(0, len(data) - 65_557))
    if end < 0:
        raise CorruptFile(given=f"'{path}' is a cut zip archive", hint=_AGAIN)
    count, size, position = struct.unpack_from("<HII", data, end + 10)
    if data[max(end - 20, 0) : max(end - 20, 0) + 4] == b"PK\x06\x07":  # zip64
        (record,) = struct.unpack_from("<Q", data, end - 12)
        if record + 56 > len(data):
            raise CorruptFile(given=f"'{path}' is a cut zip archive", hint=_AGAIN)
        count, size, position = struct.unpack_from("<QQQ", data, record + 32)
    if count > _MOST_ENTRIES or size > _DIRECTORY_LIMIT or position + size > len(data):
        raise CorruptFile(
            given=f"'{path}' announces {count:,} entries in {size:,} bytes", expected="a file of weights"
        )
    return position, size, count


def _wide(extra: bytes, *values: int) -> tuple[int, ...]:
    """Replace the sizes and the offset that did not fit 32 bits by those of the zip64 field."""
    place = 0
    while place + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, place)
        if kind == 1:
            wide = iter(struct.unpack_from(f"<{length // 8}Q", extra, place + 4))
            return tuple(next(wide, value) if value == 0xFFFFFFFF else value for value in values)
        place += 4 + length
    return values
