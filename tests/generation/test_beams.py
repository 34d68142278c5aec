"""The bookkeeping of beam search: when it is over, and what finishes."""

import math

import pytest

from robertakit.generation.beams import Beam, Beams, Candidate


def steps(beams: Beams, *candidates: tuple[float, int, int, bool]) -> list[tuple[int, int]]:
    return beams.advance([Candidate(*candidate) for candidate in candidates])


def test_only_the_best_finish_and_others_go_on_in_their_place() -> None:
    beams = Beams(width=2, longest=5)
    went = steps(beams, (-1.0, 0, 2, True), (-2.0, 0, 7, False), (-3.0, 0, 2, True), (-4.0, 0, 8, False))
    assert went == [(0, 7), (0, 8)]
    assert beams.finished == [Beam(-1.0, (2,), (0,))]
    assert beams.scores() == [-2.0, -4.0]
    went = steps(beams, (-2.5, 1, 5, False), (-2.6, 0, 2, True), (-2.7, 0, 6, False), (-2.8, 0, 2, True))
    assert went == [(1, 5), (0, 6)]
    assert beams.finished == [Beam(-1.0, (2,), (0,)), Beam(-1.3, (7, 2), (0, 0))]
    assert beams.running[0] == Beam(-2.5, (8, 5), (0, 1))


def full(early_stopping: bool | str, length_penalty: float, running: float) -> bool:
    beams = Beams(1, longest=10, length_penalty=length_penalty, early_stopping=early_stopping)
    steps(beams, (-0.1, 0, 7, False))
    steps(beams, (-2.0, 0, 2, True), (running, 0, 7, False))
    assert beams.finished[0].score == pytest.approx(-2.0 / 2**length_penalty)
    return beams.over()


@pytest.mark.parametrize(
    ("early_stopping", "length_penalty", "running", "over"),
    [
        (True, 1.0, -0.2, True),  # full is enough
        (False, 1.0, -1.9, False),
        (False, 1.0, -2.1, True),  # worse at its length, though it might win at the longest
        ("never", 1.0, -2.1, False),
        ("never", 1.0, -9.9, False),  # -9.9 / 10 is better than -2 / 2
        ("never", 1.0, -10.1, True),
        ("never", 0.0, -2.1, True),  # no length makes it better
        ("never", -1.0, -2.1, True),
    ],
)
def test_when_it_is_over(
    early_stopping: bool | str, length_penalty: float, running: float, over: bool
) -> None:
    assert full(early_stopping, length_penalty, running) is over


def test_it_goes_on_until_it_is_full_and_ends_where_nothing_runs() -> None:
    beams = Beams(width=2, longest=3, early_stopping=True)
    steps(beams, (-1.0, 0, 2, True), (-5.0, 0, 7, False), (-6.0, 0, 8, False))
    assert not beams.over()
    steps(beams, (-5.5, 0, 2, True), (-6.5, 1, 2, True), (-math.inf, 0, 5, False))
    assert beams.over()
    assert beams.scores() == [-math.inf, -math.inf]
    assert steps(beams, (0.0, 0, 2, True)) == [(0, 2), (0, 2)]  # rows go on; nothing comes of them
    assert len(beams.finished) == 2


def test_what_is_impossible_neither_finishes_nor_goes_on() -> None:
    beams = Beams(width=2, longest=3)
    assert steps(beams, (-1.0, 0, 7, False), (-math.inf, 0, 2, True), (-math.inf, 0, 8, False)) == [
        (0, 7),
        (0, 7),
    ]
    assert beams.scores() == [-1.0, -math.inf]
    assert beams.finished == []
    steps(beams, (-math.inf, 0, 7, False))
    assert beams.over()
