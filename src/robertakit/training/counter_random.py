"""Random numbers that are a function of a key and a counter: no state, so no order in which they must be drawn.

Which token of which sequence is masked in which epoch must not depend on the batch that the sequence came in, on the
process that drew it, or on where a killed run went on. A generator with a state can promise none of that; a hash of
(key, counter) promises all of it, and a whole array of counters is one vectorised computation.

The function is SplitMix64 (Steele, Lea & Flood 2014, "Fast splittable pseudorandom number generators"), whose n-th
output is by definition a hash of ``seed + n·γ``. Integers only: the same bits on every machine and NumPy release.
"""

import numpy as np
from numpy.typing import NDArray

from robertakit.errors import InputError

__all__ = ["bits", "integers", "key", "permutation", "uniform"]

Key = np.uint64 | NDArray[np.uint64]
Counters = NDArray[np.integer]

_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_30, _27, _31, _11 = (np.uint64(shift) for shift in (30, 27, 31, 11))
_LOW = np.uint64(0xFFFFFFFF)


def key(*parts: int) -> np.uint64:
    """Fold integers, in their order, into a key.

    Example:
        >>> len({key(1, 2), key(1, 2), key(2, 1), key(1), key(1, 0)})
        4
    """
    folded = np.zeros(1, np.uint64)
    for part in parts:
        folded = bits(folded, np.array([part & 0xFFFFFFFFFFFFFFFF], np.uint64))
    return np.uint64(folded[0])


def bits(key: Key, counters: Counters) -> NDArray[np.uint64]:
    """Return 64 random bits for each counter; a key for each counter, or one for all.

    Example:
        >>> bits(np.uint64(0), np.array([0, 1])).tolist()  # SplitMix64 from seed 0
        [16294208416658607535, 7960286522194355700]
    """
    x = np.asarray(counters).astype(np.uint64)  # a copy: worked on in place
    x += np.uint64(1)
    x *= _GAMMA
    x += key
    x ^= x >> _30
    x *= _FIRST
    x ^= x >> _27
    x *= _SECOND
    x ^= x >> _31
    return x


def uniform(key: Key, counters: Counters) -> NDArray[np.float64]:
    """Return a number of [0, 1) for each counter: 53 random bits.

    Example:
        >>> uniform(np.uint64(0), np.array([0, 1])).round(3).tolist()
        [0.883, 0.432]
    """
    drawn = (bits(key, counters) >> _11).astype(np.float64)
    drawn *= 2.0**-53
    return drawn


def integers(key: Key, counters: Counters, below: int) -> NDArray[np.int64]:
    """Return an integer from 0 up to ``below`` for each counter, ``below`` itself left out.

    Example:
        >>> integers(np.uint64(0), np.array([0, 1, 2]), below=10).tolist()
        [8, 4, 0]
    """
    return (uniform(key, counters) * below).astype(np.int64)  # uneven by at most below / 2**53


def permutation(key: np.uint64, count: int) -> NDArray[np.int64]:
    """Return the integers below ``count`` in the order that the key gives them.

    Example:
        >>> sorted(permutation(np.uint64(7), 5).tolist())
        [0, 1, 2, 3, 4]
    """
    if count >= 1 << 32:
        raise InputError(given=f"{count} things to put into an order", expected="fewer than 2**32")
    # 32 drawn bits and the integer itself in one word: sorting words is many times faster than sorting indices, and
    # without equals there is one order.
    words = bits(key, np.arange(count))
    words &= ~_LOW
    words |= np.arange(count, dtype=np.uint64)
    words.sort()
    return (words & _LOW).astype(np.int64)
