"""The safetensors container: 8 bytes of header length, a JSON header, the values. Nothing is copied.

Why not the package's reader: it copies (400 MB of private memory for a 400 MB file), and it has no bfloat16 for
NumPy. The format is https://github.com/huggingface/safetensors#format.
"""

import json
import math
import mmap
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO, TypeGuard

import numpy as np

from robertakit.archives.mapped import map_file
from robertakit.checkpoints.tensors import BITS, ITEM_SIZES, MOST_VALUES, StoredTensor
from robertakit.errors import CorruptFile, UnsupportedFormat

__all__ = ["HEADER_LIMIT", "read_safetensors", "write_safetensors"]

#: Longest header that is read. XLM-R XXL's has 140 kB; a longer one than this is made to fill the memory.
HEADER_LIMIT = 3 << 19
#: Most axes of a tensor.
_MOST_AXES = 8
_AGAIN = "fetch the file again"


def read_safetensors(path: Path) -> tuple[dict[str, StoredTensor], dict[str, str]]:
    """Read a safetensors file: only its header now, the values when they are asked for.

    Returns:
        Name -> tensor, in the order of the file, and the file's metadata.

    Raises:
        CorruptFile: the header, its offsets or the file's length contradict each other.
        UnsupportedFormat: a dtype that is not known.
    """
    data = map_file(path)
    header, start = _header(path, data)
    metadata = header.pop("__metadata__", None) or {}
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise CorruptFile(given=f"'{path}' has metadata other than strings")
    tensors: dict[str, StoredTensor] = {}
    end = 0
    for name, (dtype, shape, first, last) in _checked(path, header):
        if first != end:
            problem = "overlaps its neighbour" if first < end else "leaves a gap before it"
            raise CorruptFile(given=f"tensor '{name}' of '{path}' {problem}", hint=_AGAIN)
        end = last
        if start + last > len(data):
            break
        bits = np.frombuffer(data, BITS[dtype], math.prod(shape), start + first).reshape(shape)
        tensors[name] = StoredTensor(dtype, bits)
    if start + end != len(data):
        problem = "truncated" if start + end > len(data) else "longer than its header says"
        raise CorruptFile(
            given=f"'{path}' is {problem}: {len(data):,} bytes",
            expected=f"{start + end:,} bytes",
            hint=_AGAIN,
        )
    return {name: tensors[name] for name in header}, metadata


def _header(path: Path, data: mmap.mmap) -> tuple[dict[str, object], int]:
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or length > min(HEADER_LIMIT, len(data) - 8):
        raise CorruptFile(
            given=f"'{path}' of {len(data):,} bytes announces a header of {length:,}",
            expected=f"at most {min(HEADER_LIMIT, max(len(data) - 8, 0)):,}",
            hint=_AGAIN,
        )
    try:
        header = json.loads(data[8 : 8 + length].decode(), object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise CorruptFile(given=f"'{path}' has a header that is not JSON ({reason})", hint=_AGAIN) from error
    if not isinstance(header, dict):
        raise CorruptFile(given=f"'{path}' has a header that is no table of tensors", hint=_AGAIN)
    return header, 8 + length


def _without_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError("a name stands in it twice")
    return table


def _checked(
    path: Path, header: Mapping[str, object]
) -> list[tuple[str, tuple[str, tuple[int, ...], int, int]]]:
    """Return name -> (dtype, shape, first byte, end), in the order of the bytes."""
    entries = []
    for name, entry in header.items():
        fields = entry if isinstance(entry, dict) else {}
        dtype, shape, offsets = fields.get("dtype"), fields.get("shape"), fields.get("data_offsets")
        if not (
            _naturals(shape, _MOST_AXES, 1 << 31) and _naturals(offsets, 2, 1 << 63) and len(offsets) == 2
        ):
            raise CorruptFile(
                given=f"tensor '{name:.100}' of '{path}' has no proper shape and offsets", hint=_AGAIN
            )
        if math.prod(filter(None, shape)) >= MOST_VALUES:
            raise CorruptFile(given=f"tensor '{name:.100}' of '{path}' has shape {shape}", hint=_AGAIN)
        if not isinstance(dtype, str) or dtype not in ITEM_SIZES:
            raise UnsupportedFormat(given=f"tensor '{name:.100}' of '{path}' has dtype {dtype!r:.50}")
        first, last = offsets
        if last - first != math.prod(shape) * ITEM_SIZES[dtype]:
            raise CorruptFile(
                given=f"tensor '{name:.100}' of '{path}' has {last - first} bytes",
                expected=f"{math.prod(shape) * ITEM_SIZES[dtype]} for {dtype} of shape {tuple(shape)}",
                hint=_AGAIN,
            )
        entries.append((name, (dtype, tuple(shape), first, last)))
    return sorted(entries, key=lambda entry: entry[1][2:])


def _naturals(value: object, most: int, end: int) -> TypeGuard[list[int]]:
    """Whether a value is a list of at most ``most`` integers from 0 to below ``end``, booleans excluded."""
    return (
        isinstance(value, list)
        and len(value) <= most
        and all(type(number) is int and 0 <= number < end for number in value)
    )


def write_safetensors(
    file: BinaryIO, tensors: Mapping[str, StoredTensor], metadata: Mapping[str, str]
) -> None:
    """Write tensors in C order, whatever order they lie in; wide dtypes first, so that every value is aligned.

    Args:
        file: where to.
        tensors: name -> tensor.
        metadata: strings that go into the header.
    """
    ordered = dict(sorted(tensors.items(), key=lambda item: (-ITEM_SIZES[item[1].dtype], item[0])))
    header: dict[str, object] = {"__metadata__": dict(metadata)}
    end = 0
    for name, tensor in ordered.items():
        header[name] = {
            "dtype": tensor.dtype,
            "shape": list(tensor.shape),
            "data_offsets": [end, end + tensor.nbytes],
        }
        end += tensor.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    file.write(len(text).to_bytes(8, "little") + text)
    for tensor in ordered.values():
        file.write(tensor.c_bytes())
