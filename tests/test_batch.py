"""Positions, packing, planning and windows."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robertakit import RobertaConfig
from robertakit.batch import (
    Batch,
    Encoding,
    check_ids,
    longest_input,
    pack,
    plan,
    position_ids,
    sequential_position_ids,
    unpack,
    windows,
)
from robertakit.errors import BadShape, InputError, TooLong

PAD = 1
rows = st.lists(st.lists(st.integers(0, 20), max_size=12), min_size=1, max_size=6)


def test_trap_01_positions_start_after_padding_idx() -> None:
    assert position_ids([[0, 5, 2]], PAD).tolist() == [[2, 3, 4]]
    assert position_ids([[0, 5, 2]], 5).tolist() == [[6, 5, 7]]  # the pad id in the middle does not count
    assert position_ids([[1, 1, 0, 5]], PAD).tolist() == [[1, 1, 2, 3]]  # left padding
    assert position_ids([[7]], PAD, past_length=3).tolist() == [[5]]
    assert sequential_position_ids(3, PAD).tolist() == [[2, 3, 4]]
    assert longest_input(RobertaConfig(max_position_embeddings=514, pad_token_id=1)) == 512


@given(rows)
def test_trap_01_packed_and_padded_positions_agree(texts: list[list[int]]) -> None:
    packed = Batch.from_encodings([Encoding(ids) for ids in texts], PAD)
    ids, mask, where = packed.padded(PAD)
    # a padded batch counts its ids; padding behind a row changes nothing before it
    np.testing.assert_array_equal(where, np.where(mask == 1, position_ids(ids, PAD), PAD))
    again = Batch.from_padded(ids, mask, PAD)
    for field in ("input_ids", "position_ids", "cumulative_lengths"):
        np.testing.assert_array_equal(getattr(again, field), getattr(packed, field))
    one_by_one = [Batch.from_encodings([Encoding(ids)], PAD).position_ids for ids in texts]
    np.testing.assert_array_equal(np.concatenate(one_by_one), packed.position_ids)


@given(rows, st.integers(1, 3))
def test_unpack_undoes_pack(texts: list[list[int]], width: int) -> None:
    packed = Batch.from_encodings([Encoding(ids) for ids in texts], PAD)
    mask = packed.padding_mask()
    values = np.arange(len(packed.input_ids) * width, dtype=np.float32).reshape(-1, width)
    padded = unpack(values, mask)
    np.testing.assert_array_equal(pack(padded, mask), values)
    assert not padded[~mask].any()


@given(st.lists(st.integers(0, 40)), st.integers(1, 64))
def test_a_plan_holds_every_sequence_once_and_keeps_its_budget(lengths: list[int], budget: int) -> None:
    batches = plan(lengths, budget)
    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    for batch in batches:
        assert sum(lengths[i] for i in batch) <= budget or len(batch) == 1
        assert [lengths[i] for i in batch] == sorted((lengths[i] for i in batch), reverse=True)


@given(st.integers(0, 200), st.integers(1, 30), st.integers(0, 29))
def test_windows_cover_every_token_and_overlap_by_the_stride(total: int, size: int, stride: int) -> None:
    if stride >= size:
        with pytest.raises(InputError, match=rf"stride {stride}.*expected 0 <= stride"):
            windows(total, size, stride)
        return
    found = windows(total, size, stride)
    assert found[0].start == 0
    assert found[-1].stop == total
    for before, after in pairwise(found):
        assert before.stop - after.start == stride
        assert before.stop < after.stop
    assert all(window.stop - window.start <= size for window in found)


def test_token_types_of_a_mixed_batch() -> None:
    batch = Batch.from_encodings([Encoding([0, 2]), Encoding([0, 7, 2], token_type_ids=[0, 1, 1])], PAD)
    assert batch.token_type_ids is not None
    assert batch.token_type_ids.tolist() == [0, 0, 0, 1, 1]
    assert batch.first_rows.tolist() == [0, 2]
    with pytest.raises(BadShape, match="1 token_type_ids; expected 2"):
        Batch.from_encodings([Encoding([0, 2], token_type_ids=[0])], PAD)


def test_padded_to_a_given_length() -> None:
    batch = Batch.from_encodings([Encoding([0, 2])], PAD)
    assert batch.padded(PAD, 4)[0].tolist() == [[0, 2, 1, 1]]
    with pytest.raises(BadShape, match="length 1; expected at least the longest sequence, 2"):
        batch.padded(PAD, 1)


def test_bad_shapes_are_named() -> None:
    with pytest.raises(BadShape, match=r"input_ids \(1, 2\) and attention_mask \(1, 3\)"):
        Batch.from_padded([[0, 2]], [[1, 1, 1]], PAD)
    with pytest.raises(BadShape, match="2 rows; expected 1"):
        unpack(np.zeros((2, 3)), np.array([[True, False]]))
    with pytest.raises(InputError, match="tokens_per_batch=0"):
        plan([1], 0)


def test_ids_outside_their_tables_are_named() -> None:
    config = RobertaConfig(vocab_size=50, max_position_embeddings=20, type_vocab_size=1)
    with pytest.raises(InputError, match=r"input_ids 50 at \(0, 2\); expected 0 to 49 \(vocab_size is 50\)"):
        check_ids(config, input_ids=np.array([[0, 3, 50]]))
    with pytest.raises(InputError, match="input_ids -1 at 1"):
        check_ids(config, input_ids=np.array([0, -1]))
    with pytest.raises(TooLong, match=r"19 tokens \(position 20\); expected at most 18"):
        check_ids(config, position_ids=position_ids(np.zeros((1, 19), int), PAD))
    check_ids(config, position_ids=position_ids(np.zeros((1, 18), int), PAD))


def test_trap_13_token_type_one_with_one_row() -> None:
    config = RobertaConfig(type_vocab_size=1)
    with pytest.raises(InputError, match=r"token_type_ids 1 at \(0, 1\).*leave token_type_ids out"):
        check_ids(config, token_type_ids=np.array([[0, 1]]))
