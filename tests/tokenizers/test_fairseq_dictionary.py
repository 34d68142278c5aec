"""Tokenizers of fairseq folders: `dict.txt` with GPT-2's two files, or beside a SentencePiece model."""

import argparse
import json
import shutil
from pathlib import Path

import pytest

from robertakit import pipeline
from robertakit.errors import TokenizerError
from robertakit.tokenizers import (
    AutoTokenizer,
    RobertaTokenizer,
    RobertaTokenizerFast,
    XLMRobertaTokenizer,
    XLMRobertaTokenizerFast,
)
from robertakit.tokenizers.fairseq_dictionary import byte_level_vocabulary, check_dictionary, read_dictionary
from robertakit.tokenizers.training import train_byte_level_bpe, train_unigram

torch = pytest.importorskip("torch")

TEXTS = [
    "a small text, a small vocabulary",
    "Ünïcode and numbers 12 345",
    "so that merges are learned, learned",
] * 3


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same vocabulary as `vocab.json` and `merges.txt`."""
    return Path(train_byte_level_bpe(TEXTS, 320, tmp_path_factory.mktemp("bpe")))


def of_fairseq(published: Path, folder: Path) -> Path:
    """What fairseq's releases hold: numbers of GPT-2's pieces by frequency, and GPT-2's files."""
    ids = json.loads((published / "vocab.json").read_text())
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    assert [ids[token] for token in special] == [0, 1, 2, 3]
    assert ids["<mask>"] == len(ids) - 1
    pieces = sorted(ids, key=ids.__getitem__)[4:-1]
    numbers = {piece: number for number, piece in enumerate(sorted(pieces))}
    (folder / "encoder.json").write_text(json.dumps({"<|endoftext|>": len(numbers)} | numbers))
    lines = [f"{numbers[piece]} {10**6 - rank}" for rank, piece in enumerate(pieces)]
    (folder / "dict.txt").write_text("\n".join(lines) + "\n")
    shutil.copy(published / "merges.txt", folder / "vocab.bpe")
    return folder


@pytest.mark.parametrize("use_fast", [True, False])
def test_ids_are_those_of_the_same_vocabulary_in_our_files(
    published: Path, tmp_path: Path, use_fast: bool
) -> None:
    kind = RobertaTokenizerFast if use_fast else RobertaTokenizer
    ours = kind.from_pretrained(published)
    folder = of_fairseq(published, tmp_path)
    for theirs in (kind.from_pretrained(folder), AutoTokenizer.from_pretrained(folder, use_fast=use_fast)):
        assert type(theirs) is kind
        assert theirs.get_vocab() == ours.get_vocab()
        for text in (*TEXTS, "outside: 😀 <mask> it"):
            assert theirs(text, text).input_ids == ours(text, text).input_ids
    theirs.save_pretrained(tmp_path / "saved")
    assert kind.from_pretrained(tmp_path / "saved").get_vocab() == ours.get_vocab()


def test_the_published_vocabulary_by_its_numbers(shared: Path, tmp_path: Path) -> None:
    """Of 50,265 ids, three made-up words among them."""
    source = shared / "data" / "tokenizers" / "roberta"
    folder = of_fairseq(source, tmp_path)
    text = (folder / "dict.txt").read_text()
    numbers = json.loads((folder / "encoder.json").read_text())
    for name in ("madeupword0000", "madeupword0001", "madeupword0002"):
        text = text.replace(f"\n{numbers.pop(name)} ", f"\n{name} ")
    (folder / "encoder.json").write_text(json.dumps(numbers))
    (folder / "dict.txt").write_text(text)
    expected = json.loads((source / "vocab.json").read_text())
    assert len(expected) == 50265
    assert byte_level_vocabulary(folder / "dict.txt") == expected


def test_a_dictionary_is_fairseqs_ids(tmp_path: Path) -> None:
    path = tmp_path / "dict.txt"
    path.write_text("the 9\n<s> 5 #fairseq:overwrite\na b 3\n\u2028 1\nmadeupword0000 0\n", encoding="utf-8")
    ids = read_dictionary(path)
    assert ids == {
        "<s>": 5, "<pad>": 1, "</s>": 2, "<unk>": 3, "the": 4, "a b": 6, "\u2028": 7, "madeupword0000": 8, "<mask>": 9,
    }  # fmt: skip
    path.write_bytes(b"the 9\r\n<mask> 5\r\n")
    assert read_dictionary(path)["<mask>"] == 5


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("the\n", "line 1 of .*, 'the'; expected a symbol and its count"),
        ("the 9\n\n", "line 2 of .*, ''"),
        ("the nine\n", "'the nine'"),
        ("the 9\nthe 8\n", "'the' twice"),
        ("<s> 9\n", "'<s>' twice"),
    ],
)
def test_what_is_no_dictionary(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "dict.txt").write_text(text)
    with pytest.raises(TokenizerError, match=words):
        read_dictionary(tmp_path / "dict.txt")


