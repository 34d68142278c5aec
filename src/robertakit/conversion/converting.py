"""``convert_checkpoint``: read, round where asked, write under other names, compare, and only then take effect."""

import copy
import os
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from robertakit.architecture import head_named, model_class_name
from robertakit.checkpoints.loading import open_saved
from robertakit.checkpoints.rounding import DTYPES, rounded
from robertakit.checkpoints.saving import obsolete_weights, save_weights
from robertakit.checkpoints.weight_files import Container
from robertakit.configuration import read_config
from robertakit.conversion.agreement import Agreement, compared
from robertakit.conversion.companions import companions
from robertakit.conversion.content import Content
from robertakit.errors import ArgumentError, SaveFailed, listed
from robertakit.files import Location, Writer, locate, take_where

__all__ = ["Conversion", "convert_checkpoint"]


@dataclass(frozen=True, slots=True)
class Conversion:
    """What was read, what was written, and how they compare.

    Attributes:
        source: the place.
        target: the folder.
        architecture: the class that the new configuration names.
        read: names of the weight files.
        written: names of the new files.
        dtypes: stored dtype -> number of tensors that were written.
        parameters: number of values that were written.
        left_out: tensors of the source that the target lacks, by the source's names: tied copies, buffers, and what
            belongs to no head that was asked for.
        agreement: the comparison.
        notes: sentences on what the target lacks, or has another way.
    """

    source: str
    target: str
    architecture: str
    read: list[str]
    written: list[str]
    dtypes: dict[str, int]
    parameters: int
    left_out: list[str]
    agreement: Agreement
    notes: list[str]


def convert_checkpoint(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    head: str | None = None,
    dtype: str = "keep",
    max_shard_size: int | str = "5GB",
    tokenizer: str | os.PathLike[str] | bool | None = None,
    force: bool = False,
    strict: bool = True,
    variant: str | None = None,
    container: Container | None = None,
    **where: object,
) -> Conversion:
    """Write a checkpoint of any format that is read as safetensors, with its configuration and its tokenizer.

    Without ``head`` nothing that was trained is lost: tensors of other heads and an unused pooler come along.

    Args:
        source: folder, file of weights, or name on the Hub.
        target: folder, made if it is not there; it may be the source.
        head: a head or a class name; None for the one that the configuration names or the tensors belong to.
        dtype: ``"float32"``, ``"float16"``, ``"bfloat16"``, or ``"keep"`` for each tensor's own.
        max_shard_size: bytes, or a text such as ``"5GB"``; what is larger is split.
        tokenizer: another place to take its files from. None takes those of the source, or makes them from fairseq's
            ``dict.txt``; False takes none.
        force: replace files of the target.
        strict: refuse tensors that belong to nothing known; False leaves them out, and takes off a wrapper's prefix.
        variant: of the source, for example ``"fp16"`` for ``model.fp16.safetensors``.
        container: of the source, where it has several: ``"safetensors"``, ``"bin"``, ``"h5"``, ``"msgpack"`` or
            ``"fairseq"``.
        **where: where to look: ``revision``, ``token``, ``cache_dir``, ``local_files_only``, ``subfolder``,
            ``force_download``.

    Raises:
        TensorMismatch: the tensors make no such model, or what was written differs from the source; nothing is left
            of it then.
        UnsupportedFormat: a value that the dtype cannot hold.
        SaveFailed: the target holds such files already, or the disk refused.
        TokenizerError: the files make no tokenizer, or not the model's.
        CheckpointError, ConfigError: the source cannot be read.
        ArgumentError: an argument that is none.

    Example:
        >>> import tempfile
        >>> from robertakit import RobertaConfig
        >>> from robertakit.architecture import initial_weights
        >>> config = RobertaConfig(vocab_size=99, hidden_size=8, num_hidden_layers=1, num_attention_heads=2)
        >>> folder = tempfile.mkdtemp()
        >>> weights = initial_weights(config, "masked-lm", seed=1)
        >>> files = save_weights(folder, weights, config_json=config.to_json_string())
        >>> done = convert_checkpoint(folder, f"{folder}/half", dtype="bfloat16")
        >>> done.architecture, done.dtypes, done.agreement.values <= 1
        ('RobertaForMaskedLM', {'BF16': 26}, True)
    """
    if dtype not in ("keep", *DTYPES):
        raise ArgumentError(given=f"dtype={dtype!r}", expected=f"'keep' or one of {listed(DTYPES)}")
    given = dict(where)
    found = take_where(given)
    if given:
        raise ArgumentError(given=f"unknown argument {next(iter(given))!r} of convert_checkpoint")
    find: Callable[..., Location] = locate
    place = find(source, **found)
    _refuse_to_replace(Path(target), {}, force)
    stored = open_saved(place, variant=variant, container=container)
    original = Content.of(read_config(place), stored.tensors, head, strict=strict, what=str(place))
    others, notes = companions(place, original.config, tokenizer, found)
    _refuse_to_replace(Path(target), others, force)
    tensors = {
        name: tensor if dtype == "keep" else rounded(tensor, DTYPES[dtype], f"tensor '{name}'")
        for name, tensor in original.tensors.items()
    }
    dtypes = Counter(tensor.dtype for tensor in tensors.values())
    config = copy.deepcopy(original.config)
    config.architectures = [_class_name(original)]
    if len(dtypes) == 1:
        config.dtype = next(name for name, stored_as in DTYPES.items() if stored_as in dtypes)
    agreements: list[Agreement] = []
    written = save_weights(
        target,
        tensors,
        config_json=config.to_json_string(),
        max_shard_size=max_shard_size,
        others=others,
        approve=lambda files: agreements.append(compared(original, files, Path(target))),
    )
    return Conversion(
        source=str(source),
        target=str(target),
        architecture=config.architectures[0],
        read=list(stored.files),
        written=written,
        dtypes=dict(dtypes),
        parameters=sum(tensor.size for tensor in tensors.values()),
        left_out=original.left_out,
        agreement=agreements[0],
        notes=[*original.notes, *notes],
    )


def _class_name(content: Content) -> str:
    """The class that the configuration names for this head, CamemBERT's too, or else ours; never a framework's."""
    for name in content.config.architectures or ():
        with suppress(ArgumentError):
            if head_named(name) == content.head and not name.startswith(("TF", "Flax")):
                return name
    return model_class_name(content.config.model_type, content.head)


def _refuse_to_replace(target: Path, others: Mapping[str, Writer], force: bool) -> None:
    if target.exists() and not target.is_dir():
        raise SaveFailed(given=f"'{target}' is no folder", expected="a folder to write to")
    there = {path.name for path in target.iterdir()} if target.is_dir() else set()
    new = ("config.json", "model.safetensors", *others)
    held = there.intersection(new).union(obsolete_weights(there, new))
    if held and not force:
        raise SaveFailed(
            given=f"'{target}' holds {listed(held)} already", hint="pass force=True (--force) to replace them"
        )
