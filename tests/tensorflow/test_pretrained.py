"""The shell of all Keras models: construction, seeds, Keras' own serialization, policies, what is refused."""

import copy
import inspect
import pickle
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import robertakit.tensorflow as models
from robertakit import RobertaConfig, XLMRobertaConfig
from robertakit.architecture import HEADS, initial_weights, parameters
from robertakit.errors import ArgumentError, ConfigError
from robertakit.tensorflow.construction import drawn_seed
from robertakit.tensorflow.contents import contents_of
from robertakit.tensorflow.saving import tensors_to_save

SIZES: dict[str, Any] = {
    "vocab_size": 29,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 24,
    "max_position_embeddings": 20,
    "num_labels": 2,
}
IDS = np.array([[0, 5, 6, 2], [0, 7, 2, 1]])
CLASSES = [f"TFRoberta{head.class_suffix}" for head in HEADS.values()]


def make(name: str = "TFRobertaForMaskedLM", *, seed: int = 5, **fields: Any) -> Any:
    tf.random.set_seed(seed)
    return getattr(models, name)(RobertaConfig(**(SIZES | fields)))


def call(model: Any) -> Any:
    return model(np.stack([IDS, IDS], 1) if "MultipleChoice" in type(model).__name__ else IDS)[0]


@pytest.mark.parametrize("name", CLASSES)
def test_a_new_model_has_the_weights_of_the_table(name: str) -> None:
    tf.random.set_seed(11)
    seed = drawn_seed()
    model = make(name, seed=11)
    expected = initial_weights(model.config, name, seed)
    found = tensors_to_save(contents_of(model))
    assert list(found) == list(expected)
    for tensor, value in expected.items():
        np.testing.assert_array_equal(found[tensor], value, err_msg=tensor)


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("fields", [{}, {"is_decoder": True, "add_cross_attention": True},
                                    {"position_embedding_type": "relative_key", "tie_word_embeddings": False},
                                    {"pruned_heads": {1: [0, 3]}}])  # fmt: skip
def test_all_variables_are_those_of_the_table(name: str, fields: dict[str, Any]) -> None:
    model = make(name, **fields)
    contents = contents_of(model)
    table = parameters(model.config, name)
    assert contents.table == table
    assert len({id(v) for v in contents.variables.values()}) == len(contents.variables) == len(model.weights)
    assert model.count_params() == sum(row.size for row in table.values() if row.tied_to is None)
    assert len(model.trainable_weights) == len(model.weights)


def test_seeds() -> None:
    keras.utils.set_random_seed(3)
    one = models.TFRobertaModel(RobertaConfig(**SIZES))
    keras.utils.set_random_seed(3)
    same = models.TFRobertaModel(RobertaConfig(**SIZES))
    other = models.TFRobertaModel(RobertaConfig(**SIZES))
    first, second, third = (model.get_input_embeddings().embeddings.numpy() for model in (one, same, other))
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(second, third)


def test_models_can_be_made_inside_a_function() -> None:
    kept: list[Any] = []

    @tf.function
    def compute(ids: Any) -> Any:
        if not kept:
            kept.append(make())
        return kept[0](ids).logits

    np.testing.assert_allclose(compute(IDS), kept[0](IDS).logits, atol=2e-6)


