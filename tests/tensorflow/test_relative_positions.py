"""Relative scores are the papers' formulas, with earlier keys too."""

import numpy as np
import pytest

from robertakit.tensorflow.relative_positions import relative_scores


@pytest.mark.parametrize("with_keys", [False, True])
@pytest.mark.parametrize("queries", [1, 2, 5])
def test_scores_are_the_papers_formula(queries, with_keys):
    generator = np.random.default_rng(0)
    query, key = generator.standard_normal((2, 3, queries, 4)), generator.standard_normal((2, 3, 5, 4))
    table = generator.standard_normal((15, 4))
    found = relative_scores(query, key, table, with_keys)
    assert found.shape == (2, 3, queries, 5)
    for i, position in enumerate(range(5 - queries, 5)):  # the queries are the last of five positions
        for j in range(5):
            row = table[position - j + 7]
            want = query[:, :, i] @ row + (key[:, :, j] @ row if with_keys else 0)
            np.testing.assert_allclose(found[:, :, i, j], want, rtol=0, atol=1e-12)
