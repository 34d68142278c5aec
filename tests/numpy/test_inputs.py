"""What is wrong with a call is said before anything is computed, in one sentence."""

import numpy as np
import pytest

from robertakit.errors import BadShape, InputError, TooLong

ONES = np.ones((3, 9), int)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"input_ids": [[5, 6], [7]]},
            "input_ids with rows of unequal length; expected rows of equal length",
        ),
        ({"input_ids": ONES[:, :0]}, r"input_ids of shape \(3, 0\); expected .* at least one token"),
        ({"inputs_embeds": np.ones((3, 0, 24))}, r"inputs_embeds of shape \(3, 0, 24\)"),
        ({"input_ids": [5, 6, 7]}, r"input_ids of shape \(3,\); expected \(batch, length\)"),
        (
            {"inputs_embeds": np.ones((3, 9, 23))},
            r"inputs_embeds of shape \(3, 9, 23\); expected \(3, 9, 24\)",
        ),
        (
            {"input_ids": ONES, "attention_mask": ONES[:, :8]},
            r"attention_mask of shape \(3, 8\); expected \(3, 9\)",
        ),
        ({"input_ids": ONES, "attention_mask": ONES[0]}, r"attention_mask of shape \(9,\)"),
        ({"input_ids": ONES, "attention_mask": np.ones((3, 9, 8))}, r"attention_mask of shape \(3, 9, 8\)"),
        (
            {"input_ids": ONES, "token_type_ids": ONES[:2]},
            r"token_type_ids of shape \(2, 9\); expected \(3, 9\) or \(1, 9\)",
        ),
        ({"input_ids": ONES, "position_ids": ONES[:, :4]}, r"position_ids of shape \(3, 4\)"),
        (
            {"input_ids": ONES, "head_mask": np.ones((3, 4))},
            r"head_mask of shape \(3, 4\); expected \(4,\) or \(2, 4\)",
        ),
    ],
)
def test_shapes_that_do_not_fit(small, given, message):
    with pytest.raises(BadShape, match=message):
        small("RobertaModel")(**given)


@pytest.mark.parametrize("name", ["input_ids", "token_type_ids", "position_ids"])
def test_ids_are_integers(small, name):
    given = {"input_ids": ONES, name: ONES.astype(float)}
    with pytest.raises(InputError, match=f"{name} of dtype float64; expected integers"):
        small("RobertaModel")(**given)


@pytest.mark.parametrize("value", [7, -1, 0.5, np.nan])
def test_a_mask_says_yes_or_no(small, value):
    for mask in (np.full((3, 9), value), np.full((3, 9, 9), value)):
        with pytest.raises(InputError, match=f"attention_mask with {value}; expected 1 for real tokens"):
            small("RobertaModel")(ONES, attention_mask=mask)


def test_positions_past_the_table_and_below_it(small):
    model = small("RobertaModel")
    with pytest.raises(TooLong, match=r"39 tokens \(position 40\); expected at most 38"):
        model(ONES * 5, position_ids=np.full((1, 9), 40))
    with pytest.raises(InputError, match="position_ids -1"):
        model(ONES * 5, position_ids=np.full((1, 9), -1))


def test_a_mask_covers_the_cache_too(small):
    model = small("RobertaModel", is_decoder=True)
    past = model(ONES * 5).past_key_values
    with pytest.raises(
        BadShape, match=r"attention_mask of shape \(3, 1\); expected \(3, 10\).*the inputs and the cache"
    ):
        model(ONES[:, :1] * 5, attention_mask=ONES[:, :1], past_key_values=past)


def test_a_cache_counts_towards_the_longest_input(small):
    model = small("RobertaModel", is_decoder=True)
    past = model(np.full((1, 38), 5)).past_key_values
    with pytest.raises(TooLong, match="39 tokens"):
        model([[5]], past_key_values=past)


def test_a_cache_of_other_layers_or_another_batch(small):
    model = small("RobertaModel", is_decoder=True)
    past = model(ONES * 5).past_key_values
    with pytest.raises(BadShape, match="past_key_values of 1 layers; expected 2"):
        model([[5]], past_key_values=past[:1])
    with pytest.raises(BadShape, match=r"shape \(1, 4, length, 6\)"):
        model([[5]], past_key_values=past)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("encoder_hidden_states", np.ones((3, 5, 23)), r"encoder_hidden_states of shape \(3, 5, 23\)"),
        ("encoder_hidden_states", np.ones((2, 5, 24)), r"expected \(3, length, 24\)"),
        (
            "encoder_attention_mask",
            np.ones((3, 4)),
            r"encoder_attention_mask of shape \(3, 4\); expected \(3, 5\)",
        ),
    ],
)
def test_encoder_states_that_do_not_fit(small, name, value, message):
    model = small("RobertaModel", is_decoder=True, add_cross_attention=True)
    with pytest.raises(BadShape, match=message):
        model(ONES * 5, **{"encoder_hidden_states": np.ones((3, 5, 24)), name: value})


def test_rows_of_one_broadcast_and_lists_are_taken(small):
    model = small("RobertaModel")
    ids = [[0, 5, 6], [0, 7, 8]]
    spread = model(ids, token_type_ids=[[0, 1, 1]], position_ids=[[4, 5, 6]])[0]
    written = model(np.array(ids), token_type_ids=[[0, 1, 1]] * 2, position_ids=np.array([[4, 5, 6]] * 2))[0]
    np.testing.assert_array_equal(spread, written)


def test_boolean_masks_are_masks(small, padded):
    model = small("RobertaModel")
    np.testing.assert_array_equal(model(padded[0], padded[1] == 1)[0], model(*padded)[0])


def test_an_empty_batch_and_an_empty_row(small):
    assert small("RobertaForMaskedLM")(np.zeros((0, 4), int)).logits.shape == (0, 4, 61)
