"""The loss in chunks is the plain one: values, gradients, dtypes, what it keeps, and what it refuses."""

from contextlib import nullcontext

import pytest

pytest.importorskip("torch")

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from robertakit.errors import ArgumentError, BadShape, InputError
from robertakit.training import chunked_loss
from robertakit.training.chunked_loss import label_ranks, linear_cross_entropy, score_labels

Inputs = tuple[Tensor, Tensor, Tensor | None, Tensor]


@pytest.fixture(autouse=True)
def _narrow_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several tiles, the last one narrower, with vocabularies of a test's size."""
    monkeypatch.setattr(chunked_loss, "_WORDS", 8)


def drawn(
    rows: int, width: int, words: int, dtype: torch.dtype = torch.float64, *, bias: bool = True, seed: int = 0
) -> Inputs:
    made = torch.Generator().manual_seed(seed)
    x, w = (torch.randn(size, width, generator=made, dtype=torch.float64) for size in (rows, words))
    b = torch.randn(words, generator=made, dtype=torch.float64) if bias else None
    labels = torch.randint(0, words, (rows,), generator=made)
    labels[torch.rand(rows, generator=made) < 0.2] = -100
    return tuple(None if t is None else t.to(dtype).requires_grad_() for t in (x, w, b)) + (labels,)


def plain(x: Tensor, w: Tensor, b: Tensor | None, labels: Tensor) -> Tensor:
    scores = F.linear(x, w, b)
    scores = scores if scores.dtype == torch.float64 else scores.float()
    return F.cross_entropy(scores, labels, reduction="sum")


def gradients(loss: Tensor, inputs: Inputs) -> list[Tensor]:
    loss.backward()
    found = []
    for tensor in inputs[:3]:
        if tensor is not None:
            found.append(tensor.grad)
            tensor.grad = None
    return found


def apart(found: Tensor, expected: Tensor) -> float:
    norm = torch.linalg.vector_norm(expected.double())
    return float(torch.linalg.vector_norm(found.double() - expected.double()) / norm.clamp(min=1e-300))


@settings(max_examples=40, deadline=None)
@given(
    rows=st.integers(0, 9),
    width=st.integers(1, 6),
    words=st.integers(1, 21),
    chunk=st.sampled_from([None, 1, 2, 5, 100]),
    bias=st.booleans(),
    factor=st.floats(-3, 3),
    seed=st.integers(0, 99),
)
def test_loss_and_gradients_are_the_plain_ones(
    rows: int, width: int, words: int, chunk: int | None, bias: bool, factor: float, seed: int
) -> None:
    inputs = drawn(rows, width, words, bias=bias, seed=seed)
    expected, found = plain(*inputs), linear_cross_entropy(*inputs, chunk)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    for a, b in zip(gradients(found * factor, inputs), gradients(expected * factor, inputs), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("shape", [(70, 64, 300), (300, 128, 1200)])
def test_float32_is_as_close_to_float64_as_the_plain_way(shape: tuple[int, int, int]) -> None:
    """The larger one is computed by oneDNN on AMD's processors."""
    exact = drawn(*shape)
    truth = gradients(plain(*exact), exact)
    inputs = drawn(*shape, torch.float32)
    for found, right in zip(gradients(linear_cross_entropy(*inputs, 64), inputs), truth, strict=True):
        assert apart(found, right) < 1e-5


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_under_autocast_errors_are_no_larger_than_the_plain_ones(dtype: torch.dtype) -> None:
    exact = drawn(60, 48, 500)
    truth = gradients(plain(*exact), exact)
    inputs = drawn(60, 48, 500, torch.float32)
    with torch.autocast("cpu", dtype):
        ours, theirs = linear_cross_entropy(*inputs, 16), plain(*inputs)
    assert ours.dtype == torch.float32
    assert abs(float(ours.detach()) / float(plain(*exact).detach()) - 1) < (
        2e-3 if dtype == torch.bfloat16 else 3e-4
    )
    ours, theirs = gradients(ours, inputs), gradients(theirs, inputs)
    for found, usual, right in zip(ours, theirs, truth, strict=True):
        assert found.dtype == torch.float32
        assert apart(found, right) < 1.1 * apart(usual, right) + 1e-6


def test_float16_keeps_the_slopes_of_rare_words() -> None:
    """A probability of 1e-8 is 0 in float16; Adam divides by its size, so that it counts."""
    x = torch.ones(1, 2, requires_grad=True)
    w = torch.tensor([[9.0, 9.0], [0.0, 0.0], [-0.2, 0.0]], requires_grad=True)
    with torch.autocast("cpu", torch.float16):
        linear_cross_entropy(x, w, None, torch.tensor([0])).backward()
    expected = torch.softmax(torch.tensor([18.0, 0.0, -0.2], dtype=torch.float64), 0)
    assert w.grad is not None
    torch.testing.assert_close(w.grad[1:, 0].double(), expected[1:], rtol=2e-3, atol=0)


def test_weights_in_half_types_get_gradients_of_their_type() -> None:
    inputs = drawn(10, 8, 20, torch.bfloat16)
    loss = linear_cross_entropy(*inputs, 4)
    assert loss.dtype == torch.float32
    for found, expected in zip(gradients(loss, inputs), gradients(plain(*inputs), inputs), strict=True):
        assert found.dtype == torch.bfloat16
        assert apart(found, expected) < 0.02


class Largest(TorchDispatchMode):
    """The most elements that any tensor has which an operator makes."""

    def __init__(self) -> None:
        super().__init__()
        self.most = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, tuple | list) else (out,):
            if isinstance(tensor, Tensor):
                self.most = max(self.most, tensor.numel())
        return out


