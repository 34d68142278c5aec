"""What only values tell is told in eager use; inside `jit` nothing is looked at."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from robertakit import jax as family
from robertakit.errors import BadShape, InputError, TooLong

IDS = np.array([[0, 9, 8, 2]])
LONG = np.full((1, 39), 5)


@pytest.fixture
def words(tiny):
    return family.FlaxRobertaForMaskedLM(tiny())


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"input_ids": [[0, 61, 2]]}, InputError, r"input_ids 61 at \(0, 1\); expected 0 to 60"),
        ({"input_ids": [[0, -1, 2]]}, InputError, r"input_ids -1 at \(0, 1\)"),
        ({"input_ids": np.array([[0, 2**32 + 5]])}, InputError, "input_ids 4294967301"),
        ({"input_ids": LONG}, TooLong, r"39 tokens \(position 40\); expected at most 38"),
        ({"input_ids": IDS, "token_type_ids": [[0, 0, 2, 0]]}, InputError, "token_type_ids 2"),
        ({"input_ids": IDS, "position_ids": [[2, 3, 4, 40]]}, TooLong, "position 40"),
        ({"input_ids": IDS, "attention_mask": [[1, 1, 2, 1]]}, InputError, "attention_mask with 2"),
        ({"input_ids": IDS, "attention_mask": [[1, 1, 0.5, 1]]}, InputError, "attention_mask with 0.5"),
        ({"input_ids": IDS, "labels": [[0, 61, -100, 1]]}, InputError, "label 61; expected 0 to 60, or -100"),
        ({"input_ids": IDS, "labels": [[0, 1, 2]]}, BadShape, "labels of length 3 with inputs of length 4"),
        ({"input_ids": [[0, 1], [2]]}, InputError, "input_ids as lists of several lengths"),
        ({"input_ids": 3}, BadShape, r"input_ids of shape \(\)"),
        ({"input_ids": [0, 5, 2]}, BadShape, r"input_ids of shape \(3,\)"),
        ({"input_ids": np.ones((1, 0), int)}, BadShape, "at least one token"),
        ({"input_ids": [[0.0, 1.0]]}, InputError, "input_ids of dtype float32; expected integers"),
        ({"input_ids": "text"}, InputError, "input_ids of type str"),
        ({}, InputError, "neither input_ids nor inputs_embeds"),
        ({"input_ids": IDS, "inputs_embeds": np.ones((1, 4, 24))}, InputError, "both input_ids and"),
        ({"inputs_embeds": np.ones((1, 39, 24), np.float32)}, TooLong, "39 tokens"),
    ],
)
def test_a_wrong_call_raises(words, given, error, message):
    with pytest.raises(error, match=message):
        words(**given)


def test_padding_has_no_position_of_its_own(words):
    ids = LONG.copy()
    ids[0, :5] = 1
    assert words(ids).logits.shape == (1, 39, 61)


def test_each_head_looks_at_its_own_classes(tiny):
    choices = np.stack([IDS, IDS], 1)
    with pytest.raises(InputError, match="label 2; expected 0 to 1"):
        family.FlaxRobertaForMultipleChoice(tiny())(choices, labels=[2])
    with pytest.raises(InputError, match="label 3; expected 0 to 2"):
        family.FlaxRobertaForSequenceClassification(tiny(num_labels=3))(IDS, labels=[3])
    with pytest.raises(InputError, match="label -1; expected 0 to 2"):
        family.FlaxRobertaForTokenClassification(tiny(num_labels=3))(IDS, labels=[[0, 1, -1, 2]])
    numbers = family.FlaxRobertaForSequenceClassification(tiny(num_labels=1))
    assert numbers(IDS, labels=[7]).loss.shape == ()  # a number, no class
    spans = family.FlaxRobertaForQuestionAnswering(tiny())
    assert spans(IDS, start_positions=[99], end_positions=[1]).loss.shape == ()  # past the end: none
    several = family.FlaxRobertaForSequenceClassification(tiny(num_labels=3))
    assert several(IDS, labels=[[1.0, 0.0, 1.0]]).loss.shape == ()


def test_a_cache_counts(tiny):
    model = family.FlaxRobertaForCausalLM(tiny(is_decoder=True))
    out = model(LONG[:, :36], past_key_values=model.init_cache(1, 40))
    assert model(LONG[:, :2], past_key_values=out.past_key_values).logits.shape == (1, 2, 61)
    with pytest.raises(TooLong, match="39 tokens"):
        model(LONG[:, :3], past_key_values=out.past_key_values)


def test_nothing_is_looked_at_inside_jit(words):
    """What a trace cannot know it computes as JAX does: an id without a row is NaN there."""
    out = jax.jit(lambda ids: words(ids, params=words.params).logits)(jnp.array([[0, 61, 2]]))
    assert bool(jnp.isnan(out).any())
    with pytest.raises(BadShape):  # shapes are known
        jax.jit(lambda ids: words(ids, params=words.params).logits)(jnp.array([0, 5, 2]))
    with pytest.raises(InputError, match="label 61"):  # and so are values that are no arguments of the trace
        jax.jit(lambda ids: words(ids, params=words.params, labels=[[61, 1, 2]]).loss)(jnp.array([[0, 5, 2]]))


def test_the_look_may_be_spared(words):
    words.check_inputs = False
    assert bool(jnp.isnan(words([[0, 61, 2]]).logits).any())
