"""What ``torch.save`` writes, in its two forms: the zip archive (since 1.6) and the pickle stream of before.

Both hold a pickle that describes tensors as views of storages, and the storages' bytes. Neither PyTorch nor Python's
``pickle`` takes part.
"""

import mmap
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from robertakit.archives.mapped import map_file
from robertakit.archives.pickles import BYTES_LIMIT, read_pickle
from robertakit.errors import CorruptFile, UnsupportedFormat

__all__ = ["LEGACY_MAGIC", "ZIP_MAGIC", "TorchArchive", "open_torch_archive"]

ZIP_MAGIC = b"PK\x03\x04"
#: The first pickle of the old format: a protocol-2 pickle of the number 0x1950a86a20f9469cfc6c.
LEGACY_MAGIC = b"\x80\x02\x8a\n\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."
#: Most entries of an archive, and most bytes of its directory: two per tensor would do.
_MOST_ENTRIES = 20_000
_DIRECTORY_LIMIT = 4 << 20
_AGAIN = "fetch the file again"

Span = tuple[int, int]  # first byte and number of bytes


@dataclass(frozen=True, slots=True)
class TorchArchive:
    """A file that ``torch.save`` wrote, not read beyond its pickle.

    Attributes:
        path: the file.
        state: what was saved, tensors as ``TensorReference``.
        data: the whole file.
        storages: key of a storage -> where its bytes lie.
    """

    path: Path
    state: object
    data: mmap.mmap
    storages: Mapping[str, Span]


def open_torch_archive(path: Path) -> TorchArchive:
    """Open a file of either form, told apart by its first bytes.

    Raises:
        CorruptFile: the archive or its pickle contradicts the file, or the pickle asks for more than tensors.
        UnsupportedFormat: compressed or encrypted entries, big-endian values, a TorchScript archive.
    """
    data = map_file(path)
    return _open_zip(path, data) if data[:4] == ZIP_MAGIC else _open_stream(path, data)


def _open_zip(path: Path, data: mmap.mmap) -> TorchArchive:
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
    pickle = read_pickle(_bytes(data, entries[pickles[0]]), f"'{path}'")
    places = {key: f"{root}data/{key}" for key in pickle.storages}
    spans = {key: entries[place] for key, place in places.items() if place in entries}
    return TorchArchive(path, pickle.value, data, spans)


def _open_stream(path: Path, data: mmap.mmap) -> TorchArchive:
    """Five pickles (magic number, protocol, system, state, keys of storages), then the storages one by one."""
    position = 0
    pickles = []
    for _ in range(5):
        pickles.append(read_pickle(data[position : position + BYTES_LIMIT], f"'{path}'"))
        position += pickles[-1].length
        if len(pickles) == 1 and data[:position] != LEGACY_MAGIC:
            raise CorruptFile(given=f"'{path}' is a pickle", expected="weights as torch.save writes them")
    protocol, system, keys = pickles[1].value, pickles[2].value, pickles[4].value
    if protocol != 1001 or not isinstance(system, dict) or not isinstance(keys, list):
        raise CorruptFile(given=f"'{path}' has another layout than torch.save's", hint=_AGAIN)
    if system.get("little_endian") is not True:
        raise UnsupportedFormat(given=f"'{path}' holds big-endian values", expected="little-endian ones")
    references = pickles[3].storages
    spans: dict[str, Span] = {}
    for key in keys:
        if not isinstance(key, str) or key not in references or key in spans:
            raise CorruptFile(given=f"'{path}' has a storage that no tensor names, or one twice", hint=_AGAIN)
        reference = references[key]
        size = int.from_bytes(data[position : position + 8], "little", signed=True)
        position += 8
        if size != reference.size or position + reference.nbytes > len(data):
            raise CorruptFile(given=f"storage {key:.50} of '{path}' has {size} values or is cut", hint=_AGAIN)
        spans[key] = (position, reference.nbytes)
        position += reference.nbytes
    if spans.keys() != references.keys():
        raise CorruptFile(given=f"'{path}' lacks {len(references) - len(spans)} storages", hint=_AGAIN)
    return TorchArchive(path, pickles[3].value, data, spans)


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
