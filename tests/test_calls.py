"""Arguments that no framework takes: one sentence each, from shapes alone or from values."""

from types import SimpleNamespace

import numpy as np
import pytest

from robertakit import RobertaConfig
from robertakit.calls import (
    check_call,
    check_choices,
    check_classes,
    check_labels,
    check_past,
    check_values,
    leading_shape,
)
from robertakit.errors import ArgumentError, BadShape, InputError, TooLong
from robertakit.shapes import kind_of_dtype

IDS = np.full((3, 9), 5)


def kind_of(value):
    return kind_of_dtype(str(value.dtype)) if hasattr(value, "shape") else None


def config(**fields):
    sizes = {
        "hidden_size": 24,
        "num_attention_heads": 4,
        "num_hidden_layers": 2,
        "max_position_embeddings": 40,
    }
    return RobertaConfig(**(sizes | {"vocab_size": 61, "type_vocab_size": 2, "num_labels": 3} | fields))


def unknown(*sizes, dtype="int32"):
    """An argument of a graph."""
    return SimpleNamespace(shape=sizes, dtype=dtype)


def ones(*sizes):
    return np.ones(sizes, np.float32)


def test_what_fits():
    given = {
        "input_ids": IDS, "attention_mask": ones(3, 12), "token_type_ids": IDS[:1], "position_ids": IDS[0],
        "head_mask": ones(2, 4), "encoder_hidden_states": ones(3, 5, 24), "encoder_attention_mask": ones(3, 9, 5),
    }  # fmt: skip
    decoder = config(is_decoder=True, add_cross_attention=True)
    assert check_call(decoder, given, past=3, kind_of=kind_of) == (3, 9)
    assert check_call(decoder, given, keys=12, kind_of=kind_of) == (3, 9)
    assert check_call(config(), {"inputs_embeds": ones(3, 9, 24), "input_ids": None}, kind_of=kind_of) == (
        3,
        9,
    )
    for mask in (ones(4), ones(2, 1, 4, 1, 1), ones(2, 3, 1, 9, 9)):
        check_call(config(), {"input_ids": IDS, "head_mask": mask}, kind_of=kind_of)
    check_call(config(), {"input_ids": IDS, "encoder_hidden_states": "left aside"}, kind_of=kind_of)


