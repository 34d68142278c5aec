import base64
import copy
import struct

import pytest

from robertakit.errors import TokenizerError
from robertakit.tokenizers.fast_unigram import FastUnigram
from robertakit.tokenizers.sentencepiece_model import SentencePieceModel
from robertakit.tokenizers.tokenizer_json import (
    byte_level_model,
    is_published_roberta_pipeline,
    is_published_xlmr_pipeline,
    model_type,
    unigram_model,
)
from robertakit.tokenizers.unigram import Unigram

# A root without transitions, in a trie of two blocks.
EMPTY_MAP = struct.pack("<I512I", 2048, 256 << 10, *[0] * 511) + b"\0"
ROBERTA = {
    "normalizer": None,
    "pre_tokenizer": {
        "type": "ByteLevel",
        "add_prefix_space": False,
        "trim_offsets": True,
        "use_regex": True,
    },
    "post_processor": {"type": "RobertaProcessing", "sep": ["</s>", 2], "cls": ["<s>", 0]},
    "decoder": {"type": "ByteLevel", "add_prefix_space": True},
    "model": {
        "type": "BPE",
        "dropout": None,
        "vocab": {"<unk>": 0, "a": 1, "b": 2, "ab": 3},
        "merges": ["a b"],
    },
}
METASPACE = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
XLMR = {
    "normalizer": {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(EMPTY_MAP).decode()},
    "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, METASPACE]},
    "decoder": METASPACE,
    "model": {
        "type": "Unigram",
        "unk_id": 3,
        "vocab": [
            ["<s>", 0.0],
            ["<pad>", 0.0],
            ["</s>", 0.0],
            ["<unk>", 0.0],
            ["▁a", -1.1],
            ["b", -2],
            ["<mask>", 0.0],
        ],
    },
}


def changed(tokenizer, *path, to):
    """A copy with one value replaced, or taken out (`to` is ...)."""
    found = copy.deepcopy(tokenizer)
    inner = found
    for name in path[:-1]:
        inner = inner[name]
    if to is ...:
        del inner[path[-1]]
    else:
        inner[path[-1]] = to
    return found


def test_trap_02_type_is_understood_where_it_is_left_out():
    assert model_type(changed(ROBERTA, "model", "type", to=...)) == "BPE"
    assert model_type(changed(XLMR, "model", "type", to=...)) == "Unigram"
    assert model_type({"model": {"vocab": {"a": 0}, "max_input_chars_per_word": 100}}) == "WordPiece"
    assert model_type({"model": {"vocab": {"a": 0}}}) == "WordLevel"
    without_both = changed(changed(ROBERTA, "model", "merges", to=...), "model", "type", to=...)
    assert model_type(without_both) == "BPE"
    for broken in ({}, {"model": None}, {"model": []}, {"model": {}}):
        with pytest.raises(TokenizerError, match="without a model"):
            model_type(broken)


@pytest.mark.parametrize(
    "tokenizer",
    [
        ROBERTA,
        changed(ROBERTA, "model", "type", to=...),
        changed(ROBERTA, "pre_tokenizer", "use_regex", to=...),
        changed(ROBERTA, "model", "continuing_subword_prefix", to=""),
        changed(ROBERTA, "decoder", to=None),
    ],
)
def test_published_roberta_pipelines(tokenizer):
    assert is_published_roberta_pipeline(tokenizer)
    assert not is_published_xlmr_pipeline(tokenizer)


@pytest.mark.parametrize(
    "tokenizer",
    [
        XLMR,
        changed(ROBERTA, "normalizer", to={"type": "NFC"}),
        changed(ROBERTA, "normalizer", to={"type": "Sequence", "normalizers": [{"type": "Lowercase"}]}),
        changed(ROBERTA, "pre_tokenizer", to=None),
        changed(ROBERTA, "pre_tokenizer", "use_regex", to=False),
        changed(ROBERTA, "pre_tokenizer", to={"type": "Sequence", "pretokenizers": [{"type": "ByteLevel"}]}),
        changed(ROBERTA, "decoder", to={"type": "BPEDecoder"}),
        changed(ROBERTA, "model", "dropout", to=0.1),
        changed(ROBERTA, "model", "ignore_merges", to=True),
        changed(ROBERTA, "model", "end_of_word_suffix", to="</w>"),
        changed(ROBERTA, "model", "type", to="WordPiece"),
    ],
)
def test_other_pipelines_than_robertas(tokenizer):
    assert not is_published_roberta_pipeline(tokenizer)


