"""Which files of a folder hold the weights, and the tensors in them: one file, or shards with an index.

The name says which file is taken, the first bytes say how it is read. Names of tensors are as stored, or ours where
the container has a dialect of its own.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from robertakit.checkpoints.safetensors import read_safetensors
from robertakit.checkpoints.tensors import StoredTensor
from robertakit.errors import ArgumentError, CorruptFile, NotFound, UnsupportedFormat, listed
from robertakit.fairseq_settings import FAIRSEQ_FILE
from robertakit.files import SAVE_ID, Location, is_plain_name, read_json

__all__ = [
    "CONTAINERS",
    "Container",
    "StoredWeights",
    "container_asked",
    "open_weights",
    "read_weight_file",
    "weight_names",
]

Container = Literal["safetensors", "bin", "h5", "msgpack", "fairseq"]
#: Container -> the names of its file and of the index of its shards, in the order in which they are looked for.
CONTAINERS: Final[dict[Container, tuple[str, ...]]] = {
    "safetensors": ("model{}.safetensors", "model.safetensors.index{}.json"),
    "bin": ("pytorch_model{}.bin", "pytorch_model.bin.index{}.json"),
    "h5": ("tf_model{}.h5", "tf_model.h5.index{}.json"),
    "msgpack": ("flax_model{}.msgpack", "flax_model.msgpack.index{}.json"),
    "fairseq": (FAIRSEQ_FILE,),
}
#: First bytes of a map in msgpack, an empty one left out.
_MAPS: Final = (*range(0x81, 0x90), 0xDE, 0xDF)


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


def container_asked(
    *,
    use_safetensors: bool | None = None,
    from_tf: bool = False,
    from_flax: bool = False,
    container: Container | None = None,
) -> Container | None:
    """Return the container that the documented arguments of ``from_pretrained`` ask for; None for whatever is there.

    Args:
        use_safetensors: True for safetensors; False leaves it out, which ``weight_names`` does.
        from_tf: ``tf_model.h5``.
        from_flax: ``flax_model.msgpack``.
        container: one by its name.

    Raises:
        ArgumentError: two that differ, or no such container.

    Example:
        >>> container_asked(from_tf=True), container_asked()
        ('h5', None)
    """
    said: dict[str, Container] = {}
    if use_safetensors:
        said["use_safetensors=True"] = "safetensors"
    if from_tf:
        said["from_tf=True"] = "h5"
    if from_flax:
        said["from_flax=True"] = "msgpack"
    if container is not None:
        said[f"container={container!r}"] = container
    if len(set(said.values())) > 1:
        raise ArgumentError(given=" and ".join(said), expected="one of them")
    asked = next(iter(said.values()), None)
    if asked is not None and asked not in CONTAINERS:
        raise ArgumentError(given=f"container={asked!r}", expected=f"None or one of {listed(CONTAINERS)}")
    if asked == "safetensors" and use_safetensors is False:
        raise ArgumentError(given="use_safetensors=False and container='safetensors'", expected="one of them")
    return asked


def weight_names(
    *,
    use_safetensors: bool | None = None,
    variant: str | None = None,
    container: Container | None = None,
) -> list[str]:
    """Return the file names that may hold the weights, in the order in which they are looked for.

    Args:
        use_safetensors: True for safetensors only, False for all but that, None for all.
        variant: what stands between stem and suffix, for example ``"fp16"``.
        container: one container only.

    Raises:
        ArgumentError: ``use_safetensors`` and ``container`` contradict each other.

    Example:
        >>> weight_names(use_safetensors=True, variant="fp16")
        ['model.fp16.safetensors', 'model.safetensors.index.fp16.json']
        >>> weight_names(container="h5")
        ['tf_model.h5', 'tf_model.h5.index.json']
    """
    asked = container_asked(use_safetensors=use_safetensors, container=container)
    middle = f".{variant}" if variant else ""
    return [
        pattern.format(middle)
        for name, patterns in CONTAINERS.items()
        if name == asked or (asked is None and not (name == "safetensors" and use_safetensors is False))
        for pattern in patterns
        if "{}" in pattern or not variant
    ]


def open_weights(
    location: Location,
    *,
    use_safetensors: bool | None = None,
    variant: str | None = None,
    container: Container | None = None,
) -> StoredWeights:
    """Open the weights of a place; values are not read yet.

    Args:
        location: from ``files.locate``; where it names a file, that file is opened.
        use_safetensors, variant, container: as in ``weight_names``.

    Raises:
        NotFound: no weights, or a shard is missing.
        CorruptFile: a file contradicts itself or its index, or its shards come from different saves.
        UnsupportedFormat: a format that is not read, or a container that is used in ways that are not read.
        ArgumentError: arguments that contradict each other.
    """
    tried = weight_names(use_safetensors=use_safetensors, variant=variant, container=container)
    if location.filename is not None and not location.filename.startswith("config"):
        tried = [location.filename]
    for name in tried:
        path = location.path_of(name)
        if path is not None:
            return _open_index(location, path) if name.endswith(".json") else _open_single(path, name)
    if location.path_of("adapter_model.safetensors") is not None:
        raise UnsupportedFormat(
            given=f"{location} holds an adapter's weights, adapter_model.safetensors, without its base model",
            expected="the weights of a model",
            hint="load the base model, and the adapter with the peft package",
        )
    there = listed(location.names())
    raise NotFound(
        given=f"{location} has no weights: none of {', '.join(tried)}"
        + (f"; it holds {there}" if there else ""),
        hint="check use_safetensors, variant and container"
        if variant or container or use_safetensors is not None
        else "check the path",
    )


def _open_single(path: Path, name: str) -> StoredWeights:
    tensors, metadata = read_weight_file(path)
    return StoredWeights(tensors, {name: list(tensors)}, metadata.get(SAVE_ID))


def _open_index(location: Location, path: Path) -> StoredWeights:
    places, save_id = _read_index(path)
    rename = _dialect_of(path.name)
    if rename is not None:
        places = {rename(name): shard for name, shard in places.items()}
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


def _dialect_of(index: str) -> Callable[[str], str] | None:
    """How the names of an index are translated: Keras' begin with a model's name, which its shards leave out."""
    if ".h5." in index:
        from robertakit.checkpoints.dialects import KERAS

        return lambda name: KERAS.name(name.split("/"), own=1)
    if ".msgpack." in index:
        from robertakit.checkpoints.dialects import FLAX

        return lambda name: FLAX.name(name.split("/"))
    return None


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
    # Imported here: whoever loads safetensors does without the other readers.
    if start.startswith(b"version https://git-lfs"):
        raise CorruptFile(given=f"'{path}' is a Git LFS pointer, not the weights", hint="run: git lfs pull")
    if start.startswith(b"PK\x03\x04"):
        from robertakit.checkpoints.torch_files import read_torch_file

        return read_torch_file(path), {}
    if start.startswith(b"\x89HDF\r\n\x1a\n"):
        from robertakit.checkpoints.hdf5 import read_hdf5

        return read_hdf5(path), {}
    if path.suffix != ".msgpack" and (start[8:9] == b"{" or path.suffix == ".safetensors"):
        return read_safetensors(path)
    if start[:1] == b"\x80":
        from robertakit.checkpoints.torch_files import read_torch_file

        return read_torch_file(path), {}
    if start and (path.suffix == ".msgpack" or start[0] in _MAPS):
        from robertakit.checkpoints.msgpack import read_msgpack

        return read_msgpack(path), {}
    what = "is empty" if not start else "is of no format that is known"
    raise CorruptFile(
        given=f"'{path}' {what}",
        expected="safetensors, HDF5, msgpack, or what torch.save writes",
        hint="fetch the file again",
    )
