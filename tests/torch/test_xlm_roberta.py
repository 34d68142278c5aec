"""XLM-RoBERTa's names, and the automatic classes that choose them."""

import numpy as np
import torch

from robertakit import AutoModel, AutoModelForMaskedLM, XLMRobertaConfig
from robertakit import numpy as specification
from robertakit.torch import XLMRobertaForMaskedLM, XLMRobertaModel


def test_automatic_classes_choose_them_and_the_numbers_are_the_specifications(golden):
    folder = golden / "fill_mask" / "xlm-roberta"
    model = AutoModelForMaskedLM.from_pretrained(folder)
    assert type(model) is XLMRobertaForMaskedLM
    assert type(model.config) is XLMRobertaConfig
    assert type(AutoModel.from_pretrained(folder, add_pooling_layer=False)) is XLMRobertaModel
    ids = [[0, 9, 11, 4, 2]]
    want = specification.load(folder, "XLMRobertaForMaskedLM")(ids).logits
    np.testing.assert_allclose(model(torch.tensor(ids)).logits.detach().numpy(), want, rtol=0, atol=1e-5)
