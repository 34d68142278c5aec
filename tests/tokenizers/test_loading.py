"""Every layout in which tokenizers are found: what one class saves, each class that can loads, with the same ids."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from robertakit.errors import ArgumentError, NotFound, RobertakitError, TokenizerError
from robertakit.tokenizers import (
    AddedToken,
    AutoTokenizer,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    RobertaTokenizer,
    RobertaTokenizerFast,
    XLMRobertaTokenizer,
    XLMRobertaTokenizerFast,
)

TEXT = "It's <new> what <mask> they've said: Zwölf <ent>."
Make = Callable[..., PreTrainedTokenizerBase]


@pytest.fixture
def saved(make: Make, name: str, tmp_path: Path) -> tuple[PreTrainedTokenizerBase, Path]:
    """A tokenizer with tokens and settings of its own, and the folder it was saved in."""
    tokenizer = make(name)
    tokenizer.add_tokens([AddedToken("<new>", lstrip=True), "Zwölf"])
    tokenizer.add_special_tokens({"additional_special_tokens": ["<ent>"]})
    tokenizer.model_max_length, tokenizer.padding_side, tokenizer.truncation_side = 77, "left", "left"
    tokenizer.save_pretrained(tmp_path)
    return tokenizer, tmp_path


def same(one: PreTrainedTokenizerBase, other: PreTrainedTokenizerBase) -> None:
    encoded = one(TEXT)["input_ids"]
    assert other(TEXT)["input_ids"] == encoded
    assert other.decode(encoded, spaces_between_special_tokens=True) == one.decode(
        encoded, spaces_between_special_tokens=True
    )
    assert other.get_vocab() == one.get_vocab()
    assert other.added_tokens_decoder == one.added_tokens_decoder
    assert other.special_tokens_map_extended == one.special_tokens_map_extended
    for attribute in ("model_max_length", "padding_side", "truncation_side", "model_input_names"):
        assert getattr(other, attribute) == getattr(one, attribute)


def both(name: str) -> tuple[type[PreTrainedTokenizerBase], type[PreTrainedTokenizerBase]]:
    if name.startswith("XLM"):
        return XLMRobertaTokenizer, XLMRobertaTokenizerFast
    return RobertaTokenizer, RobertaTokenizerFast


def test_all_files_and_each_way_to_load_them(saved: tuple[PreTrainedTokenizerBase, Path], name: str) -> None:
    tokenizer, folder = saved
    slow, fast = both(name)
    for cls in (slow, fast):
        same(tokenizer, cls.from_pretrained(folder))
    assert type(AutoTokenizer.from_pretrained(folder)) is fast
    assert type(AutoTokenizer.from_pretrained(folder, use_fast=False)) is slow
    again = slow.from_pretrained(folder)
    again.save_pretrained(folder)
    same(tokenizer, fast.from_pretrained(folder))
    assert (
        folder / "tokenizer.json"
    ).exists() is False  # of the earlier save of the fast class: it may be stale


@pytest.mark.parametrize("name", ["RobertaTokenizerFast", "XLMRobertaTokenizerFast"])
def test_tokenizer_json_alone(saved: tuple[PreTrainedTokenizerBase, Path], name: str, tmp_path: Path) -> None:
    """What transformers 5 saves: no vocabulary files, no special_tokens_map.json, no added_tokens.json."""
    tokenizer, _ = saved
    alone = tmp_path / "alone"
    tokenizer.save_pretrained(alone, legacy_format=False)
    (alone / "special_tokens_map.json").unlink()
    assert {path.name for path in alone.iterdir()} == {"tokenizer.json", "tokenizer_config.json"}
    for cls in both(name):
        same(tokenizer, cls.from_pretrained(alone))
    config = json.loads((alone / "tokenizer_config.json").read_text())
    extra = config.pop("additional_special_tokens")
    newer = {**config, "extra_special_tokens": extra, "tokenizer_class": "TokenizersBackend"}
    del newer["added_tokens_decoder"]
    (alone / "tokenizer_config.json").write_text(json.dumps(newer))
    for cls in both(name):
        same(tokenizer, cls.from_pretrained(alone))
    generic = AutoTokenizer.from_pretrained(alone)
    assert type(generic) is PreTrainedTokenizerFast
    assert generic(TEXT)["input_ids"] == tokenizer(TEXT)["input_ids"]


def test_the_oldest_layout(saved: tuple[PreTrainedTokenizerBase, Path], name: str) -> None:
    """Before transformers 4.34: flags in special_tokens_map.json, ids in added_tokens.json."""
    tokenizer, folder = saved
    (folder / "tokenizer.json").unlink(missing_ok=True)
    config = json.loads((folder / "tokenizer_config.json").read_text())
    kept = {key: config[key] for key in ("model_max_length", "padding_side", "truncation_side")}
    (folder / "tokenizer_config.json").write_text(json.dumps(kept))
    for cls in both(name):
        loaded = cls.from_pretrained(folder)
        assert loaded.added_tokens_encoder == {
            token: id
            for token, id in tokenizer.added_tokens_encoder.items()
            if token in loaded.added_tokens_encoder
        }
        assert {"<new>", "<ent>", "<mask>"} <= set(loaded.added_tokens_encoder)
        assert loaded("a <mask> b <ent>")["input_ids"] == tokenizer("a <mask> b <ent>")["input_ids"]


def test_only_the_vocabulary_files(make: Make, name: str, tmp_path: Path) -> None:
    tokenizer = make(name)
    paths = tokenizer.save_vocabulary(tmp_path)
    assert {Path(path).name for path in paths} <= {"vocab.json", "merges.txt", "sentencepiece.bpe.model"}
    for cls in both(name):
        same(tokenizer, cls.from_pretrained(tmp_path))
    prefixed = tokenizer.save_vocabulary(tmp_path / "b", filename_prefix="mine")
    assert all(Path(path).name.startswith("mine-") for path in prefixed)


def test_trap_02_a_tokenizer_json_without_a_model_type(make: Make, tmp_path: Path) -> None:
    for name in ("RobertaTokenizerFast", "XLMRobertaTokenizerFast"):
        tokenizer = make(name)
        folder = tmp_path / name
        tokenizer.save_pretrained(folder, legacy_format=False)
        file = folder / "tokenizer.json"
        content = json.loads(file.read_text())
        del content["model"]["type"]
        file.write_text(json.dumps(content))
        for loaded in (AutoTokenizer.from_pretrained(folder), PreTrainedTokenizerFast(tokenizer_file=file)):
            assert loaded("It's Zwölf <mask>.")["input_ids"] == tokenizer("It's Zwölf <mask>.")["input_ids"]


def test_trap_02_a_tokenizer_json_without_merges_is_refused(make: Make, tmp_path: Path) -> None:
    make("RobertaTokenizerFast").save_pretrained(tmp_path, legacy_format=False)
    file = tmp_path / "tokenizer.json"
    content = json.loads(file.read_text())
    del content["model"]["merges"], content["model"]["type"]
    file.write_text(json.dumps(content))
    for load in (
        AutoTokenizer.from_pretrained,
        RobertaTokenizer.from_pretrained,
        RobertaTokenizerFast.from_pretrained,
    ):
        with pytest.raises(TokenizerError, match="merges"):
            load(tmp_path)
    with pytest.raises(TokenizerError, match="merges"):
        PreTrainedTokenizerFast(tokenizer_file=file)


@pytest.mark.parametrize(
    ("config", "said", "length"),
    [
        ({"model_type": "roberta", "max_position_embeddings": 514, "pad_token_id": 1}, int(1e30), 512),
        ({"model_type": "roberta", "max_position_embeddings": 514, "pad_token_id": 3}, None, 510),
        ({"model_type": "xlm-roberta", "max_position_embeddings": 8194, "pad_token_id": 1}, None, 8192),
        ({"model_type": "roberta", "max_position_embeddings": 514, "pad_token_id": 1}, 128, 128),
        ({}, None, 512),
    ],
)
def test_trap_06_the_length_is_known_where_the_tokenizer_files_do_not_say(
    make: Make, name: str, tmp_path: Path, config: dict[str, Any], said: int | None, length: int
) -> None:
    make(name).save_vocabulary(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "tokenizer_config.json").write_text(
        json.dumps({} if said is None else {"model_max_length": said})
    )
    tokenizer = both(name)[0].from_pretrained(tmp_path)
    assert tokenizer.model_max_length == length
    assert both(name)[0].from_pretrained(tmp_path, model_max_length=9).model_max_length == 9
    assert len(tokenizer("a " * 10000, truncation=True)["input_ids"]) == length


def test_unknown_keys_of_a_file_are_kept(make: Make, tmp_path: Path) -> None:
    make("RobertaTokenizer").save_pretrained(tmp_path)
    file = tmp_path / "tokenizer_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "chat_template": "x", "made_by": "somebody"}))
    RobertaTokenizer.from_pretrained(tmp_path).save_pretrained(tmp_path / "again")
    saved = json.loads((tmp_path / "again" / "tokenizer_config.json").read_text())
    assert (saved["chat_template"], saved["made_by"]) == ("x", "somebody")
    with pytest.raises(ArgumentError, match="made_by"):
        RobertaTokenizer.from_pretrained(tmp_path, made_by="me")


def test_arguments_win_over_files(make: Make, tmp_path: Path) -> None:
    make("RobertaTokenizerFast", add_prefix_space=True).save_pretrained(tmp_path)
    assert RobertaTokenizerFast.from_pretrained(tmp_path).add_prefix_space is True
    assert RobertaTokenizerFast.from_pretrained(tmp_path, add_prefix_space=False).add_prefix_space is False
    (tmp_path / "tokenizer_config.json").write_text("{}")  # then tokenizer.json itself says it
    assert RobertaTokenizerFast.from_pretrained(tmp_path).add_prefix_space is True


def word_level(tmp_path: Path) -> Path:
    """A checkpoint of another class: a WordPiece tokenizer.json."""
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "text"]
    content = {
        "version": "1.0",
        "added_tokens": [
            {"id": id, "content": tokens[id], "special": True}
            | dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
            for id in range(4)
        ],
        "normalizer": {"type": "Lowercase"},
        "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]},
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {
            "type": "WordPiece",
            "unk_token": "[UNK]",
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": {token: id for id, token in enumerate(tokens)},
        },
    }
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    named = {
        "tokenizer_class": "BertTokenizer",
        "pad_token": "[PAD]",
        "unk_token": "[UNK]",
        "model_input_names": ["input_ids", "token_type_ids", "attention_mask"],
    }
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(named))
    return tmp_path


def test_a_checkpoint_of_another_class(tmp_path: Path) -> None:
    folder = word_level(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert type(tokenizer) is PreTrainedTokenizerFast
    encoded = tokenizer("A text", "a", padding="max_length", max_length=8, return_special_tokens_mask=True)
    assert encoded["input_ids"] == [2, 4, 5, 3, 4, 3, 0, 0]
    assert encoded["token_type_ids"] == [0, 0, 0, 0, 1, 1, 0, 0]
    assert encoded["special_tokens_mask"] == [1, 0, 0, 1, 0, 1, 1, 1]
    assert tokenizer.decode(encoded["input_ids"], skip_special_tokens=True) == "a text a"
    tokenizer.save_pretrained(tmp_path / "again")
    assert AutoTokenizer.from_pretrained(tmp_path / "again")("A text", "a")["input_ids"] == [2, 4, 5, 3, 4, 3]
    for cls in (RobertaTokenizer, RobertaTokenizerFast, XLMRobertaTokenizer, XLMRobertaTokenizerFast):
        with pytest.raises(TokenizerError, match="BertTokenizer"):
            cls.from_pretrained(folder)
    with pytest.raises(TokenizerError, match="BertTokenizer"):
        AutoTokenizer.from_pretrained(folder, use_fast=False)
    (folder / "tokenizer.json").unlink()
    with pytest.raises(TokenizerError, match=r"BertTokenizer.*tokenizer\.json"):
        AutoTokenizer.from_pretrained(folder)


def test_token_types_are_returned_where_the_pipeline_has_them(make: Make, tmp_path: Path) -> None:
    """BERT's second text has type 1: left out, a model would take a pair for one text without a word."""
    folder = word_level(tmp_path)
    (folder / "tokenizer_config.json").unlink()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer("a text", "a")["token_type_ids"] == [0, 0, 0, 0, 1, 1]
    assert "token_type_ids" not in tokenizer("a text", "a", return_token_type_ids=False)
    tokenizer.save_pretrained(folder / "again")
    assert AutoTokenizer.from_pretrained(folder / "again")("a")["token_type_ids"] == [0, 0, 0]
    own = AutoTokenizer.from_pretrained(folder, model_input_names=["input_ids"])
    assert list(own("a text", "a")) == ["input_ids"]
    ours = PreTrainedTokenizerFast(tokenizer_object=make("RobertaTokenizerFast").backend_tokenizer)
    assert list(ours("a text", "a")) == ["input_ids", "attention_mask"]


