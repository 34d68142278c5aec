"""SavedModels: one signature with free sizes, flat outputs."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import robertakit.tensorflow as models
from robertakit import RobertaConfig
from robertakit.architecture import HEADS
from robertakit.tensorflow.serving import flat

SIZES: dict[str, Any] = {
    "vocab_size": 29,
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "intermediate_size": 24,
    "max_position_embeddings": 20,
    "type_vocab_size": 1,
}


def inputs(model: Any, batch: int, length: int) -> dict[str, Any]:
    shape = (batch, 2, length) if "MultipleChoice" in type(model).__name__ else (batch, length)
    ids = np.random.default_rng(length).integers(3, 29, shape)
    given = {"input_ids": ids, "attention_mask": np.ones(shape)}
    if "token_type_ids" in model.input_signature:
        given["token_type_ids"] = np.zeros(shape)
    return {name: tf.constant(value, tf.int32) for name, value in given.items()}


@pytest.mark.parametrize("head", HEADS)
def test_every_head_serves_any_sizes(head: str, tmp_path: Path) -> None:
    model = getattr(models, f"TFRoberta{HEADS[head].class_suffix}")(RobertaConfig(**SIZES))
    model.export(tmp_path, verbose=False)
    served = tf.saved_model.load(str(tmp_path))
    for batch, length in ((2, 5), (3, 9)):
        given = inputs(model, batch, length)
        found = served.serve(given)
        expected = model(given)
        assert set(found) == set(HEADS[head].outputs)
        for name in found:
            np.testing.assert_allclose(found[name], expected[name], atol=2e-6)
        by_signature = served.signatures["serving_default"](**given)
        assert set(by_signature) == set(found)


def test_nested_outputs_are_numbered(tmp_path: Path) -> None:
    config = RobertaConfig(
        **(SIZES | {"type_vocab_size": 2, "num_hidden_layers": 2}),
        output_hidden_states=True,
        output_attentions=True,
    )
    model = models.TFRobertaForSequenceClassification(config)
    assert list(model.input_signature) == ["input_ids", "attention_mask", "token_type_ids"]
    model.export(tmp_path, verbose=False)
    given = inputs(model, 2, 5)
    served = tf.saved_model.load(str(tmp_path))  # has to be kept: its functions hold no variables
    found = served.serve(given)
    states = [f"hidden_states_{number}" for number in range(3)]
    assert set(found) == {"logits", *states, "attentions_0", "attentions_1"}
    np.testing.assert_allclose(found["hidden_states_1"], model(given).hidden_states[1], atol=2e-6)


def test_a_signature_of_ones_own(tmp_path: Path) -> None:
    model = models.TFRobertaForMaskedLM(RobertaConfig(**SIZES))
    signature = {"input_ids": tf.TensorSpec((1, 4), tf.int32, name="input_ids")}
    for number, given in enumerate((signature, [signature])):
        model.export(tmp_path / str(number), verbose=False, input_signature=given)
        served = tf.saved_model.load(str(tmp_path / str(number)))
        ids = tf.constant([[0, 5, 6, 2]])
        np.testing.assert_allclose(served.serve({"input_ids": ids})["logits"], model(ids).logits, atol=2e-6)


def test_a_decoder_serves_without_its_cache(tmp_path: Path) -> None:
    model = models.TFRobertaForCausalLM(RobertaConfig(**SIZES, is_decoder=True))
    assert set(model.serving(inputs(model, 2, 4))) == {"logits"}
    model.export(tmp_path, verbose=False)
    served = tf.saved_model.load(str(tmp_path))
    assert set(served.serve(inputs(model, 2, 4))) == {"logits"}


def test_flat() -> None:
    assert flat({"a": ((1, 2), (3,))}) == {"a_0_0": 1, "a_0_1": 2, "a_1_0": 3}
