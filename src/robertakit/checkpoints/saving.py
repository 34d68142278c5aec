"""Writing a checkpoint: safetensors, in one file or in shards, together with its configuration or not at all."""

import hashlib
import json
import os
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from robertakit.architecture import BACKBONE_PREFIX, ROWS
from robertakit.checkpoints.safetensors import write_safetensors
from robertakit.checkpoints.tensors import StoredTensor, as_stored
from robertakit.errors import ArgumentError
from robertakit.files import SAVE_ID, Writer, text_writer, write_atomically

__all__ = ["bytes_of", "obsolete_weights", "save_weights", "tied_copies"]

#: Names of weight files and indexes; those of a variant carry its name in the middle.
_WEIGHTS = re.compile(
    r"(model|pytorch_model)(\.(?P<variant>.+?))?(-\d{5}-of-\d{5})?\.(safetensors|bin)"
    r"|(model\.safetensors|pytorch_model\.bin)\.index(\.(?P<of_index>.+))?\.json"
)

_UNITS = {
    "": 1,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KIB": 2**10,
    "MIB": 2**20,
    "GIB": 2**30,
}


def save_weights(
    folder: str | os.PathLike[str],
    weights: Mapping[str, "NDArray[np.generic] | StoredTensor"],
    *,
    config_json: str | None = None,
    max_shard_size: int | str = "5GB",
    variant: str | None = None,
    metadata: Mapping[str, str] | None = None,
    others: Mapping[str, Writer] | None = None,
    approve: Callable[[Mapping[str, Path]], None] | None = None,
) -> list[str]:
    """Save weights and their configuration; a kill at any instant leaves the old checkpoint or the new one.

    Tied copies are left out. Weight files of an earlier save in the folder go away last; all else stays. The
    same weights give the same bytes.

    Args:
        folder: made if it is not there.
        weights: checkpoint name -> array in any memory order, or a ``StoredTensor`` (bfloat16 is one).
        config_json: text of ``config.json``; it and the weights get the id of this save.
        max_shard_size: bytes, or a text such as ``"5GB"`` or ``"500MiB"``; what is larger is split by tensors.
        variant: for example ``"fp16"`` for ``model.fp16.safetensors``.
        metadata: strings for the header of the files; ``format`` is ``"pt"``.
        others: further files of the same save, name -> writer, for example a ``generation_config.json``.
        approve: as of ``files.write_atomically``.

    Returns:
        The names of the files written.

    Raises:
        SaveFailed: the disk refused.
        ArgumentError: ``max_shard_size`` is no size.
        UnsupportedFormat: an array of objects or of another dtype that no file has.

    Example:
        >>> import tempfile
        >>> folder = tempfile.mkdtemp()
        >>> save_weights(folder, {"lm_head.bias": np.zeros(4, np.float32)})
        ['model.safetensors']
    """
    tensors = {name: as_stored(value) for name, value in weights.items()}
    for copy in tied_copies(tensors, config_json):
        del tensors[copy]
    tensors |= _untied_biases(tensors, config_json)
    tensors = dict(sorted(tensors.items()))  # each framework holds them in an order of its own
    shards = _shards(tensors, bytes_of(max_shard_size))
    # One config.json stands beside several variants, so only the plain weights and it are a pair with an id.
    paired = config_json is not None and variant is None
    save_id = {SAVE_ID: _save_id(tensors, config_json, shards)} if paired else {}
    header = {"format": "pt", **(metadata or {}), **save_id}
    middle = f".{variant}" if variant else ""
    names = [f"model{middle}.safetensors"]
    if len(shards) > 1:
        count = len(shards)
        names = [f"model{middle}-{number:05d}-of-{count:05d}.safetensors" for number in range(1, count + 1)]
    files: dict[str, Writer] = dict(others or {})
    for name, shard in zip(names, shards, strict=True):
        files[name] = partial(
            write_safetensors, tensors={key: tensors[key] for key in shard}, metadata=header
        )
    if len(shards) > 1:
        index = _index(dict(zip(names, shards, strict=True)), tensors, save_id)
        files[f"model.safetensors.index{middle}.json"] = text_writer(index)
    if config_json is not None:
        files["config.json"] = text_writer(_json({**json.loads(config_json), **save_id}))
    there = [path.name for path in Path(folder).iterdir()] if Path(folder).is_dir() else []
    write_atomically(folder, files, remove=obsolete_weights(there, files), approve=approve)
    return list(files)


