"""The arithmetic of offsets under the input formats."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from robertakit.training.spans import Pieces, greedy, pieces_of, spans_of, walk

from .shards_in_memory import source


@given(documents=st.lists(st.lists(st.integers(0, 30), max_size=6), min_size=1), room=st.integers(1, 20))
def test_pieces_cover_the_documents_and_fit(documents: list[list[int]], room: int) -> None:
    order = np.arange(len(documents))[::-1].copy()
    found = list(pieces_of(source(documents), order, room))
    pieces = found[0] if found else Pieces.none()
    assert len(found) <= 1
    assert ((pieces.lengths > 0) & (pieces.lengths <= room)).all()
    assert pieces.begins.sum() == sum(sum(document) > 0 for document in documents)
    tokens = [
        token
        for start, length in zip(pieces.starts.tolist(), pieces.lengths.tolist(), strict=True)
        for token in range(start, start + length)
    ]
    ends = np.cumsum([0, *map(sum, documents)])
    assert tokens == [token for d in order.tolist() for token in range(ends[d], ends[d + 1])]


def test_a_sentence_is_cut_only_where_no_row_holds_it() -> None:
    pieces = next(pieces_of(source([[5, 23, 10]]), np.array([0]), 10))
    assert pieces.lengths.tolist() == [5, 10, 10, 3, 10]
    assert pieces.begins.tolist() == [1, 0, 0, 0, 0]
    rows = greedy(pieces, 10, crossing=True)
    assert rows.tolist() == [0, 1, 2, 3, 4]
    assert greedy(pieces, 15, crossing=True).tolist() == [0, 2, 4]


def test_the_separator_is_counted_where_it_stands() -> None:
    pieces = next(pieces_of(source([[4], [5], [4]]), np.array([0, 1, 2]), 10))
    assert greedy(pieces, 10, crossing=True).tolist() == [0, 2]  # 4 + </s> + 5
    assert greedy(pieces, 9, crossing=True).tolist() == [0, 1, 2]
    assert greedy(pieces, 10, crossing=False).tolist() == [0, 1, 2]


def test_neighbours_in_a_document_are_one_span() -> None:
    pieces = next(pieces_of(source([[2, 2, 2], [3]]), np.array([1, 0]), 10))
    joined = spans_of(pieces, np.array([0, 3]), source=7)
    assert (joined.source, joined.starts.tolist(), joined.lengths.tolist()) == (7, [6, 0, 4], [3, 4, 2])
    assert joined.counts.tolist() == [2, 1]


@given(steps=st.lists(st.integers(1, 5), max_size=40))
def test_a_walk_steps_from_end_to_end(steps: list[int]) -> None:
    ends = np.minimum(np.arange(len(steps)) + steps, len(steps))
    at, seen = 0, []
    while at < len(steps):
        seen.append(at)
        at = int(ends[at])
    assert walk(ends).tolist() == seen
