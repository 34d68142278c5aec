"""Rows of the three input formats: nothing is lost, nothing is cut without need, nothing depends on the batch."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robertakit.errors import ArgumentError, InputError
from robertakit.training import spans
from robertakit.training.packing import FORMS, Epoch, Packing, Rows, plan_epoch

from .shards_in_memory import Corpus, Special, source

BOS, EOS = Special.bos, Special.eos
#: Lengths of the sentences of documents; some are empty, some longer than a row.
DOCUMENTS = st.lists(st.lists(st.integers(0, 40), max_size=8), max_size=12)
SIZES = st.integers(8, 40)


def rows_of(taken: Rows) -> list[list[int]]:
    """The rows as lists of ids."""
    return [taken.input_ids[start:stop].tolist() for start, stop in pairwise(taken.cumulative_lengths)]


def planned(documents: list[list[int]], form: str, size: int, *, seed: int = 0) -> Epoch:
    return plan_epoch(Corpus((source(documents),)), Packing(form, ((size, 1.0),)), seed=seed, epoch=0)


def greedy_rows(documents: list[list[int]], order: list[int], room: int, crossing: bool) -> list[list[int]]:
    """The paper's sentence of section 4.2 as a loop over tokens: what `plan_epoch` must come to."""
    first, at = [], 10
    for document in documents:
        first.append(at)
        at += sum(document)
    rows: list[list[int]] = []
    row: list[int] = []
    for index in order:
        start, new = first[index], True
        for length in documents[index]:
            for at in range(start, start + length, room):
                piece = list(range(at, min(at + room, start + length)))
                joint = [EOS] if new and row else []
                if (new and row and not crossing) or len(row) + len(joint) + len(piece) > room:
                    rows.append(row)
                    row, joint = [], []
                row = row + joint + piece
                new = False
            start += length
    return [[BOS, *row, EOS] for row in [*rows, row] if row]


@pytest.mark.parametrize("form", ["full-sentences", "doc-sentences"])
@given(documents=DOCUMENTS, size=SIZES, seed=st.integers(0, 5))
def test_rows_are_those_of_a_plain_loop(form: str, documents: list[list[int]], size: int, seed: int) -> None:
    from robertakit.training.sampling import draw_documents

    epoch = planned(documents, form, size, seed=seed)
    order = draw_documents(len(documents), 1.0, seed=seed, epoch=0, source=0).tolist()
    rows = rows_of(epoch.take(np.arange(len(epoch))))
    assert sorted(rows) == sorted(greedy_rows(documents, order, size - 2, form == "full-sentences"))
    assert epoch.lengths.tolist() == [len(row) for row in rows]


@pytest.mark.parametrize("form", FORMS)
@given(documents=DOCUMENTS, size=SIZES)
def test_each_token_is_in_one_row(form: str, documents: list[list[int]], size: int) -> None:
    epoch = planned(documents, form, size)
    taken = epoch.take(np.arange(len(epoch)))
    words = taken.input_ids[taken.word_ids >= 0]
    assert sorted(words.tolist()) == list(range(10, 10 + sum(map(sum, documents))))
    assert epoch.lengths.max(initial=0) <= size
    assert set(taken.input_ids[taken.word_ids < 0].tolist()) <= {BOS, EOS}
