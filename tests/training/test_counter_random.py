"""Random numbers of (key, counter): known values, no dependence on order, even spread."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robertakit.errors import InputError
from robertakit.training.counter_random import bits, integers, key, permutation, uniform

SEEDS = st.integers(0, 2**64 - 1)


def splitmix64(state: int, count: int) -> list[int]:
    """The generator as its authors wrote it: a state that is added to, and a finaliser."""
    drawn, most = [], 2**64 - 1
    for _ in range(count):
        state = (state + 0x9E3779B97F4A7C15) & most
        z = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & most
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & most
        drawn.append(z ^ (z >> 31))
    return drawn


@given(seed=SEEDS)
def test_counters_give_the_outputs_of_splitmix64(seed: int) -> None:
    assert bits(np.uint64(seed), np.arange(50)).tolist() == splitmix64(seed, 50)


@given(seed=SEEDS, counters=st.lists(st.integers(0, 2**50), min_size=1, max_size=20))
def test_each_counter_draws_alone(seed: int, counters: list[int]) -> None:
    together = uniform(np.uint64(seed), np.array(counters))
    alone = [uniform(np.uint64(seed), np.array([counter]))[0] for counter in counters]
    assert together.tolist() == alone
    keys = np.full(len(counters), seed, np.uint64)
    assert uniform(keys, np.array(counters)).tolist() == alone


def test_numbers_are_spread_evenly() -> None:
    drawn = uniform(key(3), np.arange(200_000))
    assert drawn.min() >= 0
    assert drawn.max() < 1
    tenths = np.bincount((drawn * 10).astype(int), minlength=10)
    assert ((tenths - 20_000) ** 2 / 20_000).sum() < 27.9  # chi-square of 9 degrees: 1 in 1,000
    following = np.corrcoef(drawn[:-1], drawn[1:])[0, 1]
    assert abs(following) < 4 / 200_000**0.5


def test_neighbouring_keys_are_strangers() -> None:
    counters = np.arange(100_000)
    for one, other in ((key(0, 1), key(0, 2)), (key(1), key(2)), (key(5, 0), key(5))):
        assert abs(np.corrcoef(uniform(one, counters), uniform(other, counters))[0, 1]) < 4 / 100_000**0.5


@given(below=st.integers(1, 300_000))
def test_integers_stay_below(below: int) -> None:
    drawn = integers(key(below), np.arange(1000), below)
    assert drawn.min() >= 0
    assert drawn.max() < below


@given(seed=SEEDS, count=st.integers(0, 200))
def test_a_permutation_has_each_once(seed: int, count: int) -> None:
    assert sorted(permutation(np.uint64(seed), count).tolist()) == list(range(count))


def test_all_orders_are_alike() -> None:
    drawn = [tuple(permutation(key(seed), 3).tolist()) for seed in range(6000)]
    counts = np.array([drawn.count(order) for order in sorted(set(drawn))])
    assert len(counts) == 6
    assert ((counts - 1000) ** 2 / 1000).sum() < 20.5  # chi-square of 5 degrees: 1 in 1,000


def test_negative_parts_are_keys_too() -> None:
    assert len({key(-1), key(1), key(0)}) == 3


def test_too_many_for_a_word() -> None:
    with pytest.raises(InputError, match=r"4294967296 things.*fewer than 2\*\*32"):
        permutation(key(0), 2**32)
