"""Which documents an epoch reads: passes over each source, and languages smoothed by an exponent.

A source's weight is how many times an epoch reads it. An epoch of weight 2.3 reads everything twice and another 30 %;
which 30 %, the next epoch goes on from: the documents of a source are read in passes without end, each pass in an order
of its own, and an epoch is a stretch of them. So no document is read again before all others were, whatever the weight.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from robertakit.errors import ArgumentError, InputError
from robertakit.training import counter_random

if TYPE_CHECKING:
    from robertakit.training.shards import SourceTokens

__all__ = ["draw_documents", "smoothed_passes"]

_ORDER = 1  # what a key is for


def draw_documents(count: int, passes: float, *, seed: int, epoch: int, source: int) -> NDArray[np.int64]:
    """Return the documents that an epoch reads of a source, in order.

    Args:
        count: documents of the source.
        passes: how often an epoch reads it.
        seed: of the run.
        epoch: from 0.
        source: index of the source.

    Returns:
        Documents, (about ``passes * count``,) int64.

    Example:
        >>> first = draw_documents(4, 0.5, seed=0, epoch=0, source=0)
        >>> second = draw_documents(4, 0.5, seed=0, epoch=1, source=0)
        >>> sorted([*first.tolist(), *second.tolist()])
        [0, 1, 2, 3]
    """
    if not 0 <= passes < float("inf"):
        raise InputError(given=f"{passes} passes over source {source}", expected="0 or more")
    start, stop = (int(each * passes * count) for each in (epoch, epoch + 1))
    read = [np.zeros(0, np.int64)]
    for number in range(start // count, -(-stop // count)) if count else ():
        order = counter_random.permutation(counter_random.key(seed, _ORDER, source, number), count)
        read.append(order[max(start - number * count, 0) : stop - number * count])
    return np.concatenate(read)


def smoothed_passes(sources: Sequence["SourceTokens"], smoothing: float | None) -> NDArray[np.float64]:
    """Return how often an epoch reads each source when languages are smoothed by an exponent.

    A language with the share p of all tokens (each source counted by its weight) gets the share
    ``q = p**smoothing / Σ p**smoothing`` (Conneau et al. 2020, section 3, after Lample & Conneau 2019, section 3.1).
    It is read q / p times as often as its weight says, so that an epoch has as many tokens as without smoothing.

    Args:
        sources: with ``weight``, ``language`` and ``tokens``.
        smoothing: the exponent, 0 (all languages alike) to 1 (as they are); XLM-R: 0.3. None leaves the weights.

    Returns:
        Passes, (sources,) float64.

    Raises:
        ArgumentError: an exponent outside 0 to 1, or sources without a language.

    Example:
        >>> from types import SimpleNamespace as S
        >>> pair = [S(name="e", language="en", weight=1, tokens=range(900)),
        ...         S(name="s", language="sw", weight=1, tokens=range(100))]
        >>> smoothed_passes(pair, 0.3).round(2).tolist()
        [0.73, 3.41]
    """
    weights = np.array([source.weight for source in sources], np.float64)
    if smoothing is None:
        return weights
    if not 0 <= smoothing <= 1:
        raise ArgumentError(given=f"smoothing={smoothing}", expected="an exponent from 0 to 1 (XLM-R: 0.3)")
    nameless = [source.name for source in sources if source.language is None]
    if nameless:
        raise ArgumentError(
            given=f"smoothing={smoothing} and sources without a language: {', '.join(nameless)}",
            hint="name the language of every source, or leave smoothing out",
        )
    languages, which = np.unique([str(source.language) for source in sources], return_inverse=True)
    sizes = np.array([len(source.tokens) for source in sources], np.float64) * weights
    p = np.bincount(which, weights=sizes, minlength=len(languages)) / max(sizes.sum(), 1)
    q = np.where(p > 0, p, 1) ** smoothing * (p > 0)
    factor = np.divide(q / max(q.sum(), 1e-300), p, out=np.zeros_like(p), where=p > 0)
    passes: NDArray[np.float64] = weights * factor[which]
    return passes
