"""What we save transformers loads, and the reverse; in environments of their own (``make test-peers``)."""

from pathlib import Path

import numpy as np
import pytest

from robertakit import RobertaConfig, XLMRobertaConfig
from robertakit.architecture import HEADS, initial_weights
from robertakit.checkpoints import load_weights, save_weights

pytestmark = pytest.mark.peers
FAMILIES = {"Roberta": RobertaConfig, "XLMRoberta": XLMRobertaConfig}


@pytest.mark.parametrize("size", ["5GB", "2KB"])
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("head", HEADS)
def test_ours_and_theirs(tmp_path: Path, config: RobertaConfig, head: str, family: str, size: str) -> None:
    import transformers

    ours = FAMILIES[family].from_dict(config.to_dict())
    ours.is_decoder = head == "causal-lm"
    values = initial_weights(ours, head, 4)
    save_weights(tmp_path / "ours", values, config_json=ours.to_json_string(), max_shard_size=size)
    theirs = getattr(transformers, family + HEADS[head].class_suffix)
    model, info = theirs.from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert not any(info[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    state = model.state_dict()
    assert all(np.array_equal(state[name].numpy(), values[name]) for name in values)
    model.save_pretrained(tmp_path / "theirs", max_shard_size=size)
    read = FAMILIES[family].from_pretrained(tmp_path / "theirs")
    weights, info = load_weights(tmp_path / "theirs", read, head)
    assert info.newly_initialised == info.unexpected_keys == []
    assert all(np.array_equal(weights[name].read(), values[name]) for name in values)
