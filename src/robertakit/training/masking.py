"""Dynamic masking: what to predict, and what stands in its place, drawn afresh in each epoch.

Liu et al. 2019, section 4.1: "we generate the masking pattern every time we feed a sequence to the model"; section 2.3
and Devlin et al. 2019: 15 % of the tokens, of which 80 % become ``<mask>``, 10 % a random word, and 10 % stay. All
draws are a function of (seed, epoch, sequence index, position): the batch, the process and the order change nothing.

Shape letters: T tokens of packed rows, S rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from robertakit.errors import ArgumentError, InputError
from robertakit.training import counter_random

if TYPE_CHECKING:
    from robertakit.training.packing import Rows
    from robertakit.training.shards import SpecialIds

__all__ = ["IGNORED", "Masking", "draw_masks", "is_special", "mask_units"]

Ints = NDArray[np.int64]

#: The label of a token that is not predicted.
IGNORED = -100

_MASKS = 3  # what a key is for
# Draws of one row: its position p draws at p, p + 2**40 and p + 2**41; the row itself at 2**42.
_FATE, _WORD, _COUNT = 1 << 40, 1 << 41, 1 << 42
_32 = np.uint64(32)


@dataclass(frozen=True)
class Masking:
    """How much is predicted, and what stands in its place.

    Attributes:
        rate: expected share of the tokens that are predicted.
        split: shares of these that become ``<mask>``, become a random word, and stay; their sum is 1.
        whole_words: choose words, and predict all tokens of a word. Each token's chance is ``rate`` either way.

    Raises:
        ArgumentError: numbers that are no shares.

    Example:
        >>> Masking(split=(0.8, 0.1, 0.2))
        Traceback (most recent call last):
        robertakit.errors.ArgumentError: split=(0.8, 0.1, 0.2); expected three shares that add up to 1.
    """

    rate: float = 0.15
    split: tuple[float, float, float] = (0.8, 0.1, 0.1)
    whole_words: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.rate <= 1:
            raise ArgumentError(given=f"rate={self.rate}", expected="a share from 0 to 1")
        shares = np.asarray(self.split, np.float64)
        if shares.shape != (3,) or not (shares >= 0).all() or abs(shares.sum() - 1) > 1e-9:
            raise ArgumentError(given=f"split={self.split}", expected="three shares that add up to 1")


def draw_masks(
    rows: "Rows", masking: Masking, vocab_size: int, special: "SpecialIds", *, seed: int, epoch: int
) -> tuple[Ints, Ints]:
    """Choose what is predicted in packed rows, and hide it.

    Of a row's n tokens (or words) ``rate * n`` are chosen, rounded up or down by chance so that the expected share is
    the rate exactly, as fairseq does. Special tokens are never chosen, those inside a text (``<unk>``) neither, and
    a random word is never one.

    Args:
        rows: what `Epoch.take` gave.
        masking: rate, split, whole words.
        vocab_size: V.
        special: special ids.
        seed: of the run.
        epoch: from 0.

    Returns:
        inputs (T,) int64; labels (T,) int64, -100 where nothing is predicted.

    Example:
        >>> from types import SimpleNamespace as S
        >>> rows = S(input_ids=np.arange(12), word_ids=np.array([-1, *range(10), -1]),
        ...          cumulative_lengths=np.array([0, 12]), sequence_indices=np.array([5]))
        >>> inputs, labels = draw_masks(rows, Masking(0.3), 20, S(mask=4, all=(0, 1, 2, 3, 4)), seed=0, epoch=0)
        >>> int((labels >= 0).sum())  # 0.3 of the 7 that are not special, rounded by chance
        2
    """
    units = np.where(is_special(rows.input_ids, special.all), -1, rows.word_ids)
    row_keys = counter_random.bits(counter_random.key(seed, _MASKS, epoch), rows.sequence_indices)
    return mask_units(
        rows.input_ids,
        units,
        rows.cumulative_lengths,
        row_keys,
        masking,
        vocab_size,
        special.mask,
        special.all,
    )


def mask_units(
    input_ids: Ints,
    units: Ints,
    cumulative_lengths: Ints,
    row_keys: NDArray[np.uint64],
    masking: Masking,
    vocab_size: int,
    mask_id: int,
    special: Sequence[int],
) -> tuple[Ints, Ints]:
    """Choose and hide, given a key for each row and what may be chosen.

    Args:
        input_ids: (T,).
        units: (T,) number of each token's word inside its row, not falling; -1 where a token is never chosen.
        cumulative_lengths: (S+1,).
        row_keys: (S,).
        masking: rate, split, whole words.
        vocab_size: V.
        mask_id: id of ``<mask>``.
        special: ids that no random word is.

    Returns:
        inputs (T,), labels (T,).
    """
    lengths = np.diff(cumulative_lengths)
    row = np.repeat(np.arange(len(lengths)), lengths)
    candidates = np.flatnonzero(units >= 0)
    row_of = row[candidates]
    within = candidates - cumulative_lengths[row_of]  # the position in the row
    heads = np.ones(len(candidates), np.bool_)  # where a unit begins
    if masking.whole_words:
        same = (row_of[1:] == row_of[:-1]) & (units[candidates[1:]] == units[candidates[:-1]])
        heads[1:] = ~same
    chosen = _smallest(row_of[heads], within[heads], row_keys, masking.rate)
    if masking.whole_words:
        chosen = chosen[np.cumsum(heads) - 1]
    picked, keys, within = candidates[chosen], row_keys[row_of[chosen]], within[chosen]

    inputs, labels = input_ids.astype(np.int64), np.full(len(input_ids), IGNORED, np.int64)
    labels[picked] = inputs[picked]
    fate = counter_random.uniform(keys, within + _FATE)
    hidden, random, _ = masking.split
    inputs[picked[fate < hidden]] = mask_id
    swapped = (fate >= hidden) & (fate < hidden + random)
    inputs[picked[swapped]] = _random_words(keys[swapped], within[swapped], vocab_size, special)
    return inputs, labels


def is_special(input_ids: Ints, special: Sequence[int]) -> NDArray[np.bool_]:
    """Return where ids are special, (T,)."""
    found = np.zeros(len(input_ids), np.bool_)
    for each in special:  # a handful: faster than a sorted search
        found |= input_ids == each
    return found


def _smallest(row: Ints, position: Ints, row_keys: NDArray[np.uint64], rate: float) -> NDArray[np.bool_]:
    """Choose ``rate`` of each row's units: those that draw the smallest numbers.

    Args:
        row: (U,) of each unit, not falling.
        position: (U,) where the unit begins in its row.
        row_keys: (S,).
        rate: share.
    """
    numbers = np.bincount(row, minlength=len(row_keys))
    rounding = counter_random.uniform(row_keys, np.full(len(row_keys), _COUNT))
    count = np.floor(rate * numbers + rounding).astype(np.int64)
    count = np.minimum(count, numbers)
    first = np.cumsum(numbers) - numbers
    ordinal = np.arange(len(row)) - np.repeat(first, numbers)
    # One sort for all rows: the row, 32 bits that the unit draws, and which one of the row it is, in one word. Sorting
    # words is many times faster than sorting indices; how many bits are drawn must not depend on the batch.
    room = 32 - (len(row_keys) - 1).bit_length()
    if int(numbers.max(initial=1) - 1).bit_length() > room:
        raise InputError(
            given=f"{len(row_keys)} rows of up to {numbers.max()} words to mask at once",
            expected="rows times longest row below 2**31",
            hint="mask fewer rows at a time",
        )
    drawn = counter_random.bits(row_keys[row], position) >> _32
    words = (row.astype(np.uint64) << np.uint64(room + 32)) if room < 32 else np.zeros(len(row), np.uint64)
    words |= (drawn << np.uint64(room)) | ordinal.astype(np.uint64)
    words.sort()
    kept = words[ordinal < np.repeat(count, numbers)] & np.uint64((1 << room) - 1)
    chosen = np.zeros(len(row), np.bool_)
    chosen[kept.astype(np.int64) + np.repeat(first, count)] = True
    return chosen


def _random_words(keys: NDArray[np.uint64], position: Ints, vocab_size: int, special: Sequence[int]) -> Ints:
    """Draw ids below ``vocab_size`` that are not special, all alike."""
    barred = np.unique([each for each in special if 0 <= each < vocab_size])
    if len(barred) == vocab_size:
        raise InputError(given=f"a vocabulary of {vocab_size} ids, all of them special", expected="words")
    drawn = counter_random.integers(keys, position + _WORD, vocab_size - len(barred))
    # The n-th id that is not barred: n, and one more for each barred id at or before it.
    return drawn + np.searchsorted(barred - np.arange(len(barred)), drawn, side="right")
