"""Outputs are trees to PyTorch."""

import torch
from torch.utils import _pytree as pytree


def test_every_tensor_of_an_output_is_seen_and_comes_back(models):
    model = models.build("masked-lm")
    out = model(**models.ragged("masked-lm", labels=True), output_hidden_states=True)
    doubled = pytree.tree_map(lambda tensor: 2 * tensor, out)
    assert type(doubled) is type(out)
    assert list(doubled) == ["loss", "logits", "hidden_states"]
    assert torch.equal(doubled.hidden_states[1], 2 * out.hidden_states[1])


def test_models_can_be_exported(models):
    model = models.build("sequence-classification", num_hidden_layers=1, attn_implementation="sdpa")
    call = models.ragged("sequence-classification")
    exported = torch.export.export(model, (), call).module()
    torch.testing.assert_close(exported(**call).logits, model(**call).logits)
