"""Relative scores are the papers' formulas, with earlier keys too."""

import jax
import numpy as np
import pytest

from robertakit.jax.relative_positions import relative_scores


@pytest.mark.parametrize("with_keys", [False, True])
@pytest.mark.parametrize("first", [0, 3])
def test_scores_are_the_papers_formula(first, with_keys):
    generator = np.random.default_rng(0)
    query, key = generator.standard_normal((2, 2, 3, 4)), generator.standard_normal((2, 5, 3, 4))
    table = generator.standard_normal((15, 4))
    with jax.enable_x64(True):
        found = np.asarray(relative_scores(*map(jax.numpy.asarray, (query, key, table)), with_keys, first))
    assert found.shape == (2, 3, 2, 5)
    for i in range(2):
        for j in range(5):
            row = table[first + i - j + 7]
            want = query[:, i] @ row + (key[:, j] @ row if with_keys else 0)
            np.testing.assert_allclose(found[:, :, i, j], want, rtol=0, atol=1e-12)
