"""Bulk encoding: the ids and words of the tokenizer's own pipeline, for every text and every tokenizer."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robertakit import AddedToken, RobertaTokenizerFast, XLMRobertaTokenizerFast, embedded
from robertakit.tokenizers import PreTrainedTokenizerBase
from robertakit.tokenizers.training import train_unigram
from robertakit.training import bulk_encoding
from robertakit.training.bulk_encoding import BulkEncoder, ByteLevelEncoder, UnigramEncoder, bulk_encoder
from robertakit.training.sentences import split_sentences

ENGLISH = (Path(__file__).parent.parent / "golden" / "english.txt").read_text(encoding="utf-8").split("\n")
ENCODERS = [ByteLevelEncoder, UnigramEncoder]


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory: pytest.TempPathFactory) -> dict[type[BulkEncoder], PreTrainedTokenizerBase]:
    folder = train_unigram(ENGLISH[:300], 300, tmp_path_factory.mktemp("unigram"))
    return {
        ByteLevelEncoder: RobertaTokenizerFast.from_pretrained(embedded.folder()),
        UnigramEncoder: XLMRobertaTokenizerFast(str(folder / "sentencepiece.bpe.model")),
    }


def assert_is_the_tokenizers(
    encoder: BulkEncoder, tokenizer: PreTrainedTokenizerBase, sentences: Sequence[str]
) -> None:
    """Compare with the documented call, whose word ids are those of the fast tokenizer."""
    encoded = encoder.encode(sentences)
    tokens, starts, lengths = [], [], []
    for sentence in sentences:
        called = tokenizer(sentence, add_special_tokens=False, split_special_tokens=True)
        words = called.word_ids()
        tokens += called.input_ids
        starts += [number == 0 or word != words[number - 1] for number, word in enumerate(words)]
        lengths.append(len(called.input_ids))
    assert encoded.tokens.tolist() == tokens
    assert encoded.word_starts.tolist() == starts
    assert encoded.lengths.tolist() == lengths


STRANGE = [
    "",
    " ",
    "  two  spaces ",
    "ends with a space ",
    "\ttab's and\u00a0hard spaces\u3000wide",
    " it's he'll 'tis 'S they'RE",
    "a \n b\r\n",
    "</s> <s><mask> <pad>x</s>",
    "x" * 300,
    "日本語のテキスト。 漢字 かな",
    "\u2581marks \u2581 of words\u2581inside",
    "é e\u0301 ﬁ ½ Ａ",
    "\x00\x01 \x1c \x85",
    "🙂🙂 👩‍👩‍👧 1234567 3.14",
]


@pytest.mark.parametrize("kind", ENCODERS)
def test_strange_text(
    kind: type[BulkEncoder], tokenizers: dict[type[BulkEncoder], PreTrainedTokenizerBase]
) -> None:
    encoder = bulk_encoder(tokenizers[kind])
    assert type(encoder) is kind
    for _ in range(2):  # first met, then remembered
        assert_is_the_tokenizers(encoder, tokenizers[kind], STRANGE)
        assert_is_the_tokenizers(encoder, tokenizers[kind], STRANGE[::-1])


@pytest.mark.parametrize("kind", ENCODERS)
def test_text_that_is_read(
    kind: type[BulkEncoder],
    tokenizers: dict[type[BulkEncoder], PreTrainedTokenizerBase],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bulk_encoding, "_KEPT", 500)  # what is remembered is forgotten many times
    encoder = bulk_encoder(tokenizers[kind])
    for start in range(0, 400, 50):
        sentences = [sentence for line in ENGLISH[start : start + 50] for sentence in split_sentences(line)]
        assert_is_the_tokenizers(encoder, tokenizers[kind], sentences)


@pytest.mark.parametrize("kind", ENCODERS)
@settings(deadline=None, max_examples=60)
@given(
    sentences=st.lists(
        st.lists(
            st.sampled_from(["the", "cat's", " ", "  ", "\t", "'", "s", "12", "!", "</s>", "\u2581", "ü"])
            | st.text(max_size=4)
        ).map("".join),
        max_size=5,
    )
)
def test_any_text(
    kind: type[BulkEncoder],
    tokenizers: dict[type[BulkEncoder], PreTrainedTokenizerBase],
    sentences: list[str],
) -> None:
    assert_is_the_tokenizers(bulk_encoder(tokenizers[kind]), tokenizers[kind], sentences)


@pytest.mark.parametrize(
    ("token", "kind"),
    [
        (AddedToken("newword"), ByteLevelEncoder),
        (AddedToken("cat", single_word=True), ByteLevelEncoder),
        (AddedToken("left", lstrip=True), ByteLevelEncoder),
        (AddedToken("right", rstrip=True), ByteLevelEncoder),
        (AddedToken("two words"), BulkEncoder),
    ],
    ids=str,
)
def test_added_tokens(token: AddedToken, kind: type[BulkEncoder]) -> None:
    tokenizer = RobertaTokenizerFast.from_pretrained(embedded.folder())
    tokenizer.add_tokens([token])
    encoder = bulk_encoder(tokenizer)
    assert type(encoder) is kind
    text = f"a {token.content} the{token.content} cats. cat, x{token.content}"
    assert_is_the_tokenizers(encoder, tokenizer, [text, " " + text, "nothing new"])
    assert token.content in tokenizer.convert_ids_to_tokens(encoder.encode([text]).tokens.tolist())


def test_other_tokenizers_are_followed_as_they_are(
    tokenizers: dict[type[BulkEncoder], PreTrainedTokenizerBase], tmp_path: Path
) -> None:
    prefixed = RobertaTokenizerFast.from_pretrained(embedded.folder(), add_prefix_space=True)
    legacy = RobertaTokenizerFast.from_pretrained(embedded.folder(), legacy_fast=True)
    unigram = tokenizers[UnigramEncoder]
    unigram.save_pretrained(tmp_path)
    extended = XLMRobertaTokenizerFast.from_pretrained(tmp_path)
    extended.add_tokens(["newword"])
    for tokenizer in (prefixed, legacy, extended):
        encoder = bulk_encoder(tokenizer)
        assert type(encoder) is BulkEncoder
        assert_is_the_tokenizers(encoder, tokenizer, ["The cat's newword.", " Another  one.", "x"])


def test_no_sentences(tokenizers: dict[type[BulkEncoder], PreTrainedTokenizerBase]) -> None:
    for kind in ENCODERS:
        encoded = bulk_encoder(tokenizers[kind]).encode([])
        assert (len(encoded.tokens), len(encoded.lengths)) == (0, 0)
        assert encoded.word_starts.dtype == np.bool_
