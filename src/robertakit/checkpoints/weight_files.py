"""Which files of a folder hold the weights, and the tensors in them: one file, or shards with an index.

The name says which file is taken, the first bytes say how it is read. Names of tensors are as stored.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from robertakit.checkpoints.safetensors import read_safetensors
from robertakit.checkpoints.tensors import StoredTensor
from robertakit.errors import CorruptFile, NotFound, UnsupportedFormat, listed
from robertakit.files import SAVE_ID, Location, is_plain_name, read_json

__all__ = ["StoredWeights", "open_weights", "read_weight_file", "weight_names"]

#: Files that hold weights in a format that is not read yet, with what the format is called.
_OTHER_FORMATS = {
    "tf_model.h5": "TensorFlow's HDF5",
    "tf_model.h5.index.json": "TensorFlow's HDF5",
    "flax_model.msgpack": "Flax's msgpack",
    "flax_model.msgpack.index.json": "Flax's msgpack",
    "model.pt": "fairseq's",
    "adapter_model.safetensors": "an adapter's, without its base model",
}
_CONVERT = "convert it to model.safetensors first"


@dataclass(frozen=True, slots=True)
class StoredWeights:
    """All tensors of a checkpoint under the names it stores.

    Attributes:
        tensors: stored name -> tensor.
        files: name of the file -> the names of the tensors in it.
        save_id: id of the save that wrote them; None where another library did.
    """

    tensors: dict[str, StoredTensor]
    files: dict[str, list[str]]
    save_id: str | None


def weight_names(*, use_safetensors: bool | None = None, variant: str | None = None) -> list[str]:
    """Return the file names that may hold the weights, in the order in which they are looked for.

    Args:
        use_safetensors: True for safetensors only, False for ``.bin`` only, None for both.
        variant: what stands between stem and suffix, for example ``"fp16"``.

    Example:
        >>> weight_names(use_safetensors=True, variant="fp16")
        ['model.fp16.safetensors', 'model.safetensors.index.fp16.json']
    """
    middle = f".{variant}" if variant else ""
    names = []
    if use_safetensors is not False:
        names += [f"model{middle}.safetensors", f"model.safetensors.index{middle}.json"]
    if use_safetensors is not True:
        names += [f"pytorch_model{middle}.bin", f"pytorch_model.bin.index{middle}.json"]
    return names


def open_weights(
    location: Location, *, use_safetensors: bool | None = None, variant: str | None = None
) -> StoredWeights:
    """Open the weights of a place; values are not read yet.

    Args:
        location: from ``files.locate``.
        use_safetensors: True for safetensors only, False for ``.bin`` only, None for safetensors before ``.bin``.
        variant: as in ``weight_names``.

    Raises:
        NotFound: no weights, or a shard is missing.
        CorruptFile: a file contradicts itself or its index, or its shards come from different saves.
        UnsupportedFormat: weights only in a format that is not read.
    """
    tried = weight_names(use_safetensors=use_safetensors, variant=variant)
    if location.filename is not None and not location.filename.startswith("config"):
        tried = [location.filename]
    for name in tried:
        path = location.path_of(name)
        if path is not None:
            return _open_index(location, path) if name.endswith(".json") else _open_single(path, name)
    for name, kind in _OTHER_FORMATS.items():
        if variant is None and location.path_of(name) is not None:
            raise UnsupportedFormat(
                given=f"{location} holds its weights in {name} only: the format is {kind}",
                expected="safetensors or pytorch_model.bin",
                hint=_CONVERT,
            )
    there = listed(location.names())
    raise NotFound(
        given=f"{location} has no weights: none of {', '.join(tried)}"
        + (f"; it holds {there}" if there else ""),
        hint="check use_safetensors and variant"
        if variant or use_safetensors is not None
        else "check the path",
    )


def _open_single(path: Path, name: str) -> StoredWeights:
    tensors, metadata = read_weight_file(path)
    return StoredWeights(tensors, {name: list(tensors)}, metadata.get(SAVE_ID))


def _open_index(location: Location, path: Path) -> StoredWeights:
    places, save_id = _read_index(path)
    tensors: dict[str, StoredTensor] = {}
    files: dict[str, list[str]] = {}
    for shard in sorted(set(places.values())):
        shard_path = location.path_of(shard)
        if shard_path is None:
            raise NotFound(
                given=f"'{path}' names the shard {shard}, which is not there", hint="fetch it again"
            )
        stored, metadata = read_weight_file(shard_path)
        named = {name for name, place in places.items() if place == shard}
        if named != stored.keys():
            lacking, spare = listed(named - stored.keys()), listed(stored.keys() - named)
            problem = f"lacks {lacking}" if lacking else f"holds {spare}, which the index does not name"
            raise CorruptFile(
                given=f"shard {shard} {problem} ('{path}')", hint="fetch index and shards again"
            )
        if metadata.get(SAVE_ID, save_id) != save_id:
            raise CorruptFile(
                given=f"shard {shard} and '{path}' come from two different saves", hint="save again"
            )
        tensors |= stored
        files[shard] = list(stored)
    return StoredWeights(tensors, files, save_id)


def _read_index(path: Path) -> tuple[dict[str, str], str | None]:
    """Return tensor name -> shard, judged by the names alone: the Hub's cache is made of links."""
    index = read_json(path)
    places = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(places, dict) or not places:
        raise CorruptFile(given=f"'{path}' has no weight_map", hint="fetch it again")
    bad = [place for place in places.values() if not is_plain_name(place)]
    if bad:
        raise CorruptFile(
            given=f"'{path}' names {str(bad[0])[:100]!r} as a shard",
            expected="names of files in its own folder",
        )
    metadata = index.get("metadata") if isinstance(index, dict) else None
    save_id = metadata.get(SAVE_ID) if isinstance(metadata, dict) else None
    return places, save_id if isinstance(save_id, str) else None


def read_weight_file(path: Path) -> tuple[dict[str, StoredTensor], Mapping[str, str]]:
    """Read one file of weights by its first bytes, whatever its name says.

    Returns:
        Name -> tensor, and the metadata (empty where the format has none).
    """
    if not path.is_file():  # opening a pipe would wait for ever
        raise CorruptFile(given=f"'{path}' is no ordinary file")
    with path.open("rb") as file:
        start = file.read(64)
    if start.startswith(b"PK\x03\x04"):
        from robertakit.checkpoints.torch_files import read_torch_zip  # here: safetensors do without

        return read_torch_zip(path), {}
    if start.startswith(b"version https://git-lfs"):
        raise CorruptFile(given=f"'{path}' is a Git LFS pointer, not the weights", hint="run: git lfs pull")
    if start.startswith(b"\x89HDF\r\n\x1a\n"):
        raise UnsupportedFormat(
            given=f"'{path}' is an HDF5 file", expected="safetensors or .bin", hint=_CONVERT
        )
    if start[8:9] == b"{" or path.suffix == ".safetensors":
        return read_safetensors(path)
    if path.suffix == ".msgpack":
        raise UnsupportedFormat(given=f"'{path}' is msgpack", expected="safetensors or .bin", hint=_CONVERT)
    if start[:1] == b"\x80":
        from robertakit.checkpoints.torch_files import read_torch_stream

        return read_torch_stream(path), {}
    what = "is empty" if not start else "is neither safetensors nor written by torch.save"
    raise CorruptFile(given=f"'{path}' {what}", hint="fetch the file again")