def bytes_of(size: int | str) -> int:
    """Return a size in bytes; KB, MB and GB count in thousands, KiB, MiB and GiB in 1024.

    Example:
        >>> bytes_of("5GB"), bytes_of("40KB"), bytes_of(7)
        (5000000000, 40000, 7)
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?I?B|)", str(size).strip().upper())
    if isinstance(size, bool) or match is None or match[2] not in (*_UNITS, "B") or float(match[1]) <= 0:
        raise ArgumentError(
            given=f"max_shard_size={size!r}", expected="bytes, or a text such as '5GB' or '500MB'"
        )
    return int(float(match[1]) * _UNITS[match[2] if match[2] != "B" else ""])


def tied_copies(tensors: Mapping[str, StoredTensor], config_json: str | None) -> list[str]:
    """Return the tied copies whose source is saved too; the decoder's matrix only where the config ties it."""
    config = json.loads(config_json) if config_json is not None else {}
    copies = []
    for row in ROWS:
        source = row.tied_to or ""
        has_source = source in tensors or BACKBONE_PREFIX + source in tensors
        to_embedding = source.startswith("embeddings.")
        if (
            row.name in tensors
            and has_source
            and (config.get("tie_word_embeddings", True) or not to_embedding)
        ):
            copies.append(row.name)
    return copies


def _untied_biases(tensors: Mapping[str, StoredTensor], config_json: str | None) -> dict[str, StoredTensor]:
    """Return the decoder's bias where its matrix is untied: transformers 5 then looks for a bias of its own."""
    if config_json is None or json.loads(config_json).get("tie_word_embeddings", True):
        return {}
    biases = {row.name: row.tied_to for row in ROWS if row.tied_to and row.kind == "bias"}
    return {name: tensors[source] for name, source in biases.items() if source in tensors}


def _shards(tensors: Mapping[str, StoredTensor], limit: int) -> list[list[str]]:
    """Fill shards in the order of the names; a tensor above the limit gets one of its own."""
    shards: list[list[str]] = [[]]
    filled = 0
    for name, tensor in tensors.items():
        if shards[-1] and filled + tensor.nbytes > limit:
            shards.append([])
            filled = 0
        shards[-1].append(name)
        filled += tensor.nbytes
    return shards


def _save_id(tensors: Mapping[str, StoredTensor], config_json: str | None, shards: list[list[str]]) -> str:
    """An id made of the contents: two saves share one only where they are the same."""
    digest = hashlib.sha256(repr((config_json, shards)).encode())
    for name, tensor in tensors.items():
        digest.update(repr((name, tensor.dtype, tensor.shape)).encode())
        digest.update(tensor.c_bytes())
    return digest.hexdigest()[:16]


def _index(
    shards: Mapping[str, list[str]], tensors: Mapping[str, StoredTensor], save_id: Mapping[str, str]
) -> str:
    places = {name: file for file, names in shards.items() for name in names}
    totals = {
        "total_parameters": sum(tensor.size for tensor in tensors.values()),
        "total_size": sum(tensor.nbytes for tensor in tensors.values()),
    }
    return _json({"metadata": {**totals, **save_id}, "weight_map": dict(sorted(places.items()))})


def _json(content: Mapping[str, object]) -> str:
    return json.dumps(content, indent=2) + "\n"


def obsolete_weights(there: Iterable[str], written: Collection[str]) -> list[str]:
    """Return the names of weight files and indexes that loading would take for those written, and that were not.

    Args:
        there: names of files.
        written: those of a save, all of one variant.

    Example:
        >>> obsolete_weights(["model-00001-of-00002.safetensors", "tf_model.h5"], ["model.safetensors"])
        ['model-00001-of-00002.safetensors']
    """
    found = [match for match in map(_WEIGHTS.fullmatch, written) if match]
    variants = {match["variant"] or match["of_index"] for match in found}
    earlier = [match for match in map(_WEIGHTS.fullmatch, there) if match and match[0] not in written]
    return sorted(match[0] for match in earlier if (match["variant"] or match["of_index"]) in variants)
