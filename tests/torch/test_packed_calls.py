"""Plans: every token in exactly one call, alike sequences together."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from robertakit.errors import BadShape
from robertakit.torch.packed_calls import plan, read_bounds

CPU = torch.device("cpu")
lengths = st.lists(st.integers(0, 70), max_size=12)
bounds_of = lengths.map(lambda some: tuple(itertools.accumulate(some, initial=0)))
most_weights = st.none() | st.integers(1, 9000)


@given(bounds_of, most_weights, st.booleans())
def test_every_token_goes_through_one_call_and_comes_back(bounds, most, pick):
    tokens = torch.arange(bounds[-1]).view(-1, 1, 1)
    out = torch.full_like(tokens, -1)
    ends = {start: stop for start, stop in itertools.pairwise(bounds) if stop > start}
    for call in plan(bounds, CPU, most, pick):
        taken = call.gather(tokens)
        assert taken.shape == (call.n, call.length, 1, 1)
        for row, sequence in enumerate(taken.flatten(1)):
            real = sequence if call.keep is None else sequence[call.keep[row, 0, 0]]
            start = int(real[0])
            assert real.flatten().tolist() == list(range(start, ends.pop(start)))
        call.scatter(taken, out)
    assert torch.equal(out, tokens)
    assert not ends


@given(bounds_of, most_weights, st.booleans())
def test_a_call_holds_alike_sequences_and_not_too_many(bounds, most, pick):
    for call in plan(bounds, CPU, most, pick):
        assert most is None or call.n == 1 or call.n * call.length**2 <= most
        if pick:
            assert call.keep is None or (call.keep.sum(-1) * 2 > call.length).all()
        else:
            assert call.rows is call.places is call.keep is None


def test_neighbours_share_a_call_that_copies_nothing_even_across_an_empty_sequence():
    calls = plan((0, 4, 8, 8, 12, 15, 19), CPU)
    assert [(call.start, call.n, call.length) for call in calls] == [(0, 3, 4), (12, 1, 3), (15, 1, 4)]
    tokens = torch.zeros(19, 2)
    assert calls[0].gather(tokens).data_ptr() == tokens.data_ptr()


def test_picked_sequences_of_an_octave_share_a_call():
    calls = plan((0, 4, 7, 12, 16, 17), CPU, pick=True)
    assert [(call.n, call.length) for call in calls] == [(1, 1), (3, 4), (1, 5)]
    assert calls[1].keep.sum(-1).flatten().tolist() == [3, 4, 4]


def test_a_plan_is_made_once():
    assert plan((0, 3, 5), CPU) is plan((0, 3, 5), CPU)


def test_a_plan_made_in_inference_serves_training():
    plan.cache_clear()
    with torch.inference_mode():
        (call,) = plan((0, 6, 14), CPU, pick=True)
    assert not any(x.is_inference() for x in (call.rows, call.places, call.keep))


@pytest.mark.parametrize("wrong", [[1, 3], [0, 2], [0, 4], [0, 2, 1, 3], [3], [0]])
def test_bounds_that_do_not_cover_the_tokens_are_refused(wrong):
    with pytest.raises(BadShape, match="cumulative_lengths"):
        read_bounds(torch.tensor(wrong), 3)
