"""Products by oneDNN: equal to PyTorch's own, differentiable, and only where nobody looks at the layer."""

import contextlib
import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode

from robertakit.torch import linear as place
from robertakit.torch.linear import linear, product


@pytest.fixture
def counted(monkeypatch):
    """Every product goes to oneDNN that may, however small and on whatever processor; how many went."""
    calls = []
    by_onednn = place._by_onednn
    monkeypatch.setattr(place, "_WORTH_IT", 0)
    monkeypatch.setattr(place, "_slow_for_mkl", lambda: True)
    monkeypatch.setattr(place, "_by_onednn", lambda *given: calls.append(given) or by_onednn(*given))
    return calls


@contextlib.contextmanager
def without_onednn():
    """As `torch.backends.mkldnn.flags(enabled=False)`, which warns on processors."""
    torch._C._set_mkldnn_enabled(False)
    try:
        yield
    finally:
        torch._C._set_mkldnn_enabled(True)


@pytest.mark.parametrize("shape", [(5, 3), (2, 4, 3), (2, 1, 4, 3)])
@pytest.mark.parametrize("bias", [True, False])
def test_products_and_gradients_are_those_of_the_layer(shape, bias, counted):
    torch.manual_seed(0)
    layer = nn.Linear(3, 7, bias=bias)
    twin, rows = copy.deepcopy(layer), torch.randn(shape, requires_grad=True)
    same = rows.detach().clone().requires_grad_()
    ours, theirs = linear(layer, rows), twin(same)
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)
    weights = torch.randn_like(theirs)
    (ours * weights).sum().backward()
    (theirs * weights).sum().backward()
    assert counted
    torch.testing.assert_close(rows.grad, same.grad, rtol=1e-5, atol=1e-6)
    for one, other in zip(layer.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-5, atol=1e-6)


def test_rows_in_any_layout_of_memory(counted):
    layer, rows = nn.Linear(3, 7), torch.randn(3, 6, 2).transpose(0, 1).transpose(1, 2)
    torch.testing.assert_close(linear(layer, rows), layer(rows), rtol=1e-6, atol=1e-6)
    assert len(counted) == 1


