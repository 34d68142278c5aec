"""Special tokens as attributes, and adding tokens."""

import pytest

from robertakit.errors import ArgumentError, TokenizerError
from robertakit.tokenizers import AddedToken, PreTrainedTokenizerBase

NAMED = {
    "bos": "<s>",
    "eos": "</s>",
    "unk": "<unk>",
    "sep": "</s>",
    "pad": "<pad>",
    "cls": "<s>",
    "mask": "<mask>",
}
TEXT = "It's <ent> what they've <new> said"


def test_every_name(tokenizer: PreTrainedTokenizerBase) -> None:
    for name, token in NAMED.items():
        assert getattr(tokenizer, f"{name}_token") == token
        assert getattr(tokenizer, f"{name}_token_id") == tokenizer.convert_tokens_to_ids(token)
    ids = [tokenizer.bos_token_id, tokenizer.pad_token_id, tokenizer.eos_token_id, tokenizer.unk_token_id]
    assert ids == [0, 1, 2, 3]
    assert tokenizer.mask_token_id == tokenizer.vocab_size - 1
    assert tokenizer.all_special_tokens == ["<s>", "</s>", "<unk>", "<pad>", "<mask>"]
    assert tokenizer.all_special_ids == [0, 2, 3, 1, tokenizer.mask_token_id]
    assert tokenizer.special_tokens_map == {f"{name}_token": token for name, token in NAMED.items()}
    assert tokenizer.special_tokens_map_extended["mask_token"].lstrip is True
    assert [str(token) for token in tokenizer.all_special_tokens_extended] == tokenizer.all_special_tokens


def test_setting(tokenizer: PreTrainedTokenizerBase) -> None:
    tokenizer.pad_token = tokenizer.eos_token
    assert tokenizer.pad_token_id == 2
    tokenizer.sep_token_id = 3
    assert tokenizer.sep_token == "<unk>"
    assert tokenizer("a")["input_ids"][-1] == 3
    tokenizer.mask_token = None
    assert tokenizer.mask_token is None
    assert tokenizer.mask_token_id is None
    tokenizer.pad_token = "[NEW]"
    with pytest.raises(TokenizerError, match=r"pad_token '\[NEW\]'"):
        _ = tokenizer.pad_token_id
    with pytest.raises(AttributeError):
        _ = tokenizer.image_token


def test_adding(tokenizer: PreTrainedTokenizerBase) -> None:
    size = len(tokenizer)
    assert tokenizer.vocab_size == size
    assert tokenizer.add_tokens(["<new>", AddedToken("an"), "<new>"]) == 2 - (
        "an" in tokenizer.get_vocab() and size > tokenizer.convert_tokens_to_ids("an")
    )
    assert tokenizer.add_special_tokens({"additional_special_tokens": ["<ent>"]}) == 1
    assert tokenizer.vocab_size == size
    assert len(tokenizer) == tokenizer.convert_tokens_to_ids("<ent>") + 1 == len(tokenizer.get_vocab())
    assert tokenizer.convert_tokens_to_ids("<new>") == size
    assert tokenizer.additional_special_tokens == ["<ent>"]
    assert tokenizer.additional_special_tokens_ids == [len(tokenizer) - 1]
    assert tokenizer.added_tokens_decoder[size] == AddedToken("<new>")
    assert tokenizer.get_added_vocab()["<new>"] == size
    ids = tokenizer(TEXT)["input_ids"]
    assert {size, len(tokenizer) - 1} <= set(ids)
    assert "<ent>" not in tokenizer.decode(ids, skip_special_tokens=True)
    assert "<new>" in tokenizer.decode(ids, skip_special_tokens=True)
    assert (
        tokenizer.get_special_tokens_mask(ids, already_has_special_tokens=True)[ids.index(len(tokenizer) - 1)]
        == 1
    )
    assert len(tokenizer.tokenize("<ent>", split_special_tokens=True)) > 1
    assert tokenizer.tokenize("<new>", split_special_tokens=True)[-1] == "<new>"  # not special: stays whole
    assert (
        tokenizer.add_special_tokens(
            {"additional_special_tokens": ["<two>"]}, replace_additional_special_tokens=False
        )
        == 1
    )
    assert tokenizer.additional_special_tokens == ["<ent>", "<two>"]
    assert tokenizer.add_special_tokens({"pad_token": "[PAD]"}) == 1
    assert tokenizer.pad_token_id == len(tokenizer) - 1
    for wrong in ({"pad": "x"}, {"pad_token": ["x"]}, {"additional_special_tokens": "x"}):
        with pytest.raises(ArgumentError):
            tokenizer.add_special_tokens(wrong)


def test_named_extra_tokens(make: object, name: str) -> None:
    tokenizer = make(
        name, extra_special_tokens={"image_token": "<image>"}, additional_special_tokens=["<ent>"]
    )  # type: ignore[operator]
    assert tokenizer.image_token == "<image>"
    assert tokenizer.image_token_id == tokenizer.convert_tokens_to_ids("<image>") >= tokenizer.vocab_size
    assert tokenizer.all_special_tokens[-2:] == ["<image>", "<ent>"]
    assert make(name, extra_special_tokens=["<ent>"]).additional_special_tokens == ["<ent>"]  # type: ignore[operator]


def test_unknown_arguments_of_constructors(make: object, name: str) -> None:
    with pytest.raises(ArgumentError, match="lowercase"):
        make(name, lowercase=True)  # type: ignore[operator]
    with pytest.raises(ArgumentError, match="padding_side"):
        make(name, padding_side="middle")  # type: ignore[operator]
