"""Keywords of `from_pretrained`: whose is which, and tensors under other names."""

import numpy as np
import pytest

from robertakit.checkpoints.arguments import renamed, split_arguments
from robertakit.checkpoints.tensors import StoredTensor
from robertakit.configuration import CamembertConfig, RobertaConfig, XLMRobertaConfig
from robertakit.errors import ArgumentError


class Closed:
    def __init__(self, config, scale=1.0, num_labels=None):
        pass


class Open:
    def __init__(self, config, **kwargs):
        pass


def split(kind, kwargs, given=None, fields=None, **more):
    return split_arguments(kind, RobertaConfig, given, lambda: dict(fields or {}), kwargs, {"strict"}, **more)


def test_a_keyword_is_a_field_or_the_constructors():
    config, own = split(Closed, {"vocab_size": 7, "scale": 2.0})
    assert (config.vocab_size, own) == (7, {"scale": 2.0})
    config, own = split(Closed, {"num_labels": 5})  # both know it
    assert (config.num_labels, own) == (2, {"num_labels": 5})
    with pytest.raises(ArgumentError, match="scal"):
        split(Closed, {"scal": 2.0})
    with pytest.raises(ArgumentError, match="stric"):
        split(Closed, {"stric": True})


def test_a_constructor_may_take_any_or_be_told_what_it_takes():
    assert split(Open, {"anything": 1})[1] == {"anything": 1}
    assert split(Open, {"scale": 1}, own=("scale",))[1] == {"scale": 1}
    with pytest.raises(ArgumentError, match="anything"):
        split(Open, {"anything": 1}, own=("scale",))


def test_a_given_configuration_is_copied_and_takes_no_fields():
    given = RobertaConfig(vocab_size=9)
    config, own = split(Closed, {"scale": 3, "attn_implementation": "eager"}, given)
    assert config == RobertaConfig(vocab_size=9, attn_implementation="eager")
    assert config is not given
    assert own == {"scale": 3}
    with pytest.raises(ArgumentError, match="config, and vocab_size"):
        split(Closed, {"vocab_size": 3}, given)


def test_the_configuration_is_of_the_class_or_of_a_narrower_one():
    assert type(split(Closed, {}, fields={"model_type": "camembert"})[0]) is CamembertConfig
    config = split_arguments(Closed, XLMRobertaConfig, None, lambda: {"model_type": "roberta"}, {}, set())[0]
    assert type(config) is XLMRobertaConfig


def test_tensors_get_other_names():
    stored = {name: StoredTensor("F32", np.zeros(1, np.float32)) for name in ("module.a", "b")}
    assert renamed(stored, None) is stored
    assert list(renamed(stored, {r"^module\.": "", "^b$": "c", ".+": "never"})) == ["a", "c"]
    with pytest.raises(ArgumentError, match="two tensors 'x'"):
        renamed(stored, {".+": "x"})
    with pytest.raises(ArgumentError, match="regular expressions"):
        renamed(stored, {"(": ""})
