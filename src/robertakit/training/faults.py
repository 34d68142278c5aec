"""What reading had to leave out, counted and named."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

__all__ = ["Fault", "Faults"]

#: Faults that are remembered with their place; all are counted.
REMEMBERED = 20


@dataclass(frozen=True)
class Fault:
    """Something that was left out, or cut.

    Attributes:
        place: file and line, or file and row, both counted from 1.
        reason: what is wrong with it.
    """

    place: str
    reason: str


@dataclass
class Faults:
    """Faults counted by reason; the first few with their places.

    Example:
        >>> faults = Faults()
        >>> faults.add(Fault("a.txt:3", "not UTF-8"))
        >>> faults.counts, faults.first
        (Counter({'not UTF-8': 1}), ['a.txt:3: not UTF-8'])
    """

    counts: Counter[str] = field(default_factory=Counter)
    first: list[str] = field(default_factory=list)

    def add(self, fault: Fault) -> None:
        """Count a fault."""
        self.extend({fault.reason: 1}.items(), [f"{fault.place}: {fault.reason}"])

    def extend(self, counts: Iterable[tuple[str, int]], first: Iterable[str]) -> None:
        """Add faults that were counted elsewhere."""
        for reason, count in counts:
            self.counts[reason] += count
        self.first = [*self.first, *first][:REMEMBERED]
