"""Packed attention against each sequence alone: values, gradients, dropout, dtypes, devices.

What a compiler makes of it is in `test_packed_attention_compiled.py`.
"""

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.checkpoint import checkpoint

from robertakit.errors import ArgumentError, BadShape
from robertakit.torch import packed_attention as module
from robertakit.torch.packed_attention import packed_attention
from robertakit.torch.packed_calls import plan
from robertakit.torch.relative_positions import relative_scores

LENGTHS = [3, 7, 0, 3, 3, 1, 5]
operator = torch.ops.robertakit.packed_attention


def drawn(lengths, heads=2, width=4, dtype=torch.float64, seed=0):
    """Query, key, value (T, H, D) and cumulative lengths (S + 1,)."""
    generator = torch.Generator().manual_seed(seed)
    shape = (3, sum(lengths), heads, width)
    rows = torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)
    return (*rows, torch.tensor([0, *lengths]).cumsum(0))


def table_of(way, width=4, dtype=torch.float64):
    """The table of distances up to 20, and whether the keys meet it."""
    generator = torch.Generator().manual_seed(1)
    table = torch.randn(41, width, generator=generator, dtype=torch.float64).to(dtype)
    return (None if way == "absolute" else table), way == "relative_key_query"


def one_by_one(query, key, value, bounds, table=None, with_keys=False):
    """Each sequence alone, written out."""
    out = []
    for start, stop in itertools.pairwise(bounds.tolist()):
        q, k, v = (x[start:stop].transpose(0, 1)[None] for x in (query, key, value))
        scores = q @ k.mT
        if table is not None:
            scores = scores + relative_scores(q, k, table, with_keys)
        out.append((torch.softmax(scores * query.shape[-1] ** -0.5, -1) @ v)[0].transpose(0, 1))
    return torch.cat(out)


@pytest.fixture(params=["neighbours", "picked"])
def plans(request, monkeypatch):
    """As on a CPU, and as on a GPU: padded, from anywhere."""
    monkeypatch.setattr(module, "_picks", lambda device: request.param == "picked")


ways = pytest.mark.parametrize("way", ["absolute", "relative_key", "relative_key_query"])


@ways
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float64, 1e-13), (torch.float32, 2e-6)])
@pytest.mark.usefixtures("plans")
def test_a_sequence_equals_itself_alone(way, dtype, bound):
    query, key, value, bounds = drawn(LENGTHS, dtype=dtype)
    table, with_keys = table_of(way, dtype=dtype)
    packed = packed_attention(query, key, value, bounds, 0.0, table, with_keys)
    assert packed.dtype == dtype
    assert packed.is_contiguous()
    expected = one_by_one(query, key, value, bounds, table, with_keys)
    torch.testing.assert_close(packed, expected, rtol=0, atol=bound)


@given(st.lists(st.integers(0, 20), max_size=8), st.randoms(use_true_random=False), st.booleans())
def test_the_order_of_sequences_does_not_matter(lengths, random, relative):
    *rows, bounds = drawn(lengths)
    table, with_keys = table_of("relative_key_query" if relative else "absolute")
    order = random.sample(range(len(lengths)), len(lengths))
    there = torch.cat([torch.arange(bounds[i], bounds[i + 1]) for i in order]) if order else bounds[:0]
    moved = torch.tensor([0, *(lengths[i] for i in order)]).cumsum(0)
    packed = packed_attention(*rows, bounds, 0.0, table, with_keys)
    other = packed_attention(*(x[there] for x in rows), moved, 0.0, table, with_keys)
    torch.testing.assert_close(other, packed[there], rtol=0, atol=1e-13)


@pytest.mark.parametrize("lengths", [[], [0], [0, 0], [1]])
@pytest.mark.usefixtures("plans")
def test_nothing_to_attend_to(lengths):
    query, key, value, bounds = drawn(lengths)
    value.requires_grad_()
    packed = packed_attention(query, key, value, bounds)
    torch.testing.assert_close(packed, value, rtol=0, atol=1e-15)
    (gradient,) = torch.autograd.grad(packed.sum(), value)
    torch.testing.assert_close(gradient, torch.ones_like(value), rtol=0, atol=1e-15)


