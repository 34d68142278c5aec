"""Rows of the three input formats: nothing is lost, nothing is cut without need, nothing depends on the batch."""

import zlib
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robertakit.errors import ArgumentError, InputError
from robertakit.training import spans
from robertakit.training.packing import FORMS, Epoch, Packing, Rows, plan_epoch

from .shards_in_memory import Corpus, Special, source
from .small_tokenizers import trained

BOS, EOS = Special.bos, Special.eos
#: Lengths of the sentences of documents; some are empty, some longer than a row.
DOCUMENTS = st.lists(st.lists(st.integers(0, 40), max_size=8), max_size=12)
SIZES = st.integers(8, 40)


def rows_of(taken: Rows) -> list[list[int]]:
    """The rows as lists of ids."""
    return [taken.input_ids[start:stop].tolist() for start, stop in pairwise(taken.cumulative_lengths)]


def planned(documents: list[list[int]], form: str, size: int, *, seed: int = 0) -> Epoch:
    return plan_epoch(Corpus((source(documents),)), Packing(form, ((size, 1.0),)), seed=seed, epoch=0)


def greedy_rows(documents: list[list[int]], order: list[int], room: int, crossing: bool) -> list[list[int]]:
    """The paper's sentence of section 4.2 as a loop over tokens: what `plan_epoch` must come to."""
    first, at = [], 10
    for document in documents:
        first.append(at)
        at += sum(document)
    rows: list[list[int]] = []
    row: list[int] = []
    for index in order:
        start, new = first[index], True
        for length in documents[index]:
            for at in range(start, start + length, room):
                piece = list(range(at, min(at + room, start + length)))
                joint = [EOS] if new and row else []
                if (new and row and not crossing) or len(row) + len(joint) + len(piece) > room:
                    rows.append(row)
                    row, joint = [], []
                row = row + joint + piece
                new = False
            start += length
    return [[BOS, *row, EOS] for row in [*rows, row] if row]


@pytest.mark.parametrize("form", ["full-sentences", "doc-sentences"])
@given(documents=DOCUMENTS, size=SIZES, seed=st.integers(0, 5))
def test_rows_are_those_of_a_plain_loop(form: str, documents: list[list[int]], size: int, seed: int) -> None:
    from robertakit.training.sampling import draw_documents

    epoch = planned(documents, form, size, seed=seed)
    order = draw_documents(len(documents), 1.0, seed=seed, epoch=0, source=0).tolist()
    rows = rows_of(epoch.take(np.arange(len(epoch))))
    assert sorted(rows) == sorted(greedy_rows(documents, order, size - 2, form == "full-sentences"))
    assert epoch.lengths.tolist() == [len(row) for row in rows]


@pytest.mark.parametrize("form", FORMS)
@given(documents=DOCUMENTS, size=SIZES)
def test_each_token_is_in_one_row(form: str, documents: list[list[int]], size: int) -> None:
    epoch = planned(documents, form, size)
    taken = epoch.take(np.arange(len(epoch)))
    words = taken.input_ids[taken.word_ids >= 0]
    assert sorted(words.tolist()) == list(range(10, 10 + sum(map(sum, documents))))
    assert epoch.lengths.max(initial=0) <= size
    assert set(taken.input_ids[taken.word_ids < 0].tolist()) <= {BOS, EOS}


@given(documents=DOCUMENTS, size=SIZES, data=st.data())
def test_a_row_is_the_same_however_it_is_taken(
    documents: list[list[int]], size: int, data: st.DataObject
) -> None:
    corpus = Corpus((source(documents, first=10), source(documents, first=20_000)))
    epoch = plan_epoch(corpus, Packing(lengths=((size, 1.0),)), seed=3, epoch=1)
    everything = epoch.take(np.arange(len(epoch)))
    rows = rows_of(everything)
    if not rows:
        return
    places = data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=10))
    some = epoch.take(places)
    assert rows_of(some) == [rows[place] for place in places]
    assert some.sequence_indices.tolist() == places
    assert some.sources.tolist() == everything.sources[places].tolist() == epoch.sources[places].tolist()
    for row, origin in zip(rows_of(some), some.sources.tolist(), strict=True):  # no row crosses sources
        assert {word >= 20_000 for word in row[1:-1] if word > 9} == {bool(origin)}


