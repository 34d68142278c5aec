"""The baselines by hand: counts inside documents, weighted as in training, and Bayes' rule."""

import baselines
import numpy as np
import pytest
from positions import Hidden

from robertakit.training.shards import Corpus, SourceTokens, SpecialIds


def counted(*sources):
    """Bigrams of sources, each (weight, documents of ids)."""
    made = []
    for weight, documents in sources:
        tokens = np.array([token for document in documents for token in document], np.uint16)
        ends = np.cumsum([0, *map(len, documents)])
        made.append(
            SourceTokens("s", weight, None, tokens, np.zeros(0, np.uint8), ends, np.arange(len(ends)))
        )
    return baselines.Bigrams(Corpus(tuple(made), 10, SpecialIds(0, 2, 1, 9, 3, (0, 1, 2, 3, 9))))


def test_bigrams_are_counted_inside_documents_and_weighted_as_in_training():
    counts = counted((1.0, [[4, 5, 4, 6]]), (3.0, [[6, 5], [8]]))
    np.testing.assert_allclose(counts.unigram[[4, 5, 6, 8]], np.array([2, 4, 4, 3]) / 13, atol=1e-3)
    after = counts.after(4, kept=1.0)
    np.testing.assert_allclose(after, np.eye(10)[5] / 2 + np.eye(10)[6] / 2)
    np.testing.assert_allclose(counts.after(6, kept=1.0), np.eye(10)[5])
    np.testing.assert_allclose(counts.after(5, kept=1.0), np.eye(10)[4])  # and not 8, over a document's end
    np.testing.assert_allclose(counts.after(9, kept=1.0), counts.unigram)  # never seen
    np.testing.assert_allclose(counts.after(4, kept=0.75), 0.75 * after + 0.25 * counts.unigram)


def test_languages_count_by_the_shares_that_they_had_in_training():
    def source(language, documents):
        tokens = np.array([token for document in documents for token in document], np.uint16)
        ends = np.cumsum([0, *map(len, documents)])
        return SourceTokens(
            language, 1.0, language, tokens, np.zeros(0, np.uint8), ends, np.arange(len(ends))
        )

    sources = (source("a", [[4, 5]] * 9), source("b", [[4, 6]]))
    corpus = Corpus(sources, 10, SpecialIds(0, 2, 1, 9, 3, (0, 1, 2, 3, 9)))
    np.testing.assert_allclose(baselines.Bigrams(corpus).after(4, 1.0)[[5, 6]], [0.9, 0.1])
    np.testing.assert_allclose(baselines.Bigrams(corpus, 0.5).after(4, 1.0)[[5, 6]], [0.75, 0.25])  # 3 to 1
    np.testing.assert_allclose(baselines.Bigrams(corpus, 0.0).after(4, 1.0)[[5, 6]], [0.5, 0.5])


def test_both_neighbours_are_bayes_rule():
    counts = counted((1.0, [[4, 5, 6, 4, 7, 6, 4, 5, 8]]))
    left, right = np.array([4, 4, -1]), np.array([6, -1, -1])
    with np.errstate(divide="ignore"):
        (log,) = counts.predict(left, right, 1.0)
    rows = np.exp(log)
    np.testing.assert_allclose(rows.sum(1), 1)
    # P(5 | 4) P(6 | 5) : P(7 | 4) P(6 | 7) = 2/3 * 1/2 : 1/3 * 1
    np.testing.assert_allclose(rows[0, [5, 7]], [0.5, 0.5])
    np.testing.assert_allclose(rows[1], counts.after(4, 1.0))
    np.testing.assert_allclose(rows[2], counts.unigram)


def test_a_sentence_is_its_words_from_the_left():
    counts = counted((1.0, [[4, 5, 6, 4, 7]]))
    expected = np.log(counts.unigram[4] * counts.after(4, 0.8)[5] * counts.after(5, 0.8)[6])
    assert counts.sentence([4, 5, 6]) == pytest.approx(expected)


def test_figures_stand_beside_each_other_on_the_same_positions():
    counts = counted((1.0, [[4, 5, 6] * 50]))
    rows = np.arange(40)
    answer = np.tile([4, 5, 6, 5], 10)
    left, right = np.tile([6, 4, 5, 4], 10), np.tile([5, 6, 4, 6], 10)
    hidden = Hidden(answer, left, right, rows, np.ones(40, bool), np.zeros(40, np.int64))
    found = baselines.baselines(counts, hidden, ("text",))
    assert list(found) == ["unigram", "bigram", "bigram, both sides"]
    assert {own["all tokens"]["words"] for own in found.values()} == {40}
    assert found["bigram"]["all tokens"]["top1"] == 1
    perplexities = [own["all tokens"]["perplexity"] for own in found.values()]
    assert perplexities[0] > perplexities[1] > perplexities[2]
