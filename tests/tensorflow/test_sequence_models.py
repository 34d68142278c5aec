"""The heads of the first token: what labels mean, choices, what is refused."""

import numpy as np
import pytest
import tensorflow as tf

from robertakit.errors import BadShape, InputError
from robertakit.tensorflow.sequence_models import TFRobertaForSequenceClassification


@pytest.mark.parametrize(
    ("fields", "labels", "problem"),
    [
        ({"num_labels": 3}, [2, 0], "single_label_classification"),
        ({"num_labels": 3}, [[1.0, 0, 1], [0, 0, 1]], "multi_label_classification"),
        ({"num_labels": 1}, [0.5, 2.0], "regression"),
        ({"num_labels": 1}, [1, 2], "regression"),
    ],
)
def test_the_first_labels_settle_the_problem(fields, labels, problem, tiny):
    model = TFRobertaForSequenceClassification(tiny(**fields))
    out = model(np.array([[0, 5, 2], [0, 6, 2]]), labels=np.array(labels))
    assert model.config.problem_type == problem
    assert out.loss.shape == ()
    assert np.isfinite(out.loss)


def test_numbers_to_predict_keep_their_precision_under_a_mixed_policy(models, build):
    model = build("sequence-classification", num_labels=1, dtype="mixed_float16")
    labels = np.array([2049.0, 0.1, 0.2, 0.3, 0.4], np.float32)  # float16 has no 2049
    out = model(**models.ragged("sequence-classification"), labels=labels)
    want = np.square(tf.cast(out.logits[:, 0], tf.float32) - labels).mean()
    np.testing.assert_allclose(out.loss, want, rtol=1e-6)


def test_labels_that_do_not_fit_settle_nothing(models, build):
    model = build("sequence-classification")
    call = models.ragged("sequence-classification", labels=True)
    with pytest.raises(BadShape, match="labels of shape"):
        model(**call | {"labels": call["labels"][:3]})
    with pytest.raises(InputError, match="label 3; expected 0 to 2"):
        model(**call | {"labels": call["labels"] * 0 + 3})
    assert model.config.problem_type is None


def test_choices_that_are_no_choices(models, build):
    model = build("multiple-choice")
    call = models.ragged("multiple-choice", labels=True)
    with pytest.raises(InputError, match="label 2; expected 0 to 1"):
        model(**call | {"labels": np.full(5, 2)})
    with pytest.raises(BadShape, match=r"input_ids of shape \(5, 9\); expected \(batch, choices, length\)"):
        model(call["input_ids"][:, 0])


def test_embeddings_take_the_place_of_ids_and_states_come_for_each_choice(models, build):
    model = build("multiple-choice")
    call = models.ragged("multiple-choice", (6, 6, 6))
    embeds = model.roberta.embeddings.word_embeddings(call.pop("input_ids"))
    found = model(inputs_embeds=embeds, output_hidden_states=True, **call)
    assert found.logits.shape == (3, 2)
    assert [tuple(states.shape) for states in found.hidden_states] == [(6, 6, 24)] * 3
    want = [
        model(inputs_embeds=embeds[row : row + 1], **{k: v[row : row + 1] for k, v in call.items()}).logits
        for row in range(3)
    ]
    np.testing.assert_allclose(found.logits, tf.concat(want, 0), rtol=0, atol=1e-5)
