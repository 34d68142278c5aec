"""What written tokens forbid and favour, against the definition."""

from hypothesis import given
from hypothesis import strategies as st

from robertakit.generation import GenerationConfig
from robertakit.generation.request import Lengths
from robertakit.generation.rules import TokenRules, completed, following

IDS = st.lists(st.integers(0, 3), max_size=9)


def sequences(ids, size):
    return [tuple(ids[i : i + size]) for i in range(len(ids) - size + 1)]


@given(IDS, IDS, st.integers(1, 4))
def test_following_is_what_would_repeat_a_sequence(history, written, size) -> None:
    wanted = {
        token
        for token in range(4)
        if len(history) + 1 >= size and tuple([*history, token][-size:]) in sequences(written, size)
    }
    assert following(history, written, size) == wanted


@given(
    IDS, st.dictionaries(st.lists(st.integers(0, 3), min_size=1, max_size=3).map(tuple), st.integers(-5, 5))
)
def test_completed_sums_what_a_next_token_completes(history, values) -> None:
    for token in range(4):
        longer = (*history, token)
        wanted = [value for ids, value in values.items() if longer[-len(ids) :] == ids]
        found = completed(history, values)
        assert (token in found) == bool(wanted)
        assert found.get(token, 0) == sum(wanted)


def rules(prompt=4, longest=10, shortest=0, prompts=((5, 6, 7, 5),), copies=1, **fields):
    return TokenRules(
        GenerationConfig(**fields), Lengths(prompt, longest, shortest), [*map(list, prompts)], copies
    )


def test_what_no_row_may_write() -> None:
    some = rules(shortest=6, eos_token_id=[2, 3], suppress_tokens=[9], begin_suppress_tokens=[8])
    assert [some.too_early(columns) for columns in (4, 5, 6)] == [(2, 3), (2, 3), ()]
    assert [some.suppressed(columns) for columns in (4, 5, 6)] == [{8, 9}, {9}, {9}]
    forced = rules(prompt=1, forced_bos_token_id=7, begin_suppress_tokens=[8])
    assert [forced.suppressed(columns) for columns in (1, 2, 3)] == [set(), {8}, set()]


def test_what_a_row_may_not_write() -> None:
    assert not rules(eos_token_id=2, sequence_bias={(3,): 1.0}).look_back()
    some = rules(bad_words_ids=[[4], [7, 5, 3], [6, 1]], no_repeat_ngram_size=2)
    assert some.look_back()
    assert some.forbidden_in(0, [5, 6, 7, 5]) == {4, 3, 6}
    of_prompt = rules(prompts=((5, 6), (5, 7)), copies=2, encoder_no_repeat_ngram_size=2)
    assert [of_prompt.forbidden_in(row, [1, 5]) for row in range(4)] == [{6}, {6}, {7}, {7}]


def test_what_must_follow() -> None:
    some = rules(prompt=1, forced_bos_token_id=7, forced_eos_token_id=[2, 3])
    assert [some.forced(columns) for columns in (1, 2, 8, 9)] == [(7,), (), (), (2, 3)]
    assert rules().forced(9) == ()


def test_ending_grows_more_likely() -> None:
    some = rules(exponential_decay_length_penalty=(2, 1.5))
    assert [some.urge(columns) for columns in (4, 6, 7, 8)] == [0.0, 0.0, 0.5, 1.25]
    assert rules().urge(99) == 0.0
    assert rules().biases() == {}
    assert rules(sequence_bias=[[[3], 1.0]]).biases() == {(3,): 1.0}
