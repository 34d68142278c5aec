"""What an epoch reads: every document in its turn, and languages in their smoothed shares."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robertakit.errors import ArgumentError, InputError
from robertakit.training.sampling import draw_documents, smoothed_passes

from .shards_in_memory import source


@given(
    count=st.integers(0, 30),
    passes=st.floats(0, 3.5),
    epochs=st.integers(1, 8),
    seed=st.integers(0, 2**32 - 1),
)
def test_no_document_is_read_again_before_all_others_were(
    count: int, passes: float, epochs: int, seed: int
) -> None:
    read: Counter[int] = Counter(dict.fromkeys(range(count), 0))
    for epoch in range(epochs):
        drawn = draw_documents(count, passes, seed=seed, epoch=epoch, source=0)
        assert abs(len(drawn) - passes * count) <= 1
        read.update(drawn.tolist())
        assert not count or max(read.values()) - min(read.values()) <= 1
    assert abs(sum(read.values()) - epochs * passes * count) <= 1
    assert set(read) == set(range(count))


def test_order_is_of_the_seed_the_source_and_the_epoch() -> None:
    orders = {
        tuple(draw_documents(50, 1.0, seed=seed, epoch=epoch, source=index).tolist())
        for seed in (0, 1)
        for epoch in (0, 1)
        for index in (0, 1)
    }
    assert len(orders) == 8
    again = draw_documents(50, 1.0, seed=1, epoch=1, source=1)
    assert tuple(again.tolist()) in orders


@pytest.mark.parametrize("passes", [-0.1, float("nan"), float("inf")])
def test_passes_that_mean_nothing(passes: float) -> None:
    with pytest.raises(InputError, match="passes over source 3; expected 0 or more"):
        draw_documents(5, passes, seed=0, epoch=0, source=3)


SOURCES = st.lists(
    st.tuples(st.sampled_from(["en", "sw", "ur"]), st.integers(0, 500), st.sampled_from([0.0, 0.5, 1, 3])),
    min_size=1,
    max_size=6,
)


@given(parts=SOURCES, smoothing=st.floats(0, 1))
def test_languages_get_the_share_of_the_paper(parts: list[tuple[str, int, float]], smoothing: float) -> None:
    sources = [source([[tokens]], language=language, weight=w) for language, tokens, w in parts]
    passes = smoothed_passes(sources, smoothing)
    sizes = {language: 0.0 for language, _, _ in parts}
    read = dict(sizes)
    for (language, tokens, weight), times in zip(parts, passes, strict=True):
        sizes[language] += tokens * weight
        read[language] += tokens * times
    total = sum(sizes.values())
    assert sum(read.values()) == pytest.approx(total)
    p = {language: size / total for language, size in sizes.items() if size}
    for language, share in p.items():
        q = share**smoothing / sum(each**smoothing for each in p.values())
        assert read[language] / total == pytest.approx(q)


def test_no_smoothing_reads_by_weight() -> None:
    sources = [source([[3]], weight=weight) for weight in (0.5, 2)]
    assert smoothed_passes(sources, None).tolist() == [0.5, 2]
    named = [source([[3]], weight=weight, language=code) for weight, code in ((0.5, "a"), (2, "b"))]
    assert np.allclose(smoothed_passes(named, 1.0), [0.5, 2])


def test_smoothing_needs_languages_and_an_exponent() -> None:
    with pytest.raises(ArgumentError, match="without a language: books"):
        smoothed_passes([source([[3]], name="books")], 0.3)
    for smoothing in (-0.1, 1.1, float("nan")):
        with pytest.raises(ArgumentError, match=r"from 0 to 1 \(XLM-R: 0.3\)"):
            smoothed_passes([source([[3]], language="en")], smoothing)
