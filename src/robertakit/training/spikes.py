"""Which batches are refused: a loss or gradient that is not finite, or a loss that leaps."""

import math
from collections import deque
from collections.abc import Iterable
from statistics import median

__all__ = ["LossWatch"]

#: Median absolute deviation from the median -> standard deviation, for a normal distribution.
_NORMAL = 1.4826
#: A deviation is taken for at least this share of the median: losses that hardly vary make no spike of a wrinkle.
_LEAST = 0.01


class LossWatch:
    """Judges each batch by its loss, before its gradient is applied.

    A spike is a loss above median + ``deviations`` x spread of the last ``window`` losses, the spread being the median
    absolute deviation scaled to a standard deviation: figures that one leap among them does not move.

    Args:
        deviations: how far above the median; 0 for no such judgement.
        window: how many losses are kept; a quarter of them must be there before one is judged.
        losses: those kept so far, of a run that goes on.

    Example:
        >>> watch = LossWatch(deviations=10, window=8, losses=[2.0, 2.1, 1.9])
        >>> watch.complaint(2.3, norm=1.0), watch.complaint(9.0, norm=1.0)
        (None, 'the loss leapt to 9.000, above 3.483 (median 2.000 of 3)')
        >>> watch.complaint(2.0, norm=float("inf"))
        'the norm of the gradient is inf'
    """

    def __init__(self, deviations: float, window: int, losses: Iterable[float] = ()) -> None:
        self.deviations = deviations
        self.losses = deque(losses, maxlen=window)
        self._least = window // 4

    def complaint(self, loss: float, norm: float) -> str | None:
        """Say why a batch is refused, or None where it is not.

        Args:
            loss: mean over its targets.
            norm: of its gradient, before clipping.
        """
        if not math.isfinite(loss):
            return f"the loss is {loss}"
        if not math.isfinite(norm):
            return f"the norm of the gradient is {norm}"
        if not self.deviations or len(self.losses) < self._least:
            return None
        middle = median(self.losses)
        spread = max(_NORMAL * median(abs(kept - middle) for kept in self.losses), _LEAST * abs(middle))
        bound = middle + self.deviations * spread
        if loss <= bound:
            return None
        return f"the loss leapt to {loss:.3f}, above {bound:.3f} (median {middle:.3f} of {len(self.losses)})"

    def accept(self, loss: float) -> None:
        """Keep the loss of a batch that was applied."""
        self.losses.append(loss)
