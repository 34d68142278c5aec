"""The bookkeeping of beam search, for one prompt: which beams go on, which are finished, and when it is over.

Plain Python over a few numbers a step: each framework computes and ranks the scores, and asks here what they mean.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

__all__ = ["Beam", "Beams", "Candidate"]


@dataclass(frozen=True, slots=True)
class Candidate:
    """One continuation of a beam.

    Attributes:
        score: log-probability of all its new tokens.
        beam: which of the running beams it continues.
        token: the id it adds.
        ended: whether nothing may follow it.
    """

    score: float
    beam: int
    token: int
    ended: bool


@dataclass(frozen=True, slots=True)
class Beam:
    """A sequence of new tokens.

    Attributes:
        score: log-probability; of a finished one divided by its length to the power of the length penalty.
        tokens: the new ids.
        parents: the beam that each was predicted from.
    """

    score: float = 0.0
    tokens: tuple[int, ...] = ()
    parents: tuple[int, ...] = ()

    def with_(self, candidate: Candidate, score: float) -> "Beam":
        """Return the beam one token longer."""
        return Beam(score, (*self.tokens, candidate.token), (*self.parents, candidate.beam))


@dataclass(slots=True)
class Beams:
    """The beams of one prompt.

    Attributes:
        width: beams that run side by side.
        longest: most new tokens.
        length_penalty: exponent of the length that a finished beam's score is divided by.
        early_stopping: when it is over, as documented: True, False or "never".
        running: best first.
        finished: best first, at most `width`.

    Example:
        >>> beams = Beams(width=2, longest=3)
        >>> beams.advance([Candidate(-0.5, 0, 7, False), Candidate(-1.0, 0, 2, True), Candidate(-2.0, 0, 8, False)])
        [(0, 7), (0, 8)]
        >>> beams.finished
        [Beam(score=-1.0, tokens=(2,), parents=(0,))]
    """

    width: int
    longest: int
    length_penalty: float = 1.0
    early_stopping: bool | str = False
    running: list[Beam] = field(default_factory=lambda: [Beam()])
    finished: list[Beam] = field(default_factory=list)

    def scores(self) -> list[float]:
        """Return log-probabilities of the running beams, minus infinity where there is none."""
        scores = [beam.score for beam in self.running]
        return scores + [-math.inf] * (self.width - len(scores))

    def advance(self, candidates: Sequence[Candidate]) -> list[tuple[int, int]]:
        """Take the best continuations, best first; return (beam, token) of the `width` beams that go on.

        Only the best `width` candidates may finish; those behind them are there to go on in the place of beams that
        did. Where too few go on, the first beam fills the places: nothing comes of those.
        """
        if self.over():
            return [(0, candidates[0].token)] * self.width
        possible = [candidate for candidate in candidates if candidate.score > -math.inf]
        longer = [self.running[c.beam].with_(c, c.score) for c in possible]
        length = len(longer[0].tokens) if longer else 1
        new = [
            Beam(self._penalised(beam.score, length), beam.tokens, beam.parents)
            for beam, candidate in zip(longer[: self.width], possible, strict=False)
            if candidate.ended
        ]
        self.finished = sorted([*self.finished, *new], key=lambda beam: -beam.score)[: self.width]
        going = [beam for beam, candidate in zip(longer, possible, strict=True) if not candidate.ended]
        self.running = sorted(going, key=lambda beam: -beam.score)[: self.width]
        steps = [(beam.parents[-1], beam.tokens[-1]) for beam in self.running]
        return steps + [(0, candidates[0].token)] * (self.width - len(steps))

    def over(self) -> bool:
        """Whether nothing that runs can be among the results any more."""
        if not self.running:
            return True
        if len(self.finished) < self.width:
            return False
        if self.early_stopping is True:
            return True
        # The best that may come of the running ones: at their length, or, for "never", at the kindest one.
        kindest = self.early_stopping == "never" and self.length_penalty > 0
        length = self.longest if kindest else len(self.running[0].tokens)
        return self._penalised(self.running[0].score, length) <= self.finished[-1].score

    def _penalised(self, score: float, length: int) -> float:
        return score / math.pow(length, self.length_penalty)
