"""What is predicted and what stands in its place: laws for every batch, and shares over many draws."""

import dataclasses
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robertakit.errors import ArgumentError, InputError
from robertakit.training.masking import IGNORED, Masking, draw_masks
from robertakit.training.packing import Packing, Rows, plan_epoch

from .shards_in_memory import Corpus, Special, source

SPECIAL = Special(all=(0, 1, 2, 3, 4, 500, 501))
V = 1000


def rows_of_lengths(lengths: list[int], first: int = 0, word: int = 3) -> Rows:
    """Rows of so many words' tokens between `<s>` and `</s>`; a word is `word` tokens."""
    ids, words = [], []
    for row, length in enumerate(lengths):
        ids += [0, *(10 + (17 * row + 31 * i) % 480 for i in range(length)), 2]
        words += [-1, *(i // word for i in range(length)), -1]
    cumulative = np.cumsum([0, *(length + 2 for length in lengths)])
    indices = np.arange(first, first + len(lengths))
    return Rows(np.array(ids, np.int64), np.array(words, np.int64), cumulative, indices, indices * 0)


def selected(rows: Rows, which: list[int]) -> Rows:
    """Some rows of a batch, in another order."""
    spans = [slice(rows.cumulative_lengths[i], rows.cumulative_lengths[i + 1]) for i in which]
    lengths = np.diff(rows.cumulative_lengths)[which]
    return Rows(
        np.concatenate([rows.input_ids[span] for span in spans]),
        np.concatenate([rows.word_ids[span] for span in spans]),
        np.concatenate([[0], np.cumsum(lengths)]),
        rows.sequence_indices[which],
        rows.sources[which],
    )


def masks(rows: Rows, masking: Masking, seed: int = 0, epoch: int = 0) -> tuple[np.ndarray, np.ndarray]:
    return draw_masks(rows, masking, V, SPECIAL, seed=seed, epoch=epoch)


LENGTHS = st.lists(st.integers(0, 30), min_size=1, max_size=8)
MASKINGS = st.builds(
    Masking,
    rate=st.sampled_from([0.0, 0.15, 0.4, 1.0]),
    split=st.sampled_from([(0.8, 0.1, 0.1), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)]),
    whole_words=st.booleans(),
)


@given(lengths=LENGTHS, masking=MASKINGS, data=st.data())
def test_a_row_is_masked_alike_in_every_batch(
    lengths: list[int], masking: Masking, data: st.DataObject
) -> None:
    """Not the batch, nor the order, nor who draws: only (seed, epoch, sequence index)."""
    rows = rows_of_lengths(lengths, first=100)
    inputs, labels = masks(rows, masking, seed=4, epoch=2)
    which = data.draw(st.lists(st.integers(0, len(lengths) - 1), min_size=1, max_size=10, unique=True))
    some = selected(rows, which)
    again = masks(some, masking, seed=4, epoch=2)
    for place, row in enumerate(which):
        here = slice(*some.cumulative_lengths[place : place + 2])
        there = slice(*rows.cumulative_lengths[row : row + 2])
        assert again[0][here].tolist() == inputs[there].tolist()
        assert again[1][here].tolist() == labels[there].tolist()


@given(lengths=LENGTHS, masking=MASKINGS, seed=st.integers(0, 2**32 - 1), epoch=st.integers(0, 10))
def test_laws_of_every_draw(lengths: list[int], masking: Masking, seed: int, epoch: int) -> None:
    rows = rows_of_lengths(lengths)
    inputs, labels = masks(rows, masking, seed, epoch)
    chosen = labels != IGNORED
    assert (labels[chosen] == rows.input_ids[chosen]).all()
    assert (inputs[~chosen] == rows.input_ids[~chosen]).all()
    assert not chosen[rows.word_ids < 0].any()
    hidden = inputs[chosen]
    changed = hidden[(hidden != rows.input_ids[chosen]) & (hidden != SPECIAL.mask)]
    assert not np.isin(changed, SPECIAL.all).any()
    assert ((changed >= 0) & (changed < V)).all()
    to_mask, to_random, to_stay = masking.split
    if to_mask == 1:
        assert (hidden == SPECIAL.mask).all()
    if to_random == 1:
        assert not (hidden == SPECIAL.mask).any()
    if to_stay == 1:
        assert (inputs == rows.input_ids).all()
    for start, stop in pairwise(rows.cumulative_lengths):
        words = rows.word_ids[start + 1 : stop - 1]
        units = words if masking.whole_words else np.arange(len(words))
        predicted = set(units[chosen[start + 1 : stop - 1]].tolist())
        expected = masking.rate * len(set(units.tolist()))
        assert np.floor(expected) <= len(predicted) <= np.ceil(expected + 1e-9)
        if masking.whole_words:  # a word is predicted whole or not at all
            assert chosen[start + 1 : stop - 1].tolist() == [word in predicted for word in words.tolist()]


@pytest.mark.parametrize("whole_words", [False, True])
@pytest.mark.parametrize("rate", [0.15, 0.4])
def test_shares_over_many_draws(rate: float, whole_words: bool) -> None:
    """The rate is exact in the long run for short rows too: rounding down would lose a third of it here."""
    rows = rows_of_lengths([5, 9, 3, 20, 1] * 400, word=2)
    masking = Masking(rate, whole_words=whole_words)
    drawn = [masks(rows, masking, epoch=epoch) for epoch in range(30)]
    words = rows.word_ids >= 0
    share = np.mean([labels[words] != IGNORED for _, labels in drawn], axis=0)
    total = words.sum() * len(drawn)
    spread = (2 * rate * (1 - rate) / total) ** 0.5  # whole words of two tokens: half as many draws
    assert abs(share.mean() - rate) < 4 * spread
    # every position alike: first, last, and those of short rows
    at = np.concatenate([np.arange(length) for length in [5, 9, 3, 20, 1] * 400])
    for position in (0, 1, 2, 4, 8, 19):
        own = share[at == position]
        assert abs(own.mean() - rate) < 4 * (rate * (1 - rate) / (len(own) * len(drawn))) ** 0.5
    inputs = np.concatenate([inputs[labels != IGNORED] for inputs, labels in drawn])
    labels = np.concatenate([labels[labels != IGNORED] for _, labels in drawn])
    n = len(labels)
    hidden = (inputs == SPECIAL.mask).mean()
    random = ((inputs != SPECIAL.mask) & (inputs != labels)).mean()
    assert abs(hidden - 0.8) < 4 * (0.16 / n) ** 0.5
    # a random word is the word itself once in V - specials
    assert abs(random - 0.1 * (1 - 1 / (V - 7))) < 4 * (0.09 / n) ** 0.5


def test_random_words_are_all_words_alike() -> None:
    rows = rows_of_lengths([500] * 200)
    masking = Masking(1.0, split=(0.0, 1.0, 0.0))
    inputs, labels = draw_masks(rows, masking, 60, Special(all=(0, 1, 2, 3, 4, 30, 59)), seed=1, epoch=0)
    words = inputs[labels != IGNORED]
    counts = np.bincount(words, minlength=60)
    allowed = np.setdiff1d(np.arange(60), (0, 1, 2, 3, 4, 30, 59))
    assert counts[allowed].sum() == len(words) > 99_000
    expected = len(words) / len(allowed)
    assert ((counts[allowed] - expected) ** 2 / expected).sum() < 95.0  # chi-square, 52 degrees: 1 in 4,000


def test_epochs_and_seeds_draw_afresh() -> None:
    rows = rows_of_lengths([400] * 20)
    drawn = [masks(rows, Masking(), seed, epoch)[1] != IGNORED for seed in (0, 1) for epoch in (0, 1)]
    words = (rows.word_ids >= 0).sum()
    for i, one in enumerate(drawn):
        for other in drawn[:i]:
            both = (one & other).sum() / words
            assert abs(both - 0.15**2) < 4 * (0.15**2 / words) ** 0.5


def test_special_tokens_inside_a_text_are_not_predicted() -> None:
    rows = rows_of_lengths([30] * 50)
    ids = rows.input_ids.copy()
    ids[5::7] = SPECIAL.unk
    _, labels = masks(dataclasses.replace(rows, input_ids=ids), Masking(1.0, whole_words=True))
    assert not (labels == SPECIAL.unk).any()
    assert ((labels != IGNORED) == ~np.isin(ids, SPECIAL.all)).all()


def test_rows_of_the_packer_are_masked_whole_at_the_edges_of_documents() -> None:
    corpus = Corpus((source([[3, 3], [4], [2, 2]] * 10, word=2),))
    epoch = plan_epoch(corpus, Packing(lengths=((16, 1.0),)), seed=0, epoch=0)
    rows = epoch.take(np.arange(len(epoch)))
    _, labels = draw_masks(rows, Masking(0.5, whole_words=True), V, Special(), seed=0, epoch=0)
    row = np.repeat(np.arange(len(rows)), np.diff(rows.cumulative_lengths))
    for which in range(len(rows)):
        for word in set(rows.word_ids[row == which].tolist()) - {-1}:
            own = labels[(row == which) & (rows.word_ids == word)] != IGNORED
            assert own.all() or not own.any()


def test_settings_that_are_no_shares() -> None:
    for rate in (-0.1, 1.5, float("nan")):
        with pytest.raises(ArgumentError, match=r"rate=.*from 0 to 1"):
            Masking(rate)
    for split in ((0.8, 0.1), (0.9, 0.2, -0.1), (0.8, 0.1, 0.2), (float("nan"), 0.5, 0.5)):
        with pytest.raises(ArgumentError, match="three shares that add up to 1"):
            Masking(split=split)  # type: ignore[arg-type]


def test_a_vocabulary_without_words_has_no_random_one() -> None:
    rows = rows_of_lengths([5])
    with pytest.raises(InputError, match="vocabulary of 5 ids, all of them special"):
        draw_masks(rows, Masking(1.0, (0.0, 1.0, 0.0)), 5, Special(), seed=0, epoch=0)


def test_no_rows() -> None:
    nothing = np.zeros(0, np.int64)
    inputs, labels = masks(Rows(nothing, nothing, np.zeros(1, np.int64), nothing, nothing), Masking())
    assert len(inputs) == len(labels) == 0


def test_a_run_draws_the_same_in_every_release() -> None:
    """A change of these bits would give a resumed run other masks than it began with."""
    rows = rows_of_lengths([20, 7, 12], first=1_000_000)
    tokens, words = (
        masks(rows, Masking(0.3, whole_words=whole), seed=11, epoch=3)[1] != IGNORED
        for whole in (False, True)
    )
    assert np.flatnonzero(tokens).tolist() == [2, 4, 7, 10, 11, 14, 26, 28, 33, 35, 40]
    assert np.flatnonzero(words).tolist() == [4, 5, 6, 7, 8, 9, 10, 11, 12, 26, 27, 28, 35, 36, 37]
    inputs, _ = masks(rows, Masking(1.0, (0.0, 1.0, 0.0)), seed=11, epoch=3)
    assert inputs[1:8].tolist() == [690, 997, 213, 649, 312, 744, 915]
