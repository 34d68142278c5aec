"""Examples in every form that people have, and what is refused."""

import numpy as np
import pytest

from robertakit import BatchEncoding
from robertakit.errors import BadShape, InputError, TokenizerError
from robertakit.training.collating import (
    ids_of,
    laid_out,
    padded_columns,
    rows_of_examples,
    stacked,
    words_given,
)

from .small_tokenizers import trained


def test_rows_are_copies() -> None:
    example = {"input_ids": [1, 2]}
    (row,) = rows_of_examples([example])
    row["more"] = 1
    assert example == {"input_ids": [1, 2]}
    assert rows_of_examples([[1, 2], np.array([3])])[0] == {"input_ids": [1, 2]}


def test_what_is_no_list_of_examples() -> None:
    for wrong in ([], {"input_ids": [[1]]}):
        with pytest.raises(InputError, match="expected a list of examples"):
            rows_of_examples(wrong)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="an example with text; expected input_ids"):
        rows_of_examples([{"text": "a"}])


def test_words_by_column_by_encoding_and_not_at_all() -> None:
    tokenizer = trained("bytes")
    row = {"input_ids": [0, 9, 9, 9, 2], "word_ids": [None, 0, 0, 1, None]}
    assert words_given(row, row).tolist() == [True, True, False, True, True]  # type: ignore[union-attr]
    assert words_given([0, 9], {"input_ids": [0, 9]}) is None
    encoded = tokenizer("it rained", "it rained")
    found = words_given(encoded, dict(encoded))
    assert found is not None
    words = encoded.word_ids()
    assert found.tolist() == [
        not place or word is None or word != words[place - 1] for place, word in enumerate(words)
    ]
    changed = {"input_ids": [0, *encoded["input_ids"]]}
    assert words_given(BatchEncoding(changed, encoded.encodings), changed) is None
    with pytest.raises(InputError, match="1 word_ids; expected 2, one for each id"):
        words_given(row, {"input_ids": [0, 9], "word_ids": [0]})


def test_rows_are_padded_on_the_side_of_the_tokenizer() -> None:
    tokenizer = trained("bytes")
    columns = padded_columns(tokenizer, [{"input_ids": [0, 9, 2]}, {"input_ids": [0, 2]}], 4)
    assert columns["input_ids"].tolist() == [[0, 9, 2, 1], [0, 2, 1, 1]]
    assert columns["attention_mask"].tolist() == [[1, 1, 1, 0], [1, 1, 0, 0]]
    assert laid_out([np.array([5, 6]), np.array([7])], 3, "left", 1).tolist() == [[1, 5, 6], [1, 1, 7]]


def test_without_a_padding_token_equal_rows_are_taken() -> None:
    class Padless:
        pad_token_id = None

    columns = padded_columns(Padless(), [{"input_ids": [0, 2]}, {"input_ids": [5, 2]}], None)  # type: ignore[arg-type]
    assert columns["input_ids"].tolist() == [[0, 2], [5, 2]]
    assert columns["attention_mask"].tolist() == [[1, 1], [1, 1]]
    for rows, multiple in (([{"input_ids": [0]}, {"input_ids": [0, 2]}], None), ([{"input_ids": [0]}], 2)):
        with pytest.raises(TokenizerError, match=r"rows to pad and no pad_token; set tokenizer.pad_token"):
            padded_columns(Padless(), rows, multiple)  # type: ignore[arg-type]


def test_stacking() -> None:
    assert stacked([1, 2], "np").dtype == np.int64
    assert stacked([0.5, 2.0], "np").dtype == np.float32
    assert stacked([np.array([1]), np.array([2])], "np").tolist() == [[1], [2]]
    with pytest.raises(BadShape, match="rows of unequal length"):
        stacked([[1], [1, 2]], "np")


def test_tensors_are_stacked_as_they_are() -> None:
    torch = pytest.importorskip("torch")
    parts = [torch.ones(2, dtype=torch.bfloat16), torch.zeros(2, dtype=torch.bfloat16)]
    found = stacked(parts, "pt")
    assert found.dtype == torch.bfloat16
    assert found.tolist() == [[1, 1], [0, 0]]
    assert stacked([torch.tensor([1]), torch.tensor([2])], "np").tolist() == [[1], [2]]


def test_ids_are_one_row_of_whole_numbers() -> None:
    assert ids_of({"input_ids": []}).tolist() == []
    for wrong in ([[0, 2]], [0.5, 2.0], ["a"], 7):
        with pytest.raises(InputError, match=r"input_ids of shape .*one row of whole numbers"):
            ids_of({"input_ids": wrong})
