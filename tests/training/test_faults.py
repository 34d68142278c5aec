"""Faults: all counted, the first few named."""

from robertakit.training.faults import REMEMBERED, Fault, Faults


def test_all_are_counted_and_the_first_are_named() -> None:
    faults = Faults()
    for number in range(REMEMBERED + 5):
        faults.add(Fault(f"a:{number}", "odd" if number % 2 else "even"))
    assert faults.counts == {"odd": 12, "even": 13}
    assert len(faults.first) == REMEMBERED
    assert faults.first[1] == "a:1: odd"


def test_counts_add_up() -> None:
    faults, more = Faults(), Faults()
    faults.add(Fault("a:1", "odd"))
    more.add(Fault("b:2", "odd"))
    more.add(Fault("b:3", "new"))
    faults.extend(more.counts.items(), more.first)
    assert faults.counts == {"odd": 2, "new": 1}
    assert faults.first == ["a:1: odd", "b:2: odd", "b:3: new"]
