"""The heads of the first token: what labels mean, choices, what is refused."""

import jax.numpy as jnp
import numpy as np
import pytest

from robertakit.errors import BadShape, InputError


def softplus(x):
    return np.logaddexp(0, x)


@pytest.mark.parametrize(
    ("fields", "labels", "loss"),
    [
        ({"num_labels": 1}, [0.5, 2.0, -1, 3], lambda x, y: np.square(x[:, 0] - y).mean()),
        ({"num_labels": 1}, [1, 2, 0, 1], lambda x, y: np.square(x[:, 0] - y).mean()),
        (
            {"num_labels": 3},
            [[1.0, 0, 1], [0, 0, 1], [0, 0, 0], [1, 1, 1]],
            lambda x, y: (softplus(x) - x * y).mean(),
        ),
        (
            {"num_labels": 3},
            [2, 0, -100, 1],
            lambda x, y: (np.logaddexp.reduce(x, 1) - x[range(4), y % 3])[[0, 1, 3]].mean(),
        ),
    ],
)
def test_labels_say_which_loss(fields, labels, loss, models):
    model, labels = models.build("sequence-classification", **fields), np.array(labels)
    out = model(**models.call("sequence-classification"), labels=labels)
    np.testing.assert_allclose(out.loss, loss(np.asarray(out.logits, np.float64), labels), rtol=1e-5)


def test_labels_that_do_not_fit(models):
    model, call = models.build("sequence-classification"), models.call("sequence-classification", labels=True)
    with pytest.raises(BadShape, match="labels of shape"):
        model(**call | {"labels": call["labels"][:3]})
    with pytest.raises(InputError, match="label 3; expected 0 to 2"):
        model(**call | {"labels": call["labels"] * 0 + 3})


def test_choices_that_are_no_choices(models):
    model, call = models.build("multiple-choice"), models.call("multiple-choice", labels=True)
    with pytest.raises(InputError, match="label 2; expected 0 to 1"):
        model(**call | {"labels": np.full(4, 2)})
    with pytest.raises(BadShape, match=r"input_ids of shape \(4, 9\); expected \(batch, choices, length\)"):
        model(call["input_ids"][:, 0])


def test_embeddings_take_the_place_of_ids_and_states_come_for_each_choice(models):
    model, call = models.build("multiple-choice"), models.call("multiple-choice", (6, 6, 6))
    table = model.params["roberta"]["embeddings"]["word_embeddings"]["embedding"]
    embeds = jnp.take(table, call.pop("input_ids"), axis=0)
    found = models.compiled(model, inputs_embeds=embeds, output_hidden_states=True, **call)
    assert found.logits.shape == (3, 2)
    assert [states.shape for states in found.hidden_states] == [(6, 6, 24)] * 3
    for row in range(3):
        one = {name: value[row : row + 1] for name, value in call.items()}
        alone = models.compiled(model, inputs_embeds=embeds[row : row + 1], **one).logits[0]
        np.testing.assert_allclose(found.logits[row], alone, rtol=0, atol=1e-5)