@pytest.mark.parametrize("tokenizer_class", ["PreTrainedTokenizerFast", "TokenizersBackend"])
def test_a_generic_class_with_a_pipeline_of_its_own_gets_no_tokens_of_the_family(
    make: Make, tmp_path: Path, tokenizer_class: str
) -> None:
    folder = word_level(tmp_path)
    config = {"tokenizer_class": tokenizer_class, "pad_token": "[PAD]", "cls_token": "[CLS]"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    (folder / "config.json").write_text('{"model_type": "roberta"}')
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert type(tokenizer) is PreTrainedTokenizerFast
    assert len(tokenizer) == 6
    # With the published pipeline it is the family's, whoever saved it.
    make("RobertaTokenizerFast").save_pretrained(folder, legacy_format=False)
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": tokenizer_class}))
    assert type(AutoTokenizer.from_pretrained(folder)) is RobertaTokenizerFast


def test_where_to_look_under_earlier_names_and_code_that_is_never_run(make: Make, tmp_path: Path) -> None:
    make("RobertaTokenizerFast").save_pretrained(tmp_path)
    for cls in (AutoTokenizer, RobertaTokenizer, RobertaTokenizerFast):
        cls.from_pretrained(tmp_path, use_auth_token=False, resume_download=True, trust_remote_code=False)
        with pytest.raises(ArgumentError, match="ever run"):
            cls.from_pretrained(tmp_path, trust_remote_code=True)
        with pytest.raises(ArgumentError, match="HTTPS_PROXY"):
            cls.from_pretrained(tmp_path, proxies={"https": "a"})
        with pytest.raises(ArgumentError, match="None as a place"):
            cls.from_pretrained(None)


def test_nothing_is_saved_with_an_argument_that_is_none(make: Make, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="unknown argument 'max_shard_size' of save_pretrained"):
        make("RobertaTokenizer").save_pretrained(tmp_path, max_shard_size="5GB")
    assert not list(tmp_path.iterdir())


def test_a_pipeline_of_another_kind_is_followed_as_it_is(make: Make, tmp_path: Path) -> None:
    make("RobertaTokenizerFast").save_pretrained(tmp_path, legacy_format=False)
    file = tmp_path / "tokenizer.json"
    content = json.loads(file.read_text())
    content["normalizer"] = {"type": "Lowercase"}
    file.write_text(json.dumps(content))
    tokenizer = RobertaTokenizerFast.from_pretrained(tmp_path)
    assert tokenizer("ABC")["input_ids"] == make("RobertaTokenizerFast")("abc")["input_ids"]
    with pytest.raises(TokenizerError, match="pipeline"):
        RobertaTokenizer.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("tokenizer.json", "{"),
        ("tokenizer.json", "[]"),
        ("tokenizer.json", '{"model": {"type": "BPE", "vocab": {"a": "b"}, "merges": []}}'),
        ("tokenizer_config.json", "\x00"),
        ("tokenizer_config.json", '{"added_tokens_decoder": {"0": {"content": "<other>"}}}'),
        ("tokenizer_config.json", '{"added_tokens_decoder": {"7": {"content": "<mask>"}}}'),
    ],
)
def test_broken_files_are_one_clear_error(make: Make, tmp_path: Path, file: str, content: str) -> None:
    make("RobertaTokenizerFast").save_pretrained(tmp_path)
    (tmp_path / file).write_text(content)
    with pytest.raises(RobertakitError):
        RobertaTokenizerFast.from_pretrained(tmp_path)


def test_what_is_not_there(tmp_path: Path) -> None:
    for cls in (RobertaTokenizer, XLMRobertaTokenizerFast, AutoTokenizer):
        with pytest.raises(TokenizerError):
            cls.from_pretrained(tmp_path)
        with pytest.raises(NotFound):
            cls.from_pretrained(tmp_path / "absent")
    with pytest.raises(ArgumentError):
        AutoTokenizer()
    with pytest.raises(ArgumentError):
        RobertaTokenizerFast()
    with pytest.raises(ArgumentError):
        PreTrainedTokenizerFast()
