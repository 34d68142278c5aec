"""Which batches are refused."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robertakit.training.spikes import LossWatch


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_refused_from_the_first_batch(value: float) -> None:
    watch = LossWatch(0, 128)
    assert str(value) in (watch.complaint(value, 1.0) or "")
    assert "gradient" in (watch.complaint(1.0, value) or "")


def test_a_curve_as_they_are_has_no_spike() -> None:
    """From ln(50265) down to 2, with the noise of small batches, at ten times what large ones have."""
    noise = np.random.default_rng(1).normal(0, 0.15, 3000)
    watch = LossWatch(10, 128)
    for step, wobble in enumerate(noise):
        loss = 2 + 8.8 * math.exp(-step / 300) + wobble
        assert watch.complaint(loss, 1.0) is None
        watch.accept(loss)


def test_a_leap_is_a_spike_and_moves_nothing() -> None:
    watch = LossWatch(10, 128, np.random.default_rng(1).normal(2.5, 0.05, 128).tolist())
    before = list(watch.losses)
    assert "leapt to 4.000" in (watch.complaint(4.0, 1.0) or "")
    assert list(watch.losses) == before
    assert watch.complaint(2.7, 1.0) is None


def test_leaps_that_came_through_do_not_hide_the_next() -> None:
    losses = [2.0, 2.1] * 40 + [50.0] * 40  # fewer than half
    assert LossWatch(10, 128, losses).complaint(60.0, 1.0)


def test_off_and_too_early_nothing_finite_is_refused() -> None:
    assert LossWatch(0, 128, [2.0] * 128).complaint(1e9, 1.0) is None
    assert LossWatch(10, 128, [2.0] * 31).complaint(1e9, 1.0) is None
    assert LossWatch(10, 128, [2.0] * 32).complaint(1e9, 1.0)


@given(
    losses=st.lists(st.floats(0.1, 20), min_size=32, max_size=300), scale=st.sampled_from([0.25, 2.0, 64.0])
)
def test_the_verdict_does_not_depend_on_the_unit(losses: list[float], scale: float) -> None:
    one = LossWatch(10, 128, losses)
    other = LossWatch(10, 128, [loss * scale for loss in losses])
    for loss in (0.5, 5.0, 50.0):
        assert (one.complaint(loss, 1.0) is None) == (other.complaint(loss * scale, 1.0) is None)


def test_only_the_window_counts() -> None:
    watch = LossWatch(10, 32, [100.0] * 32)
    for _ in range(32):
        watch.accept(2.0)
    assert list(watch.losses) == [2.0] * 32
    assert watch.complaint(100.0, 1.0)
