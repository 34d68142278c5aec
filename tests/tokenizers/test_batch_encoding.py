"""`BatchEncoding`: a real dict that knows where its tokens come from."""

import copy
import pickle
from typing import Any

import numpy as np
import pytest

from robertakit.errors import InputError
from robertakit.tokenizers import BatchEncoding, PreTrainedTokenizerBase

TEXT = "It's what <mask> they've said"
OTHER = "Zwölf Boxkämpfer"


@pytest.fixture
def encoded(tokenizer: PreTrainedTokenizerBase) -> BatchEncoding:
    return tokenizer([TEXT, OTHER], ["b", TEXT], padding=True)


def test_it_is_a_dict(encoded: BatchEncoding) -> None:
    assert isinstance(encoded, dict)
    assert encoded.data is encoded
    assert encoded.input_ids is encoded["input_ids"]
    assert list(encoded.keys()) == ["input_ids", "attention_mask"] == list(encoded)
    assert (lambda **columns: columns)(**encoded) == encoded
    assert encoded[1:]["input_ids"] == encoded["input_ids"][1:]
    assert encoded[0].ids == encoded["input_ids"][0]
    with pytest.raises(AttributeError, match="no column 'labels'"):
        _ = encoded.labels
    with pytest.raises(KeyError):
        _ = encoded["labels"]
    with pytest.raises(InputError, match="row 2"):
        _ = encoded[2]


def test_questions_about_tokens(encoded: BatchEncoding, tokenizer: PreTrainedTokenizerBase) -> None:
    assert encoded.is_fast == tokenizer.is_fast
    assert encoded.n_sequences == 2
    for row, texts in enumerate([(TEXT, "b"), (OTHER, TEXT)]):
        assert encoded.tokens(row) == tokenizer.convert_ids_to_tokens(encoded["input_ids"][row])
        sequences, words = encoded.sequence_ids(row), encoded.word_ids(row)
        assert words == encoded.words(row)
        for token, (sequence, word) in enumerate(zip(sequences, words, strict=True)):
            assert encoded.token_to_sequence(row, token) == sequence
            assert encoded.token_to_word(row, token) == word
            span = encoded.token_to_chars(row, token)
            if sequence is None or word is None:
                assert span is None is word
                continue
            assert span is not None
            first, last = encoded.word_to_tokens(row, word, sequence)
            assert first <= token < last
            start, end = encoded.word_to_chars(row, word, sequence)
            assert start <= span.start <= span.end <= end
            for char in range(span.start, span.end):
                covering = encoded.char_to_token(row, char, sequence)
                assert covering is not None
                assert texts[sequence][slice(*encoded.token_to_chars(row, covering))]
                assert encoded.char_to_word(row, char, sequence) == words[covering]
    assert encoded.char_to_token(0, 4) is None  # a space
    assert encoded.word_to_tokens(0, 99) is None
    assert encoded.word_to_chars(0, 99) is None
    for question in (encoded.token_to_sequence, encoded.token_to_word, encoded.token_to_chars):
        assert (
            question(0, 99) is question(0, -99) is None
        )  # past the row, as the reference's fast classes say
    with pytest.raises(InputError, match="row 9"):
        encoded.token_to_chars(9, 0)


def test_one_index_means_the_first_row(tokenizer: PreTrainedTokenizerBase) -> None:
    encoded = tokenizer(TEXT)
    assert encoded.char_to_token(0) == 1
    assert encoded.token_to_word(1) == 0
    assert encoded.token_to_chars(1).start == 0
    assert (
        TEXT[slice(*encoded.token_to_chars(encoded["input_ids"].index(tokenizer.mask_token_id)))].strip()
        == "<mask>"
    )


def test_trap_08_offsets_cover_every_character_but_white_space(tokenizer: PreTrainedTokenizerBase) -> None:
    for text in (TEXT, OTHER, " a  b", "\tx <mask>y <s>.", "é\u0301 ½ ﬁ", "1\x1f2"):
        # With a space put in after a special token, the reference's offsets lose a character, and so do ours.
        prefix = "XLM" not in type(tokenizer).__name__ and "<" not in text
        for options in ({}, {"add_prefix_space": True}) if prefix else ({},):
            encoded = tokenizer(text, return_offsets_mapping=True, **options)
            spans = [
                span
                for span, word in zip(encoded["offset_mapping"], encoded.word_ids(), strict=True)
                if word is not None
            ]
            assert spans == sorted(spans)
            covered = {place for start, end in spans for place in range(start, end)}
            lost = [character for place, character in enumerate(text) if place not in covered]
            assert all(character.isspace() for character in lost), (text, spans)


def test_trap_08_offsets_do_not_change_when_asked_for_later(tokenizer: PreTrainedTokenizerBase) -> None:
    at_once = tokenizer([TEXT, OTHER], return_offsets_mapping=True)
    later = tokenizer([TEXT, OTHER])
    tokenizer.add_tokens(["what", "Box"])  # the encoding remembers the vocabulary that it was made by
    assert [row.offsets for row in later.encodings] == at_once["offset_mapping"]
    assert [later.word_ids(row) for row in (0, 1)] == [at_once.word_ids(row) for row in (0, 1)]


@pytest.mark.parametrize(
    "copied", [lambda x: pickle.loads(pickle.dumps(x)), copy.deepcopy, copy.copy, BatchEncoding.copy]
)
def test_copies_and_pickles(encoded: BatchEncoding, copied: Any) -> None:
    again = copied(encoded)
    assert type(again) is BatchEncoding
    assert again == encoded
    assert again is not encoded
    assert (again.is_fast, again.n_sequences) == (encoded.is_fast, encoded.n_sequences)
    for row in (0, 1):
        for ask in (BatchEncoding.tokens, BatchEncoding.word_ids, BatchEncoding.sequence_ids):
            assert ask(again, row) == ask(encoded, row)
        assert again[row].offsets == encoded[row].offsets
        assert again[row].special_tokens_mask == encoded[row].special_tokens_mask


def test_a_pickle_does_not_hold_the_vocabulary(tokenizer: PreTrainedTokenizerBase) -> None:
    assert len(pickle.dumps(tokenizer("a b"))) < 3000


def test_made_by_hand() -> None:
    encoded = BatchEncoding({"input_ids": [[1, 2], [3, 4]]}, tensor_type="np")
    assert isinstance(encoded["input_ids"], np.ndarray)
    assert encoded.is_fast is False
    assert encoded.to("cpu") is encoded
    with pytest.raises(InputError):
        encoded.word_ids()
    one = BatchEncoding({"input_ids": [1, 2]}, tensor_type="np", prepend_batch_axis=True)
    assert one["input_ids"].shape == (1, 2)
