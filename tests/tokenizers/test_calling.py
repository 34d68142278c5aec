"""The call and its relatives: the same for slow and fast, on vocabularies trained here."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robertakit.errors import ArgumentError, BadShape, DependencyError, InputError, TokenizerError
from robertakit.tokenizers import BatchEncoding, PreTrainedTokenizerBase

TEXT = "It's what they've said: we'll see"
OTHER = "Der schnelle braune Fuchs"


def test_row_of_a_text_and_of_a_pair(tokenizer: PreTrainedTokenizerBase) -> None:
    first = tokenizer(TEXT, add_special_tokens=False)["input_ids"]
    second = tokenizer(OTHER, add_special_tokens=False)["input_ids"]
    assert tokenizer(TEXT)["input_ids"] == [0, *first, 2]
    assert tokenizer(TEXT, OTHER)["input_ids"] == [0, *first, 2, 2, *second, 2]
    assert tokenizer(TEXT, OTHER, add_special_tokens=False)["input_ids"] == [*first, *second]
    assert tokenizer.build_inputs_with_special_tokens(first, second) == tokenizer(TEXT, OTHER)["input_ids"]
    assert tokenizer.num_special_tokens_to_add() == 2
    assert tokenizer.num_special_tokens_to_add(pair=True) == 4


def test_trap_13_token_type_ids_only_when_asked_for_and_all_zero(tokenizer: PreTrainedTokenizerBase) -> None:
    assert list(tokenizer(TEXT, OTHER)) == ["input_ids", "attention_mask"]
    encoded = tokenizer(TEXT, OTHER, return_token_type_ids=True)
    assert set(encoded["token_type_ids"]) == {0}
    assert len(encoded["token_type_ids"]) == len(encoded["input_ids"])


def test_forms_of_input(tokenizer: PreTrainedTokenizerBase) -> None:
    one, two = tokenizer(TEXT)["input_ids"], tokenizer(OTHER)["input_ids"]
    assert tokenizer([TEXT, OTHER])["input_ids"] == [one, two]
    assert tokenizer((TEXT, OTHER))["input_ids"] == [one, two]
    pair = tokenizer(TEXT, OTHER)["input_ids"]
    assert tokenizer([TEXT], [OTHER])["input_ids"] == [pair]
    assert tokenizer([(TEXT, OTHER)])["input_ids"] == [pair]
    assert tokenizer([[TEXT, OTHER]])["input_ids"] == [pair]
    assert tokenizer.batch_encode_plus([(TEXT, OTHER)])["input_ids"] == [pair]
    assert tokenizer.encode(TEXT, OTHER) == pair
    assert tokenizer.encode(tokenizer.tokenize(TEXT)) == one  # tokens
    assert tokenizer.encode(tokenizer.encode(TEXT, add_special_tokens=False)) == one  # ids
    assert tokenizer.encode_plus(TEXT, OTHER) == tokenizer(TEXT, OTHER)
    assert tokenizer([])["input_ids"] == []
    assert tokenizer("")["input_ids"] == [0, 2]


@pytest.mark.parametrize(
    "arguments",
    [
        (None,),
        (3,),
        (b"text",),
        ([TEXT, None],),
        ([["a", "b", "c"]],),
        (TEXT, [OTHER]),
        ([TEXT], [OTHER, OTHER]),
    ],
)
def test_what_is_no_text_is_an_input_error(
    tokenizer: PreTrainedTokenizerBase, arguments: tuple[Any, ...]
) -> None:
    with pytest.raises(InputError):
        tokenizer(*arguments)


@pytest.mark.parametrize("text", [b"text", [b"text"]])
def test_bytes_are_named_as_such(tokenizer: PreTrainedTokenizerBase, text: Any) -> None:
    for call in (tokenizer, tokenizer.encode, tokenizer.batch_encode_plus):
        with pytest.raises(InputError, match="bytes"):
            call(text)


def test_lone_surrogates_are_an_input_error(tokenizer: PreTrainedTokenizerBase) -> None:
    for text in ("\ud800", ["fine", "a \udfff"]):
        with pytest.raises(InputError, match="surrogate"):
            tokenizer(text)


def test_an_unknown_argument_is_a_type_error(tokenizer: PreTrainedTokenizerBase) -> None:
    calls = [tokenizer, tokenizer.encode, tokenizer.encode_plus, tokenizer.tokenize]
    for call in calls:
        with pytest.raises(ArgumentError, match="'max_lenght' of the call; expected 'max_length'"):
            call(TEXT, max_lenght=3)
    with pytest.raises(TypeError):
        tokenizer.decode([0], skip_specials=True)
    for arguments in (
        {"truncation": "first"},
        {"padding": "short"},
        {"return_tensors": "xx"},
        {"stride": -1},
    ):
        with pytest.raises(ArgumentError):
            tokenizer(TEXT, **arguments)


def test_add_prefix_space_in_a_call(make: Any) -> None:
    for name in ("RobertaTokenizer", "RobertaTokenizerFast"):
        plain, prefixed = make(name), make(name, add_prefix_space=True)
        assert plain("schnelle", add_prefix_space=True) == prefixed("schnelle") == plain(" schnelle")
        assert prefixed("schnelle", add_prefix_space=False) == plain("schnelle") != prefixed("schnelle")
    with pytest.raises(ArgumentError, match="add_prefix_space"):
        make("XLMRobertaTokenizer")(TEXT, add_prefix_space=True)


@pytest.mark.parametrize("side", ["right", "left"])
def test_truncation(tokenizer: PreTrainedTokenizerBase, side: str) -> None:
    tokenizer.truncation_side = side
    ids = tokenizer(TEXT, add_special_tokens=False)["input_ids"]
    for room in range(1, len(ids) + 2):
        kept = ids[:room] if side == "right" else ids[-room:]
        assert tokenizer(TEXT, truncation=True, max_length=room + 2)["input_ids"] == [0, *kept, 2]
    assert tokenizer(TEXT, max_length=5, verbose=False)["input_ids"] == [
        0,
        *(ids[:3] if side == "right" else ids[-3:]),
        2,
    ]
    assert tokenizer(TEXT, max_length=5, truncation=False)["input_ids"] == [0, *ids, 2]
    assert tokenizer(TEXT, max_length=5, truncation_strategy="longest_first", padding=True) == tokenizer(
        TEXT, max_length=5, truncation=True
    )


def test_truncation_that_cannot_be_done_is_an_input_error(tokenizer: PreTrainedTokenizerBase) -> None:
    long = len(tokenizer(OTHER, add_special_tokens=False)["input_ids"])
    for arguments in (
        {"max_length": 2},
        {"max_length": 0},
        {"text_pair": OTHER, "truncation": "only_first", "max_length": long + 4},
        {"max_length": 5, "stride": 3},
        {"max_length": 5, "stride": 3, "return_overflowing_tokens": True},
    ):
        with pytest.raises(InputError):
            tokenizer(TEXT, **{"truncation": True, **arguments})
    with pytest.raises(ArgumentError, match="only_second"):
        tokenizer(TEXT, truncation="only_second", max_length=5)


def test_windows_of_the_fast_classes_cover_the_text(tokenizer: PreTrainedTokenizerBase) -> None:
    ids = tokenizer(TEXT, add_special_tokens=False)["input_ids"]
    encoded = tokenizer([TEXT, "a"], truncation=True, max_length=6, stride=1, return_overflowing_tokens=True)
    if not tokenizer.is_fast:
        assert encoded["overflowing_tokens"][0] == ids[3:]  # what was cut off, and one token that was not
        assert encoded["num_truncated_tokens"] == [len(ids) - 4, -6 + len(encoded["input_ids"][1])]
        return
    windows = [
        row[1:-1]
        for row, text in zip(encoded["input_ids"], encoded["overflow_to_sample_mapping"], strict=True)
        if not text
    ]
    assert encoded["overflow_to_sample_mapping"] == [0] * len(windows) + [1]
    assert windows[0] + [id for row in windows[1:] for id in row[1:]] == ids
    for number in range(len(windows)):
        for (start, end), sequence in zip(encoded[number].offsets, encoded.sequence_ids(number), strict=True):
            assert sequence is None or TEXT[start:end]


def test_padding(tokenizer: PreTrainedTokenizerBase) -> None:
    rows = tokenizer([TEXT, "a"])["input_ids"]
    encoded = tokenizer([TEXT, "a"], padding=True, return_special_tokens_mask=True)
    missing = len(rows[0]) - len(rows[1])
    assert encoded["input_ids"] == [rows[0], rows[1] + [1] * missing]
    assert encoded["attention_mask"][1] == [1] * len(rows[1]) + [0] * missing
    assert encoded["special_tokens_mask"][1][len(rows[1]) :] == [1] * missing
    left = tokenizer([TEXT, "a"], padding="longest", padding_side="left", return_offsets_mapping=True)
    assert left["input_ids"][1] == [1] * missing + rows[1]
    assert left["offset_mapping"][1][: missing + 1] == [(0, 0)] * (missing + 1)
    assert left.word_ids(1)[: missing + 1] == [None] * (missing + 1)
    assert len(tokenizer("a", padding="max_length")["input_ids"]) == 512
    assert len(tokenizer(TEXT, padding=True, pad_to_multiple_of=8)["input_ids"]) % 8 == 0
    assert tokenizer("a", pad_to_max_length=True, max_length=9) == tokenizer(
        "a", padding="max_length", max_length=9
    )
    with pytest.raises(ArgumentError, match="multiple"):
        tokenizer(TEXT, padding=True, truncation=True, max_length=9, pad_to_multiple_of=8)
    tokenizer.pad_token = None
    with pytest.raises(TokenizerError, match="padding token"):
        tokenizer([TEXT, "a"], padding=True)


def test_pad_takes_rows_and_columns(tokenizer: PreTrainedTokenizerBase) -> None:
    rows = [tokenizer(TEXT), tokenizer("a")]
    expected = tokenizer([TEXT, "a"], padding=True)
    assert tokenizer.pad(rows) == expected
    assert tokenizer.pad({"input_ids": [row["input_ids"] for row in rows]}) == expected
    assert tokenizer.pad(tokenizer("a")) == tokenizer("a")
    assert tokenizer.pad({"input_ids": np.array([0, 5, 2])}, padding="max_length", max_length=4)[
        "input_ids"
    ] == [0, 5, 2, 1]
    arrays = tokenizer.pad(rows, return_tensors="np")
    assert arrays["input_ids"].tolist() == expected["input_ids"]
    labelled = tokenizer.pad([{"input_ids": [0, 2], "label": 1}, {"input_ids": [0, 5, 2], "label": 0}])
    assert labelled["label"] == [1, 0]
    for wrong in ([{"attention_mask": [1]}], "text", [1, 2], [{"input_ids": [1]}, {"ids": [1]}]):
        with pytest.raises(InputError):
            tokenizer.pad(wrong)


def test_tensors(tokenizer: PreTrainedTokenizerBase) -> None:
    encoded = tokenizer([TEXT, OTHER], padding=True, return_tensors="np", return_offsets_mapping=True)
    assert encoded["input_ids"].dtype == np.int64
    assert encoded["offset_mapping"].shape == (*encoded["input_ids"].shape, 2)
    assert tokenizer(TEXT, return_tensors="np")["input_ids"].ndim == 2
    assert tokenizer.encode(TEXT, return_tensors="np").ndim == 2
    with pytest.raises(BadShape, match="padding=True"):
        tokenizer([TEXT, "a"], return_tensors="np")


def test_pytorch_tensors(tokenizer: PreTrainedTokenizerBase) -> None:
    torch = pytest.importorskip("torch")
    encoded = tokenizer([TEXT, OTHER], padding=True, return_tensors="pt").to("cpu")
    assert encoded["input_ids"].dtype == torch.int64
    assert encoded["input_ids"].tolist() == tokenizer([TEXT, OTHER], padding=True)["input_ids"]
    assert tokenizer.decode(encoded["input_ids"][0]) == tokenizer.decode(encoded["input_ids"][0].tolist())


@pytest.mark.parametrize(("kind", "module"), [("tf", "tensorflow"), ("jax", "jax")])
def test_an_absent_framework_is_named(
    tokenizer: PreTrainedTokenizerBase, kind: str, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, module, None)
    with pytest.raises(DependencyError, match=module):
        tokenizer(TEXT, return_tensors=kind)


def test_split_words(tokenizer: PreTrainedTokenizerBase) -> None:
    words = OTHER.split()
    encoded = tokenizer(words, is_split_into_words=True, return_offsets_mapping=True)
    assert set(encoded.word_ids()) == {None, 0, 1, 2, 3}
    # The pieces of a word cover it, from left to right; one that is only the space before it has no letters of its own.
    for number, word in enumerate(words):
        found = zip(encoded.word_ids(), encoded["offset_mapping"], strict=True)
        spans = [span for of_word, span in found if of_word == number]
        assert spans == sorted(spans)
        assert {letter for start, end in spans for letter in range(start, end)} == set(range(len(word)))
    # Every word begins with a space (byte-level BPE) or a word mark (unigram): as the text with a space before it.
    assert encoded["input_ids"] == tokenizer(" " + OTHER)["input_ids"]
    assert tokenizer([words, words[:1]], is_split_into_words=True)["input_ids"][0] == encoded["input_ids"]
    assert tokenizer(words, words[:2], is_split_into_words=True).n_sequences == 2
    assert tokenizer([], is_split_into_words=True)["input_ids"] == []
    with pytest.raises(InputError):
        tokenizer(OTHER, is_split_into_words=True)


def test_text_target_gives_labels(tokenizer: PreTrainedTokenizerBase) -> None:
    encoded = tokenizer([TEXT], text_target=[OTHER])
    assert encoded["labels"] == tokenizer([OTHER])["input_ids"]
    assert tokenizer(text_target=OTHER) == tokenizer(OTHER)


def test_prepare_for_model(tokenizer: PreTrainedTokenizerBase) -> None:
    ids = tokenizer(TEXT, add_special_tokens=False)["input_ids"]
    prepared = tokenizer.prepare_for_model(ids, truncation=True, max_length=6, return_length=True)
    assert prepared["input_ids"] == tokenizer(TEXT, truncation=True, max_length=6)["input_ids"]
    assert prepared["length"] == 6
    assert tokenizer.prepare_for_model(ids, return_tensors="np")["input_ids"].ndim == 1
    assert (
        tokenizer.prepare_for_model(ids, return_tensors="np", prepend_batch_axis=True)["input_ids"].ndim == 2
    )
    with pytest.raises(InputError):
        tokenizer.prepare_for_model([1.5])


def test_truncate_sequences(tokenizer: PreTrainedTokenizerBase) -> None:
    assert tokenizer.truncate_sequences([1, 2, 3, 4], None, 2, "only_first", 1) == ([1, 2], None, [2, 3, 4])
    assert tokenizer.truncate_sequences([1, 2, 3, 4], [5, 6, 7], 3) == ([1, 2], [5, 6], [])
    assert tokenizer.truncate_sequences([1, 2], [5, 6, 7], 1, "only_second") == ([1, 2], [5, 6], [7])


def test_tokenize(tokenizer: PreTrainedTokenizerBase) -> None:
    tokens = tokenizer.tokenize(TEXT)
    assert tokenizer.convert_tokens_to_ids(tokens) == tokenizer(TEXT, add_special_tokens=False)["input_ids"]
    assert tokenizer.tokenize(TEXT, OTHER) == tokens + tokenizer.tokenize(OTHER)
    assert tokenizer.tokenize("a", add_special_tokens=True)[::2] == ["<s>", "</s>"]
    assert (
        tokenizer.tokenize("a <mask> b")[1] == "<mask>"
    )  # row 13 of the README in ../shared/data/tokenizers


def test_an_overridden_layout_is_used(make: Any, name: str) -> None:
    class Bare(type(make(name))):  # type: ignore[misc]
        def build_inputs_with_special_tokens(
            self, token_ids_0: list[int], token_ids_1: list[int] | None = None
        ) -> list[int]:
            return [*token_ids_0, 2, *(token_ids_1 or [])]

    tokenizer = make(name)
    tokenizer.__class__ = Bare
    ids = tokenizer(TEXT, add_special_tokens=False)["input_ids"]
    assert tokenizer(TEXT)["input_ids"] == [*ids, 2]
    assert tokenizer(TEXT, truncation=True, max_length=3)["input_ids"] == [*ids[:2], 2]
    assert tokenizer(TEXT, return_special_tokens_mask=True)["special_tokens_mask"] == [0] * len(ids) + [1]


PIECES = st.sampled_from(
    ["<mask>", "<s>", "</s>", "<pad>", "<unk>", " ", "  ", "\n", "it's", "中", "é", "\u3099", "x1", "."]
)


@given(
    texts=st.lists(st.lists(PIECES, max_size=6).map("".join), min_size=1, max_size=4), prefix=st.booleans()
)
@pytest.mark.parametrize("family", ["Roberta", "XLMRoberta"])
def test_slow_and_fast_agree_around_special_tokens(
    make: Any, family: str, texts: list[str], prefix: bool
) -> None:
    pair = PAIRS.get(family) or PAIRS.setdefault(
        family, [make(f"{family}Tokenizer"), make(f"{family}TokenizerFast")]
    )
    extra = {"add_prefix_space": prefix} if family == "Roberta" else {}
    slow, fast = (one(texts, return_offsets_mapping=True, **extra) for one in pair)
    assert slow == fast
    assert [slow.word_ids(row) for row in range(len(texts))] == [
        fast.word_ids(row) for row in range(len(texts))
    ]
    for text, offsets in zip(texts, slow["offset_mapping"], strict=True):
        assert all(0 <= start <= end <= len(text) for start, end in offsets)
    words = [text.split(" ") for text in texts]
    assert pair[0](words, is_split_into_words=True) == pair[1](words, is_split_into_words=True)


PAIRS: dict[str, list[PreTrainedTokenizerBase]] = {}


def test_pytest_sees_a_dict(tokenizer: PreTrainedTokenizerBase) -> None:
    encoded = tokenizer(TEXT)
    assert isinstance(encoded, dict)
    assert isinstance(encoded, BatchEncoding)
    assert {**encoded} == dict(encoded)
