"""`compile`, `fit`, `evaluate`, `predict`: labels in the inputs and beside them, with and without a loss."""

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import robertakit.tensorflow as models
from robertakit import RobertaConfig
from robertakit.errors import ArgumentError, InputError

SIZES: dict[str, Any] = {
    "vocab_size": 29,
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "intermediate_size": 24,
    "max_position_embeddings": 20,
    "num_labels": 2,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}
RNG = np.random.default_rng(3)
IDS = RNG.integers(3, 29, (8, 6)).astype(np.int32)
MASK = np.ones_like(IDS)
X = {"input_ids": IDS, "attention_mask": MASK}
CLASSES = (IDS[:, 1] % 2).astype(np.int32)
#: Of the plainest optimizer. Adam, which makes variables while a step is traced, so that TensorFlow traces it twice and
#: over more operations, costs four times as much: it is used where an optimizer's state matters.
RATE = 0.05
BARE = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def make(head: str = "SequenceClassification", **fields: Any) -> Any:
    keras.utils.set_random_seed(7)
    return getattr(models, f"TFRobertaFor{head}")(RobertaConfig(**(SIZES | fields)))


def losses_of(model: Any, *data: Any, epochs: int = 2, **kwargs: Any) -> list[float]:
    return model.fit(*data, epochs=epochs, verbose=0, shuffle=False, batch_size=4, **kwargs).history["loss"]


def with_labels(x: Any) -> Any:
    return {**x, "labels": CLASSES}


def test_each_way_to_give_labels_trains_alike() -> None:
    found = {}
    for name, loss, data in (
        ("inside", None, (with_labels(X),)),
        ("beside", None, (X, CLASSES)),
        ("beside, by name", None, (X, {"labels": CLASSES})),
        ("beside, a list of inputs", None, ([IDS, MASK], CLASSES)),
        ("ids alone", None, (IDS, CLASSES)),
        ("a loss", BARE, (X, CLASSES)),
        ("a loss, labels inside", BARE, (with_labels(X),)),
        ("a loss by name", {"logits": BARE}, (X, CLASSES)),
        ("a loss and labels by name", {"logits": BARE}, (X, {"logits": CLASSES})),
    ):
        model = make()
        model.compile(keras.optimizers.SGD(RATE), loss=loss)
        found[name] = losses_of(model, *data)
        assert found[name][1] < found[name][0], name
    for name, losses in found.items():
        np.testing.assert_allclose(losses, found["inside"], rtol=1e-5, err_msg=name)


def test_the_loss_is_the_models_own() -> None:
    model = make()
    model.compile("sgd")
    expected = float(model(**X, labels=CLASSES).loss)
    assert model.evaluate(with_labels(X), verbose=0) == pytest.approx(expected, rel=1e-5)
    assert model.evaluate(X, CLASSES, verbose=0) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    "options", [{"jit_compile": True}, {"run_eagerly": True}, {"steps_per_execution": 2}], ids=str
)
@pytest.mark.parametrize("optimizer", ["SGD", pytest.param("Adam", marks=pytest.mark.slow)])
def test_ways_to_execute(optimizer: str, options: dict[str, Any]) -> None:
    model = make()
    rate = {"SGD": RATE, "Adam": 1e-2}[optimizer]
    model.compile(getattr(keras.optimizers, optimizer)(rate), metrics=["accuracy"], **options)
    first, second = losses_of(model, with_labels(X))
    assert second < first


def test_data_sets() -> None:
    inside = tf.data.Dataset.from_tensor_slices(with_labels(X)).batch(4)
    beside = tf.data.Dataset.from_tensor_slices((X, CLASSES)).batch(4)
    found = []
    for data in (inside, beside):
        model = make()
        model.compile(keras.optimizers.SGD(RATE))
        found.append(model.fit(data, epochs=2, verbose=0, shuffle=False).history["loss"])
    np.testing.assert_allclose(found[0], found[1], rtol=1e-5)


def test_metrics() -> None:
    model = make()
    model.compile(keras.optimizers.SGD(RATE), metrics=["accuracy"])
    model.fit(with_labels(X), epochs=15, verbose=0, batch_size=4)
    report = model.evaluate(X, CLASSES, verbose=0, return_dict=True)
    predicted = model.predict(X, verbose=0).logits.argmax(-1)
    assert report["accuracy"] == pytest.approx((predicted == CLASSES).mean())
    assert model.evaluate(with_labels(X), verbose=0, return_dict=True) == pytest.approx(report)
    assert report["accuracy"] > 0.8