@given(documents=DOCUMENTS, size=SIZES, word=st.integers(1, 7))
def test_words_are_those_of_the_shard_and_a_row_begins_with_one(
    documents: list[list[int]], size: int, word: int
) -> None:
    own = source(documents, word=word)
    epoch = plan_epoch(Corpus((own,)), Packing(lengths=((size, 1.0),)), seed=0, epoch=0)
    taken = epoch.take(np.arange(len(epoch)))
    begins = np.unpackbits(own.word_starts, bitorder="little")
    for start, stop in pairwise(taken.cumulative_lengths):
        ids, words = taken.input_ids[start:stop], taken.word_ids[start:stop]
        expected, number, before = [], -1, None
        for token in ids.tolist():
            if token in (BOS, EOS):
                expected.append(-1)
            else:
                number += before in (BOS, EOS) or bool(begins[token - 10])
                expected.append(number)
            before = token
        assert words.tolist() == expected


@pytest.mark.parametrize("form", ["full-sentences", "doc-sentences"])
@given(documents=DOCUMENTS, size=SIZES, block=st.integers(1, 20))
def test_blocks_change_nothing(form: str, documents: list[list[int]], size: int, block: int) -> None:
    whole = planned(documents, form, size)
    usual, spans.BLOCK = spans.BLOCK, block
    try:
        parts = planned(documents, form, size)
    finally:
        spans.BLOCK = usual
    assert rows_of(parts.take(np.arange(len(parts)))) == rows_of(whole.take(np.arange(len(whole))))


@given(documents=DOCUMENTS, size=SIZES, budget=st.integers(40, 400))
def test_batches_take_rows_until_the_next_would_not_fit(
    documents: list[list[int]], size: int, budget: int
) -> None:
    epoch = planned(documents, "doc-sentences", size)
    offsets = epoch.batches(budget)
    assert offsets[0] == 0
    assert offsets[-1] == len(epoch)
    for start, stop in pairwise(offsets.tolist()):
        assert 0 < epoch.lengths[start:stop].sum() <= budget
        if stop < len(epoch):
            assert epoch.lengths[start : stop + 1].sum() > budget


def test_a_budget_below_the_longest_row() -> None:
    epoch = planned([[30, 30]], "full-sentences", 32)
    with pytest.raises(InputError, match="batches of 20 tokens; expected at least the longest row's 32"):
        epoch.batches(20)


def test_lengths_get_their_shares_and_every_document_one() -> None:
    corpus = Corpus((source([[10] * 4] * 1000),))
    epoch = plan_epoch(corpus, Packing(lengths=((22, 0.25), (62, 0.75))), seed=0, epoch=0)
    taken = epoch.take(np.arange(len(epoch)))
    words = np.array([sum(id > 9 for id in row) for row in rows_of(taken)])
    long = words[epoch.lengths > 22].sum() / words.sum()
    assert abs(long - 0.75) < 4 * (0.25 * 0.75 / 1000) ** 0.5
    assert words.sum() == 40_000


def test_rows_are_shuffled_and_epochs_differ() -> None:
    """Rows of a long document do not come one behind another, and the next epoch has another order."""
    documents = [[10] * 100, [10] * 100]
    epochs = [
        plan_epoch(Corpus((source(documents),)), Packing(lengths=((32, 1.0),)), seed=seed, epoch=epoch)
        for seed, epoch in ((0, 0), (0, 1), (1, 0), (0, 0))
    ]
    first = [[row[1] for row in rows_of(epoch.take(np.arange(len(epoch))))] for epoch in epochs]
    assert first[0] == first[3]
    assert len({tuple(each) for each in first}) == 3
    steps = np.diff(first[0])
    assert (np.abs(steps) > 60).mean() > 0.5


def test_weights_are_passes() -> None:
    corpus = Corpus((source([[5]] * 40, weight=2.5), source([[5]] * 40, weight=0.5, first=5000)))
    epoch = plan_epoch(corpus, Packing(), seed=0, epoch=0)
    ids = epoch.take(np.arange(len(epoch))).input_ids
    assert ((ids > 9) & (ids < 5000)).sum() == 2.5 * 200
    assert (ids >= 5000).sum() == 0.5 * 200


