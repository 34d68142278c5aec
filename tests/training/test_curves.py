"""Curves: every point lies inside its picture, at its place."""

import re
import xml.etree.ElementTree as ET
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robertakit.training.curves import HEIGHT, WIDTH, chart, thinned, ticks

NUMBERS = st.floats(-1e12, 1e12, allow_subnormal=False)


@given(NUMBERS, NUMBERS)
def test_ticks_take_the_range_in_and_rise(one: float, other: float) -> None:
    least, most = sorted((one, other))
    found = ticks(least, most)
    assert 2 <= len(found) <= 12
    assert all(before < after for before, after in pairwise(found))
    room = 1e-6 * (found[-1] - found[0])
    assert found[0] <= least + room
    assert most - room <= found[-1]


def test_a_chart_is_well_formed_and_its_points_are_in_order() -> None:
    drawn = ET.fromstring(chart('a "<b>"', {"one & two": [(0, 9.0), (5, 7.0), (10, 3.0)]}, y="<unit>"))
    assert drawn.attrib["aria-label"] == 'a "<b>"'
    line = next(element for element in drawn.iter() if element.tag.endswith("polyline"))
    points = [tuple(map(float, pair.split(","))) for pair in line.attrib["points"].split()]
    assert [x for x, _ in points] == sorted(x for x, _ in points)
    assert [y for _, y in points] == sorted(y for _, y in points)  # lower values are further down
    assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in points)


def test_what_is_not_finite_is_left_out() -> None:
    drawn = chart("x", {"a": [(0, float("nan")), (1, float("inf")), (2, 1.0)], "b": [(0, float("nan"))]})
    assert len(re.findall("<polyline", drawn)) == 1
    assert "nan" not in drawn
    assert chart("x", {"a": [(0, float("nan"))]}) == ""


@pytest.mark.parametrize("count", [0, 1, 499, 500, 501, 5003])
def test_long_lines_are_thinned_and_keep_their_mean(count: int) -> None:
    points = [(float(x), 2.0) for x in range(count)]
    kept = thinned(points)
    assert len(kept) <= 500
    assert all(y == pytest.approx(2.0) for _, y in kept)
    assert (kept == points) == (count <= 500)
