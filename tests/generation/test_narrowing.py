"""What of a distribution tokens are drawn from, against the definitions, and against PyTorch's."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robertakit.generation import GenerationConfig
from robertakit.generation.narrowing import log_softmax, narrow

FIELDS = [
    {"temperature": 0.5}, {"temperature": 3.0, "top_k": 4}, {"top_p": 0.7}, {"min_p": 0.2}, {"typical_p": 0.5},
    {"epsilon_cutoff": 0.1}, {"eta_cutoff": 0.3}, {"top_k": 5, "top_p": 0.8, "temperature": 1.5},
    {"top_k": 99}, {"top_k": 6, "min_p": 0.1, "typical_p": 0.8, "epsilon_cutoff": 0.02, "eta_cutoff": 0.01},
]  # fmt: skip
#: Five tokens of which each rule's definition can be worked out by hand.
PROBABILITIES = np.array([[0.05, 0.4, 0.1, 0.25, 0.2]])


@pytest.mark.parametrize(
    ("fields", "left"),
    [
        ({"top_k": 2}, [1, 3]), ({"top_k": 0}, [0, 1, 2, 3, 4]), ({"top_p": 0.64}, [1, 3]),
        ({"top_p": 0.66}, [1, 3, 4]), ({"min_p": 0.3}, [1, 3, 4]), ({"epsilon_cutoff": 0.15}, [1, 3, 4]),
        ({"epsilon_cutoff": 0.5}, [1]), ({"typical_p": 0.3}, [3, 4]), ({"typical_p": 0.2}, [3]),
    ],
    ids=str,
)  # fmt: skip
def test_rules_keep_what_they_say(fields, left) -> None:
    scores = np.log(PROBABILITIES)
    config = GenerationConfig(do_sample=True, **({"top_k": 0} | fields))
    found = narrow(scores, config)
    assert np.isfinite(found[0]).nonzero()[0].tolist() == left
    np.testing.assert_array_equal(found[:, left], scores[:, left])


def test_some_tokens_are_kept_whatever_the_rules_say() -> None:
    for fields in (
        {"top_k": 1},
        {"top_p": 0.01},
        {"min_p": 1.0},
        {"epsilon_cutoff": 0.9},
        {"typical_p": 0.01},
    ):
        found = narrow(np.log(PROBABILITIES), GenerationConfig(do_sample=True, **fields), keep=3)
        assert np.isfinite(found).sum() == 3, fields


@given(seed=st.integers(0, 99), temperature=st.sampled_from([0.25, 1.0, 2.0]))
def test_temperature_divides(seed, temperature) -> None:
    scores = np.random.default_rng(seed).standard_normal((3, 8)).astype(np.float32)
    config = GenerationConfig(do_sample=True, top_k=0, temperature=temperature)
    found = narrow(scores, config)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, scores / temperature, rtol=1e-6)


def test_log_probabilities() -> None:
    scores = np.array([[1000.0, 0.0, -np.inf], [0.0, 0.0, 0.0]], np.float32)
    found = log_softmax(scores)
    np.testing.assert_allclose(found, [[0.0, -1000.0, -np.inf], np.log([1 / 3] * 3)], rtol=1e-6)
    assert found.dtype == np.float32
    assert np.isnan(log_softmax(np.full((1, 2), -np.inf))).all()


@pytest.mark.parametrize("fields", FIELDS, ids=str)
@pytest.mark.parametrize("keep", [1, 3])
def test_the_same_as_in_pytorch(fields, keep) -> None:
    torch = pytest.importorskip("torch")
    from robertakit.torch.narrowing import narrow as in_torch

    scores = np.random.default_rng(3).standard_normal((40, 12)) * 3
    scores[:, 5] = -np.inf
    config = GenerationConfig(do_sample=True, **({"top_k": 0} | fields))
    wanted = in_torch(torch.from_numpy(scores), config, keep).numpy()
    np.testing.assert_allclose(narrow(scores, config, keep), wanted, rtol=1e-12)
