"""XLM-RoBERTa is RoBERTa with another configuration class, and nothing else."""

import numpy as np
import pytest

from robertakit import FlaxXLMRobertaForMaskedLM, XLMRobertaConfig
from robertakit import numpy as specification
from robertakit.architecture import HEADS
from robertakit.jax import xlm_roberta


def test_the_numbers_are_the_specifications(golden):
    folder = golden / "fill_mask" / "xlm-roberta"
    model = FlaxXLMRobertaForMaskedLM.from_pretrained(folder)
    assert type(model.config) is XLMRobertaConfig
    ids = np.array([[0, 9, 11, 4, 2]])
    want = specification.load(folder, "XLMRobertaForMaskedLM")(ids).logits
    np.testing.assert_allclose(model(ids).logits, want, rtol=0, atol=1e-5)


@pytest.mark.parametrize("head", HEADS)
def test_a_class_adds_nothing(head):
    kind = getattr(xlm_roberta, f"FlaxXLMRoberta{HEADS[head].class_suffix}")
    assert not {name for name in vars(kind) if not name.startswith("__")}
    assert kind.config_class is XLMRobertaConfig
    assert kind.head == head