CONVERTED = {
    "type": "Sequence",
    "normalizers": [
        XLMR["normalizer"],
        {"type": "Strip", "strip_left": False, "strip_right": True},
        {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": "▁"},
    ],
}


@pytest.mark.parametrize(
    "tokenizer",
    [
        XLMR,
        changed(XLMR, "model", "type", to=...),
        changed(changed(XLMR, "normalizer", to=CONVERTED), "pre_tokenizer", to=METASPACE),
        changed(XLMR, "pre_tokenizer", "pretokenizers", 1, to={"type": "Metaspace", "replacement": "▁"}),
        changed(
            XLMR,
            "pre_tokenizer",
            "pretokenizers",
            1,
            to={"type": "Metaspace", "replacement": "▁", "add_prefix_space": True, "str_rep": "▁"},
        ),
    ],
)
def test_published_xlmr_pipelines(tokenizer):
    assert is_published_xlmr_pipeline(tokenizer)
    assert not is_published_roberta_pipeline(tokenizer)


@pytest.mark.parametrize(
    "tokenizer",
    [
        ROBERTA,
        changed(XLMR, "normalizer", to={"type": "NFKC"}),
        changed(XLMR, "normalizer", to=None),
        changed(
            XLMR,
            "normalizer",
            to={"type": "Sequence", "normalizers": [XLMR["normalizer"], {"type": "Lowercase"}]},
        ),
        changed(XLMR, "pre_tokenizer", to={"type": "WhitespaceSplit"}),
        changed(XLMR, "pre_tokenizer", "pretokenizers", 1, "prepend_scheme", to="first"),
        changed(XLMR, "pre_tokenizer", "pretokenizers", 1, "replacement", to="_"),
        changed(XLMR, "pre_tokenizer", "pretokenizers", 1, "add_prefix_space", to=False),
        changed(XLMR, "model", "byte_fallback", to=True),
        changed(XLMR, "model", "vocab", 1, to=["x", 0.0]),
        changed(XLMR, "model", "vocab", to=[["<s>", 0.0]]),
    ],
)
def test_other_pipelines_than_xlmrs(tokenizer):
    assert not is_published_xlmr_pipeline(tokenizer)


def test_byte_level_models():
    assert byte_level_model(ROBERTA).merges == [("a", "b")]
    assert byte_level_model(changed(ROBERTA, "model", "merges", to=[["a", "b"]])).merges == [("a", "b")]
    with pytest.raises(TokenizerError, match="without merges"):
        byte_level_model(changed(ROBERTA, "model", "merges", to=...))
    with pytest.raises(TokenizerError, match="no vocabulary"):
        byte_level_model(changed(ROBERTA, "model", "vocab", to=[]))
    with pytest.raises(TokenizerError, match="outside the vocabulary"):
        byte_level_model(changed(ROBERTA, "model", "merges", to=["b a"]))


def test_unigram_models():
    model = unigram_model(XLMR)
    assert model.pieces == ["<unk>", "<s>", "</s>", "▁a", "b"]
    assert model.scores[3:] == [-1.100000023841858, -2.0]  # float32
    assert Unigram(model).vocabulary["<mask>"] == 6
    assert Unigram(model).encode("a bab").ids == FastUnigram(model).encode("a bab").ids == [4, 3, 5, 3, 5]


@pytest.mark.parametrize(
    ("tokenizer", "message"),
    [
        (changed(XLMR, "model", "vocab", 1, to=["x", 0.0]), "does not begin with"),
        (changed(XLMR, "model", "vocab", 5, to=["x", "y"]), "vocabulary entry"),
        (changed(XLMR, "model", "vocab", 5, to=7), "vocabulary entry"),
        (changed(XLMR, "model", "vocab", 5, 1, to=1e300), "beyond float32"),
        (changed(XLMR, "model", "vocab", 5, to=["x", float("nan")]), "no finite number"),
        (changed(XLMR, "normalizer", "precompiled_charsmap", to="§"), "no base64"),
    ],
)
def test_broken_unigram_models_are_refused(tokenizer, message):
    with pytest.raises(TokenizerError, match=message):
        unigram_model(tokenizer)


def test_a_model_through_tokenizer_json_encodes_the_same(unigram):
    core = unigram.slow
    scores = dict(zip(core.model.pieces, core.model.scores, strict=True))
    pieces = sorted(core.vocabulary, key=core.vocabulary.get)
    through = copy.deepcopy(XLMR)
    through["model"]["vocab"] = [[piece, scores.get(piece, 0.0)] for piece in pieces]
    through["normalizer"]["precompiled_charsmap"] = base64.b64encode(core.model.charsmap).decode()
    assert is_published_xlmr_pipeline(through)
    model = unigram_model(through)
    assert isinstance(model, SentencePieceModel)
    slow, fast = Unigram(model), FastUnigram(model)
    for text in ("Der schnelle Fuchs ½ ｶﾞ", "x nnnnnn", "🃏"):
        assert fast.encode(text) == slow.encode(text) == core.encode(text)
