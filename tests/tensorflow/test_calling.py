"""The ways to give a model its inputs: all mean the same, in eager use, traced, compiled and functional."""

from collections import UserDict, defaultdict
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from robertakit import RobertaConfig
from robertakit.errors import ArgumentError, BadShape, InputError, TooLong
from robertakit.tensorflow import (
    TFRobertaForCausalLM,
    TFRobertaForMaskedLM,
    TFRobertaForSequenceClassification,
)
from robertakit.tensorflow.calling import as_arguments, documented, read_call

SIZES: dict[str, Any] = {
    "vocab_size": 29,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 24,
    "max_position_embeddings": 20,
    "type_vocab_size": 2,
    "initializer_range": 0.2,
}
IDS = np.array([[0, 5, 6, 2], [0, 7, 2, 1]])
MASK = (IDS != 1).astype(np.int64)
TYPES = np.array([[0, 0, 1, 1], [0, 0, 0, 0]])


@pytest.fixture(scope="module")
def model() -> Any:
    keras.utils.set_random_seed(5)
    return TFRobertaForMaskedLM(RobertaConfig(**SIZES))


@pytest.fixture(scope="module")
def logits(model: Any) -> np.ndarray:
    return model(input_ids=IDS, attention_mask=MASK, token_type_ids=TYPES).logits.numpy()


STYLES: dict[str, Callable[[Any, Any, Any, Any], Any]] = {
    "keywords": lambda m, i, a, t: m(input_ids=i, attention_mask=a, token_type_ids=t),
    "ids, then keywords": lambda m, i, a, t: m(i, attention_mask=a, token_type_ids=t),
    "in order": lambda m, i, a, t: m(i, a, t),
    "a list": lambda m, i, a, t: m([i, a, t]),
    "a tuple": lambda m, i, a, t: m((i, a, t)),
    "a list with None": lambda m, i, a, t: m([i, a, t, None]),
    "a dictionary": lambda m, i, a, t: m({"token_type_ids": t, "input_ids": i, "attention_mask": a}),
    "a dictionary with None": lambda m, i, a, t: m(
        {"input_ids": i, "attention_mask": a, "token_type_ids": t, "inputs_embeds": None}
    ),
    "a dictionary, then keywords": lambda m, i, a, t: m(
        {"input_ids": i, "attention_mask": a}, token_type_ids=t, return_dict=True
    ),
    "flags in the dictionary": lambda m, i, a, t: m(
        {"input_ids": i, "attention_mask": a, "token_type_ids": t, "output_hidden_states": True}
    ),
}
KINDS: dict[str, Callable[[np.ndarray], Any]] = {
    "int64 arrays": lambda x: x,
    "int32 tensors": lambda x: tf.constant(x, tf.int32),
    "bytes": lambda x: x.astype(np.uint8),
}


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("kind", KINDS)
def test_every_style_is_the_same_call(model: Any, logits: np.ndarray, style: str, kind: str) -> None:
    out = STYLES[style](model, *map(KINDS[kind], (IDS, MASK, TYPES)))
    np.testing.assert_array_equal(out.logits, logits)


@pytest.mark.parametrize("compiled", [False, True], ids=["traced", "compiled"])
def test_every_style_inside_a_function(model: Any, logits: np.ndarray, compiled: bool) -> None:
    @tf.function(jit_compile=compiled)
    def all_styles(i: Any, a: Any, t: Any) -> list[Any]:
        return [style(model, i, a, t).logits for style in STYLES.values()]

    for found in all_styles(*(tf.constant(x, tf.int32) for x in (IDS, MASK, TYPES))):
        np.testing.assert_allclose(found, logits, atol=2e-6)


@pytest.mark.parametrize("style", STYLES)
def test_every_style_makes_a_functional_model(model: Any, logits: np.ndarray, style: str) -> None:
    inputs = [keras.Input((None,), dtype="int32", name=name) for name in "iat"]
    out = STYLES[style](model, *inputs)
    assert type(out).__name__ == "MaskedLMOutput"
    functional = keras.Model(inputs, out.logits)
    np.testing.assert_allclose(functional([IDS, MASK, TYPES]), logits, atol=2e-6)


def test_lists_of_numbers_are_a_tensor(model: Any, logits: np.ndarray) -> None:
    lists = {"input_ids": IDS.tolist(), "attention_mask": MASK.tolist(), "token_type_ids": TYPES.tolist()}
    for out in (model(lists), model(**lists), model(IDS.tolist(), attention_mask=MASK, token_type_ids=TYPES)):
        np.testing.assert_array_equal(out.logits, logits)
    assert model([list(map(np.int64, [0, 5, 2]))]).logits.shape == (1, 3, 29), "NumPy's numbers"


@pytest.mark.parametrize("kind", [UserDict, lambda d: defaultdict(int, d)], ids=["UserDict", "defaultdict"])
def test_mappings_of_any_kind(model: Any, logits: np.ndarray, kind: Any) -> None:
    given = kind({"input_ids": IDS, "attention_mask": MASK, "token_type_ids": TYPES})
    np.testing.assert_array_equal(model(given).logits, logits)
    np.testing.assert_array_equal(model(**given).logits, logits)


def test_embeddings_alone(model: Any, logits: np.ndarray) -> None:
    embeds = tf.gather(model.get_input_embeddings().embeddings, IDS)
    places = np.array([[2, 3, 4, 5], [2, 3, 4, 1]])
    out = model(inputs_embeds=embeds, attention_mask=MASK, token_type_ids=TYPES, position_ids=places)
    np.testing.assert_allclose(out.logits, logits, atol=2e-6)


