"""What a checkpoint on disk is, and what is wrong with it, without building a model.

``robertakit inspect`` prints it. Trouble is collected here, not raised: whoever inspects wants to see all of it.
"""

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from robertakit.architecture import HEADS, Head, canonical_name, head_named, heads_with, parameters
from robertakit.checkpoints.comparison import compare
from robertakit.checkpoints.tensors import FLOATS, StoredTensor
from robertakit.checkpoints.weight_files import StoredWeights, open_weights
from robertakit.configuration import PretrainedConfig, read_config
from robertakit.errors import RobertakitError, listed
from robertakit.files import Location, locate

__all__ = ["TOKENIZER_FILES", "CheckpointReport", "WeightFile", "head_of", "inspect_checkpoint"]

#: Names of the files that a tokenizer of the family may have.
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "sentencepiece.bpe.model",
    "dict.txt",  # fairseq's, and GPT-2's two
    "encoder.json",
    "vocab.bpe",
)
_SIZES = (
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "vocab_size",
    "max_position_embeddings",
    "type_vocab_size",
)


@dataclass(frozen=True, slots=True)
class WeightFile:
    """One file of weights.

    Attributes:
        name: file name.
        nbytes: its size.
        tensors: how many tensors it holds.
        dtypes: stored dtype -> number of tensors.
    """

    name: str
    nbytes: int
    tensors: int
    dtypes: dict[str, int]


@dataclass(slots=True)
class CheckpointReport:
    """What ``inspect_checkpoint`` found. Fields that could not be read are None or empty.

    Attributes:
        path: what was inspected.
        model_type: for example ``"roberta"``.
        architecture: class that saved it or that its tensors fit, for example ``"RobertaForMaskedLM"``.
        head: the head's name here, for example ``"masked-lm"``.
        sizes: the configuration's sizes by field.
        usable_length: most tokens of an input, ``max_position_embeddings - pad_token_id - 1``.
        parameters: number of stored values, tied copies and buffers counted once or not at all.
        labels: number -> name, for heads with classes.
        tokenizer_files: those that are there.
        weight_files: those that loading takes.
        harmless: stored tensors that loading leaves out quietly.
        notes: sentences on what is worth knowing and is no trouble.
        trouble: sentences, worst first; empty for a good checkpoint.
    """

    path: str
    model_type: str | None = None
    architecture: str | None = None
    head: str | None = None
    sizes: dict[str, int] = field(default_factory=dict)
    usable_length: int | None = None
    parameters: int | None = None
    labels: dict[int, str] = field(default_factory=dict)
    tokenizer_files: list[str] = field(default_factory=list)
    weight_files: list[WeightFile] = field(default_factory=list)
    harmless: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    trouble: list[str] = field(default_factory=list)


def inspect_checkpoint(
    path: str | os.PathLike[str] | Location,
    *,
    check_values: bool = True,
    use_safetensors: bool | None = None,
    variant: str | None = None,
) -> CheckpointReport:
    """Look at a checkpoint and say what it is and what is wrong with it.

    Args:
        path: folder, file of weights, Hub name, or a place from ``files.locate``.
        check_values: read every value and report NaN and infinity.
        use_safetensors, variant: as in ``load_weights``.

    Raises:
        NotFound: there is nothing at ``path``; all other trouble is in the report.

    Example:
        >>> import tempfile
        >>> inspect_checkpoint(tempfile.mkdtemp()).trouble[0][:6]
        'folder'
    """
    location = path if isinstance(path, Location) else locate(path)
    report = CheckpointReport(location.name)
    report.tokenizer_files = [name for name in TOKENIZER_FILES if location.path_of(name) is not None]
    config = _inspect_config(location, report)
    if not report.tokenizer_files:
        report.notes.append("there are no tokenizer files: a task needs them, a model does not")
    try:
        stored = open_weights(location, use_safetensors=use_safetensors, variant=variant)
    except RobertakitError as error:
        if str(error) not in report.trouble:  # a fairseq file holds the configuration too
            report.trouble.append(str(error))
        return report
    report.weight_files = _weight_files(location, stored)
    if config is not None:
        _inspect_tensors(config, stored, report)
    if check_values:
        report.trouble += _bad_values(stored.tensors)
    return report


def _inspect_config(location: Location, report: CheckpointReport) -> PretrainedConfig | None:
    try:
        config = read_config(location)
    except RobertakitError as error:
        report.trouble.append(str(error))
        return None
    report.model_type = config.model_type
    report.architecture = str(config.architectures[0]) if config.architectures else None
    report.sizes = {name: getattr(config, name) for name in _SIZES}
    report.usable_length = config.max_position_embeddings - (config.pad_token_id or 0) - 1
    return config


def _weight_files(location: Location, stored: StoredWeights) -> list[WeightFile]:
    files = []
    for name, tensors in stored.files.items():
        path = location.path_of(name) or Path(name)
        dtypes = Counter(stored.tensors[tensor].dtype for tensor in tensors)
        files.append(WeightFile(name, path.stat().st_size, len(tensors), dict(dtypes.most_common())))
    return files


def _inspect_tensors(config: PretrainedConfig, stored: StoredWeights, report: CheckpointReport) -> None:
    head = head_of(config, stored.tensors)
    family = "XLMRoberta" if config.model_type == "xlm-roberta" else str(config.model_type).capitalize()
    report.architecture = report.architecture or family + head.class_suffix
    report.head = head.name
    if head.group in ("class", "token"):
        report.labels = dict(config.id2label)
    has_pooler = any(heads_with(canonical_name(name)) == ("pooler",) for name in stored.tensors)
    table = parameters(config, head, add_pooling_layer=has_pooler)
    try:
        comparison = compare(table, stored.tensors)
        info = comparison.info()
        report.harmless = info.harmless
        if info.new_head and not comparison.misshapen:
            report.trouble.append(f"the head of {report.architecture} is not there: {listed(info.new_head)}")
        report.parameters = sum(tensor.size for tensor in comparison.found.values())
        report.trouble += comparison.disagreements()
        comparison.refuse(f"the weights do not fit {report.architecture}", ignore_mismatched_sizes=False)
    except RobertakitError as error:
        report.trouble.append(str(error))


def head_of(config: PretrainedConfig, tensors: Mapping[str, StoredTensor]) -> Head:
    """Return the head that the config names, or else the one that the tensors belong to."""
    for name in config.architectures or ():
        try:
            return head_named(str(name))
        except RobertakitError:
            continue
    owners = {owner for name in tensors for owner in heads_with(canonical_name(name))} - {
        "pooler",
        "causal-lm",
    }
    return HEADS[min(owners)] if owners else HEADS["model"]


def _bad_values(tensors: Mapping[str, StoredTensor]) -> list[str]:
    bad = [name for name, tensor in tensors.items() if tensor.dtype in FLOATS and not _is_finite(tensor)]
    return [f"{len(bad)} tensors hold NaN or infinity: {listed(bad)}"] if bad else []


def _is_finite(tensor: StoredTensor) -> bool:
    """Block by block: a vocabulary of 250,000 rows widened at once would take as much memory as the model."""
    dtype = np.float64 if tensor.dtype == "F64" else np.float32
    rows = tensor.bits.reshape(len(tensor.bits), -1) if tensor.bits.ndim else tensor.bits.reshape(1, 1)
    step = max(1, (1 << 20) // max(rows.shape[1], 1))
    blocks = (StoredTensor(tensor.dtype, rows[start : start + step]) for start in range(0, len(rows), step))
    return all(bool(np.isfinite(block.read(dtype)).all()) for block in blocks)
