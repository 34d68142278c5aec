"""SEGMENT-PAIR: two segments a row, half of the second ones from another document."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robertakit.training.packing import Epoch, Packing, Rows, plan_epoch

from .shards_in_memory import Corpus, Special, source

EOS = Special.eos


def planned(documents: list[list[int]], size: int, weight: float = 1.0) -> Epoch:
    corpus = Corpus((source(documents, weight=weight),))
    return plan_epoch(corpus, Packing("segment-pair", ((size, 1.0),)), seed=2, epoch=0)


def segments_of(taken: Rows) -> list[list[list[int]]]:
    """The segments of each row, as lists of ids."""
    found = []
    for start, stop in pairwise(taken.cumulative_lengths):
        inner = taken.input_ids[start + 1 : stop - 1].tolist()
        if EOS in inner:
            at = inner.index(EOS)
            assert inner[at + 1] == EOS
            found.append([inner[:at], inner[at + 2 :]])
        else:
            found.append([inner])
    return found


@given(
    documents=st.lists(st.lists(st.integers(0, 40), max_size=8), max_size=12),
    size=st.integers(8, 40),
    weight=st.sampled_from([1.0, 3.0]),
)
def test_laws_of_pairs(documents: list[list[int]], size: int, weight: float) -> None:
    epoch = planned(documents, size, weight)
    taken = epoch.take(np.arange(len(epoch)))
    ends = np.cumsum([sum(document) for document in documents]) + 10
    assert taken.follows is not None
    every: list[int] = []
    for segments, follows in zip(segments_of(taken), taken.follows.tolist(), strict=True):
        every += [token for segment in segments for token in segment]
        for segment in segments:  # a stretch of one document
            assert segment == list(range(segment[0], segment[-1] + 1))
        documents_of = [int(np.searchsorted(ends, segment[0], side="right")) for segment in segments]
        if follows == 1:
            assert segments[1][0] == segments[0][-1] + 1
            assert documents_of[0] == documents_of[1]
        elif follows == 0:
            assert documents_of[0] != documents_of[1]
        else:
            assert len(segments) == 1
    assert sorted(every) == sorted(list(range(10, ends[-1] if len(ends) else 10)) * int(weight))
    assert epoch.lengths.max(initial=0) <= size


@pytest.mark.parametrize("sentences", [3, 4, 30])
def test_half_of_the_pairs_follow(sentences: int) -> None:
    epoch = planned([[7] * sentences] * 200, 64)
    follows = epoch.take(np.arange(len(epoch))).follows
    assert follows is not None
    assert (follows == 1).mean() == pytest.approx(0.5, abs=0.01)
    assert (follows == 0).mean() == pytest.approx(0.5, abs=0.01)


def test_documents_of_one_sentence_are_all_strangers() -> None:
    epoch = planned([[7]] * 101, 64)
    follows = epoch.take(np.arange(len(epoch))).follows
    assert follows is not None
    assert np.bincount(follows + 1, minlength=3).tolist() == [1, 50, 0]


def test_one_document_has_no_stranger() -> None:
    epoch = planned([[7] * 100], 64)
    follows = epoch.take(np.arange(len(epoch))).follows
    assert follows is not None
    assert set(follows.tolist()) == {1}


def test_a_document_of_half_the_corpus_and_more() -> None:
    """Its pairs are broken only as far as the others have something to exchange."""
    epoch = planned([[7] * 400, *([[7] * 8] * 10)], 64)
    taken = epoch.take(np.arange(len(epoch)))
    assert taken.follows is not None
    assert 4 <= (taken.follows == 0).sum() <= 20
    assert (taken.follows >= 0).all()


def test_other_forms_have_no_label() -> None:
    corpus = Corpus((source([[7] * 5]),))
    epoch = plan_epoch(corpus, Packing("doc-sentences"), seed=0, epoch=0)
    assert epoch.take([0]).follows is None