def test_what_a_graph_does_not_know_fits():
    given = {
        "input_ids": unknown(None, None), "attention_mask": ones(3, 12), "position_ids": unknown(None, 7),
        "head_mask": unknown(None), "encoder_hidden_states": unknown(None, None, 24, dtype="float32"),
    }  # fmt: skip
    decoder = config(is_decoder=True, add_cross_attention=True)
    assert check_call(decoder, given, kind_of=kind_of) == (None, None)
    nothing = SimpleNamespace(shape=SimpleNamespace(rank=None), dtype="int32")
    assert check_call(config(), {"input_ids": nothing}, kind_of=kind_of) == (None, None)
    embeds = unknown(None, None, 23, dtype="float32")
    with pytest.raises(BadShape, match=r"inputs_embeds of shape \(None, None, 23\)"):
        check_call(config(), {"inputs_embeds": embeds}, kind_of=kind_of)


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ({"input_ids": None}, InputError, "neither input_ids nor inputs_embeds"),
        ({"inputs_embeds": ones(3, 9, 24)}, InputError, "both input_ids and inputs_embeds"),
        ({"input_ids": [[5]]}, InputError, "input_ids of type list; expected a tensor"),
        ({"input_ids": ones(3, 9)}, InputError, "input_ids of dtype float32; expected integers"),
        ({"input_ids": IDS[0]}, BadShape, r"input_ids of shape \(9,\); expected \(batch, length\)"),
        ({"input_ids": IDS[:, :0]}, BadShape, "at least one token"),
        (
            {"input_ids": None, "inputs_embeds": IDS},
            InputError,
            "inputs_embeds of dtype int64; expected real",
        ),
        (
            {"input_ids": None, "inputs_embeds": ones(3, 9, 8)},
            BadShape,
            r"inputs_embeds.*expected \(3, 9, 24\)",
        ),
        ({"input_ids": None, "inputs_embeds": ones(1, 39, 24)}, TooLong, r"39 tokens \(position 40\)"),
        ({"token_type_ids": ones(3, 9)}, InputError, "token_type_ids of dtype float32"),
        (
            {"token_type_ids": IDS[:2]},
            BadShape,
            r"token_type_ids.*expected \(3, 9\) or \(1, 9\), as the inputs",
        ),
        ({"position_ids": IDS[:, :4]}, BadShape, r"position_ids of shape \(3, 4\)"),
        ({"attention_mask": [[1]]}, InputError, "attention_mask of type list"),
        ({"attention_mask": ones(3, 8)}, BadShape, r"attention_mask.*expected \(3, 9\) or \(3, 9, 9\)"),
        ({"head_mask": ones(3, 4)}, BadShape, r"head_mask of shape \(3, 4\); expected \(4,\) or \(2, 4\)"),
        ({"head_mask": ones(2, 2, 4, 1, 1)}, BadShape, "head_mask"),
        ({"past_key_values": ()}, ArgumentError, "past_key_values with is_decoder=False"),
    ],
)
def test_what_does_not_fit(given, error, words):
    with pytest.raises(error, match=words):
        check_call(config(), {"input_ids": IDS, **given}, kind_of=kind_of)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"attention_mask": ones(3, 9)}, r"expected \(3, 12\) or \(3, 9, 12\), as the inputs and the cache"),
        ({"encoder_hidden_states": ones(2, 5, 24)}, r"encoder_hidden_states.*expected \(3, length, 24\)"),
        (
            {"encoder_hidden_states": ones(3, 5, 24), "encoder_attention_mask": ones(3, 4)},
            r"encoder_attention_mask of shape \(3, 4\); expected \(3, 5\)",
        ),
    ],
)
def test_what_does_not_fit_a_decoder(given, words):
    decoder = config(is_decoder=True, add_cross_attention=True)
    with pytest.raises(BadShape, match=words):
        check_call(decoder, {"input_ids": IDS, **given}, past=3, kind_of=kind_of)
    states = {"input_ids": IDS, "encoder_hidden_states": ones(3, 5, 24)}
    with pytest.raises(InputError, match="without cross-attention"):
        check_call(config(is_decoder=True), states, kind_of=kind_of)


def test_relative_positions_end_where_their_table_does():
    relative = config(position_embedding_type="relative_key")
    padded = np.where(np.arange(41) < 9, 5, 1)[None]
    check_call(relative, {"input_ids": padded[:, :40]}, kind_of=kind_of)
    with pytest.raises(TooLong, match="41 tokens with relative_key positions; expected at most 40"):
        check_call(relative, {"input_ids": padded}, kind_of=kind_of)
    with pytest.raises(TooLong, match="41 tokens"):
        check_call(relative, {"input_ids": padded[:, :1]}, past=40, kind_of=kind_of)


def test_a_cache_has_the_shape_of_the_model():
    decoder = config(is_decoder=True, pruned_heads={1: [0]})
    first, second = ones(3, 4, 7, 6), ones(3, 3, 7, 6)
    cross = ones(3, 4, 5, 6)
    assert check_past(decoder, ((first, first), [second, second]), 3) == 7
    assert check_past(decoder, ((first, first, cross, cross), (second, second, cross, cross)), None) == 7
    with pytest.raises(BadShape, match="past_key_values of 1 layers; expected 2"):
        check_past(decoder, ((first, first),), 3)
    for layer in ((second,), (first, first), (second, second[:, :, :6]), (second[:2], second[:2])):
        with pytest.raises(BadShape, match=r"two or four tensors a layer of shape \(3, 3, length, 6\)"):
            check_past(decoder, ((first, first), layer), 3)
    with pytest.raises(InputError, match="past_key_values of type int"):
        check_past(decoder, 7, 3)