def test_smoothing_reads_the_smaller_language_more_often() -> None:
    corpus = Corpus((source([[9]] * 900, language="en"), source([[9]] * 100, language="sw", first=30_000)))
    epoch = plan_epoch(corpus, Packing(smoothing=0.3), seed=0, epoch=0)
    ids = epoch.take(np.arange(len(epoch))).input_ids
    share = (ids >= 30_000).sum() / (ids > 9).sum()
    assert share == pytest.approx(0.1**0.3 / (0.1**0.3 + 0.9**0.3), abs=0.002)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"form": "sentences"}, "form='sentences'; expected 'full-sentences' or 'doc-sentences' or"),
        ({"lengths": ()}, r"lengths=\(\); expected pairs"),
        ({"lengths": ((512, 0.5),)}, "shares that add up to 1"),
        ({"lengths": ((4, 1.0),)}, "lengths of 8 or more"),
        ({"lengths": ((512, 1.5), (128, -0.5))}, "pairs"),
    ],
)
def test_settings_that_contradict_themselves(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        Packing(**settings)  # type: ignore[arg-type]


def test_rows_that_are_not_there() -> None:
    epoch = planned([[5, 5]], "full-sentences", 16)
    with pytest.raises(InputError, match="rows 0 to 1; expected 0 to 0"):
        epoch.take([0, 1])
    with pytest.raises(InputError, match="rows -1 to -1"):
        epoch.take([-1])
    assert rows_of(epoch.take([])) == []


def test_an_empty_corpus_has_no_rows() -> None:
    for form in FORMS:
        epoch = planned([], form, 16)
        assert (len(epoch), len(epoch.batches(100)) - 1) == (0, 0)
        assert len(epoch.take([]).input_ids) == 0


@pytest.mark.parametrize("kind", ["bytes", "unigram"])
def test_from_text_to_rows(kind: str, tmp_path: Path) -> None:
    """Through real shards: rows decode to the documents' text, and words are the tokenizer's."""
    from robertakit.training.sources import Source
    from robertakit.training.tokenization import tokenize

    tokenizer = trained(kind)
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    documents = [
        "It's raining, isn't it? We'll see (2019).",
        "One sentence here.",
        "Another one follows. And more.",
    ]
    (tmp_path / "text.txt").write_text("\n\n".join(documents) + "\n", encoding="utf-8")
    corpus = tokenize(
        [Source(files=(str(tmp_path / "text.txt"),))], tmp_path / "tokenizer", tmp_path / "shards", workers=1
    )
    epoch = plan_epoch(corpus, Packing("doc-sentences"), seed=0, epoch=0)
    taken = epoch.take(np.arange(len(epoch)))
    if kind == "bytes":
        assert sorted(tokenizer.decode(row[1:-1]) for row in rows_of(taken)) == sorted(documents)
    assert sorted(rows_of(taken)) == sorted(tokenizer(documents)["input_ids"])
    by_text = {tuple(each["input_ids"]): each.word_ids() for each in map(tokenizer, documents)}
    bounds = pairwise(taken.cumulative_lengths.tolist())
    for row, (start, stop) in zip(rows_of(taken), bounds, strict=True):
        words = [-1 if word is None else word for word in by_text[tuple(row)]]
        assert taken.word_ids[start:stop].tolist() == words


@pytest.mark.parametrize("form", FORMS)
def test_a_run_reads_the_same_in_every_release(form: str) -> None:
    """A change of this order would have a resumed run read some rows twice and others not at all."""
    corpus = Corpus(
        (source([[5, 9, 4], [7, 3], [12, 2, 6, 8]] * 5), source([[4] * 6] * 4, weight=1.5, first=900))
    )
    epoch = plan_epoch(corpus, Packing(form, ((20, 0.5), (32, 0.5))), seed=11, epoch=3)
    taken = epoch.take(np.arange(len(epoch)))
    assert (
        zlib.crc32(taken.input_ids.astype("<i8").tobytes())
        == {
            "full-sentences": 2802105817,
            "doc-sentences": 1261573406,
            "segment-pair": 674989906,
        }[form]
    )
