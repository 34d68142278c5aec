"""One position ahead, in one thread, and the same as without."""

import threading

import pytest

from robertakit.training.prefetching import Ahead, Position


def successor(at: Position) -> Position:
    return (at[0], at[1] + 1) if at[1] < 2 else (at[0] + 1, 0)


@pytest.mark.parametrize("wanted", [True, False])
def test_all_positions_in_order(wanted: bool) -> None:
    at, taken = (0, 0), []
    with Ahead(lambda at: (f"{at}", successor(at)), wanted) as ahead:
        for _ in range(7):
            made, at = ahead.take(at)
            taken.append(made)
    expected, at = [], (0, 0)
    for _ in range(7):
        expected.append(f"{at}")
        at = successor(at)
    assert taken == expected


def test_the_next_is_made_while_the_caller_works() -> None:
    made = {(0, 0): threading.Event(), (0, 1): threading.Event(), (0, 2): threading.Event()}

    def make(at: Position) -> tuple[int, Position]:
        made[at].set()
        return threading.get_ident(), successor(at)

    with Ahead(make, wanted=True) as ahead:
        thread, at = ahead.take((0, 0))
        assert made[0, 1].wait(10)  # nobody asked for it yet
        assert not made[0, 2].is_set()
        assert ahead.take(at)[0] == thread != threading.get_ident()


def test_a_leap_elsewhere_is_made_anew() -> None:
    with Ahead(lambda at: (at, successor(at)), wanted=True) as ahead:
        ahead.take((3, 1))
        assert ahead.take((0, 2)) == ((0, 2), (1, 0))


@pytest.mark.parametrize("wanted", [True, False])
def test_an_error_comes_out_where_its_position_is_taken(wanted: bool) -> None:
    def make(at: Position) -> tuple[int, Position]:
        if at == (0, 1):
            raise ZeroDivisionError
        return 1, successor(at)

    with Ahead(make, wanted) as ahead:
        _, at = ahead.take((0, 0))
        with pytest.raises(ZeroDivisionError):
            ahead.take(at)
        assert ahead.take((0, 2)) == (1, (1, 0))  # and it goes on