@pytest.mark.parametrize("dropout", [0.0, 0.3])
@ways
@pytest.mark.usefixtures("plans")
def test_gradients_are_those_of_finite_differences(way, dropout):
    query, key, value, bounds = drawn(LENGTHS)
    table, with_keys = table_of(way)
    seed = torch.tensor(3) if dropout else None
    inputs = [x.requires_grad_() for x in (query, key, value) + (() if table is None else (table,))]

    def function(query, key, value, table=None):
        return operator(query, key, value, bounds, dropout, table, with_keys, seed)

    assert torch.autograd.gradcheck(function, inputs, fast_mode=True)


@ways
@pytest.mark.usefixtures("plans")
def test_gradients_equal_those_of_each_sequence_alone(way):
    query, key, value, bounds = drawn(LENGTHS, dtype=torch.float32)
    table, with_keys = table_of(way, dtype=torch.float32)
    inputs = [x.requires_grad_() for x in (query, key, value) + (() if table is None else (table,))]
    arriving = drawn(LENGTHS, dtype=torch.float32, seed=5)[0]
    packed = packed_attention(query, key, value, bounds, 0.0, table, with_keys)
    alone = one_by_one(query, key, value, bounds, table, with_keys)
    for got, expected in zip(
        *(torch.autograd.grad(x, inputs, arriving) for x in (packed, alone)), strict=True
    ):
        torch.testing.assert_close(got, expected, rtol=0, atol=3e-6)


def test_strided_views_are_taken_as_they_are():
    query, key, value, bounds = drawn(LENGTHS)
    together = torch.stack([query, key, value], 1).requires_grad_()  # as one product for all three gives them
    packed = packed_attention(*together.unbind(1), bounds)
    assert packed.is_contiguous()
    assert torch.equal(packed, packed_attention(query, key, value, bounds))
    assert torch.autograd.grad(packed.sum(), together)[0].shape == together.shape


# Dropout.


def attention_weights(lengths, dropout, heads=4):
    """What is left of the weights of queries that see all keys alike: (H, L, L) for each sequence."""
    longest = max(lengths)
    value = torch.cat([torch.eye(longest)[:length] for length in lengths])[:, None].repeat(1, heads, 1)
    *_, bounds = drawn(lengths)
    zeros = torch.zeros_like(value)
    out = packed_attention(zeros, zeros, value, bounds, dropout)
    return [part.transpose(0, 1)[..., : len(part)] for part in out.split(lengths)]


@pytest.mark.usefixtures("plans")
@pytest.mark.parametrize("dropout", [0.1, 0.5])
def test_dropped_weights_are_zero_and_the_others_larger(dropout):
    lengths = [60, 50, 60, 60, 33]
    torch.manual_seed(0)
    parts = attention_weights(lengths, dropout)
    left = torch.cat([(part * part.shape[-1]).flatten() for part in parts])
    stayed = left != 0
    assert ((left[stayed] * (1 - dropout) - 1).abs() < 1e-4).all()  # the rate is one of 32768
    deviation = math.sqrt(dropout * (1 - dropout) / len(left))
    assert abs(stayed.double().mean() - (1 - dropout)) < 4 * deviation
    assert abs(left.double().mean() - 1) < 4 * deviation / (1 - dropout)


def test_weights_are_dropped_independently_of_each_other():
    torch.manual_seed(0)
    first, second = attention_weights([100, 100], 0.5)
    masks = torch.stack([first, second]).ne(0).double().sub(0.5) * 2  # -1 and 1: the mean of products is 0
    pairs = [
        masks[0] * masks[1],  # two sequences
        masks[:, 0] * masks[:, 1],  # two heads
        *(masks[..., shift:, :] * masks[..., :-shift, :] for shift in (1, 2)),  # two queries
        *(masks[..., shift:] * masks[..., :-shift] for shift in (1, 2, 3, 4, 8)),  # two keys
    ]
    for pair in pairs:
        assert abs(pair.mean()) < 4 / math.sqrt(pair.numel())


def test_dropout_repeats_with_the_seed_and_only_with_it():
    query, key, value, bounds = drawn(LENGTHS)

    def run(seed, dropout=0.4):
        torch.manual_seed(seed)
        return packed_attention(query, key, value, bounds, dropout)

    assert torch.equal(run(1), run(1))
    assert not torch.equal(run(1), run(2))
    assert not torch.equal(run(1), packed_attention(query, key, value, bounds, 0.4))
    assert torch.equal(run(1, 1.0), torch.zeros_like(value))


def test_without_dropout_nothing_is_drawn():
    query, key, value, bounds = drawn(LENGTHS)
    before = torch.get_rng_state()
    packed_attention(query, key, value, bounds)
    assert torch.equal(torch.get_rng_state(), before)
    packed_attention(query, key, value, bounds, 0.1)
    assert not torch.equal(torch.get_rng_state(), before)