def test_metrics_by_name() -> None:
    model = make()
    model.compile("sgd", loss=BARE, metrics={"logits": ["accuracy"]})
    report = model.evaluate(X, CLASSES, verbose=0, return_dict=True)
    assert any("accuracy" in name for name in report)


def test_validation_split_and_data() -> None:
    model = make()
    model.compile("sgd", metrics=["accuracy"])
    history = model.fit(X, CLASSES, validation_split=0.5, epochs=1, verbose=0).history
    assert {"loss", "accuracy", "val_loss", "val_accuracy"} <= set(history)
    history = model.fit(with_labels(X), validation_data=(X, CLASSES), epochs=1, verbose=0).history
    assert "val_loss" in history


def test_weights_of_rows() -> None:
    weights = np.array([1, 1, 1, 1, 0, 0, 0, 0], np.float32)
    model = make()
    model.compile("sgd", loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="sum"))
    expected = float(model(input_ids=IDS[:4], labels=CLASSES[:4]).loss) * 4
    found = model.evaluate(X, CLASSES, sample_weight=weights, batch_size=8, verbose=0)
    assert found == pytest.approx(expected, rel=1e-5)
    model.compile("sgd", run_eagerly=True)
    with pytest.raises(ArgumentError, match="sample_weight"):
        model.fit(X, CLASSES, sample_weight=weights, verbose=0)


def test_no_labels_is_one_sentence() -> None:
    model = make()
    for loss in (None, BARE):
        model.compile("sgd", loss=loss)
        with pytest.raises(InputError, match="a batch without labels for TFRobertaForSequenceClassification"):
            model.fit(X, verbose=0)
    backbone = models.TFRobertaModel(RobertaConfig(**SIZES))
    backbone.compile("sgd")
    with pytest.raises(ArgumentError, match="no loss of its own"):
        backbone.fit(X, CLASSES, verbose=0)


def test_predict_has_a_row_for_each_input() -> None:
    model = make()
    wanted = model(**X).logits
    for x in (X, with_labels(X), [IDS, MASK]):
        out = model.predict(x, batch_size=3, verbose=0)
        assert type(out).__name__ == "SequenceClassifierOutput"
        assert list(out) == ["logits"]
        np.testing.assert_allclose(out.logits, wanted, atol=1e-6)
    model.config.output_hidden_states = True
    model = make(output_hidden_states=True)
    assert model.predict(X, batch_size=3, verbose=0).hidden_states[0].shape == (8, 6, 16)


def test_words_and_their_ignored_labels() -> None:
    labels = np.where(RNG.random(IDS.shape) < 0.5, IDS, -100)
    labels[:, 0] = IDS[:, 0]
    ignoring = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=-100)
    model = make("MaskedLM")
    model.compile("sgd", weighted_metrics=["accuracy"])
    expected = float(model(IDS, labels=labels).loss)
    report = model.evaluate({"input_ids": IDS, "labels": labels}, batch_size=8, verbose=0, return_dict=True)
    assert report["loss"] == pytest.approx(expected, rel=1e-5)
    hits = (model(IDS).logits.numpy().argmax(-1) == labels)[labels != -100]
    assert report["accuracy"] == pytest.approx(hits.mean(), abs=1e-6)
    model = make("MaskedLM")
    model.compile("sgd", loss=ignoring, jit_compile=True)
    found = model.evaluate({"input_ids": IDS}, labels, batch_size=8, verbose=0)
    assert found == pytest.approx(expected, rel=1e-5)
    model.compile("sgd", jit_compile=True)
    assert np.isfinite(model.train_on_batch({"input_ids": IDS, "labels": np.full_like(IDS, -100)}))


def test_answers_with_two_labels() -> None:
    spans = {"start_positions": IDS[:, 0] % 6, "end_positions": IDS[:, 1] % 6}
    by_output = {"start_logits": spans["start_positions"], "end_logits": spans["end_positions"]}
    model = make("QuestionAnswering")
    expected = float(model(**X, **spans).loss)
    for loss, y, factor in (
        (None, None, 1),
        (None, spans, 1),
        (None, list(spans.values()), 1),
        (None, by_output, 1),
        ({"start_logits": BARE, "end_logits": BARE}, spans, 2),
        ({"start_logits": BARE, "end_logits": BARE}, by_output, 2),
        (BARE, spans, 2),
    ):
        model.compile("sgd", loss=loss)
        x = {**X, **spans} if y is None else X
        report = model.evaluate(x, y, batch_size=8, verbose=0, return_dict=True)
        assert report["loss"] == pytest.approx(expected * factor, rel=1e-5)
    assert set(model.predict({**X, **spans}, verbose=0)) == {"start_logits", "end_logits"}


