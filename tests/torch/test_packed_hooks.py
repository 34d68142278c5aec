"""On packed tokens every documented submodule is called, and what hooks and replacements make of it counts."""

from types import ModuleType

import pytest
import torch
from torch import Tensor, nn

HEADS = ["model", "masked-lm", "sequence-classification", "token-classification", "question-answering"]
# Lists of modules and containers are called by nobody; dropout on attention maps happens inside the operator.
UNCALLED = ("encoder.layer", "attention.self.dropout")


def submodules(model: nn.Module) -> dict[str, nn.Module]:
    """All modules of the model that compute something, by path."""
    return {path: module for path, module in model.named_modules() if path and not path.endswith(UNCALLED)}


@pytest.mark.parametrize("head", HEADS)
def test_every_module_is_called_with_real_rows_only(models: ModuleType, head: str) -> None:
    model = models.build(head, attn_implementation="packed")
    call = models.ragged(head)
    real = int(call["attention_mask"].sum())
    rows: dict[str, int] = {}

    def count(path: str, given: tuple[Tensor, ...]) -> None:
        if given and isinstance(given[0], Tensor) and given[0].is_floating_point():
            rows[path] = given[0].numel() // given[0].shape[-1]

    called: set[str] = set()
    for path, module in submodules(model).items():
        module.register_forward_pre_hook(
            lambda _, given, path=path: (called.add(path), count(path, given))[1]
        )
    model(**call)
    assert called == set(submodules(model))
    inside = {path: number for path, number in rows.items() if "encoder.layer." in path}
    assert len(inside) > 20
    assert set(inside.values()) == {real}


@pytest.mark.parametrize("path", ["query", "key", "value"])
def test_what_a_hook_returns_and_a_replacement_computes_counts(models: ModuleType, path: str) -> None:
    model = models.build("masked-lm", attn_implementation="packed")
    call = models.ragged("masked-lm")
    own = model.roberta.encoder.layer[1].attention.self
    linear = getattr(own, path)
    with torch.no_grad():
        before = model(**call).logits
        handle = linear.register_forward_hook(lambda module, given, out: out * 0.5)
        hooked = model(**call).logits
        handle.remove()
        assert torch.equal(model(**call).logits, before)

        class Halved(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.inner = linear

            def forward(self, rows: Tensor) -> Tensor:
                halved: Tensor = self.inner(rows) * 0.5
                return halved

        setattr(own, path, Halved())
        replaced = model(**call).logits
        model.config.attn_implementation = "sdpa"
        padded = model(**call).logits
    real = call["attention_mask"].bool()
    assert not torch.allclose(before[real], hooked[real])
    assert torch.equal(hooked, replaced)
    torch.testing.assert_close(replaced[real], padded[real], rtol=1e-5, atol=1e-5)


def test_gradient_hooks_fire_in_the_order_of_the_layers(models: ModuleType) -> None:
    model = models.build("masked-lm", attn_implementation="packed")
    call = models.ragged("masked-lm", labels=True)
    order: list[int] = []
    for number, layer in enumerate(model.roberta.encoder.layer):
        for linear in (layer.attention.self.query, layer.attention.self.value, layer.output.dense):
            linear.register_full_backward_hook(lambda module, into, out, n=number: order.append(n))
    model(**call).loss.backward()
    assert order == [1, 1, 1, 0, 0, 0]
