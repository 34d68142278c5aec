"""What `save_pretrained` writes: a model's tensors, shared ones once, and a configuration that is true of them."""

import copy
from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn

from robertakit.configuration import PretrainedConfig
from robertakit.errors import ArgumentError, listed
from robertakit.files import Writer, text_writer
from robertakit.generation.config import GENERATION_CONFIG_FILE, GenerationConfig
from robertakit.logging import get_logger
from robertakit.torch.contents import Contents, contents_of
from robertakit.torch.device_maps import values_of_dispatched

__all__ = ["config_to_save", "generation_file", "refuse_other_formats", "tensors_to_save"]

_logger = get_logger(__name__)
_NO_PICKLE = "nothing that is written is a pickle; torch.save(model.state_dict(), file) writes one"
_ADAPTERS = "adapters are saved by peft.PeftModel.save_pretrained"


def refuse_other_formats(safe_serialization: bool, save_peft_format: bool) -> None:
    """Raise for documented arguments of `save_pretrained` that ask for anything but a model in safetensors.

    Raises:
        ArgumentError: what to do instead.
    """
    for name, asked, instead in (
        ("safe_serialization=False", not safe_serialization, _NO_PICKLE),
        ("save_peft_format=False", not save_peft_format, _ADAPTERS),
    ):
        if asked:
            raise ArgumentError(
                given=f"{name} to save_pretrained", expected="a folder of safetensors", hint=instead
            )


def tensors_to_save(model: nn.Module, state_dict: Mapping[str, Tensor] | None) -> dict[str, Tensor]:
    """Return a model's tensors by the names under which they are saved; a shared one under its first name alone.

    Args:
        model: the model.
        state_dict: in place of its own.

    Raises:
        ArgumentError: tensors without values.
    """
    contents = contents_of(model)
    tensors = dict(model.state_dict() if state_dict is None else state_dict)
    if state_dict is None and getattr(model, "hf_device_map", None) and _without_values(tensors):
        tensors = values_of_dispatched(model)
    if empty := _without_values(tensors):
        raise ArgumentError(
            given=f"{listed(empty, 5)} on the meta device, without values",
            expected="a model with weights",
            hint="load them first, or pass state_dict",
        )
    ignored = cast("list[str] | None", getattr(model, "_keys_to_ignore_on_save", None))
    for name in ignored or ():
        tensors.pop(name, None)
    for name, row in contents.table.items():
        if row.tied_to in tensors:
            tensors.pop(name, None)
    for name, source in contents.ties.items():  # a bias has no switch in the config: what computes is saved
        if name in tensors and source in tensors and tensors[name].dim() == 1:
            tensors[source] = tensors.pop(name)
    if lacking := [name for name in contents.lacking if name not in tensors]:
        _logger.warning(
            "%s has not %s, which its configuration means: what is saved now is read only with strict=False.",
            type(model).__name__, listed(lacking, 5),
        )  # fmt: skip
    return tensors


def config_to_save(model: nn.Module, tensors: Mapping[str, Tensor]) -> PretrainedConfig:
    """Return a copy of a model's configuration that says which class was saved, in which dtype, and what is tied."""
    contents = contents_of(model)
    config = copy.deepcopy(cast(PretrainedConfig, model.config))
    config.architectures = [type(model).__name__]
    config.dtype = next(
        (str(t.dtype).removeprefix("torch.") for t in tensors.values() if t.is_floating_point()), None
    )
    apart = _untied(contents, tensors)
    if config.tie_word_embeddings and apart:
        config.tie_word_embeddings = False
        _logger.warning(
            "%s is not tied to the word embeddings although tie_word_embeddings=True: both are saved, and the "
            "saved config.json says tie_word_embeddings=false.",
            apart[0],
        )
    return config


def generation_file(asked: object) -> dict[str, Writer]:
    """Return the file that says what a model's `generate` is asked for, where it says more than the defaults."""
    if not isinstance(asked, GenerationConfig):
        return {}
    return {GENERATION_CONFIG_FILE: text_writer(asked.to_json_string())}


def _without_values(tensors: Mapping[str, Tensor]) -> list[str]:
    return [name for name, tensor in tensors.items() if tensor.is_meta]


def _untied(contents: Contents, tensors: Mapping[str, Tensor]) -> list[str]:
    """The copies that have values of their own."""
    return [
        name
        for name, source in contents.ties.items()
        if name in tensors and source in tensors and not torch.equal(tensors[name], tensors[source])
    ]