@pytest.mark.parametrize(
    ("head", "labels"),
    [
        ("TokenClassification", lambda: IDS % 2),
        ("CausalLM", lambda: IDS),
        ("MultipleChoice", lambda: CLASSES),
    ],
)
def test_the_other_heads(head: str, labels: Any) -> None:
    model = make(head, is_decoder=head == "CausalLM")
    x = {"input_ids": np.stack([IDS, IDS[:, ::-1]], 1) if head == "MultipleChoice" else IDS}
    model.compile(keras.optimizers.SGD(RATE))
    first, second = losses_of(model, x, labels())
    assert second < first
    first, second = losses_of(model, {**x, "labels": labels()})
    assert second < first


@pytest.mark.parametrize(("labels", "fields"), [((8, 2), {}), ((8,), {"num_labels": 1})])
def test_numbers_and_several_labels(labels: tuple[int, ...], fields: dict[str, Any]) -> None:
    values = RNG.random(labels).astype(np.float32)
    values = (values > 0.5).astype(np.float32) if len(labels) == 2 else values
    model = make(**fields)
    model.compile(keras.optimizers.SGD(RATE))
    expected = float(model(**X, labels=values).loss)
    assert model.evaluate(X, values, batch_size=8, verbose=0) == pytest.approx(expected, rel=1e-5)
    first, second = losses_of(model, X, values)
    assert second < first


def test_tuples_train_too() -> None:
    model = make(return_dict=False)
    model.compile(keras.optimizers.SGD(RATE), metrics=["accuracy"])
    first, second = losses_of(model, with_labels(X))
    assert second < first
    first, second = losses_of(model, X, CLASSES)
    assert second < first


def test_losses_that_layers_add_count_once() -> None:
    model = make()
    model.compile("sgd")
    before = model.evaluate(with_labels(X), verbose=0)
    model.classifier.out_proj.kernel.regularizer = keras.regularizers.L2(0.5)
    added = 0.5 * float(tf.reduce_sum(model.classifier.out_proj.kernel**2))
    model.compile("sgd")
    assert model.evaluate(with_labels(X), verbose=0) == pytest.approx(before + added, rel=1e-5)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision(policy: str) -> None:
    keras.utils.set_random_seed(7)
    model = models.TFRobertaForSequenceClassification(RobertaConfig(**SIZES), dtype=policy)
    out = model(**X, labels=CLASSES)
    assert out.loss.dtype == tf.float32
    assert out.logits.dtype == model.compute_dtype
    assert {variable.dtype for variable in model.weights} == {"float32"}
    exact = make()(**X).logits
    np.testing.assert_allclose(tf.cast(out.logits, tf.float32), exact, atol=0.02)
    model.compile(keras.optimizers.SGD(RATE))
    first, second = losses_of(model, with_labels(X))
    assert second < first


def test_a_model_with_its_optimizer_comes_back(tmp_path: Any) -> None:
    model = make()
    model.compile(keras.optimizers.Adam(1e-2), metrics=["accuracy"])
    model.optimizer.build(model.trainable_variables)  # spares the second trace
    losses_of(model, with_labels(X), epochs=1)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert losses_of(again, with_labels(X), epochs=1) == pytest.approx(
        losses_of(model, with_labels(X), epochs=1), rel=1e-5
    )


def test_a_functional_model_around_one_trains() -> None:
    keras.utils.set_random_seed(7)
    inputs = {name: keras.Input((6,), dtype="int32", name=name) for name in X}
    backbone = models.TFRobertaModel(RobertaConfig(**SIZES), add_pooling_layer=False)
    pooled = backbone(inputs, output_hidden_states=True).hidden_states[-1][:, 0]
    model = keras.Model(inputs, keras.layers.Dense(2)(pooled))
    model.compile(keras.optimizers.SGD(RATE / 10), loss=BARE, metrics=["accuracy"])
    first, second = losses_of(model, X, CLASSES)
    assert second < first
