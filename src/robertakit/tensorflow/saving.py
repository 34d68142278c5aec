"""What `save_pretrained` writes: a model's tensors in PyTorch's names and layout, and a configuration true of them."""

import copy
from collections.abc import Mapping

import keras
import numpy as np
from numpy.typing import NDArray

from robertakit.checkpoints import StoredTensor
from robertakit.configuration import PretrainedConfig
from robertakit.errors import ArgumentError
from robertakit.files import Writer, text_writer
from robertakit.generation.config import GENERATION_CONFIG_FILE, GenerationConfig
from robertakit.tensorflow.contents import Contents
from robertakit.tensorflow.values import as_stored

__all__ = ["config_to_save", "generation_file", "refuse_other_formats", "tensors_to_save"]


def refuse_other_formats(safe_serialization: bool) -> None:
    """Raise where somebody asks for `tf_model.h5`.

    Raises:
        ArgumentError: what to do instead.
    """
    if not safe_serialization:
        raise ArgumentError(
            given="safe_serialization=False to save_pretrained",
            expected="a folder of safetensors",
            hint="model.save_weights('x.weights.h5') writes Keras' own file",
        )


def tensors_to_save(contents: Contents) -> dict[str, StoredTensor | NDArray[np.generic]]:
    """Return a model's tensors in C order by the names under which they are saved; a shared one once."""
    return {
        name: as_stored(contents.variables[name], row.kind)
        for name, row in contents.table.items()
        if row.tied_to is None
    }


def config_to_save(model: keras.Model, contents: Contents) -> PretrainedConfig:
    """Return a copy of a model's configuration that says which class was saved, and in which dtype.

    The class is PyTorch's of the same model, as in the reference: one checkpoint serves all frameworks.
    """
    config = copy.deepcopy(contents.config)
    config.architectures = [type(model).__name__.removeprefix("TF")]
    dtypes = (str(variable.dtype) for variable in contents.variables.values())
    config.dtype = next((dtype for dtype in dtypes if "float" in dtype), None)
    return config


def generation_file(asked: object) -> Mapping[str, Writer]:
    """Return the file that says what a model's `generate` is asked for, where it says more than the defaults."""
    if not isinstance(asked, GenerationConfig):
        return {}
    return {GENERATION_CONFIG_FILE: text_writer(asked.to_json_string())}
