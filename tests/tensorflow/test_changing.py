"""Changing a model that is there: its embeddings, its vocabulary, its heads, and training it further."""

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import robertakit.numpy as specification
import robertakit.tensorflow as models
from robertakit import RobertaConfig
from robertakit.errors import ArgumentError, BadShape

SIZES: dict[str, Any] = {
    "vocab_size": 29,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 24,
    "max_position_embeddings": 20,
    "initializer_range": 0.2,
}
IDS = np.array([[0, 5, 6, 2], [0, 7, 2, 1]])


def make(name: str = "TFRobertaForMaskedLM", **fields: Any) -> Any:
    tf.random.set_seed(5)
    return getattr(models, name)(RobertaConfig(**(SIZES | fields)))


@pytest.mark.parametrize("name", ["TFRobertaForMaskedLM", "TFRobertaForCausalLM", "TFRobertaModel"])
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("size", [40, 20])
def test_another_vocabulary(name: str, tied: bool, size: int, tmp_path: Any) -> None:
    model = make(name, tie_word_embeddings=tied)
    before = model(IDS)[0].numpy()
    table = model.resize_token_embeddings(size)
    assert table is model.get_input_embeddings()
    assert (table.input_dim, model.config.vocab_size, table.embeddings.shape[0]) == (size,) * 3
    after = model(IDS)[0].numpy()
    kept = before.shape[-1] if name == "TFRobertaModel" else min(size, 29)
    np.testing.assert_allclose(after[..., :kept], before[..., :kept], atol=2e-6)
    assert name == "TFRobertaModel" or after.shape[-1] == size
    model.save_pretrained(tmp_path)
    np.testing.assert_array_equal(type(model).from_pretrained(tmp_path)(IDS)[0], after)
    model.save(tmp_path / "model.keras")
    np.testing.assert_array_equal(keras.models.load_model(tmp_path / "model.keras")(IDS)[0], after)


def test_nothing_changes_without_a_size() -> None:
    model = make()
    model.compile("sgd")
    assert model.resize_token_embeddings().input_dim == 29
    assert model.resize_token_embeddings(29).input_dim == 29
    assert model.compiled
    with pytest.raises(ArgumentError, match="new_num_tokens"):
        model.resize_token_embeddings(0)
    with pytest.raises(ArgumentError, match="cuts off"):
        model.resize_token_embeddings(2)


def test_training_goes_on_after_compiling_again() -> None:
    model = make(num_hidden_layers=1)
    x = {"input_ids": IDS, "labels": IDS}
    model.compile("sgd")
    model.fit(x, verbose=0)
    model.resize_token_embeddings(40)
    with pytest.raises(ValueError, match="compile"):
        model.fit(x, verbose=0)
    model.compile("sgd")
    wide = {"input_ids": IDS + 30 * (IDS == 5), "labels": IDS + 30 * (IDS == 5)}
    losses = model.fit(wide, epochs=3, verbose=0).history["loss"]
    assert losses[2] < losses[0]
    assert model.predict(IDS, verbose=0).logits.shape == (2, 4, 40)


def test_embeddings_are_replaced() -> None:
    model = make()
    values = np.random.default_rng(1).random((33, 16)).astype(np.float32)
    model.set_input_embeddings(values)
    np.testing.assert_array_equal(model.get_input_embeddings().embeddings.numpy(), values)
    assert model.config.vocab_size == 33
    assert model(IDS).logits.shape == (2, 4, 33)
    other = make(vocab_size=33)
    other.set_input_embeddings(model.get_input_embeddings())
    np.testing.assert_array_equal(other.get_input_embeddings().embeddings.numpy(), values)
    with pytest.raises(BadShape, match=r"\(rows, 16\)"):
        model.set_input_embeddings(values[:, :8])


def test_what_scores_the_vocabulary() -> None:
    tied, apart = make(), make(tie_word_embeddings=False)
    assert tied.get_output_embeddings() is tied.get_input_embeddings()
    assert apart.get_output_embeddings() is apart.lm_head.decoder
    assert make("TFRobertaModel").get_output_embeddings() is None
    assert make("TFRobertaModel").get_bias() is None
    values = np.random.default_rng(0).standard_normal((29, 16)).astype(np.float32)
    tied.set_output_embeddings(values)
    np.testing.assert_array_equal(tied.get_input_embeddings().embeddings.numpy(), values)
    apart.set_output_embeddings(tied.get_input_embeddings())
    np.testing.assert_array_equal(apart.lm_head.decoder.kernel.numpy(), values.T)
    assert not np.array_equal(apart.get_input_embeddings().embeddings.numpy(), values)
    other = make(tie_word_embeddings=False)
    other.set_output_embeddings(apart.lm_head.decoder)
    np.testing.assert_array_equal(other.lm_head.decoder.kernel.numpy(), values.T)
    with pytest.raises(BadShape, match=r"\(29, 16\)"):
        tied.set_output_embeddings(values[:28])
    with pytest.raises(ArgumentError, match="a language model"):
        make("TFRobertaModel").set_output_embeddings(values)
    tied.set_bias({"lm_head.bias": np.ones(29)})
    assert tied.get_bias()["lm_head.bias"].numpy().tolist() == [1] * 29
    with pytest.raises(BadShape):
        tied.set_bias({"lm_head.bias": np.ones(28)})
    with pytest.raises(ArgumentError):
        tied.set_bias({"bias": np.ones(29)})


def test_fewer_heads(tmp_path: Any) -> None:
    model = make("TFRobertaModel")
    mask = np.ones((2, 4), np.float32)
    mask[1, [0, 3]] = 0
    expected = model(IDS, head_mask=mask)[0].numpy()
    model.prune_heads({1: [0]})
    model.prune_heads({1: [0, 3]})
    assert model.config.pruned_heads == {1: [0, 3]}
    np.testing.assert_allclose(model(IDS)[0], expected, atol=2e-6)
    attention = model.roberta.encoder.layer[1].attention.self_attention
    assert (attention.num_attention_heads, attention.all_head_size, attention.query.units) == (2, 8, 8)
    model.save_pretrained(tmp_path)
    again = models.TFRobertaModel.from_pretrained(tmp_path)
    np.testing.assert_array_equal(again(IDS)[0], model(IDS)[0])
    np.testing.assert_allclose(
        specification.load(tmp_path, "model")(IDS).last_hidden_state, expected, atol=5e-6
    )
    model.compile("sgd", loss="mse")
    zeros = {"last_hidden_state": np.zeros((2, 4, 16)), "pooler_output": np.zeros((2, 16))}
    assert np.isfinite(model.train_on_batch(IDS, zeros)).all()
    with pytest.raises(ArgumentError, match="heads_to_prune"):
        model.prune_heads({5: [0]})


def test_tags_and_checks() -> None:
    model = make()
    model.add_model_tags("one")
    model.add_model_tags(["one", "two"])
    assert model.model_tags == ["one", "two"]
    assert models.TFRobertaForCausalLM.can_generate()
    assert not models.TFRobertaForTokenClassification.can_generate()
