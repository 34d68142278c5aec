"""Which packed sequences share one call of a kernel: neighbours of equal length, or lengths of one octave, padded.

Shape letters: T packed tokens, S sequences; n sequences of at most L tokens share a call. X stands for what a token
has: (H, D) in attention.
"""

import itertools
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from robertakit.errors import BadShape

__all__ = ["Call", "plan", "read_bounds"]


@dataclass(frozen=True, slots=True)
class Call:
    """n sequences in one call, padded to the longest, L: neighbours of equal length, or picked from anywhere.

    Attributes:
        n: number of sequences.
        length: L.
        start: first row of the neighbours.
        rows: (n·L,) for the picked: the token at each place; padding repeats the first of its sequence.
        places: which of these places hold real tokens; None: all.
        keep: (n, 1, 1, L), which keys are real, as attention masks want it; None: all.
    """

    n: int
    length: int
    start: int = 0
    rows: Tensor | None = None
    places: Tensor | None = None
    keep: Tensor | None = None

    def gather(self, x: Tensor) -> Tensor:
        """(T, X) to (n, L, X): a view of neighbours, a copy of what is picked."""
        if self.rows is None:
            taken = x[self.start : self.start + self.n * self.length]
        else:
            taken = x.index_select(0, self.rows)
        return taken.view(self.n, self.length, *x.shape[1:])

    def scatter(self, x: Tensor, out: Tensor) -> None:
        """Write the real tokens of (n, L, X) to their rows of `out` (T, X)."""
        if self.rows is None:
            out[self.start : self.start + self.n * self.length].view(x.shape).copy_(x)
        elif self.places is None:
            out.index_copy_(0, self.rows, x.flatten(0, 1))
        else:
            real = x.flatten(0, 1).index_select(0, self.places)
            out.index_copy_(0, self.rows.index_select(0, self.places), real)


def read_bounds(cumulative_lengths: Tensor, tokens: int) -> tuple[int, ...]:
    """Return the S + 1 numbers; on a GPU, this waits for them.

    Raises:
        BadShape: they do not cover the tokens.

    Example:
        >>> read_bounds(torch.tensor([0, 2, 2, 3]), 3)
        (0, 2, 2, 3)
    """
    bounds = tuple(cumulative_lengths.tolist())
    falls = any(stop < start for start, stop in itertools.pairwise(bounds))
    if bounds[0] != 0 or bounds[-1] != tokens or falls:
        raise BadShape(
            given=f"cumulative_lengths {list(bounds)} for {tokens} tokens",
            expected="numbers that start at 0, never fall and end at the number of tokens",
        )
    return bounds


@lru_cache(maxsize=16)  # all layers, forward and backward, ask for the same one
def plan(
    bounds: tuple[int, ...], device: torch.device, most: int | None = None, pick: bool = False
) -> tuple[Call, ...]:
    """Return the calls that cover all sequences, empty ones left out.

    Args:
        bounds: cumulative lengths, S + 1.
        device: where the tokens are.
        most: no call has more than so many weights, n·L², unless it is of one sequence; None: no bound.
        pick: take sequences of one octave of lengths (33 to 64, say) from anywhere and pad them; else only neighbours
            of equal length share a call, and nothing is copied or padded.

    Example:
        >>> [(call.start, call.n, call.length) for call in plan((0, 3, 6, 7, 10), torch.device("cpu"))]
        [(0, 2, 3), (6, 1, 1), (7, 1, 3)]
    """
    sequences = [(start, stop - start) for start, stop in itertools.pairwise(bounds) if stop > start]
    if pick:
        sequences.sort(key=lambda sequence: sequence[1])
    kind = _octave if pick else _length
    calls = []
    for _, group in itertools.groupby(sequences, key=kind):
        alike = list(group)
        size = len(alike) if most is None else max(1, most // alike[-1][1] ** 2)
        for first in range(0, len(alike), size):
            part = alike[first : first + size]
            start, length = part[0]
            calls.append(_padded(part, device) if pick else Call(len(part), length, start))
    return tuple(calls)


def _length(sequence: tuple[int, int]) -> int:
    return sequence[1]


def _octave(sequence: tuple[int, int]) -> int:
    return (sequence[1] - 1).bit_length()


def _padded(sequences: list[tuple[int, int]], device: torch.device) -> Call:
    """The call of these sequences (start, length), padded to the last."""
    n, longest = len(sequences), sequences[-1][1]
    with torch.inference_mode(False):  # what the plan keeps must serve a training step, too
        starts, lengths = torch.tensor(sequences, device="cpu").unbind(1)
        place = torch.arange(longest, device="cpu")
        real = place < lengths[:, None]
        rows = (starts[:, None] + torch.where(real, place, 0)).flatten().to(device)
        if sequences[0][1] == longest:
            return Call(n, longest, rows=rows)
        places = real.flatten().nonzero().flatten().to(device)
        return Call(n, longest, rows=rows, places=places, keep=real[:, None, None].to(device))