def test_second_derivatives(counted):
    rows, weight, bias = (torch.randn(s, requires_grad=True) for s in ((4, 3), (5, 3), (5,)))

    def second(multiply):
        out = multiply(rows, weight, bias).pow(2).sum()
        (first,) = torch.autograd.grad(out, rows, create_graph=True)
        return torch.autograd.grad(first.pow(2).sum(), (rows, weight, bias))

    for ours, theirs in zip(second(product), second(F.linear), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_only_the_gradients_that_are_asked_for(counted):
    layer = nn.Linear(3, 2)
    layer.weight.requires_grad_(False)
    linear(layer, torch.randn(4, 3)).sum().backward()
    assert layer.weight.grad is None
    assert layer.bias.grad.tolist() == [4, 4]
    assert len(counted) == 1  # no product for weights or rows in the backward pass


def test_recomputed_in_a_checkpoint(counted):
    layer, rows = nn.Linear(3, 2), torch.randn(4, 3, requires_grad=True)
    checkpoint(lambda x: linear(layer, x), rows, use_reentrant=False).sum().backward()
    torch.testing.assert_close(rows.grad, layer.weight.sum(0).expand(4, 3))


class Doubled(nn.Linear):
    def forward(self, rows):
        return 2 * super().forward(rows)


def a_hook(layer):
    layer.register_forward_hook(lambda module, given, out: out + 1)
    return layer


def a_hook_before(layer):
    layer.register_forward_pre_hook(lambda module, given: (given[0] + 1,))
    return layer


def another_forward(layer):
    layer.forward = lambda rows: rows.sum(-1, keepdim=True)
    return layer


def another_class(layer):
    return Doubled(3, 2)


def parametrised(layer):
    return nn.utils.parametrizations.weight_norm(layer)


def a_backward_hook(layer):
    layer.register_full_backward_hook(lambda module, given, out: None)
    return layer


def double(layer):
    return layer.double()


def half(layer):
    return layer.to(torch.bfloat16)


def quantised(layer):
    return torch.ao.quantization.quantize_dynamic(nn.Sequential(layer), {nn.Linear})[0]


@pytest.mark.filterwarnings("ignore")  # of PyTorch, about its own code
@pytest.mark.parametrize(
    "change",
    [
        a_hook,
        a_hook_before,
        a_backward_hook,
        another_forward,
        another_class,
        parametrised,
        double,
        half,
        quantised,
    ],
)
def test_a_layer_that_somebody_changed_is_called(change, counted):
    layer = change(nn.Linear(3, 2))
    rows = torch.randn(4, 3)
    if change in (double, half):
        rows = rows.to(layer.weight.dtype)
    assert torch.equal(linear(layer, rows), layer(rows))
    assert not counted


def test_hooks_of_all_modules_are_called(counted):
    seen = []
    handle = nn.modules.module.register_module_forward_hook(lambda module, given, out: seen.append(module))
    try:
        linear(nn.Linear(3, 2), torch.randn(4, 3))
    finally:
        handle.remove()
    assert len(seen) == 1
    assert not counted


@pytest.mark.filterwarnings("ignore")  # of PyTorch, about its own code
def test_autocast_forward_derivatives_graphs_and_counters_get_pytorchs_own(counted):
    layer, rows = nn.Linear(3, 2), torch.randn(4, 3)
    with torch.autocast("cpu", torch.bfloat16):
        assert linear(layer, rows).dtype == torch.bfloat16
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(rows, torch.ones_like(rows))
        tangent = torch.autograd.forward_ad.unpack_dual(linear(layer, dual)).tangent
    torch.testing.assert_close(tangent, layer.weight.sum(1).expand(4, 2))
    assert torch.func.vmap(lambda x: linear(layer, x))(rows[:, None]).shape == (4, 1, 2)
    with FlopCounterMode(display=False) as counter:
        linear(layer, rows)
    assert counter.get_total_flops() == 2 * 4 * 3 * 2
    with without_onednn():
        linear(layer, rows)
    assert not counted


def test_no_rows_at_all(counted):
    layer = nn.Linear(3, 2)
    linear(layer, torch.zeros(0, 3)).sum().backward()
    assert not layer.weight.grad.any()
    assert not counted


def test_wrong_widths_are_pytorchs_error(counted):
    with pytest.raises(RuntimeError, match="shape"):
        linear(nn.Linear(3, 2), torch.randn(4, 5))


def test_small_products_and_other_processors_stay_with_pytorch(monkeypatch):
    layer, rows = nn.Linear(3, 2), torch.randn(4, 3)
    monkeypatch.setattr(place, "_slow_for_mkl", lambda: True)
    assert not place._pays(rows, layer.weight, layer.bias)
    monkeypatch.setattr(place, "_WORTH_IT", 0)
    assert place._pays(rows, layer.weight, layer.bias)
    monkeypatch.setattr(place, "_slow_for_mkl", lambda: False)
    assert not place._pays(rows, layer.weight, layer.bias)


def test_a_whole_model_by_onednn(counted, models):
    """Outputs and gradients of every product in a model, beside the same model by PyTorch's own."""
    call = models.ragged("masked-lm", labels=True)
    found = {}
    for way in ("onednn", "own"):
        model = models.build("masked-lm")
        with contextlib.nullcontext() if way == "onednn" else without_onednn():
            out = model(**call)
            out.loss.backward()
        found[way] = [out.loss.detach(), out.logits.detach(), *(p.grad for p in model.parameters())]
    layers = model.config.num_hidden_layers
    assert len(counted) >= 6 * layers + 2
    for ours, theirs in zip(found["onednn"], found["own"], strict=True):
        assert (ours - theirs).norm() <= 1e-5 * max(1, theirs.norm())
