"""The comparison as a law: whatever is taken from a checkpoint or put into it, the report accounts for all of it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robertakit import RobertaConfig
from robertakit.architecture import HEADS, parameters
from robertakit.checkpoints.comparison import compare
from robertakit.checkpoints.tensors import StoredTensor, as_stored
from robertakit.errors import TensorMismatch

CONFIG = RobertaConfig(
    vocab_size=5, hidden_size=4, num_hidden_layers=1, num_attention_heads=2, intermediate_size=3
)


def stored(head: str) -> dict[str, StoredTensor]:
    table = parameters(CONFIG, head)
    return {
        name: as_stored(np.zeros(row.shape, np.float32)) for name, row in table.items() if row.tied_to is None
    }


@given(saved=st.sampled_from(list(HEADS)), asked=st.sampled_from(list(HEADS)), data=st.data())
def test_every_tensor_is_accounted_for(saved: str, asked: str, data: st.DataObject) -> None:
    tensors = stored(saved)
    for name in data.draw(st.lists(st.sampled_from(sorted(tensors)), max_size=3, unique=True)):
        del tensors[name]
    for name in data.draw(st.lists(st.sampled_from(sorted(tensors)), max_size=2, unique=True)):
        tensors[name] = as_stored(np.zeros((7, 7), np.float32))
    tensors |= dict.fromkeys(
        data.draw(st.lists(st.sampled_from(["x", "roberta.y", "lm_head.z"]))), as_stored(np.zeros(1))
    )
    result = compare(parameters(CONFIG, asked), tensors)
    info = result.info()
    wanted = {name for name, row in parameters(CONFIG, asked).items() if row.tied_to is None}
    assert wanted <= {*result.found, *info.missing_keys, *info.mismatched_keys}
    assert not result.found.keys() & {*info.missing_keys, *info.mismatched_keys}
    assert len(tensors) == len(result.found) + len(info.unexpected_keys) + len(info.mismatched_keys)
    everything = {*info.missing_keys, *info.unexpected_keys, *info.mismatched_keys}
    assert everything == {*info.new_head, *info.harmless, *info.suspicious}
    if info.suspicious:
        with pytest.raises(TensorMismatch):
            result.refuse("a", ignore_mismatched_sizes=True)
    else:
        result.refuse("a", ignore_mismatched_sizes=True)


@pytest.mark.parametrize("asked", HEADS)
@pytest.mark.parametrize("saved", HEADS)
def test_any_head_of_the_family_starts_from_any_other(saved: str, asked: str) -> None:
    result = compare(parameters(CONFIG, asked), stored(saved))
    result.refuse("a", ignore_mismatched_sizes=True)
    assert all(result.table[name].part != "backbone" for name in result.info().newly_initialised)


def test_old_spellings_and_spare_buffers_are_understood() -> None:
    tensors = stored("masked-lm")
    for name in list(tensors):
        if "LayerNorm" in name:
            tensors[name.replace("weight", "gamma").replace("bias", "beta")] = tensors.pop(name)
    tensors["roberta.embeddings.position_ids"] = as_stored(np.arange(5))
    result = compare(parameters(CONFIG, "masked-lm"), tensors)
    result.refuse("a", ignore_mismatched_sizes=False)
    assert result.info().harmless == ["roberta.embeddings.position_ids"]
    assert result.info().unexpected_keys == []
