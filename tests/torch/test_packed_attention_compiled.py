"""Packed attention inside a traced graph: no break in it, and no new one for new lengths."""

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional as F

from robertakit.torch import packed_attention as module
from robertakit.torch.packed_attention import packed_attention

operator = torch.ops.robertakit.packed_attention
# PyTorch's own: inductor imports what it deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script_method. is deprecated:DeprecationWarning")


class Layer(nn.Module):
    """Attention as an encoder has it, small."""

    def __init__(self, relative: bool, dropout: float) -> None:
        super().__init__()
        self.project = nn.Linear(8, 24)
        self.norm = nn.LayerNorm(8)
        self.distances = nn.Parameter(torch.randn(39, 4) * 0.1) if relative else None
        self.dropout = dropout

    def forward(self, rows, bounds):
        query, key, value = self.project(rows).view(-1, 3, 2, 4).unbind(1)
        mixed = packed_attention(query, key, value, bounds, self.dropout, self.distances, True)
        return self.norm(rows + F.gelu(mixed.flatten(1)))


def batches():
    """Three batches of other lengths and other numbers of sequences: (T, W) and bounds."""
    for lengths in ([5, 3, 3], [8, 1, 6, 6, 4], [20, 0, 2, 7]):
        bounds = torch.tensor([0, *lengths]).cumsum(0)
        yield torch.randn(sum(lengths), 8, requires_grad=True), bounds


def counting(name):
    """A backend by name, and the graphs it was given."""
    graphs = []
    compiler = torch._dynamo.lookup_backend(name)

    def backend(graph, inputs):
        graphs.append(graph)
        return compiler(graph, inputs)

    return backend, graphs


def compare(relative, dropout, name):
    torch._dynamo.reset()
    model = nn.Sequential(Layer(relative, dropout), Layer(relative, dropout))
    backend, graphs = counting(name)

    def run(rows, bounds):
        for layer in model:
            rows = layer(rows, bounds)
        return rows

    compiled = torch.compile(run, fullgraph=True, backend=backend)
    for rows, bounds in batches():
        parameters = [rows, *model.parameters()]
        results = []
        for function in (run, compiled):
            torch.manual_seed(0)
            out = function(rows, bounds)
            results.append((out.detach(), *torch.autograd.grad(out.square().sum(), parameters)))
        for eager, traced in zip(*results, strict=True):
            torch.testing.assert_close(traced, eager, rtol=1e-4, atol=1e-5)
    assert len(graphs) <= 3  # the first, and two more at most


@pytest.mark.parametrize(("relative", "dropout"), [(False, 0.0), (True, 0.3)])
def test_one_graph_takes_all_lengths(relative, dropout):
    compare(relative, dropout, "aot_eager")


@pytest.mark.slow
@pytest.mark.parametrize("relative", [False, True])
def test_inductor_takes_all_lengths(relative):
    compare(relative, 0.0, "inductor")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["aot_eager", "inductor"])
def test_the_backward_of_a_compiled_step_drops_what_its_forward_dropped(name):
    """The output is linear in the value, so that <out, g> = <value, gradient of the value>, for one mask only."""
    torch._dynamo.reset()
    backend, _ = counting(name)
    compiled = torch.compile(packed_attention, fullgraph=True, backend=backend, dynamic=True)
    generator = torch.Generator().manual_seed(0)
    query, key, value, arriving = torch.randn(4, 60, 2, 4, generator=generator, dtype=torch.float64)
    value.requires_grad_()
    bounds = torch.tensor([0, 30, 50, 60])
    outputs = []
    for _ in range(2):
        torch.manual_seed(0)
        out = compiled(query, key, value, bounds, 0.5)
        (gradient,) = torch.autograd.grad(out, value, arriving)
        torch.testing.assert_close((out * arriving).sum(), (value * gradient).sum(), rtol=1e-12, atol=0)
        outputs.append(out)
    assert torch.equal(*outputs)
    assert not torch.equal(outputs[0], compiled(query, key, value, bounds, 0.5))


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_the_operator_keeps_what_pytorch_asks_of_one(dropout):
    rows = torch.randn(3, 9, 2, 4)
    table = torch.randn(39, 4, requires_grad=True) if dropout else None
    seed = torch.tensor(3) if dropout else None
    inputs = [x.requires_grad_() for x in rows.unbind()]
    arguments = (*inputs, torch.tensor([0, 4, 4, 9]), dropout, table, True, seed)
    results = torch.library.opcheck(operator.default, arguments)
    assert set(results.values()) == {"SUCCESS"}
    # PyTorch's own checks do not see through functional transforms, which the backward is made of.
    backward = torch.ops.robertakit.packed_attention_backward
    arguments = (torch.randn(9, 2, 4), *(x.detach() if torch.is_tensor(x) else x for x in arguments))
    real = backward(*arguments)
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        fake = backward(*(mode.from_tensor(x) if torch.is_tensor(x) else x for x in arguments))
    for one, other in zip(real, fake, strict=True):
        assert (one.shape, one.stride(), one.dtype) == (other.shape, other.stride(), other.dtype)


def test_the_kernel_is_called_in_a_graph_that_knows_no_length(monkeypatch):
    """A stand-in for the kernel of GPUs: what reaches it, traced and not."""
    varlen = pytest.importorskip("torch.nn.attention.varlen")

    def kernel(query, key, value, bounds, bounds_of_keys, longest, longest_key):
        assert bounds.dtype == bounds_of_keys.dtype == torch.int32
        return query * 2 + key * value + (bounds[-1] + bounds_of_keys[-1] + longest + longest_key)

    monkeypatch.setattr(varlen, "varlen_attn", kernel)
    monkeypatch.setattr(module, "_fits_kernel", lambda *tensors: True)
    torch._dynamo.reset()
    backend, graphs = counting("aot_eager")
    compiled = torch.compile(packed_attention, fullgraph=True, backend=backend)
    for rows, bounds in batches():
        query = rows.detach().view(-1, 2, 4).requires_grad_()
        longest = int(bounds.diff().max())
        expected = query * 2 + query * query + 2 * (len(query) + longest)
        for function in (packed_attention, compiled):
            out = function(query, query, query, bounds)
            torch.testing.assert_close(out, expected)
            assert torch.equal(torch.autograd.grad(out.sum(), query)[0], 2 + 2 * query)
    assert len(graphs) <= 3
