"""Ids, tokens and decoding."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robertakit.errors import InputError
from robertakit.tokenizers import AddedToken, PreTrainedTokenizerBase

TEXT = "It's what <mask> they've said, isn't it?"


def test_ids_and_tokens(tokenizer: PreTrainedTokenizerBase) -> None:
    vocabulary = tokenizer.get_vocab()
    assert sorted(vocabulary.values()) == list(range(len(tokenizer)))
    tokens = sorted(vocabulary, key=vocabulary.__getitem__)
    assert tokenizer.convert_ids_to_tokens(list(range(len(tokenizer)))) == tokens
    assert tokenizer.convert_ids_to_tokens(5) == tokens[5]
    assert tokenizer.convert_ids_to_tokens(np.array([0, 5]), skip_special_tokens=True) == [tokens[5]]
    assert tokenizer.convert_tokens_to_ids([tokens[7], "no such token"]) == [7, tokenizer.unk_token_id]
    assert tokenizer.convert_tokens_to_string(tokenizer.tokenize("what they said")) == "what they said"


@pytest.mark.parametrize("ids", [-100, [0, -100], 10**6, [10**6], ["a"], "text", [[0]], 1.5, None])
def test_what_is_no_id_is_an_input_error(tokenizer: PreTrainedTokenizerBase, ids: Any) -> None:
    with pytest.raises(InputError):
        tokenizer.decode(ids)


def test_decode(tokenizer: PreTrainedTokenizerBase) -> None:
    ids = tokenizer(TEXT)["input_ids"]
    text = tokenizer.decode(ids, skip_special_tokens=True)
    assert "<" not in text
    assert text.startswith("It's what")
    assert tokenizer.batch_decode([ids, ids], skip_special_tokens=True) == [text, text]
    assert tokenizer.batch_decode(np.array([ids])) == [tokenizer.decode(ids)]
    assert tokenizer.decode(ids[1]) == tokenizer.decode([ids[1]])
    assert tokenizer.decode([]) == ""
    spaced = tokenizer("what they , said .", add_special_tokens=False)["input_ids"]
    assert tokenizer.decode(spaced, clean_up_tokenization_spaces=True) == "what they, said."
    tokenizer.clean_up_tokenization_spaces = True
    assert tokenizer.decode(spaced) == "what they, said."


def test_trap_03_spaces_around_the_mask(tokenizer: PreTrainedTokenizerBase) -> None:
    """`<mask>` takes the space before it; what follows keeps its own."""
    ids = tokenizer("a <mask> b", add_special_tokens=False)["input_ids"]
    assert ids.index(tokenizer.mask_token_id) == 1
    assert ids == tokenizer("a<mask> b", add_special_tokens=False)["input_ids"]
    filled = tokenizer(" c", add_special_tokens=False)["input_ids"]
    assert tokenizer.decode([*ids[:1], *filled, *ids[2:]]) == "a c b"


def test_spaces_between_added_tokens(make: Any) -> None:
    for name in (
        "RobertaTokenizer",
        "RobertaTokenizerFast",
        "XLMRobertaTokenizer",
        "XLMRobertaTokenizerFast",
    ):
        tokenizer = make(name)
        tokenizer.add_tokens([AddedToken("<new>")])
        ids = tokenizer("what<new>they", add_special_tokens=False)["input_ids"]
        assert tokenizer.decode(ids, spaces_between_special_tokens=True) == "what <new> they"
        assert tokenizer.decode(ids, spaces_between_special_tokens=False) == "what<new>they"
        default = "what<new>they" if name == "RobertaTokenizerFast" else "what <new> they"
        assert tokenizer.decode(ids) == default


@given(text=st.text(st.characters(exclude_categories=["Cs"])))
def test_byte_level_decode_is_the_inverse(make: Any, text: str) -> None:
    for name in ("RobertaTokenizer", "RobertaTokenizerFast"):
        tokenizer = make(name)
        assert tokenizer.decode(tokenizer(text, split_special_tokens=True)["input_ids"][1:-1]) == text


def test_special_tokens_mask(tokenizer: PreTrainedTokenizerBase) -> None:
    assert tokenizer.get_special_tokens_mask([5, 6], [7]) == [1, 0, 0, 1, 1, 0, 1]
    assert tokenizer.get_special_tokens_mask([0, 5, 3, 2], already_has_special_tokens=True) == [1, 0, 1, 1]
    assert tokenizer.create_token_type_ids_from_sequences([5, 6], [7]) == [0] * 7
    with pytest.raises(InputError):
        tokenizer.get_special_tokens_mask([0, 2], [5], already_has_special_tokens=True)


def test_cleaning_up() -> None:
    spaced = "do n't , I 'm . you 've ! we 're ? it 's ' x"
    assert PreTrainedTokenizerBase.clean_up_tokenization(spaced) == "don't, I'm. you've! we're? it's'x"
