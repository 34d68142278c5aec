"""Ways through a lattice of pieces: the best one, the n best, or one drawn by its probability (Kudo 2018)."""

import math
import random
from array import array
from typing import TypedDict, cast

from robertakit.errors import ArgumentError

Edge = tuple[int, float, int]
"""A piece that begins at some place: where it ends, its score, its index in the model."""
Lattice = list[list[Edge]]
"""For each place of a text but its end, the pieces that begin there; one can always go on by a character."""
Path = list[tuple[int, int]]
"""End and index of each piece on the way."""


def best_path(lattice: Lattice, entering: float) -> tuple[Path, float]:
    """The way of highest score, and the score at its end.

    Scores are summed along the text in float32 and the first of equals stays, as in SentencePiece. `entering` is
    the sum of the text before: near ties fall by its rounding.
    """
    length = len(lattice)
    best = array("f", bytes(4 * (length + 1)))
    best[0] = entering
    before: list[tuple[int, int] | None] = [None] * (length + 1)
    rounded = array("f", (0.0,))
    for place, edges in enumerate(lattice):
        here = best[place]
        for end, score, index in edges:
            candidate = score + here
            if before[end] is None or candidate > best[end]:
                rounded[0] = candidate  # a sum that rounds to the same as the one kept does not beat it
                if before[end] is None or rounded[0] > best[end]:
                    best[end] = candidate
                    before[end] = (place, index)
    path: Path = []
    place = length
    while (step := before[place]) is not None:
        path.append((place, step[1]))
        place = step[0]
    path.reverse()
    return path, best[length]


def best_paths(lattice: Lattice, number: int) -> list[tuple[Path, float]]:
    """The `number` best ways with their scores (float64), the best first; fewer where there are not as many."""
    # At each place the best sums, each with the place before, which of its sums, and the piece between.
    sums: list[list[tuple[float, int, int, int]]] = [[] for _ in range(len(lattice) + 1)]
    sums[0] = [(0.0, -1, -1, -1)]
    for place, edges in enumerate(lattice):
        sums[place].sort(key=lambda found: -found[0])
        del sums[place][number:]
        for end, score, index in edges:
            for rank, found in enumerate(sums[place]):
                sums[end].append((found[0] + score, place, rank, index))
    sums[-1].sort(key=lambda found: -found[0])
    paths = []
    for total, place, rank, index in sums[-1][:number]:
        path: Path = []
        end = len(lattice)
        while place >= 0:
            path.append((end, index))
            end, (_, place, rank, index) = place, sums[place][rank]
        paths.append((path[::-1], total))
    return paths


def draw_path(lattice: Lattice, alpha: float, generator: random.Random) -> Path:
    """Draw a way with probability proportional to exp(alpha · score), by forward filtering and backward drawing."""
    length = len(lattice)
    arriving: list[list[tuple[float, int, int]]] = [[] for _ in range(length + 1)]
    logs = [0.0] * (length + 1)  # log of the sum over all ways to a place
    for place, edges in enumerate(lattice):
        if place:
            logs[place] = log_sum([log for log, _, _ in arriving[place]])
        for end, score, index in edges:
            arriving[end].append((logs[place] + alpha * score, place, index))
    path: Path = []
    place = length
    while place:
        highest = max(log for log, _, _ in arriving[place])
        weights = [math.exp(log - highest) for log, _, _ in arriving[place]]
        ((_, start, index),) = generator.choices(arriving[place], weights)
        path.append((place, index))
        place = start
    return path[::-1]


def log_sum(logs: list[float]) -> float:
    """log Σ exp."""
    highest = max(logs)
    return highest + math.log(math.fsum(math.exp(log - highest) for log in logs))


class SamplingOptions(TypedDict, total=False):
    """The documented keys of `sp_model_kwargs`."""

    enable_sampling: bool
    nbest_size: int
    alpha: float


class Sampling:
    """Subword regularisation, as the documented `sp_model_kwargs` ask for it.

    Args:
        enable_sampling: draw a segmentation for each text instead of taking the best.
        nbest_size: -1 draws from all segmentations; above 1 from that many best ones; 0 and 1 take the best.
        alpha: how sharp the probabilities are (exp(alpha · score)).

    Raises:
        ArgumentError: for an option that is unknown or out of range.
    """

    def __init__(self, *, enable_sampling: bool = False, nbest_size: int = -1, alpha: float = 0.1) -> None:
        if nbest_size > 512:
            raise ArgumentError(given=f"nbest_size={nbest_size}", expected="at most 512")
        self.nbest_size = nbest_size
        self.alpha = alpha
        self.draws = enable_sampling and nbest_size not in (0, 1)

    @classmethod
    def from_options(cls, options: dict[str, object]) -> "Sampling":
        """Read `sp_model_kwargs`."""
        kinds: dict[str, tuple[type, ...]] = {
            "enable_sampling": (bool,),
            "nbest_size": (int,),
            "alpha": (int, float),
        }
        for name, value in options.items():
            if not isinstance(value, kinds.get(name, ())):
                raise ArgumentError(
                    given=f"sp_model_kwargs with {name}={value!r}",
                    expected="enable_sampling (bool), nbest_size (int) and alpha (float)",
                )
        given = cast("SamplingOptions", options)
        return cls(**given)

    def draw(self, lattice: Lattice, generator: random.Random) -> Path:
        """Draw a way through a lattice."""
        if self.nbest_size < 0:
            return draw_path(lattice, self.alpha, generator)
        paths = best_paths(lattice, self.nbest_size)
        weights = [math.exp(self.alpha * (score - paths[0][1])) for _, score in paths]
        return generator.choices([path for path, _ in paths], weights)[0]