@pytest.mark.parametrize("judged", [False, True])
def test_scores_of_all_rows_never_exist(judged: bool) -> None:
    rows, width, words, chunk = 200, 4, 1000, 10
    x, w, b, labels = drawn(rows, width, words)
    with Largest() as seen:
        if judged:
            score_labels(x, w, b, labels, chunk)
        else:
            linear_cross_entropy(x, w, b, labels, chunk).backward()
    assert words * width <= seen.most <= words * chunk
    with Largest() as seen:
        plain(x, w, b, labels)
    assert seen.most == rows * words


def test_only_what_is_wanted_is_computed() -> None:
    x, w, b, labels = drawn(6, 3, 12)
    frozen = w.detach()
    linear_cross_entropy(x, frozen, b, labels).backward()
    assert frozen.grad is None
    assert x.grad is not None
    with torch.no_grad():
        assert linear_cross_entropy(x, w, b, labels).grad_fn is None
    torch.testing.assert_close(linear_cross_entropy(x, w, b, labels), plain(x, w, b, labels))


def test_a_tied_table_gets_both_gradients() -> None:
    """One matrix that embeds and scores: its two gradients are added, as DDP and FSDP need it."""
    table, ids = nn.Embedding(30, 5, dtype=torch.float64), torch.arange(7)
    labels = torch.arange(7) + 3
    linear_cross_entropy(table(ids), table.weight, None, labels, 2).backward()
    found, table.weight.grad = table.weight.grad, None
    plain(table(ids), table.weight, None, labels).backward()
    torch.testing.assert_close(found, table.weight.grad, rtol=1e-11, atol=1e-13)


def test_no_labels_is_zero_with_gradient_zero() -> None:
    x, w, b, _ = drawn(3, 2, 5)
    for labels, some in ((torch.full((3,), -100), x), (torch.zeros(0, dtype=torch.int64), x[:0])):
        loss = linear_cross_entropy(some, w, b, labels)
        assert float(loss.detach()) == 0
        assert not any(bool(g.any()) for g in torch.autograd.grad(loss, [x, w, b], allow_unused=False))


def test_a_gradient_is_taken_once() -> None:
    x, w, b, labels = drawn(3, 2, 5)
    loss = linear_cross_entropy(x, w, b, labels)
    loss.backward(retain_graph=True)
    with pytest.raises(ArgumentError, match="second backward"):
        loss.backward()
    with pytest.raises(ArgumentError, match="a derivative of the gradient"):
        torch.autograd.grad(linear_cross_entropy(x, w, b, labels), x, create_graph=True)


def test_what_does_not_fit_is_refused() -> None:
    x, w, b, labels = drawn(3, 2, 5)
    for bad in ((x[:, :1], w, b, labels), (x, w, b[:2], labels), (x, w, b, labels[:2]), (x[0], w, b, labels)):
        with pytest.raises(BadShape):
            linear_cross_entropy(*bad)
    for label in (5, -1):
        with pytest.raises(InputError, match=f"label {label}; expected 0 to 4, or -100"):
            linear_cross_entropy(x, w, b, torch.tensor([0, label, 1]))
    with pytest.raises(ArgumentError, match="chunk=0"):
        linear_cross_entropy(x, w, b, labels, 0)


def test_labels_are_judged_as_by_sorting() -> None:
    x, w, b, labels = drawn(40, 6, 33)
    labels[:3] = torch.tensor([-100, 0, 32])
    scored = score_labels(x, w, b, labels, 7)
    scores = F.linear(x, w, b).detach()
    order = scores.neg().argsort(dim=1, stable=True)
    kept = labels != -100
    assert torch.equal(scored.ranks[kept], (order == labels[:, None]).int().argmax(1)[kept])
    assert bool((scored.ranks[~kept] == 33).all())
    torch.testing.assert_close(scored.losses, F.cross_entropy(scores, labels, reduction="none"))
    assert not scored.losses.requires_grad
    equal = torch.zeros(2, 9)
    assert label_ranks(equal, torch.tensor([0, 8])).tolist() == [0, 8]  # no word is top-1 by being equal


@pytest.mark.parametrize("autocast", [False, True])
def test_the_operator_keeps_pytorchs_rules(autocast: bool) -> None:
    x, w, b, labels = drawn(5, 4, 17, torch.float32)
    dtype = torch.bfloat16 if autocast else torch.float32
    with torch.autocast("cpu") if autocast else nullcontext():
        arguments = (x.detach(), w.detach(), b.detach(), labels, 2, dtype, True, True, True)
        torch.library.opcheck(torch.ops.robertakit.linear_cross_entropy, arguments)


@pytest.mark.filterwarnings(
    "ignore:.*should not be instantiated:DeprecationWarning"
)  # PyTorch's own compiler
def test_it_compiles_without_a_break() -> None:
    x, w, b, labels = drawn(6, 3, 12)
    compiled = torch.compile(lambda *t: linear_cross_entropy(*t, 2), fullgraph=True, backend="aot_eager")
    found, expected = compiled(x, w, b, labels), linear_cross_entropy(x, w, b, labels, 2)
    torch.testing.assert_close(found, expected)
    for a, e in zip(gradients(found, (x, w, b, labels)), gradients(expected, (x, w, b, labels)), strict=True):
        torch.testing.assert_close(a, e)
