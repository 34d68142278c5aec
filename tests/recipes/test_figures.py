"""Figures: ranks, perplexity, parts of the positions, intervals."""

import figures
import numpy as np
import pytest
from positions import Hidden


def hidden(answers, one_piece, kinds):
    zeros = np.zeros(len(answers), np.int64)
    return Hidden(np.array(answers), zeros, zeros, zeros, np.array(one_piece), np.array(kinds))


def test_scores_are_ranks_and_perplexity():
    log = np.log([[0.1, 0.6, 0.3], [0.5, 0.3, 0.2], [0.25, 0.5, 0.25]])
    own = hidden([1, 2, 0], [True, False, True], [0, 1, 1])
    found = figures.score(iter([log[:2], log[2:]]), own, ("books", "songs"))
    assert found["all tokens"]["top1"] == pytest.approx(1 / 3)
    assert found["all tokens"]["top5"] == 1
    assert found["all tokens"]["perplexity"] == pytest.approx((0.6 * 0.2 * 0.25) ** (-1 / 3))
    assert found["one-piece words"]["words"] == 2
    assert found["pieces"]["perplexity"] == pytest.approx(5)
    assert found["books"]["top1"] == 1
    assert found["songs"]["perplexity"] == pytest.approx(20**0.5)


def test_predictions_that_are_too_few_are_told():
    with pytest.raises(ValueError, match="1 predictions for 2"):
        figures.score([np.zeros((1, 4))], hidden([1, 2], [True, True], [0, 0]), ("text",))


def test_log_softmax_of_large_logits():
    found = figures.log_softmax(np.array([[1e4, 1e4 - 1], [-5.0, -5.0]], np.float32))
    np.testing.assert_allclose(np.exp(found).sum(1), 1)
    np.testing.assert_allclose(found[1], np.log([0.5, 0.5]))


def test_wilsons_interval():
    low, high = figures.interval(10, 20)
    assert (low, high) == pytest.approx((0.2993, 0.7007), abs=1e-4)
    assert figures.interval(0, 20)[0] == pytest.approx(0)
    assert figures.interval(20, 20) == pytest.approx((0.8389, 1), abs=1e-4)
