import math
import random
from collections import Counter
from itertools import pairwise, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robertakit.errors import ArgumentError
from robertakit.tokenizers.lattice import Sampling, best_path, best_paths, draw_path

# "abc": a, b, c alone, ab, bc, abc
LATTICE = [[(1, -2.0, 1), (2, -3.0, 4), (3, -7.0, 6)], [(2, -2.5, 2), (3, -3.5, 5)], [(3, -1.0, 3)]]
ALL = {(1, 2, 3): -5.5, (1, 5): -5.5, (4, 3): -4.0, (6,): -7.0}


def indices(path):
    return tuple(index for _, index in path)


def test_best_path():
    path, score = best_path(LATTICE, 0.0)
    assert path == [(2, 4), (3, 3)]
    assert score == -4.0
    assert best_path(LATTICE, -10.0)[1] == -14.0


def test_the_first_of_equals_stays():
    lattice = [[(1, -1.0, 1), (2, -2.0, 3)], [(2, -1.0, 2)]]
    assert indices(best_path(lattice, 0.0)[0]) == (3,)  # it arrives first, from the first place


def test_sums_are_rounded_to_32_bits():
    tiny = 2.0**-30
    lattice = [[(1, -1.0, 1), (2, -2.0 - tiny, 3)], [(2, -1.0, 2)]]
    assert indices(best_path(lattice, 0.0)[0]) == (3,)  # better by less than float32 tells
    lattice = [[(1, -1.0, 1), (2, -2.0 - 2.0**-20, 3)], [(2, -1.0, 2)]]
    assert indices(best_path(lattice, 0.0)[0]) == (1, 2)
    assert indices(best_path(lattice, -1000.0)[0]) == (3,)  # what came before decides what is lost


def test_best_paths_are_all_in_order():
    found = best_paths(LATTICE, 10)
    assert {indices(path): score for path, score in found} == ALL
    assert [score for _, score in found] == sorted(ALL.values(), reverse=True)
    assert [indices(path) for path, _ in best_paths(LATTICE, 1)] == [(4, 3)]


@given(
    st.lists(st.integers(0, 3), min_size=1, max_size=5), st.integers(1, 6), st.randoms(use_true_random=False)
)
def test_best_paths_are_those_of_a_search_of_all(widths, number, generator):
    length = len(widths)
    lattice = [
        [
            (end, generator.uniform(-9, 0), start * 10 + end)
            for end in range(start + 1, min(length, start + 1 + width) + 1)
        ]
        for start, width in enumerate(widths)
    ]
    scores = {index: score for edges in lattice for _, score, index in edges}
    every = []
    for cuts in product([False, True], repeat=length - 1):
        places = [0, *[place for place, cut in enumerate(cuts, 1) if cut], length]
        path = tuple(start * 10 + end for start, end in pairwise(places))
        if all(index in scores for index in path):
            every.append((sum(scores[index] for index in path), path))
    every.sort(reverse=True)
    found = best_paths(lattice, number)
    # Paths of equal scores may come in any order: the scores decide, and that each path has the score it says.
    assert [score for _, score in found] == pytest.approx([score for score, _ in every[:number]], abs=1e-5)
    sums = {path: score for score, path in every}
    assert [sums[indices(path)] for path, _ in found] == pytest.approx(
        [score for _, score in found], abs=1e-5
    )
    assert len({indices(path) for path, _ in found}) == len(found)
    assert indices(best_path(lattice, 0.0)[0]) == every[0][1] or every[0][0] - every[1][0] < 1e-5


@pytest.mark.parametrize("alpha", [0.0, 0.5, 2.0])
def test_drawn_paths_have_their_probabilities(alpha):
    generator = random.Random(7)
    draws = 20_000
    counts = Counter(indices(draw_path(LATTICE, alpha, generator)) for _ in range(draws))
    weights = {path: math.exp(alpha * score) for path, score in ALL.items()}
    for path, weight in weights.items():
        assert abs(counts[path] / draws - weight / sum(weights.values())) < 0.02


def test_drawing_from_the_best_ones():
    sampling = Sampling(enable_sampling=True, nbest_size=2, alpha=0.0)
    generator = random.Random(3)
    counts = Counter(indices(sampling.draw(LATTICE, generator)) for _ in range(4000))
    assert len(counts) == 2
    assert abs(counts[(4, 3)] - 2000) < 200


def test_the_same_generator_draws_the_same():
    sampling = Sampling(enable_sampling=True)
    runs = [[sampling.draw(LATTICE, random.Random(seed)) for seed in range(20)] for _ in range(2)]
    assert runs[0] == runs[1]


def test_options():
    assert not Sampling().draws
    assert not Sampling.from_options({"nbest_size": 5}).draws
    assert not Sampling.from_options({"enable_sampling": True, "nbest_size": 1}).draws
    drawing = Sampling.from_options({"enable_sampling": True, "nbest_size": 64, "alpha": 1})
    assert (drawing.draws, drawing.nbest_size, drawing.alpha) == (True, 64, 1)
    for wrong in ({"alpha": "x"}, {"add_bos": True}, {"enable_sampling": "yes"}, {"nbest_size": 513}):
        with pytest.raises(ArgumentError):
            Sampling.from_options(wrong)