def test_a_number_without_a_piece_and_files_that_lack(published: Path, tmp_path: Path) -> None:
    folder = of_fairseq(published, tmp_path)
    with (folder / "dict.txt").open("a") as file:
        file.write("4711 0\n")
    with pytest.raises(TokenizerError, match="the symbol 4711; expected a number of"):
        RobertaTokenizer.from_pretrained(folder)
    (folder / "encoder.json").unlink()
    for load in (RobertaTokenizer.from_pretrained, AutoTokenizer.from_pretrained):
        with pytest.raises(
            TokenizerError, match=r"fairseq's dict\.txt needs GPT-2's encoder\.json and vocab\.bpe"
        ):
            load(folder)
    with pytest.raises(TokenizerError, match=r"without encoder\.json beside it"):
        RobertaTokenizer(folder / "dict.txt", folder / "vocab.bpe")


@pytest.mark.parametrize("use_fast", [True, False])
def test_a_sentencepiece_model_must_have_the_dictionarys_ids(tmp_path: Path, use_fast: bool) -> None:
    folder = Path(train_unigram(TEXTS, 36, tmp_path / "sp"))
    for path in folder.iterdir():
        if path.name != "sentencepiece.bpe.model":
            path.unlink()
    kind = XLMRobertaTokenizerFast if use_fast else XLMRobertaTokenizer
    ids = kind.from_pretrained(folder).get_vocab()
    pieces = sorted(ids, key=ids.__getitem__)[4:-1]
    (folder / "dict.txt").write_text("".join(f"{piece} 1\n" for piece in pieces), encoding="utf-8")
    tokenizer = AutoTokenizer.from_pretrained(folder, use_fast=use_fast)
    assert type(tokenizer) is kind
    check_dictionary(folder / "dict.txt", tokenizer.get_vocab())
    (folder / "dict.txt").write_text("".join(f"{piece} 1\n" for piece in reversed(pieces)), encoding="utf-8")
    with pytest.raises(
        TokenizerError, match=r"the id 4, the vocabulary beside it .*; expected the order of XLM-R's pieces"
    ):
        AutoTokenizer.from_pretrained(folder, use_fast=use_fast)
    (folder / "config.json").write_text(
        '{"model_type": "xlm-roberta"}'
    )  # then the model's ids are not fairseq's
    assert AutoTokenizer.from_pretrained(folder, use_fast=use_fast).get_vocab() == ids


def test_the_length_is_that_of_the_checkpoint(golden: Path, published: Path, tmp_path: Path) -> None:
    folder = of_fairseq(published, tmp_path)
    assert AutoTokenizer.from_pretrained(folder).model_max_length == 512
    shutil.copy(golden / "checkpoints" / "fairseq_decoder_args" / "model.pt", folder)
    assert AutoTokenizer.from_pretrained(folder).model_max_length == 38


def test_a_task_takes_the_folder_as_it_is(published: Path, tmp_path: Path) -> None:
    """Weights, configuration and vocabulary of fairseq's: no other file is there."""
    folder = of_fairseq(published, tmp_path)
    width, rows = 8, len(json.loads((published / "vocab.json").read_text()))
    generator = torch.Generator().manual_seed(3)

    def draw(*shape: int) -> object:
        return torch.randn(shape, generator=generator) * 0.3

    layer = {
        "self_attn.q_proj": (width, width), "self_attn.k_proj": (width, width), "self_attn.v_proj": (width, width),
        "self_attn.out_proj": (width, width), "self_attn_layer_norm": (width,), "fc1": (12, width),
        "fc2": (width, 12), "final_layer_norm": (width,),
    }  # fmt: skip
    shapes = {f"decoder.sentence_encoder.layers.0.{name}": shape for name, shape in layer.items()}
    shapes |= {"decoder.sentence_encoder.emb_layer_norm": (width,), "decoder.lm_head.dense": (width, width),
               "decoder.lm_head.layer_norm": (width,)}  # fmt: skip
    model = {f"{name}.weight": draw(*shape) for name, shape in shapes.items()}
    model |= {f"{name}.bias": draw(shape[0]) for name, shape in shapes.items()}
    words = draw(rows, width)
    model["decoder.sentence_encoder.embed_tokens.weight"] = model["decoder.lm_head.weight"] = words
    model["decoder.sentence_encoder.embed_positions.weight"] = draw(20, width)
    model["decoder.lm_head.bias"] = draw(rows)
    settings = argparse.Namespace(
        encoder_layers=1, encoder_embed_dim=width, encoder_ffn_embed_dim=12, encoder_attention_heads=2
    )
    torch.save({"args": settings, "model": model}, folder / "model.pt")
    answers = [
        pipeline("fill-mask", folder, engine=engine)("a small <mask>.") for engine in ("numpy", "torch")
    ]
    assert [each["token"] for each in answers[0]] == [each["token"] for each in answers[1]]
    assert abs(answers[0][0]["score"] - answers[1][0]["score"]) < 1e-5