def test_values_have_a_row():
    masks = {"attention_mask": ones(3, 9), "flags": np.ones((3, 9), bool)}
    check_values(config(), input_ids=IDS, token_type_ids=IDS * 0, masks=masks)
    with pytest.raises(InputError, match="input_ids 61 at"):
        check_values(config(), input_ids=IDS * 0 + 61)
    with pytest.raises(InputError, match="token_type_ids 2 at"):
        check_values(config(), token_type_ids=IDS * 0 + 2)
    with pytest.raises(TooLong, match="39 tokens"):
        check_values(config(), input_ids=IDS, past=30)
    check_values(config(), input_ids=IDS, position_ids=IDS, past=30)
    with pytest.raises(TooLong, match=r"\(position 40\)"):
        check_values(config(), input_ids=IDS, position_ids=IDS + 35)
    for value in (2, -1, 0.5, np.nan):
        with pytest.raises(InputError, match=f"attention_mask with {value:g}; expected 1 for real tokens"):
            check_values(config(), masks={"attention_mask": ones(3, 9) * value})


def test_choices_have_an_axis_of_their_own():
    check_choices("input_ids", ones(2, 3, 4))
    check_choices("inputs_embeds", ones(2, 3, 4, 5), axes=4)
    with pytest.raises(BadShape, match=r"input_ids of shape \(2, 3\); expected \(batch, choices, length\)"):
        check_choices("input_ids", ones(2, 3))
    assert leading_shape(IDS, None, kind_of=kind_of) == (3, 9)


@pytest.mark.parametrize(
    ("head", "labels", "words"),
    [
        ("masked-lm", IDS[:, :8], "labels of length 8 with inputs of length 9; expected equal lengths"),
        ("token-classification", IDS[0], r"labels of shape \(9,\); expected \(3, 9\)"),
        ("causal-lm", ones(3, 9), "labels of dtype float32; expected integers"),
        ("multiple-choice", IDS[0], r"labels of shape \(9,\); expected \(3,\)"),
        ("sequence-classification", IDS[0], r"labels of shape \(9,\); expected \(3,\)"),
        ("sequence-classification", ones(3), r"labels of shape \(3,\); expected \(3, 3\)"),
        ("sequence-classification", [1, 2, 0], "labels of type list"),
    ],
)
def test_labels_that_do_not_fit(head, labels, words):
    with pytest.raises(InputError, match=words):
        check_labels(config(), head, {"labels": labels}, (3, 9), kind_of=kind_of)


def test_labels_that_fit_and_what_they_mean():
    def check(head, labels, **fields):
        return check_labels(config(**fields), head, labels, (3, 9), kind_of=kind_of)

    assert check("masked-lm", {"labels": IDS}) is None
    assert check("masked-lm", {"labels": None}) is None
    assert check("multiple-choice", {"labels": IDS[:, :1]}) is None
    text = "RobertaForSequenceClassification"
    assert check(text, {"labels": IDS[:, 0]}) == "single_label_classification"
    assert check(text, {"labels": IDS[:, :1]}) == "single_label_classification"
    assert check(text, {"labels": ones(3, 3)}) == "multi_label_classification"
    assert check(text, {"labels": ones(3)}, num_labels=1) == "regression"
    assert check(text, {"labels": IDS[:, :1]}, num_labels=1) == "regression"
    assert check(text, {"labels": unknown(None)}) == "single_label_classification"
    ends = {"start_positions": IDS[:, 0], "end_positions": IDS[:, :1]}
    assert check("question-answering", ends) is None
    with pytest.raises(BadShape, match=r"end_positions of shape \(2,\); expected \(3,\)"):
        check("question-answering", ends | {"end_positions": IDS[:2, 0]})


@pytest.mark.parametrize("wrong", [3, -1, -99])
def test_each_label_has_a_class(wrong):
    check_classes(np.array([[0, 2, -100]]), 3)
    with pytest.raises(InputError, match=f"label {wrong}; expected 0 to 2, or -100"):
        check_classes(np.array([[0, wrong, -100]]), 3)
