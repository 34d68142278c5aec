"""The gradient of a batch is the same however it is cut up and spread, and what an update draws is seeded by it."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("torch")

import torch
from torch import Tensor, nn

from robertakit.training.loop_settings import LoopSettings
from robertakit.training.places import Place
from robertakit.training.updates import Updates, accumulate, numerics, seed_of

from .toy_run import LENGTH, Micro, ToyStep, ToyTask


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class OneOf(Place):
    """One process of several, one after the other: their sums are known, their gradients are averaged by the test."""

    def __init__(self, rank: int, processes: int, losses: list[float]) -> None:
        super().__init__(rank, processes, torch.device("cpu"))
        self.losses = losses

    def accumulating(self, step: nn.Module, last: bool) -> AbstractContextManager[None]:
        return nullcontext()

    def sum(self, *numbers: float) -> tuple[float, ...]:
        self.losses.extend(numbers)
        return numbers


def rows(seed: int, count: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(4, 24, (count, LENGTH), generator=generator)
    hidden = torch.rand(ids.shape, generator=generator) < 0.2
    hidden[0, 0] = True
    return torch.where(hidden, 3, ids), torch.where(hidden, ids, -100)


def micro(ids: Tensor, labels: Tensor) -> Micro:
    return Micro(ids, labels, int((labels != -100).sum()), ids.numel())


def gradient(step: ToyStep, shares: Sequence[Sequence[Micro]]) -> tuple[Tensor, float]:
    """Gradient and loss over all processes: each process's own, then their mean, as DDP and FSDP take it."""
    targets = sum(one.targets for share in shares for one in share)
    losses: list[float] = []
    flat = []
    for rank, share in enumerate(shares):
        step.zero_grad(set_to_none=True)
        accumulate(ToyTask(), step, share, OneOf(rank, len(shares), losses), targets=targets)
        flat.append(torch.cat([parameter.grad.flatten() for parameter in step.parameters()]))
    return torch.stack(flat).mean(0), sum(losses) / targets


@settings(max_examples=15)
@given(
    seed=st.integers(0, 99),
    processes=st.sampled_from([1, 2, 4]),
    sizes=st.lists(st.integers(1, 5), min_size=4, max_size=9),
)
@pytest.mark.parametrize(("dtype", "most"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
def test_cutting_and_spreading_a_batch_changes_no_gradient(
    dtype: torch.dtype, most: float, seed: int, processes: int, sizes: list[int]
) -> None:
    step = ToyStep(dropout=0.0).to(dtype)
    ids, labels = rows(seed, sum(sizes))
    micros = [micro(*part) for part in zip(ids.split(sizes), labels.split(sizes), strict=True)]
    shares = [micros[rank::processes] for rank in range(processes)]
    longest = max(map(len, shares))
    nothing = micro(ids[:1], torch.full_like(labels[:1], -100))
    shares = [[*share, *[nothing] * (longest - len(share))] for share in shares]
    found, loss = gradient(step, shares)
    whole, plain_loss = gradient(step, [[micro(ids, labels)]])
    # The plain way: the mean over all targets at once.
    step.zero_grad()
    mean = nn.functional.cross_entropy(step.model(ids).logits.flatten(0, 1), labels.flatten())
    mean.backward()
    plain = torch.cat([parameter.grad.flatten() for parameter in step.parameters()])
    assert (found - plain).norm() <= most * plain.norm()
    assert (whole - plain).norm() <= most * plain.norm()
    assert loss == pytest.approx(float(mean.detach()), rel=most)
    assert plain_loss == pytest.approx(float(mean.detach()), rel=most)


def test_the_scaled_gradient_is_scaled_and_the_loss_is_not() -> None:
    step, place = ToyStep(dropout=0.0), Place(0, 1, torch.device("cpu"))
    one = micro(*rows(1, 3))
    loss = accumulate(ToyTask(), step, [one], place, targets=one.targets)
    plain = [parameter.grad.clone() for parameter in step.parameters()]
    step.zero_grad()
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    assert accumulate(ToyTask(), step, [one], place, targets=one.targets, scaler=scaler) == loss
    for parameter, wanted in zip(step.parameters(), plain, strict=True):
        torch.testing.assert_close(parameter.grad, wanted * 1024)


def test_seeds_differ_in_each_of_their_parts() -> None:
    seeds = {seed_of(seed, step, rank) for seed in range(9) for step in range(9) for rank in range(9)}
    assert len(seeds) == 9**3
    assert all(0 <= seed < 2**64 for seed in seeds)


def test_an_attempt_draws_by_its_number_alone_and_changes_no_weight() -> None:
    updates = Updates(
        ToyTask(), ToyStep(dropout=0.5), LoopSettings(steps=5), Place(0, 1, torch.device("cpu"))
    )
    micros = [micro(*rows(1, 3))]
    before = [parameter.detach().clone() for parameter in updates.step.parameters()]
    first = updates.attempt(micros, micros[0].targets, 7)
    torch.rand(99)
    assert updates.attempt(micros, micros[0].targets, 7) == first
    assert updates.attempt(micros, micros[0].targets, 8) != first
    assert all(one.equal(other) for one, other in zip(before, updates.step.parameters(), strict=True))
    updates.apply(1e-3)
    assert not all(one.equal(other) for one, other in zip(before, updates.step.parameters(), strict=True))


def test_the_gradient_is_clipped_and_its_norm_is_told_as_it_was() -> None:
    place, micros = Place(0, 1, torch.device("cpu")), [micro(*rows(1, 3))]
    free = Updates(ToyTask(), ToyStep(dropout=0.0), LoopSettings(steps=5), place)
    _, norm = free.attempt(micros, micros[0].targets, 0)
    clipped = Updates(ToyTask(), ToyStep(dropout=0.0), LoopSettings(steps=5, clip=norm / 4), place)
    assert clipped.attempt(micros, micros[0].targets, 0)[1] == pytest.approx(norm)
    total = nn.utils.get_total_norm([parameter.grad for parameter in clipped.step.parameters()])
    assert float(total) == pytest.approx(norm / 4, rel=1e-4)


def test_weights_and_moments_that_are_no_numbers_are_found() -> None:
    updates = Updates(ToyTask(), ToyStep(), LoopSettings(steps=5), Place(0, 1, torch.device("cpu")))
    micros = [micro(*rows(1, 3))]
    updates.attempt(micros, micros[0].targets, 0)
    updates.apply(1e-3)
    assert updates.are_finite()
    parameter = next(updates.step.parameters())
    updates.optimiser.state[parameter]["exp_avg_sq"][3, 2] = torch.inf
    assert not updates.are_finite()
    updates.optimiser.state[parameter]["exp_avg_sq"][3, 2] = 0.0
    with torch.no_grad():
        parameter[1, 1] = torch.nan
    assert not updates.are_finite()


def test_numerics_are_put_back_though_a_run_fails() -> None:
    before = torch.get_float32_matmul_precision(), torch.are_deterministic_algorithms_enabled()

    def fail() -> None:
        with numerics(LoopSettings(steps=1, precision="tf32", deterministic=True)):
            assert torch.get_float32_matmul_precision() == "high"
            assert torch.are_deterministic_algorithms_enabled()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert (torch.get_float32_matmul_precision(), torch.are_deterministic_algorithms_enabled()) == before
