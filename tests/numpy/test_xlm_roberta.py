"""XLM-RoBERTa's models are RoBERTa's with another configuration class, and nothing else."""

import numpy as np
import pytest

import robertakit.numpy as family
from robertakit import XLMRobertaConfig
from robertakit.architecture import HEADS
from robertakit.numpy import xlm_roberta


@pytest.mark.parametrize("head", HEADS)
def test_a_class_differs_from_robertas_by_its_configuration_alone(head, padded, small):
    suffix = HEADS[head].class_suffix
    ours, base = getattr(family, f"XLMRoberta{suffix}"), getattr(family, f"Roberta{suffix}")
    assert ours.__mro__[1] is base
    assert {key for key in vars(ours) if not key.startswith("__")} == {"config_class"}
    assert ours.config_class is XLMRobertaConfig
    ids = padded[0][:, None] if head == "multiple-choice" else padded[0]
    np.testing.assert_array_equal(small(f"XLMRoberta{suffix}")(ids)[0], small(f"Roberta{suffix}")(ids)[0])


def test_all_seven_are_exported():
    assert set(xlm_roberta.__all__) == {f"XLMRoberta{head.class_suffix}" for head in HEADS.values()}
    assert set(xlm_roberta.__all__) <= set(family.__all__) <= set(dir(family))
    with pytest.raises(AttributeError, match="RobertaForSpeech"):
        family.RobertaForSpeech  # noqa: B018