def test_the_output_is_what_was_asked_for(model: Any) -> None:
    out = model(IDS, output_hidden_states=True, output_attentions=True)
    assert list(out) == ["logits", "hidden_states", "attentions"]
    assert len(out.hidden_states) == 3
    plain = model(IDS, return_dict=False)
    assert isinstance(plain, tuple)
    np.testing.assert_array_equal(plain[0], out.logits)
    traced = tf.function(lambda ids: model(ids, output_hidden_states=True))(IDS)
    assert type(traced) is type(out)
    np.testing.assert_allclose(traced.hidden_states[1], out.hidden_states[1], atol=2e-6)


def test_flags_may_stand_in_order(model: Any) -> None:
    out = model(IDS, MASK, None, None, None, None, True)
    assert out.attentions[0].shape == (2, 4, 4, 4)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda m: m(), InputError, "neither input_ids nor inputs_embeds"),
        (lambda m: m(attention_mask=MASK), InputError, "neither input_ids nor inputs_embeds"),
        (lambda m: m(IDS, inputs_embeds=np.zeros((2, 4, 16), np.float32)), InputError, "both input_ids and"),
        (lambda m: m(IDS, atention_mask=MASK), ArgumentError, "'attention_mask', which is near it"),
        (lambda m: m({"input_ids": IDS, "mask": MASK}), ArgumentError, "unknown argument 'mask'"),
        (lambda m: m({"input_ids": IDS}, input_ids=IDS), ArgumentError, "input_ids twice"),
        (lambda m: m({"input_ids": IDS}, MASK), ArgumentError, "2 positional arguments"),
        (lambda m: m([[0, 5, 2], [0, 2]]), InputError, "lists that make no tensor"),
        (lambda m: m(IDS.astype(np.float32)), InputError, "input_ids of dtype float32"),
        (lambda m: m("text"), InputError, "input_ids of type str"),
        (lambda m: m(IDS[0]), BadShape, r"input_ids of shape \(4,\)"),
        (lambda m: m(IDS, attention_mask=MASK[:, :2]), BadShape, r"attention_mask of shape \(2, 2\)"),
        (lambda m: m(IDS + 27), InputError, "input_ids 34 at"),
        (lambda m: m(IDS, token_type_ids=TYPES + 1), InputError, "token_type_ids 2 at"),
        (lambda m: m(IDS, attention_mask=MASK * 2), InputError, "attention_mask with 2"),
        (lambda m: m(np.full((1, 30), 5)), TooLong, "30 tokens"),
        (lambda m: m(IDS, labels=IDS + 27), InputError, "label 32"),
    ],
)
def test_what_is_wrong_with_a_call_is_one_sentence(model: Any, call: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        call(model)
    assert "\n" not in str(caught.value)
    assert caught.value.given


def test_shapes_are_checked_in_a_function_too_and_values_are_not(model: Any) -> None:
    with pytest.raises(BadShape, match="attention_mask"):
        tf.function(lambda ids, mask: model(ids, attention_mask=mask))(IDS, MASK[:, :2])
    compiled = tf.function(lambda ids: model(ids).logits, jit_compile=True)
    assert compiled(IDS + 27).shape == (2, 4, 29)


def test_checks_of_values_can_be_switched_off(model: Any) -> None:
    assert model.check_inputs
    model.check_inputs = False
    try:
        model(IDS, attention_mask=MASK * 2)
    finally:
        model.check_inputs = True
    with pytest.raises(InputError):
        model(IDS, attention_mask=MASK * 2)


def test_a_cache_goes_in_as_it_came_out() -> None:
    model = TFRobertaForCausalLM(RobertaConfig(**SIZES, is_decoder=True))
    whole = model(IDS[:1])
    first = model(IDS[:1, :3])
    more = model({"input_ids": IDS[:1, 3:], "past_key_values": first.past_key_values})
    np.testing.assert_allclose(more.logits[:, -1], whole.logits[:, -1], atol=2e-6)


def test_labels_inside_the_inputs_make_a_loss() -> None:
    model = TFRobertaForSequenceClassification(RobertaConfig(**SIZES, num_labels=3))
    labels = np.array([2, 0])
    losses = [
        model(IDS, labels=labels).loss,
        model({"input_ids": IDS, "labels": labels}).loss,
        model(IDS, labels=labels.tolist()).loss,
        model(IDS, labels=labels, return_dict=False)[0],
    ]
    assert {tuple(loss.shape) for loss in losses} == {()}
    assert len({float(loss) for loss in losses}) == 1


def test_training_switches_dropout_on(model: Any) -> None:
    calm = [model(IDS).logits, model(IDS, training=False).logits]
    np.testing.assert_array_equal(*calm)
    assert not np.array_equal(model(IDS, training=True).logits, calm[0])
    assert not np.array_equal(model({"input_ids": IDS, "training": True}).logits, calm[0])


def test_reading_alone() -> None:
    names = documented(TFRobertaForMaskedLM.call)
    assert names[:3] == ("input_ids", "attention_mask", "token_type_ids")
    found = as_arguments([IDS, None, TYPES], names)
    assert list(found) == ["input_ids", "attention_mask", "token_type_ids"]
    assert found["input_ids"] is IDS
    assert found["attention_mask"] is None
    assert list(read_call(names, (IDS,), {"labels": None, "training": False}, "it")) == [
        "input_ids",
        "training",
    ]
