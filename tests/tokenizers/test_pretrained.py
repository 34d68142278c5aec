"""The objects themselves: threads, pickles, copies, imports, signatures, training anew, sampling."""

import copy
import inspect
import json
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import robertakit.tokenizers
from robertakit.errors import ArgumentError, TokenizerError
from robertakit.tokenizers import PreTrainedTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

TEXTS = ["It's what <mask> they've said", "Zwölf Boxkämpfer jagen Viktor", "a", "", "x" * 50]


def test_threads_share_a_tokenizer(tokenizer: PreTrainedTokenizerBase) -> None:
    """Truncation and padding are no state of the tokenizer, so that calls with other arguments do not meet."""
    calls: list[dict[str, Any]] = [
        {},
        {"truncation": True, "max_length": 5},
        {"padding": True},
        {"padding": "max_length", "max_length": 40, "truncation": True, "padding_side": "left"},
        {"return_offsets_mapping": True, "add_special_tokens": False},
    ]
    right = [tokenizer(TEXTS, **call) for call in calls]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda number: tokenizer(TEXTS, **calls[number % len(calls)]), range(100)))
    assert all(encoded == right[number % len(calls)] for number, encoded in enumerate(found))


@pytest.mark.parametrize("copied", [lambda x: pickle.loads(pickle.dumps(x)), copy.deepcopy, copy.copy])
def test_copies_are_equal_and_independent(tokenizer: PreTrainedTokenizerBase, copied: Any) -> None:
    tokenizer.add_tokens(["Box"])
    tokenizer.model_max_length = 33
    again = copied(tokenizer)
    assert type(again) is type(tokenizer)
    assert again(TEXTS, return_offsets_mapping=True) == tokenizer(TEXTS, return_offsets_mapping=True)
    assert repr(again) == repr(tokenizer)
    size = len(tokenizer)
    again.add_tokens(["<one more>"])
    again.pad_token = "Box"
    assert len(tokenizer) == size == len(again) - 1
    assert tokenizer.pad_token == "<pad>"


@pytest.mark.parametrize("name", ["RobertaTokenizerFast", "XLMRobertaTokenizerFast"])
def test_a_followed_pipeline_pickles(make: Any, name: str) -> None:
    legacy = make(name, legacy_fast=True)
    again = pickle.loads(pickle.dumps(legacy))
    assert again(TEXTS) == legacy(TEXTS)
    generic = PreTrainedTokenizerFast(tokenizer_object=legacy.backend_tokenizer, pad_token="<pad>")
    assert pickle.loads(pickle.dumps(generic))(TEXTS, padding=True) == legacy(TEXTS, padding=True)
    generic.add_tokens(["Box"])
    assert generic("Box")["input_ids"] == [0, len(legacy), 2]
    assert len(generic) == len(legacy) + 1


def test_slow_classes_import_no_tokenization_library(trained: Path) -> None:
    code = f"""
import sys
from robertakit.tokenizers import AutoTokenizer, RobertaTokenizer, XLMRobertaTokenizer
folder = {str(trained)!r}
for tokenizer in (
    RobertaTokenizer(folder + "/vocab.json", folder + "/merges.txt"),
    XLMRobertaTokenizer(folder + "/sentencepiece.bpe.model"),
    AutoTokenizer.from_pretrained(folder, use_fast=False),
):
    ids = tokenizer(["a <mask> text"], return_offsets_mapping=True)["input_ids"][0]
    assert tokenizer.decode(ids)
for module in ("tokenizers", "sentencepiece", "regex", "numpy", "huggingface_hub"):
    assert module not in sys.modules, module
"""
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": ":".join(sys.path)})


def test_signatures_are_the_documented_ones(shared: Path, name: str) -> None:
    documented = json.loads((shared / "reference" / "signatures.json").read_text())[name]
    for method, described in documented.items():
        parameters = inspect.signature(getattr(getattr(robertakit.tokenizers, name), method)).parameters
        ours = [
            [
                f"**{each.name}" if each.kind is each.VAR_KEYWORD else each.name,
                None
                if each.kind is each.VAR_KEYWORD
                else "<required>"
                if each.default is each.empty
                else repr(each.default),
            ]
            for each in parameters.values()
            if each.name != "self"
        ]
        assert ours == described["parameters"], method


def test_kinds(tokenizer: PreTrainedTokenizerBase, name: str) -> None:
    fast = name.endswith("Fast")
    assert isinstance(tokenizer, PreTrainedTokenizerFast if fast else PreTrainedTokenizer)
    assert tokenizer.is_fast is fast
    assert tokenizer.model_input_names == ["input_ids", "attention_mask"]
    assert tokenizer.model_max_length == 512
    assert tokenizer.max_len_single_sentence == 510
    assert tokenizer.max_len_sentences_pair == 508


def test_the_backend_is_the_published_pipeline(make: Any) -> None:
    for name in ("RobertaTokenizerFast", "XLMRobertaTokenizerFast"):
        tokenizer = make(name)
        assert tokenizer.backend_tokenizer.encode(TEXTS[1]).ids == tokenizer(TEXTS[1])["input_ids"]
        assert tokenizer.can_save_slow_tokenizer


def test_legacy_fast_gives_the_spare_place_to_the_longer_text(make: Any) -> None:
    """transformers 4.57: the slow class to the first of a pair, the fast one to the longer, or to the second."""
    for name in ("RobertaTokenizerFast", "XLMRobertaTokenizerFast"):
        arguments = {"truncation": True, "max_length": 9, "return_token_type_ids": False}
        ours, legacy = make(name), make(name, legacy_fast=True)
        for tokenizer, kept in ((ours, (3, 2)), (legacy, (2, 3))):
            sequences = tokenizer("a b c d", "e f g h", **arguments).sequence_ids()
            assert (sequences.count(0), sequences.count(1)) == kept


def test_training_anew(make: Any, training_texts: list[str]) -> None:
    for name in ("RobertaTokenizerFast", "XLMRobertaTokenizerFast"):
        tokenizer = make(name, model_max_length=99)
        trained = tokenizer.train_new_from_iterator([training_texts[:100], training_texts[100:300]], 500)
        assert type(trained) is type(tokenizer)
        assert trained.vocab_size == 500 < tokenizer.vocab_size
        assert trained.model_max_length == 99
        assert trained("a <mask>")["input_ids"][-2] == trained.mask_token_id == 499
        generic = PreTrainedTokenizerFast(tokenizer_object=tokenizer.backend_tokenizer)
        with pytest.raises(TokenizerError):
            generic.train_new_from_iterator(["a"], 10)


def test_sampling(make: Any) -> None:
    options = {"enable_sampling": True, "nbest_size": -1, "alpha": 0.1}
    for name in ("XLMRobertaTokenizer", "XLMRobertaTokenizerFast"):
        tokenizer = make(name, sp_model_kwargs=options)
        drawn = [tokenizer("Boxkämpfer jagen Viktor quer") for _ in range(20)]
        assert len({tuple(encoded["input_ids"]) for encoded in drawn}) > 1
        for encoded in drawn:  # the questions are answered for the segmentation that was drawn
            assert len(encoded.word_ids()) == len(encoded["input_ids"])
            assert len(encoded.encodings[0].offsets) == len(encoded["input_ids"])
        with pytest.raises(ArgumentError):
            make(name, sp_model_kwargs={"sampling": True})
