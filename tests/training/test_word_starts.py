"""Words found from ids alone are the words of the fast tokenizers."""

import copy
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robertakit import AutoTokenizer, PreTrainedTokenizerBase
from robertakit.errors import InputError
from robertakit.training.word_starts import WordStarts

from .small_tokenizers import ENGLISH, trained

WORDS = st.sampled_from(
    [
        "it's",
        "they'll",
        "rained",
        "don't,",
        "(2019)",
        "12,345.67",
        "...",
        "—",
        "“quoted”",
        "naïve",
        "Zürich",
        "日本語",
    ]
    + [
        "мир",
        "e.g.",
        "\n",
        "\t",
        "",
        " ",
        "😀",
        "<unk>",
        "</s>",
        "<s>",
        "'",
        "'re",
        "?!",
        "Ġ",
        "▁",
        "½",
        "नमस्ते",
    ]
)
TEXTS = st.one_of(
    st.lists(WORDS, max_size=12).map(" ".join),
    st.lists(WORDS, max_size=12).map("".join),
    st.text(max_size=30),
)


def starts_by_word_ids(tokenizer: PreTrainedTokenizerBase, text: str) -> tuple[list[int], list[bool]]:
    encoded = tokenizer(text)
    words = encoded.word_ids()
    starts = [place == 0 or word is None or words[place - 1] != word for place, word in enumerate(words)]
    return encoded["input_ids"], starts


@pytest.mark.parametrize("kind", ["bytes", "unigram"])
@given(text=TEXTS)
def test_words_are_those_of_the_tokenizer(kind: str, text: str) -> None:
    tokenizer = trained(kind)
    if kind == "unigram":  # its `<unk>` is what a word has of unknown characters, and ids say no more
        text = text.replace("<unk>", "")
    ids, starts = starts_by_word_ids(tokenizer, text)
    assert WordStarts(tokenizer)(ids).tolist() == starts


@pytest.mark.parametrize("name", ["roberta", pytest.param("xlm-roberta", marks=pytest.mark.slow)])
def test_words_of_the_published_vocabularies(shared: Path, name: str) -> None:
    tokenizer = AutoTokenizer.from_pretrained(shared / "data" / "tokenizers" / name)
    find = WordStarts(tokenizer)
    for text in ENGLISH.read_text(encoding="utf-8").splitlines()[:300]:
        ids, starts = starts_by_word_ids(tokenizer, text)
        assert find(ids).tolist() == starts


@given(text=TEXTS, data=st.data())
def test_a_row_cut_inside_a_text_has_the_words_of_the_whole(text: str, data: st.DataObject) -> None:
    """A cut may go through a word, and through a character: what is left of it is a word."""
    tokenizer = trained("bytes")
    ids, starts = starts_by_word_ids(tokenizer, text + " ending")
    cut = data.draw(st.integers(1, len(ids) - 2))
    found = WordStarts(tokenizer)(ids[cut:-1]).tolist()
    assert found[0]
    # What the pattern says of the first word may change with what stood before it, and of nothing after that.
    beyond = next((place for place in range(cut + 1, len(ids) - 1) if starts[place]), len(ids) - 1)
    beyond = next((place for place in range(beyond + 1, len(ids) - 1) if starts[place]), len(ids) - 1)
    assert found[beyond - cut :] == starts[beyond:-1]


def test_an_added_token_is_a_word_of_its_own() -> None:
    for kind in ("bytes", "unigram"):
        tokenizer = copy.deepcopy(trained(kind))
        tokenizer.add_tokens(["<name>"])
        ids, starts = starts_by_word_ids(tokenizer, "it<name>rained <name><name>")
        assert WordStarts(tokenizer)(ids).tolist() == starts
        name = tokenizer.convert_tokens_to_ids("<name>")
        assert all(starts[place] for place, id in enumerate(ids) if name in (id, ids[place - 1]))


def test_ids_that_are_not_there() -> None:
    find = WordStarts(trained("bytes"))
    size = len(trained("bytes"))
    with pytest.raises(InputError, match=f"id {size}; expected 0 to {size - 1}"):
        find([0, size])
    with pytest.raises(InputError, match="id -1"):
        find(np.array([0, -1]))
    assert find([]).tolist() == []


def test_a_vocabulary_without_marks() -> None:
    class Plain:
        added_tokens_decoder: dict[int, object] = {}
        all_special_ids = (0,)

        @staticmethod
        def get_vocab() -> dict[str, int]:
            return {"<s>": 0, "hello": 1, "##s": 2}

    with pytest.raises(InputError, match=r"Plain whose vocabulary marks no words.*word_ids"):
        WordStarts(Plain())  # type: ignore[arg-type]