@ways
def test_dropping_a_part_at_a_time_changes_no_gradient(way, monkeypatch):
    """Long sequences are taken in parts; each part of the backward must draw what that of the forward drew."""
    monkeypatch.setattr(module, "_most_weights", lambda device: 40)
    test_gradients_are_those_of_finite_differences(way, 0.3)


@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_checkpointed_gradients_are_equal(dropout):
    query, key, value, bounds = drawn(LENGTHS)
    inputs = [x.requires_grad_() for x in (query, key, value)]
    gradients = []
    for again in (False, True):
        torch.manual_seed(0)
        if again:
            out = checkpoint(packed_attention, *inputs, bounds, dropout, use_reentrant=False)
        else:
            out = packed_attention(*inputs, bounds, dropout)
        torch.rand(3)  # others draw, too, before the backward
        gradients.append((out.detach(), *torch.autograd.grad(out.square().sum(), inputs)))
    for plain, checkpointed in zip(*gradients, strict=True):
        assert torch.equal(plain, checkpointed)


# Dtypes and devices.


@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize(("dtype", "bound"), [(torch.bfloat16, 2**-8), (torch.float16, 2**-11)])
def test_half_types_are_as_good_as_their_rounding(dtype, bound, dropout):
    query, key, value, bounds = drawn([40, 3, 40, 17], heads=3, width=16, dtype=dtype)
    torch.manual_seed(0)
    half = packed_attention(query, key, value, bounds, dropout)
    torch.manual_seed(0)
    exact = packed_attention(*(x.double() for x in (query, key, value)), bounds, dropout)
    assert half.dtype == dtype
    assert (half.double() - exact).abs().max() <= 4 * bound * exact.abs().max()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_gradients_in_half_types_are_rounded_once_on_a_processor(dtype):
    query, key, value, bounds = drawn(LENGTHS, heads=2, width=16, dtype=dtype)
    inputs = [x.requires_grad_() for x in (query, key, value)]
    wide = [x.detach().float().requires_grad_() for x in inputs]
    arriving = torch.randn(query.shape, generator=torch.Generator().manual_seed(3)).to(dtype)
    halves = torch.autograd.grad(packed_attention(*inputs, bounds), inputs, arriving)
    exact = torch.autograd.grad(packed_attention(*wide, bounds), wide, arriving.float())
    for half, other in zip(halves, exact, strict=True):
        assert half.dtype == dtype
        assert torch.equal(half, other.to(dtype))


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_autocast_computes_in_its_type_and_returns_it(dropout):
    query, key, value, bounds = drawn(LENGTHS, dtype=torch.float32)
    leaf = query.requires_grad_()
    torch.manual_seed(0)
    with torch.autocast("cpu", torch.bfloat16):
        out = packed_attention(leaf, key, value.bfloat16(), bounds, dropout)
    torch.manual_seed(0)
    halves = (x.bfloat16() for x in (query, key, value))
    assert out.dtype == torch.bfloat16
    assert torch.equal(out, packed_attention(*halves, bounds, dropout))
    assert torch.autograd.grad(out.float().sum(), leaf)[0].dtype == torch.float32
    with torch.autocast("cpu", torch.bfloat16):
        assert (
            packed_attention(*(x.detach().double() for x in (query, key, value)), bounds).dtype
            == torch.float64
        )


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_a_backward_inside_autocast_stays_in_the_type_of_its_forward(dropout):
    query, key, value, bounds = drawn(LENGTHS, dtype=torch.float32)
    inputs = [x.requires_grad_() for x in (query, key, value)]
    torch.manual_seed(0)
    mixed = packed_attention(query, key, value, bounds, dropout)
    arriving = torch.ones_like(mixed)
    expected = torch.autograd.grad(mixed, inputs, arriving, retain_graph=True)
    with torch.autocast("cpu", torch.bfloat16):
        gradients = torch.autograd.grad(mixed, inputs, arriving)
    for got, right in zip(gradients, expected, strict=True):
        assert torch.equal(got, right)


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_shapes_pass_through_the_meta_device_and_fake_tensors(dropout):
    for mode, device in ((None, "meta"), (FakeTensorMode(), "cpu"), (FakeTensorMode(), "cuda")):
        with mode or torch.device(device):
            rows = torch.empty(3, 19, 2, 4, device=device)
            table = torch.empty(41, 4, device=device)
            bounds = torch.empty(5, dtype=torch.int32)
            out = packed_attention(*rows, bounds, dropout, table)
            assert (out.shape, out.device.type, out.dtype) == ((19, 2, 4), device, torch.float32)