def test_the_configuration_is_the_callers() -> None:
    config = RobertaConfig(**SIZES)
    assert models.TFRobertaModel(config).config is config
    assert models.TFRobertaModel.config_class is RobertaConfig
    assert models.TFXLMRobertaModel.config_class is XLMRobertaConfig
    assert models.TFXLMRobertaModel.base_model_prefix == "roberta"


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        (({"vocab_size": 9},), {}, ArgumentError, "a configuration of type builtins.dict"),
        ((RobertaConfig(**SIZES), 1), {}, ArgumentError, "1 positional arguments"),
        ((RobertaConfig(**SIZES),), {"naem": "x"}, ArgumentError, "'name', which is near it"),
        ((RobertaConfig(**SIZES),), {"dtype": "int8"}, ArgumentError, "dtype='int8'"),
    ],
)
def test_what_a_constructor_refuses(arguments: Any, options: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        models.TFRobertaForMaskedLM(*arguments, **options)


def test_a_configuration_is_checked_again_when_it_builds() -> None:
    config = RobertaConfig(**SIZES)
    config.hidden_size = 18
    with pytest.raises(ConfigError, match="num_attention_heads"):
        models.TFRobertaModel(config)


@pytest.mark.parametrize("name", CLASSES)
def test_kerass_own_files(name: str, tmp_path: Path) -> None:
    model = make(name)
    expected = call(model)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert type(again) is type(model)
    assert again.config.to_dict() == model.config.to_dict()
    np.testing.assert_array_equal(call(again), expected)
    model.save_weights(tmp_path / "model.weights.h5")
    other = make(name, seed=6)
    assert not np.array_equal(call(other), expected)
    other.load_weights(tmp_path / "model.weights.h5")
    np.testing.assert_array_equal(call(other), expected)


def test_kerass_own_files_of_less_common_models(tmp_path: Path) -> None:
    without = models.TFRobertaModel(RobertaConfig(**SIZES), add_pooling_layer=False)
    pruned = make(pruned_heads={1: [0, 3]}, tie_word_embeddings=False)
    half = models.TFXLMRobertaForTokenClassification(XLMRobertaConfig(**SIZES), dtype="bfloat16", name="half")
    for model in (without, pruned, half):
        model.save(tmp_path / "model.keras")
        again = keras.models.load_model(tmp_path / "model.keras")
        assert (type(again), again.name, again.dtype) == (type(model), model.name, model.dtype)
        np.testing.assert_array_equal(call(again), call(model))
    assert keras.models.load_model(tmp_path / "model.keras").config_class is XLMRobertaConfig


def test_a_functional_model_around_one_is_saved(tmp_path: Path) -> None:
    inputs = [keras.Input((None,), dtype="int32"), keras.Input((None,), dtype="int32")]
    out = make()(inputs, output_hidden_states=True)
    model = keras.Model(inputs, {"words": out.logits, "first": out.hidden_states[0]})
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    data = [IDS, (IDS != 1).astype(np.int32)]
    for name, value in model(data).items():
        np.testing.assert_array_equal(again(data)[name], value)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies(copied: Any) -> None:
    model = make("TFRobertaForSequenceClassification")
    other = copied(model)
    np.testing.assert_array_equal(call(other), call(model))
    other.classifier.out_proj.bias.assign([1.0, 2.0])
    assert model.classifier.out_proj.bias.numpy().tolist() == [0, 0]
    assert other.config is not model.config


def test_from_config_in_both_senses() -> None:
    model = make("TFRobertaModel", seed=5)
    tf.random.set_seed(5)
    np.testing.assert_array_equal(
        call(models.TFRobertaModel.from_config(RobertaConfig(**SIZES))), call(model)
    )
    config = models.TFRobertaModel(RobertaConfig(**SIZES), add_pooling_layer=False, name="mine").get_config()
    again = models.TFRobertaModel.from_config(config)
    assert again.name == "mine"
    assert again.roberta.pooler is None


@pytest.mark.parametrize("dtype", ["float64", "bfloat16", "float16", "mixed_bfloat16"])
def test_policies(dtype: str) -> None:
    tf.random.set_seed(5)
    model = models.TFRobertaForMaskedLM(RobertaConfig(**SIZES), dtype=dtype)
    assert {layer.dtype_policy.name for layer in model._flatten_layers()} == {dtype}
    assert call(model).dtype == model.compute_dtype
    exact = call(make()).numpy().astype(float)
    np.testing.assert_allclose(
        tf.cast(call(model), tf.float64), exact, atol=1e-6 if dtype == "float64" else 0.02
    )


def test_the_policy_of_all_keras() -> None:
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        assert call(make()).dtype == tf.bfloat16
    finally:
        keras.config.set_dtype_policy("float32")


def test_names_of_variables_read_well() -> None:
    model = make()
    paths = {variable.path for variable in model.weights}
    assert "roberta/encoder/layer_._1/attention/self/query/kernel" in {
        path.partition("/")[2] for path in paths
    }
    assert len(paths) == len(model.weights)
    model.summary(print_fn=lambda *_, **__: None)


class TFScored(models.TFRobertaPreTrainedModel):
    def __init__(self, config: RobertaConfig, **kwargs: Any) -> None:
        super().__init__(config, **kwargs)
        self.roberta = models.TFRobertaMainLayer(config, add_pooling_layer=False, name="roberta")
        self.scorers = [keras.layers.Dense(3, activation="relu"), keras.layers.Dense(1)]
        self.post_init()

    def build(self, input_shape: Any = None) -> None:
        self.roberta.build(None)
        self.scorers[0].build((None, self.config.hidden_size))
        self.scorers[1].build((None, 3))

    def call(self, input_ids: Any = None, attention_mask: Any = None, training: bool = False) -> Any:
        first = self.roberta(input_ids, attention_mask=attention_mask, training=training)[0][:, 0]
        return self.scorers[1](self.scorers[0](first))


def test_a_model_of_ones_own(tmp_path: Path) -> None:
    keras.utils.set_random_seed(3)
    model = TFScored(RobertaConfig(**SIZES))
    names = list(contents_of(model).table)
    assert names[0] == "roberta.embeddings.word_embeddings.weight"
    assert names[-4:] == ["scorers.0.weight", "scorers.0.bias", "scorers.1.weight", "scorers.1.bias"]
    assert contents_of(model).table["scorers.0.weight"].shape == (3, 16)
    model.save_pretrained(tmp_path)
    again, report = TFScored.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report.values())
    np.testing.assert_array_equal(again(IDS), model(IDS))
    backbone = models.TFRobertaModel.from_pretrained(tmp_path, add_pooling_layer=False, strict=False)
    np.testing.assert_array_equal(backbone(IDS)[0], model.roberta(tf.constant(IDS))[0])
    model.save(tmp_path / "model.keras")
    np.testing.assert_array_equal(keras.models.load_model(tmp_path / "model.keras")(IDS), model(IDS))
    model.compile("sgd", loss="mse")
    assert np.isfinite(model.train_on_batch(IDS, np.ones((2, 1), np.float32)))


def test_documented_methods_are_there() -> None:
    model = make()
    assert model.get_lm_head() is model.lm_head
    assert list(model.get_bias()) == ["lm_head.bias"]
    assert model.base_model is model.roberta
    assert inspect.signature(type(model)).parameters.keys() >= {"config"}
