"""The learning rate: rise, fall and end, by steps and by the clock."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robertakit.training.loop_settings import LoopSettings
from robertakit.training.schedule import Schedule


def rates(settings: LoopSettings) -> list[float]:
    schedule = Schedule(settings)
    assert settings.steps is not None
    return [schedule.rate(step, 0.0) for step in range(settings.steps)]


def test_the_published_schedule() -> None:
    """Table 9 of Liu et al. 2019: 500k updates, 24k of them warm-up, peak 6e-4, linear."""
    schedule = Schedule(LoopSettings(steps=500_000, warm_up=24_000, learning_rate=6e-4))
    assert schedule.rate(23_999, 0) == 6e-4  # the 24,000th update is the first at the peak
    assert schedule.rate(11_999, 0) == pytest.approx(3e-4)
    assert schedule.rate(24_000 + 238_000, 0) == pytest.approx(3e-4, rel=1e-4)  # half of what is left


@given(
    steps=st.integers(1, 300),
    warm_up=st.one_of(st.floats(0, 1, exclude_max=True), st.integers(1, 300)),
    decay=st.sampled_from(["linear", "cosine", "constant"]),
)
def test_rises_to_the_peak_then_never_again_and_no_update_is_wasted(
    steps: int, warm_up: float, decay: str
) -> None:
    warm_up = min(warm_up, steps)
    found = rates(LoopSettings(steps=steps, warm_up=warm_up, decay=decay, learning_rate=2.0))
    top = found.index(max(found))
    assert all(rate > 0 for rate in found)
    assert max(found) <= 2.0
    assert found[: top + 1] == sorted(found[: top + 1])
    assert found[top:] == sorted(found[top:], reverse=True)
    warm = round(warm_up * steps) if warm_up < 1 else warm_up
    if warm:
        assert found[int(warm) - 1] == 2.0


def test_a_constant_rate_stays_at_the_peak() -> None:
    assert rates(LoopSettings(steps=4, warm_up=0, decay="constant", learning_rate=0.5)) == [0.5] * 4


def test_cosine_is_half_way_down_at_half_time() -> None:
    assert rates(LoopSettings(steps=9, warm_up=0, decay="cosine", learning_rate=1.0))[4] == pytest.approx(0.5)


def test_by_the_clock_the_number_of_updates_does_not_matter() -> None:
    schedule = Schedule(LoopSettings(minutes=2.0, warm_up=0.25, learning_rate=1.0))
    assert [schedule.rate(step, 15.0) for step in (0, 1, 10**6)] == [0.5] * 3
    assert schedule.rate(0, 75.0) == pytest.approx(0.5)
    assert schedule.rate(5, 500.0) == 0.0
    assert not schedule.is_over(10**9, 119.9)
    assert schedule.is_over(0, 120.0)
    assert schedule.done(7, 30.0) == 30.0
    assert Schedule(LoopSettings(steps=9)).done(7, 30.0) == 7
