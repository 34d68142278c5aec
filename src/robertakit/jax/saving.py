"""What `save_pretrained` writes: parameters by their checkpoint names and layout, and a configuration true of them."""

import copy
from collections.abc import Mapping

import jax
import jax.numpy as jnp

from robertakit.checkpoints.rounding import DTYPES
from robertakit.checkpoints.tensors import StoredTensor
from robertakit.configuration import PretrainedConfig
from robertakit.errors import ArgumentError
from robertakit.files import Writer, text_writer
from robertakit.generation.config import GENERATION_CONFIG_FILE, GenerationConfig
from robertakit.jax.contents import Contents
from robertakit.jax.values import as_stored

__all__ = ["config_to_save", "generation_file", "tensors_to_save"]


def tensors_to_save(contents: Contents, params: Mapping[str, object]) -> dict[str, StoredTensor]:
    """Return parameters as a file has them; a shared one stands in the tree once anyway.

    Raises:
        ArgumentError: a leaf that is no array with values.
    """
    tensors = {}
    for name, value in contents.named(params).items():
        if not hasattr(value, "dtype") or isinstance(value, jax.core.Tracer | jax.ShapeDtypeStruct):
            raise ArgumentError(
                given=f"{name} as a {type(value).__name__}",
                expected="an array with values",
                hint="save outside of jit",
            )
        tensors[name] = as_stored(jnp.asarray(value), contents.table[name].kind)
    return tensors


def config_to_save(
    config: PretrainedConfig, model: type[object], tensors: Mapping[str, StoredTensor]
) -> PretrainedConfig:
    """Return a copy of a configuration that says which class was saved, and in which dtype.

    A checkpoint is no framework's: it names classes as PyTorch spells them.
    """
    saved = copy.deepcopy(config)
    saved.architectures = [model.__name__.removeprefix("Flax")]
    names = {stored: name for name, stored in DTYPES.items()}
    saved.dtype = next((names[tensor.dtype] for tensor in tensors.values() if tensor.dtype in names), None)
    return saved


def generation_file(asked: object) -> dict[str, Writer]:
    """Return the file that says what a model's `generate` is asked for, where it says more than the defaults."""
    if not isinstance(asked, GenerationConfig):
        return {}
    return {GENERATION_CONFIG_FILE: text_writer(asked.to_json_string())}