@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.usefixtures("plans")
def test_the_default_device_plays_no_part(dropout):
    query, key, value, bounds = drawn([9, 2, 8, 7])
    torch.manual_seed(0)
    expected = packed_attention(query, key, value, bounds, dropout)
    torch.manual_seed(0)
    plan.cache_clear()
    with torch.device("meta"):
        assert torch.equal(packed_attention(query, key, value, bounds, dropout), expected)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("where", ["cpu", "cuda"])
@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize(
    ("dtype", "bound"), [(torch.float32, 1e-5), (torch.float16, 4 * 2**-11), (torch.bfloat16, 4 * 2**-8)]
)
def test_a_gpu_gives_what_a_cpu_gives(dtype, bound, dropout, where):
    *rows, bounds = drawn([40, 3, 0, 40, 17, 130], heads=3, width=16, dtype=dtype)
    device_rows = [x.cuda().requires_grad_() for x in rows]
    out = packed_attention(*device_rows, bounds.to(where), dropout)
    gradients = torch.autograd.grad(out.square().sum(), device_rows)
    if dropout:  # each device draws in its own way: the value's gradient holds the same weights
        one = (out.detach().float() * out.detach().float()).sum()
        other = (device_rows[2].detach().float() * gradients[2].float() / 2).sum()
        torch.testing.assert_close(one, other, rtol=bound, atol=0)
        return
    expected_rows = [x.double().requires_grad_() for x in rows]
    expected = one_by_one(*expected_rows, bounds)
    expected_gradients = torch.autograd.grad(expected.square().sum(), expected_rows)
    for got, right in zip((out, *gradients), (expected, *expected_gradients), strict=True):
        assert (got.cpu().double() - right).abs().max() <= bound * max(1.0, right.abs().max())


# PyTorch's kernel for sequences of several lengths.


def test_half_types_on_a_gpu_go_to_the_kernel(monkeypatch):
    monkeypatch.setattr(module, "_KERNEL_EXISTS", True)
    with FakeTensorMode():

        def fits(dtype=torch.float16, width=64, tokens=9, device="cuda", generation=8):
            properties = type("Properties", (), {"major": generation})
            monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: properties)
            return module._fits_kernel(*torch.empty(3, tokens, 2, width, dtype=dtype, device=device))

        assert fits()
        assert fits(torch.bfloat16)
        assert fits(width=128, generation=9)
        assert not fits(torch.float32)
        assert not fits(width=20)
        assert not fits(width=256)
        assert not fits(tokens=0)
        assert not fits(device="cpu")
        assert not fits(generation=7)
        assert not module._fits_kernel(*torch.empty(3, 9, 64, 8, device="cuda", dtype=torch.half).mT)


# Errors.


@pytest.mark.parametrize(
    ("changes", "error", "sentence"),
    [
        ({"key": torch.zeros(22, 2, 5)}, BadShape, r"\(22, 2, 5\).*one shape"),
        (
            {"query": torch.zeros(22, 8), "key": torch.zeros(22, 8), "value": torch.zeros(22, 8)},
            BadShape,
            "heads",
        ),
        ({"value": torch.zeros(22, 2, 4, dtype=torch.half)}, ArgumentError, "one dtype"),
        ({"cumulative_lengths": torch.tensor([0.0, 22.0])}, BadShape, "integers"),
        ({"cumulative_lengths": torch.tensor([[0, 22]])}, BadShape, "integers"),
        ({"cumulative_lengths": torch.tensor([], dtype=torch.int32)}, BadShape, "integers"),
        (
            {"cumulative_lengths": torch.tensor([0, 21])},
            BadShape,
            "22 tokens; expected numbers that start at 0",
        ),
        ({"dropout": 1.5}, ArgumentError, "dropout=1.5"),
        ({"dropout": -0.1}, ArgumentError, "probability"),
        ({"distances": torch.zeros(41, 5)}, BadShape, r"\(distances, 4\)"),
    ],
)
def test_what_does_not_fit_is_refused(changes, error, sentence):
    query, key, value, bounds = drawn(LENGTHS, dtype=torch.float32)
    given_tensors = {"query": query, "key": key, "value": value, "cumulative_lengths": bounds}
    with pytest.raises(error, match=sentence):
        packed_attention(**(given_tensors | changes))
