"""Small models that the tests of `torch/` share. Where PyTorch is not installed, none of these tests is collected."""

import importlib.util
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from robertakit.configuration import RobertaConfig

if importlib.util.find_spec("torch") is None:
    collect_ignore_glob = ["test_*.py"]


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


@pytest.fixture
def ragged() -> Callable[..., tuple[Any, Any]]:
    """``ragged(config)``: ids and mask (B, L) of sequences of several lengths, padded on the right."""

    def make(config: RobertaConfig, lengths: tuple[int, ...] = (3, 7, 3, 1, 5)) -> tuple[Any, Any]:
        import torch

        generator = np.random.default_rng(0)
        ids = np.full((len(lengths), max(lengths)), config.pad_token_id)
        for row, length in enumerate(lengths):
            ids[row, :length] = generator.integers(3, config.vocab_size, length)
        return torch.from_numpy(ids), torch.from_numpy((ids != config.pad_token_id).astype(np.int64))

    return make


@pytest.fixture(scope="session")
def models(root, arrays) -> ModuleType:
    """The module ``tests/torch_models.py``: models of every head, and calls of them."""
    spec = importlib.util.spec_from_file_location("torch_models", root / "tests" / "torch_models.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["torch_models"] = module
    spec.loader.exec_module(module)
    return module
