"""What the tests of the specification share: the replay harness, and small random models."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import robertakit.numpy as family
from robertakit import RobertaConfig
from robertakit.architecture import initial_weights
from robertakit.configuration import AutoConfig
from robertakit.numpy.pretrained import PreTrainedModel

TESTS = Path(__file__).resolve().parent.parent

#: Sizes of the small models of these tests; widths that do not equal each other.
SMALL = {
    "vocab_size": 61,
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 37,
    "max_position_embeddings": 40,
    "type_vocab_size": 2,
}


def wide_weights(config: Any, head: str, seed: int = 5, **arguments: bool) -> dict[str, np.ndarray]:
    """New weights, drawn ten times wider than by default, biases and scales too, so that mistakes show."""
    generator = np.random.default_rng(seed)
    drawn = initial_weights(config, head, seed, **arguments)
    return {
        name: (10 * value + 0.2 * generator.standard_normal(value.shape)).astype(np.float32)
        if value.ndim > 1
        else (value + 0.2 * generator.standard_normal(value.shape)).astype(np.float32)
        for name, value in drawn.items()
    }


@pytest.fixture
def small() -> Callable[..., PreTrainedModel[Any]]:
    """``small("RobertaForMaskedLM", dtype=..., **config fields)``: a small model with wide weights."""

    def make(name: str, *, dtype: str = "float32", seed: int = 5, **fields: Any) -> PreTrainedModel[Any]:
        config = RobertaConfig(**{**SMALL, **fields})
        return getattr(family, name)(config, weights=wide_weights(config, name, seed), dtype=dtype)

    return make


@pytest.fixture
def build() -> Callable[..., PreTrainedModel[Any]]:
    """The adapter that the replay harness asks for."""

    def make(name: str, config: dict[str, Any], weights: Any, constructor: dict[str, Any], dtype: str) -> Any:
        kind = type(AutoConfig.for_model(config["model_type"]))
        return getattr(family, name)(kind.from_dict(config), weights=weights, dtype=dtype, **constructor)

    return make


@pytest.fixture
def padded() -> tuple[np.ndarray, np.ndarray]:
    """Ids (3, 9) and mask: lengths 9, 6 and 4, padded on the right, with ids of SMALL's vocabulary."""
    generator = np.random.default_rng(11)
    mask = np.arange(9) < np.array([[9], [6], [4]])
    ids = np.where(mask, generator.integers(3, 60, (3, 9)), 1)
    ids[:, 0] = 0
    return ids, mask.astype(np.int64)
