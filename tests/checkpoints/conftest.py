"""Small checkpoints for the tests of this folder."""

from pathlib import Path

import pytest

from robertakit import RobertaConfig
from robertakit.architecture import initial_weights
from robertakit.checkpoints import save_weights


@pytest.fixture
def checkpoints(golden: Path) -> Path:
    return golden / "checkpoints"


@pytest.fixture
def config() -> RobertaConfig:
    return RobertaConfig(
        vocab_size=11,
        hidden_size=8,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=12,
        max_position_embeddings=10,
        type_vocab_size=1,
    )


@pytest.fixture
def saved(tmp_path: Path, config: RobertaConfig) -> Path:
    """A masked-LM checkpoint that this library wrote."""
    folder = tmp_path / "saved"
    save_weights(folder, initial_weights(config, "masked-lm", 1), config_json=config.to_json_string())
    return folder
