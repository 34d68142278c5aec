"""Small models that the tests of `tensorflow/` share. Where TensorFlow is not installed, none of them is collected."""

import importlib.util
import os
import tempfile
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import robertakit
from robertakit.architecture import HEADS
from robertakit.checkpoints.dialects import KERAS
from robertakit.configuration import RobertaConfig

if importlib.util.find_spec("tensorflow") is None or importlib.util.find_spec("keras") is None:
    collect_ignore_glob = ["test_*.py"]

# Keras writes its settings into the user's home when it is imported.
os.environ.setdefault("KERAS_HOME", tempfile.mkdtemp(prefix="robertakit-test-keras-"))


@pytest.fixture(scope="session")
def models(arrays) -> ModuleType:
    """The module ``tests/models.py``: configurations, weights and calls of every head, as arrays."""
    return arrays


def fill(model: Any, weights: dict[str, np.ndarray]) -> None:
    """Give a model the weights of these names; all of them, and no others."""
    from robertakit.tensorflow.contents import contents_of

    contents = contents_of(model)
    assert weights.keys() == contents.variables.keys()
    for name, variable in contents.variables.items():
        variable.assign(KERAS.layout(contents.table[name].kind, weights[name]))


@pytest.fixture(scope="session")
def build(models) -> Callable[..., Any]:
    """``build(head, family, seed=, dtype=, **fields)``: a model with the wide weights of that seed."""

    def make(
        head: str, family: str = "Roberta", *, seed: int = 5, dtype: str = "float32", **fields: object
    ) -> Any:
        config = models.config_of(head, family, **fields)
        model = getattr(robertakit, f"TF{family}{HEADS[head].class_suffix}")(config, dtype=dtype)
        fill(model, models.wide_weights(config, head, seed))
        return model

    return make


@pytest.fixture
def tiny() -> Callable[..., RobertaConfig]:
    """``tiny(**fields)``: a small configuration whose new weights are wide enough for mistakes to show."""

    def make(**fields: object) -> RobertaConfig:
        sizes = {
            "vocab_size": 50,
            "hidden_size": 16,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "intermediate_size": 24,
            "max_position_embeddings": 20,
            "type_vocab_size": 1,
            "layer_norm_eps": 1e-5,
            "initializer_range": 0.3,
        }
        return RobertaConfig(**(sizes | fields))

    return make
