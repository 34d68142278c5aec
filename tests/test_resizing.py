"""Another vocabulary, fewer heads: what is decided without a framework."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robertakit.configuration import RobertaConfig
from robertakit.errors import ArgumentError
from robertakit.resizing import heads_to_prune, new_rows, vocabulary_size

SMALL = {"hidden_size": 8, "num_attention_heads": 4, "num_hidden_layers": 3, "intermediate_size": 8}


@given(
    st.integers(3, 10_000),
    st.one_of(st.none(), st.integers(3, 10_000)),
    st.one_of(st.none(), st.integers(1, 512)),
)
def test_sizes(rows, asked, multiple):
    size = vocabulary_size(RobertaConfig(**SMALL), rows, asked, multiple)
    wanted = rows if asked is None else asked
    assert size == wanted if multiple is None else (size % multiple == 0 and 0 <= size - wanted < multiple)


@pytest.mark.parametrize(
    ("asked", "words"),
    [(0, "new_num_tokens=0"), (-1, "-1"), (True, "True"), (2.5, "2.5"), ("9", "'9'"),
     (2, "eos_token_id=2; .*set config.eos_token_id first"), (1, "pad_token_id=1")],
)  # fmt: skip
def test_sizes_that_are_none_raise(asked, words):
    with pytest.raises(ArgumentError, match=words):
        vocabulary_size(RobertaConfig(**SMALL), 50, asked, None)
    with pytest.raises(ArgumentError, match="pad_to_multiple_of=0"):
        vocabulary_size(RobertaConfig(**SMALL), 50, 60, 0)


def test_a_special_token_that_was_outside_before_is_no_reason():
    config = RobertaConfig(**SMALL, eos_token_id=[2, 900], bos_token_id=None)
    assert vocabulary_size(config, 50, 40, None) == 40
    with pytest.raises(ArgumentError, match="eos_token_id"):
        vocabulary_size(config, 50, 2, None)


def test_rows_around_the_mean_have_the_old_rows_mean_and_a_little_of_their_covariance():
    generator = np.random.default_rng(0)
    old = (generator.standard_normal((20_000, 3)) @ np.diag([1.0, 5.0, 0.0]) + [3.0, 0.0, 7.0]).astype(
        np.float32
    )
    rows = new_rows(old, 50_000, "x", 1, mean_resizing=True, deviation=0.02)
    assert rows.shape == (50_000, 3)
    assert rows.dtype == np.float32
    np.testing.assert_allclose(
        rows.mean(0, dtype=np.float64), old.mean(0, dtype=np.float64), rtol=0, atol=1e-5
    )
    spread = rows.std(0, dtype=np.float64) / np.sqrt(1e-9)
    np.testing.assert_allclose(spread[:2], [1.0, 5.0], rtol=0.1)
    assert spread[2] < 0.1
    assert len({row.tobytes() for row in rows[:100]}) > 1
    bias = new_rows(old[:, 0], 4, "x", 1, mean_resizing=True, deviation=0.02)
    np.testing.assert_allclose(bias, np.full(4, old[:, 0].mean()), atol=1e-3)


def test_other_rows_are_drawn_as_new_ones():
    rows = new_rows(np.ones((9, 50), np.float32), 400, "x", 1, mean_resizing=False, deviation=0.3)
    assert abs(rows.mean()) < 0.01
    assert 0.29 < rows.std() < 0.31
    assert not new_rows(np.ones(9, np.float32), 5, "x", 1, mean_resizing=False, deviation=0.3).any()


def test_the_seed_and_the_name_say_what_is_drawn():
    old = np.random.default_rng(0).standard_normal((9, 4)).astype(np.float32)

    def draw(name, seed):
        return new_rows(old, 3, name, seed, mean_resizing=False, deviation=1.0)

    assert np.array_equal(draw("x", 1), draw("x", 1))
    assert not np.array_equal(draw("x", 1), draw("x", 2))
    assert not np.array_equal(draw("x", 1), draw("y", 1))


def test_heads_keep_their_numbers():
    config = RobertaConfig(**SMALL)
    now, gone = heads_to_prune(config, {0: [1], 2: {3, 0}})
    assert (now, gone) == ({0: [1], 2: [0, 3]}, {0: [1], 2: [0, 3]})
    config.pruned_heads = gone
    assert heads_to_prune(config, {0: [1, 2], 1: []}) == ({0: [2]}, {0: [1, 2], 2: [0, 3]})
    assert heads_to_prune(config, {0: [1]})[0] == {}
    assert config.pruned_heads == {0: [1], 2: [0, 3]}


@pytest.mark.parametrize("asked", [{3: [0]}, {-1: [0]}, {0: [4]}, {0: [-1]}])
def test_heads_that_are_not_there_raise(asked):
    with pytest.raises(ArgumentError, match="layers from 0 to 2 and heads from 0 to 3"):
        heads_to_prune(RobertaConfig(**SMALL), asked)
