"""What is left to draw from, against the definitions."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from robertakit.generation import GenerationConfig
from robertakit.torch.narrowing import narrow

SCORES = st.lists(st.integers(-40, 40), min_size=2, max_size=12, unique=True).map(
    lambda x: [v / 10 for v in x]
)


def kept(scores, keep=1, **fields) -> set[int]:
    out = narrow(
        torch.tensor([scores], dtype=torch.float64),
        GenerationConfig(do_sample=True, **{"top_k": 0} | fields),
        keep,
    )
    return set(out.isfinite().nonzero()[:, 1].tolist())


def probabilities(scores) -> list[float]:
    total = sum(math.exp(score) for score in scores)
    return [math.exp(score) / total for score in scores]


def best(scores, count) -> set[int]:
    return set(sorted(range(len(scores)), key=lambda i: -scores[i])[:count])


@given(SCORES, st.integers(1, 15), st.integers(1, 3))
def test_top_k(scores, count, keep) -> None:
    assert kept(scores, keep, top_k=count) == best(scores, max(count, keep))


@given(SCORES, st.floats(0.01, 0.99), st.integers(1, 3))
def test_top_p_is_the_smallest_set_of_that_probability(scores, mass, keep) -> None:
    value = probabilities(scores)
    left = kept(scores, keep, top_p=mass)
    assert left == best(scores, len(left))
    assert len(left) >= min(keep, len(scores))
    assert sum(value[i] for i in left) >= mass - 1e-9
    if len(left) > keep:  # without the last it would be too little
        assert sum(value[i] for i in left) - min(value[i] for i in left) < mass + 1e-9


@given(SCORES, st.floats(0.01, 1.0), st.integers(1, 3))
def test_min_p(scores, fraction, keep) -> None:
    value = probabilities(scores)
    wanted = {i for i, p in enumerate(value) if p >= fraction * max(value) * (1 - 1e-12)}
    assert kept(scores, keep, min_p=fraction) == wanted | best(scores, keep)


@given(SCORES, st.floats(0.05, 0.95))
def test_typical_p_takes_what_is_nearest_to_the_expected_information(scores, mass) -> None:
    value = probabilities(scores)
    entropy = -sum(p * math.log(p) for p in value)
    left = kept(scores, typical_p=mass)
    distance = [abs(-math.log(p) - entropy) for p in value]
    assert max(distance[i] for i in left) <= min(
        [math.inf, *(distance[i] for i in range(len(value)) if i not in left)]
    )
    assert sum(value[i] for i in left) >= mass - 1e-9


@given(SCORES, st.floats(0.001, 0.9), st.integers(1, 3))
def test_epsilon_and_eta_cut_what_is_improbable(scores, cutoff, keep) -> None:
    value = probabilities(scores)
    entropy = -sum(p * math.log(p) for p in value)
    for name, least in (
        ("epsilon_cutoff", cutoff),
        ("eta_cutoff", min(cutoff, math.sqrt(cutoff) * math.exp(-entropy))),
    ):
        wanted = {i for i, p in enumerate(value) if p >= least}
        if not any(math.isclose(p, least, rel_tol=1e-9) for p in value):
            assert kept(scores, keep, **{name: cutoff}) == wanted | best(scores, keep)


def test_each_looks_at_what_the_one_before_it_left() -> None:
    scores = torch.tensor([[0.4, 0.3, 0.2, 0.1]]).log()
    left = narrow(scores, GenerationConfig(do_sample=True, top_k=2, top_p=0.55))
    assert left.isfinite().tolist() == [[True, False, False, False]]  # 0.4 is 0.57 of what top_k left
    assert torch.equal(narrow(scores, GenerationConfig(do_sample=True, temperature=2.0)), scores / 2)


@pytest.mark.parametrize(
    "fields",
    [{}, {"temperature": None}, {"top_k": None}, {"top_k": 0}, {"top_p": None}, {"typical_p": None},
     {"epsilon_cutoff": None}, {"eta_cutoff": None}, {"min_p": None}, {"min_p": 0.0}],
)  # fmt: skip
def test_what_is_off_changes_nothing(fields) -> None:
    scores = torch.randn(3, 60)
    if "top_k" not in fields:
        fields = fields | {"top_k": 0}
    assert torch.equal(narrow(scores, GenerationConfig(do_sample=True, **fields)), scores)
