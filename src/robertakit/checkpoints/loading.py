"""From a place to the weights of one model: open, check that config and weights belong together, compare, report."""

import os
from collections.abc import Mapping, Sequence

from robertakit.architecture import Head, Parameter, head_named, parameters
from robertakit.checkpoints.comparison import LoadingInfo, compare
from robertakit.checkpoints.tensors import StoredTensor
from robertakit.checkpoints.weight_files import Container, StoredWeights, open_weights
from robertakit.configuration import PretrainedConfig
from robertakit.errors import CorruptFile, TensorMismatch, listed
from robertakit.files import SAVE_ID, Location, locate, read_json
from robertakit.logging import get_logger
from robertakit.memory import keep_freed_memory

__all__ = ["Weights", "fit_weights", "load_weights", "open_saved", "stored_weights"]

_logger = get_logger(__name__)

#: The model's names -> tensors that are read when they are asked for.
Weights = Mapping[str, StoredTensor]


def load_weights(
    source: Location | str | os.PathLike[str],
    config: PretrainedConfig,
    head: str | Head,
    *,
    strict: bool = True,
    ignore_mismatched_sizes: bool = False,
    add_pooling_layer: bool = True,
    use_safetensors: bool | None = None,
    variant: str | None = None,
    container: Container | None = None,
) -> tuple[Weights, LoadingInfo]:
    """Load the weights of one model, lazily, and compare them with what the configuration asks for.

    A head that the checkpoint lacks is announced once through ``logging`` and is absent from the result, as
    tied copies are: who builds the model draws the one (``architecture.initial_value``) and ties the other.

    Args:
        source: a place from ``files.locate``, a folder, a file of weights, or a Hub name.
        config: the model's configuration.
        head: a head, its name, or a class name.
        strict: raise for whatever does not fit. False loads what fits, takes a wrapper's prefix off the names,
            lists everything in the report and warns once.
        ignore_mismatched_sizes: draw heads and poolers of another shape anew; the backbone is never pardoned.
        add_pooling_layer: whether the bare model has its pooler.
        use_safetensors: True for safetensors only, False for all but that, None for safetensors first.
        variant: for example ``"fp16"`` for ``model.fp16.safetensors``.
        container: ``"safetensors"``, ``"bin"``, ``"h5"``, ``"msgpack"`` or ``"fairseq"``, and no other; None takes
            the first of them that is there. The documented ``from_tf`` and ``from_flax`` are two of them
            (``weight_files.container_asked``).

    Returns:
        Name in the model -> ``StoredTensor``, and what was found.

    Raises:
        NotFound, CorruptFile, UnsupportedFormat: the files.
        ArgumentError: ``use_safetensors`` and ``container`` contradict each other.
        TensorMismatch: missing, unexpected and misshapen tensors, all in one sentence.

    Example:
        >>> import tempfile
        >>> from robertakit import RobertaConfig
        >>> from robertakit.architecture import initial_weights
        >>> from robertakit.checkpoints import save_weights
        >>> config = RobertaConfig(vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=2)
        >>> folder = tempfile.mkdtemp()
        >>> files = save_weights(folder, initial_weights(config, "masked-lm", seed=1))
        >>> weights, info = load_weights(folder, config, "masked-lm")
        >>> weights["lm_head.bias"].shape, info.missing_keys
        ((9,), [])
    """
    location = source if isinstance(source, Location) else locate(source)
    head = head_named(head) if isinstance(head, str) else head
    return fit_weights(
        stored_weights(location, use_safetensors=use_safetensors, variant=variant, container=container),
        parameters(config, head, add_pooling_layer=add_pooling_layer),
        place=str(location),
        model=type(config).__name__.removesuffix("Config") + head.class_suffix,
        strict=strict,
        ignore_mismatched_sizes=ignore_mismatched_sizes,
    )


def stored_weights(
    location: Location,
    *,
    use_safetensors: bool | None = None,
    variant: str | None = None,
    container: Container | None = None,
) -> Weights:
    """Open the weights of a place under the names that it stores; arguments and errors as of ``load_weights``."""
    return open_saved(location, use_safetensors=use_safetensors, variant=variant, container=container).tensors


def open_saved(
    location: Location,
    *,
    use_safetensors: bool | None = None,
    variant: str | None = None,
    container: Container | None = None,
) -> StoredWeights:
    """Open the weights of a place as ``open_weights`` does, and see that they were saved with its ``config.json``."""
    stored = open_weights(location, use_safetensors=use_safetensors, variant=variant, container=container)
    _check_save(location, stored)
    return stored


def fit_weights(
    stored: Weights,
    table: Mapping[str, Parameter],
    *,
    place: str,
    model: str,
    strict: bool = True,
    ignore_mismatched_sizes: bool = False,
    prefix: str = "",
    pardoned: tuple[Sequence[str], Sequence[str]] = ((), ()),
) -> tuple[Weights, LoadingInfo]:
    """Compare stored weights with the tensors of a model; what fits, and the report.

    Args:
        stored: stored name -> tensor.
        table: every tensor of the model.
        place: where the weights are from, for messages.
        model: the model's class, for messages.
        strict: as for ``load_weights``.
        ignore_mismatched_sizes: as for ``load_weights``.
        prefix: see ``compare``.
        pardoned: regular expressions for missing and for unexpected names that are no fault.

    Raises:
        TensorMismatch: missing, unexpected and misshapen tensors, all in one sentence.
    """
    keep_freed_memory()
    comparison = compare(table, stored, unwrap=not strict, prefix=prefix)
    comparison.pardon(*pardoned)
    what = f"the checkpoint in {place} does not fit {model}"
    if strict:
        comparison.refuse(what, ignore_mismatched_sizes=ignore_mismatched_sizes)
    backbone = {name for name, parameter in table.items() if parameter.part == "backbone"}
    if (backbone or set(table)).isdisjoint(comparison.found):
        raise TensorMismatch(
            given=f"{what}: nothing of it fits{'' if strict else ', not even with strict=False'}; "
            f"it stores {listed(stored, 5)}",
            expected=f"names such as {next(iter(table))}",
        )
    info = comparison.info()
    _announce(info, place, model, comparison.disagreements())
    return comparison.found, info


def _check_save(location: Location, stored: StoredWeights) -> None:
    """Config and weights that both carry the id of a save must carry the same one."""
    path = location.path_of("config.json") if stored.save_id else None
    config = read_json(path) if path else None
    save_id = config.get(SAVE_ID) if isinstance(config, dict) else None
    if save_id is not None and save_id != stored.save_id:
        raise CorruptFile(
            given=f"config.json and weights in {location} come from two different saves",
            expected="files that were saved together",
            hint=f"copy both again, or take {SAVE_ID} out of config.json if you know that they fit",
        )


def _announce(info: LoadingInfo, place: str, model: str, disagreements: list[str]) -> None:
    parts = list(disagreements)
    if info.suspicious:
        parts.append(
            f"strict=False: {len(info.suspicious)} tensors do not fit {model} and were left out or "
            f"newly initialised: {listed(info.suspicious)}"
        )
    if info.new_head:
        parts.append(
            f"{listed(info.new_head)} are not in the checkpoint, or of another shape, and are newly initialised: "
            "train before you use their outputs"
        )
    if parts:
        _logger.warning("%s: %s.", place, "; ".join(parts))
