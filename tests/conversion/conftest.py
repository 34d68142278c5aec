"""Checkpoints to convert."""

from collections.abc import Callable
from pathlib import Path

import pytest

from robertakit import RobertaConfig
from robertakit.architecture import initial_weights
from robertakit.checkpoints import save_weights

Saved = Callable[..., Path]


@pytest.fixture
def checkpoints(golden: Path) -> Path:
    return golden / "checkpoints"


@pytest.fixture
def saved(tmp_path: Path) -> Saved:
    """``saved(head, **fields)`` is a folder with such a model, its weights drawn wide enough that mistakes show."""

    def save(head: str, *, also: str | None = None, **fields: object) -> Path:
        sizes = {"vocab_size": 60, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4}
        more = {"intermediate_size": 24, "max_position_embeddings": 40, "initializer_range": 0.3}
        config = RobertaConfig(**{**sizes, **more, **fields})
        weights = initial_weights(config, head, seed=5)
        if also is not None:
            weights |= initial_weights(config, also, seed=6) | weights
        folder = tmp_path / "source"
        save_weights(folder, weights, config_json=config.to_json_string())
        return folder

    return save
