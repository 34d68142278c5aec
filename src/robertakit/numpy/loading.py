"""``load``: a checkpoint and the name of a head in, a model of the specification out."""

import os
from collections.abc import Callable
from typing import cast

from robertakit.architecture import model_class_name
from robertakit.configuration import PretrainedConfig
from robertakit.files import Location, locate, take_where
from robertakit.numpy import heads, xlm_roberta
from robertakit.numpy.layers import Array
from robertakit.numpy.pretrained import PreTrainedModel
from robertakit.outputs import ModelOutput
from robertakit.pretrained_config import read_fields

__all__ = ["class_for", "load"]

Model = PreTrainedModel[ModelOutput[Array]]


def class_for(head: str, model_type: str = "roberta") -> type[Model]:
    """Return the class of a head: ``"masked-lm"`` of ``"xlm-roberta"`` is ``XLMRobertaForMaskedLM``."""
    home = xlm_roberta if model_type == "xlm-roberta" else heads
    return cast(type[Model], getattr(home, model_class_name(model_type, head, "numpy")))


def load(name_or_path: str | os.PathLike[str], head: str, **kwargs: object) -> Model:
    """Load a checkpoint as a model of the specification.

    Args:
        name_or_path: folder, or name on the Hub.
        head: a head ("masked-lm") or a documented class name ("RobertaForMaskedLM").
        **kwargs: arguments of ``from_pretrained``: ``dtype``, ``strict``, ``ignore_mismatched_sizes``,
            ``use_safetensors``, ``variant``, ``from_tf``, ``from_flax``, where to look, and fields of the
            configuration.

    Example:
        >>> import tempfile
        >>> from robertakit import RobertaConfig
        >>> from robertakit.architecture import initial_weights
        >>> from robertakit.checkpoints import save_weights
        >>> config = RobertaConfig(vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=2)
        >>> folder = tempfile.mkdtemp()
        >>> weights = initial_weights(config, "masked-lm", seed=1)
        >>> files = save_weights(folder, weights, config_json=config.to_json_string())
        >>> load(folder, "masked-lm")([[0, 5, 2]]).logits.shape
        (1, 3, 9)
    """
    where = take_where(dict(kwargs))
    find: Callable[..., Location] = locate
    config = kwargs.get("config")
    if isinstance(config, PretrainedConfig):
        model_type = config.model_type
    else:
        source = name_or_path if config is None else config
        model_type = str(read_fields(find(source, **where)).get("model_type", "roberta"))
    make: Callable[..., object] = class_for(head, model_type).from_pretrained
    return cast(Model, make(name_or_path, **kwargs))
