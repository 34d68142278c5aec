"""Output containers: attribute, key, index and tuple agree, however a container is made, changed or copied."""

import copy
import dataclasses
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from robertakit import outputs
from robertakit.errors import ArgumentError
from robertakit.outputs import MaskedLMOutput, ModelOutput

#: Fields in the documented order.
FIELDS = {
    "BaseModelOutput": "last_hidden_state hidden_states attentions",
    "BaseModelOutputWithPooling": "last_hidden_state pooler_output hidden_states attentions",
    "BaseModelOutputWithCrossAttentions": "last_hidden_state hidden_states attentions cross_attentions",
    "BaseModelOutputWithPastAndCrossAttentions": (
        "last_hidden_state past_key_values hidden_states attentions cross_attentions"
    ),
    "BaseModelOutputWithPoolingAndCrossAttentions": (
        "last_hidden_state pooler_output hidden_states past_key_values attentions cross_attentions"
    ),
    "MaskedLMOutput": "loss logits hidden_states attentions",
    "CausalLMOutputWithCrossAttentions": "loss logits past_key_values hidden_states attentions cross_attentions",
    "SequenceClassifierOutput": "loss logits hidden_states attentions",
    "MultipleChoiceModelOutput": "loss logits hidden_states attentions",
    "TokenClassifierOutput": "loss logits hidden_states attentions",
    "QuestionAnsweringModelOutput": "loss start_logits end_logits hidden_states attentions",
}


def test_every_container_is_listed_and_registered():
    of_frameworks = {name for name in outputs.__all__ if name.startswith(("TF", "Flax"))}
    assert set(outputs.__all__) - of_frameworks == {*FIELDS, "ModelOutput"}
    for name in of_frameworks:
        assert getattr(outputs, name).__name__ == name.removeprefix("TF").removeprefix("Flax")
    ours = {kind.__name__ for kind in ModelOutput.registry if kind.__module__ == outputs.__name__}
    assert ours == set(FIELDS)  # other modules add theirs, such as those of generate()


@pytest.mark.parametrize("name", FIELDS)
def test_fields_and_views(name):
    kind, names = getattr(outputs, name), FIELDS[name].split()
    assert [field.name for field in dataclasses.fields(kind)] == names
    full = kind(**{field: number for number, field in enumerate(names)})
    assert list(full) == list(full.keys()) == names
    assert full.to_tuple() == tuple(full.values()) == full[:] == tuple(range(len(names)))
    for number, field in enumerate(names):
        assert getattr(full, field) == full[field] == full[number] == full[number - len(names)] == number
    assert full[1:3] == (1, 2)
    assert isinstance(full, dict)


def test_none_is_left_out():
    output = MaskedLMOutput(logits=3)
    assert output.loss is None
    assert "loss" not in output
    assert list(output) == ["logits"]
    assert output[0] == 3
    assert len(output) == 1
    with pytest.raises(KeyError):
        output["loss"]
    with pytest.raises(IndexError):
        output[1]
    assert output.get("loss", "none") == "none"
    with pytest.raises(AttributeError):
        output.logit  # noqa: B018


def test_setting_an_attribute_and_setting_a_key_are_one():
    output = MaskedLMOutput(logits=3, attentions=(1,))
    output.loss = 7
    assert list(output) == ["loss", "logits", "attentions"]
    output["hidden_states"] = (5,)
    assert output.hidden_states == (5,)
    assert output.to_tuple() == (7, 3, (5,), (1,))
    output["logits"] = 4
    assert output.logits == output[1] == 4
    output.loss = None
    assert list(output) == ["logits", "hidden_states", "attentions"]


@pytest.mark.parametrize(
    "pairs",
    [
        [("logits", 2), ("loss", 1)],
        (("logits", 2), ("loss", 1)),
        {"logits": 2, "loss": 1},
        iter([("logits", 2), ("loss", 1)]),
        ((name, value) for name, value in (("logits", 2), ("loss", 1))),
        {"loss": 1, "logits": 2}.items(),
    ],
    ids=["list", "tuple", "mapping", "iterator", "generator", "items"],
)
def test_made_from_pairs_as_tree_utilities_do(pairs):
    output = MaskedLMOutput(pairs)
    assert (output.loss, output.logits) == (1, 2)
    assert list(output) == ["loss", "logits"]


def test_made_empty_and_filled_by_key_as_tree_utilities_do():
    output = MaskedLMOutput()
    for name, value in (("logits", 2), ("loss", 1)):
        output[name] = value
    assert (output.loss, output.logits, list(output)) == (1, 2, ["loss", "logits"])


@pytest.mark.parametrize("first", [np.ones((2, 2)), (np.ones(2), np.ones(2)), 3.5, "text"])
def test_a_first_field_is_not_taken_for_pairs(first):
    assert outputs.BaseModelOutput(first).last_hidden_state is first


def test_empty_collections_of_pairs_give_nothing():
    assert len(MaskedLMOutput({})) == len(MaskedLMOutput(iter(()))) == 0


def test_a_bare_model_output_takes_any_names():
    output = ModelOutput({"a": 1, "b": None})
    assert (output.a, output["a"], output[0], len(output)) == (1, 1, 1, 1)


@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x)), lambda x: x.copy()]
)
def test_copies(copied):
    output = MaskedLMOutput(logits=np.arange(3), attentions=(np.ones(2),))
    other = copied(output)
    assert type(other) is MaskedLMOutput
    assert list(other) == list(output)
    np.testing.assert_array_equal(other.logits, output.logits)
    other.loss = 1
    assert "loss" not in output


@pytest.mark.parametrize(
    "change",
    [
        lambda o: o.pop("logits"),
        lambda o: o.popitem(),
        lambda o: o.update(loss=1),
        lambda o: o.setdefault("loss", 1),
        lambda o: o.__delitem__("logits"),
    ],
)
def test_fields_cannot_be_taken_out(change):
    output = MaskedLMOutput(logits=3)
    with pytest.raises(ArgumentError, match="MaskedLMOutput; use dict"):
        change(output)
    assert output.to_tuple() == (3,)


def test_a_subclass_needs_its_fields_alone():
    @dataclasses.dataclass(eq=False)
    class Own(ModelOutput):
        score: object = None
        trace: object = None

    try:
        assert Own(trace=1)[0] == 1
        assert Own in ModelOutput.registry
    finally:
        ModelOutput.registry.remove(Own)


def test_replace_of_dataclasses_works():
    assert dataclasses.replace(MaskedLMOutput(logits=3), loss=1).to_tuple() == (1, 3)


def test_no_framework_and_no_numpy_is_imported():
    code = "import sys, robertakit.outputs, robertakit.configuration; print({'numpy', 'torch'} & set(sys.modules))"
    environment = {**os.environ, "PYTHONPATH": str(Path(outputs.__file__).resolve().parent.parent)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout.strip() == "set()"
