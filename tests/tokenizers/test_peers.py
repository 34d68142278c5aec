"""Files exchanged with transformers 4.57 and 5: what we save loads there with the same ids, and the reverse."""

from pathlib import Path
from typing import Any

import pytest

from robertakit.tokenizers import AddedToken, AutoTokenizer, PreTrainedTokenizerBase

pytestmark = pytest.mark.peers

TEXTS = [
    "It's what they've said: we'll see",
    "a <mask> b, <s> c</s> <ent> d<new>e",
    "Zwölf Boxkämpfer   jagen Viktor ",
    " いろは 中 \n\n é\u0301",
    "",
]
PAIRS = {
    "RobertaTokenizer": ("RobertaTokenizer", "RobertaTokenizerFast"),
    "XLMRobertaTokenizer": ("XLMRobertaTokenizer", "XLMRobertaTokenizerFast"),
}


@pytest.fixture(scope="module")
def transformers() -> Any:
    import transformers

    transformers.logging.set_verbosity_error()
    return transformers


def extended(tokenizer: Any) -> Any:
    tokenizer.add_tokens(["<new>"])
    tokenizer.add_special_tokens({"additional_special_tokens": ["<ent>"]})
    return tokenizer


def same(ours: PreTrainedTokenizerBase, theirs: Any) -> None:
    for text in TEXTS:
        assert ours(text)["input_ids"] == theirs(text)["input_ids"], text
    assert ours(TEXTS[0], TEXTS[2])["input_ids"] == theirs(TEXTS[0], TEXTS[2])["input_ids"]
    assert len(ours) == len(theirs)
    assert ours.get_vocab() == theirs.get_vocab()
    assert set(ours.all_special_tokens) == set(theirs.all_special_tokens)
    for name in ("bos", "eos", "unk", "sep", "pad", "cls", "mask"):
        assert getattr(ours, f"{name}_token_id") == getattr(theirs, f"{name}_token_id")
    assert (ours.model_max_length, ours.padding_side) == (theirs.model_max_length, theirs.padding_side)


def theirs_of(transformers: Any, name: str) -> list[Any]:
    """Their slow and fast class; transformers 5 has one of them, a fast one, under both names or one."""
    return [getattr(transformers, each) for each in (name, name + "Fast") if hasattr(transformers, each)]


@pytest.mark.parametrize("slow_name", ["RobertaTokenizer", "XLMRobertaTokenizer"])
@pytest.mark.parametrize("fast", [False, True])
def test_they_load_what_we_save(
    transformers: Any, make: Any, slow_name: str, fast: bool, tmp_path: Path
) -> None:
    ours = extended(make(PAIRS[slow_name][fast], model_max_length=99, padding_side="left"))
    ours.save_pretrained(tmp_path)
    for loaded in (cls.from_pretrained(tmp_path) for cls in theirs_of(transformers, slow_name)):
        same(ours, loaded)
    (tmp_path / "config.json").write_text(
        '{"model_type": "%s"}' % ("roberta" if slow_name[0] == "R" else "xlm-roberta")
    )
    same(ours, transformers.AutoTokenizer.from_pretrained(tmp_path))


@pytest.mark.parametrize("slow_name", ["RobertaTokenizer", "XLMRobertaTokenizer"])
def test_we_load_what_they_save(transformers: Any, make: Any, slow_name: str, tmp_path: Path) -> None:
    start = tmp_path / "start"
    make(slow_name + "Fast").save_pretrained(start)
    for number, cls in enumerate(theirs_of(transformers, slow_name)):
        theirs = extended(cls.from_pretrained(start, model_max_length=99, padding_side="left"))
        folder = tmp_path / str(number)
        theirs.save_pretrained(folder)
        for use_fast in (True, False):
            same(AutoTokenizer.from_pretrained(folder, use_fast=use_fast), theirs)


def test_their_added_tokens_are_taken(transformers: Any, make: Any, name: str) -> None:
    tokenizer = make(name)
    tokenizer.add_tokens([transformers.AddedToken("<x>", lstrip=True, special=True)])
    assert tokenizer.added_tokens_decoder[len(tokenizer) - 1] == AddedToken("<x>", lstrip=True, special=True)
