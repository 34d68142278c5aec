"""Tokenizers of fairseq folders: the pieces of GPT-2's or SentencePiece's files under the ids of ``dict.txt``."""

import json
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robertakit.errors import TokenizerError
from robertakit.files import locate
from robertakit.tokenizers import PreTrainedTokenizerBase, RobertaTokenizerFast, XLMRobertaTokenizerFast
from robertakit.tokenizers.byte_level import read_merges
from robertakit.tokenizers.fairseq_files import DICTIONARY, fairseq_symbols, fairseq_tokenizer, gpt2_pieces
from robertakit.tokenizers.sentencepiece_model import SentencePieceModel
from robertakit.tokenizers.training import train_byte_level_bpe, train_unigram

TEXTS = ["a small text of small words", "words of a text, and a word", "the text is small"] * 3
SPECIAL = 5  # fairseq's four first symbols, and <mask>


@pytest.fixture(scope="module")
def byte_level(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained byte-level BPE, and a dictionary of its pieces in an order of its own."""
    folder = tmp_path_factory.mktemp("byte-level")
    train_byte_level_bpe(TEXTS, 290, folder)
    pieces = gpt2_pieces(read_merges(folder / "merges.txt"))
    numbers = list(range(len(pieces) - 1))  # without the end of a text, which RoBERTa's dictionary has not
    random.Random(1).shuffle(numbers)
    lines = [f"{number} {count}" for count, number in enumerate(numbers)]
    (folder / DICTIONARY).write_text("\n".join([*lines, "madeupword0000 0", ""]))
    (folder / "merges.txt").rename(folder / "vocab.bpe")
    (folder / "vocab.json").unlink()
    return folder


@pytest.fixture(scope="module")
def unigram(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = Path(train_unigram(TEXTS, 24, tmp_path_factory.mktemp("unigram")))
    pieces = SentencePieceModel.from_file(folder / "sentencepiece.bpe.model").pieces[3:]
    (folder / DICTIONARY).write_text("".join(f"{piece} 1\n" for piece in pieces), encoding="utf-8")
    return folder


def made(*folders: Path, rows: int | None = None) -> PreTrainedTokenizerBase | None:
    count = len((folders[0] / DICTIONARY).read_text(encoding="utf-8").split("\n")) - 1 + SPECIAL
    return fairseq_tokenizer([locate(folder) for folder in folders], count if rows is None else rows, 33)


def test_gpt2s_numbers_are_the_published_ones() -> None:
    """Its dict.txt begins with 13, 262, 11, 284; its vocab.json has '.', ' the', ',', ' to' there."""
    merges = ["Ġ t", "Ġ a", "h e", "i n", "r e", "o n", "Ġt he", "e r", "Ġ s", "a t", "Ġ w", "Ġ o", "e n", "Ġ c",
              "i t", "i s", "a n", "o r", "e s", "Ġ b", "e d", "Ġ f", "in g", "Ġ p", "o u", "Ġa n", "a l", "a r",
              "Ġt o"]  # fmt: skip
    pieces = gpt2_pieces([(left, right) for left, right in (merge.split() for merge in merges)])
    assert [pieces[number] for number in (13, 262, 11, 284)] == [".", "Ġthe", ",", "Ġto"]


def test_all_of_the_published_vocabulary(shared: Path, tmp_path: Path) -> None:
    published = shared / "data" / "tokenizers" / "roberta"
    vocabulary: dict[str, int] = json.loads((published / "vocab.json").read_text(encoding="utf-8"))
    number = {piece: id for id, piece in enumerate(gpt2_pieces(read_merges(published / "merges.txt")))}
    ordered = sorted(vocabulary, key=lambda piece: vocabulary[piece])[4:-1]
    (tmp_path / DICTIONARY).write_text("".join(f"{number.get(piece, piece)} 1\n" for piece in ordered))
    tokenizer = made(tmp_path, published)
    assert tokenizer is not None
    assert tokenizer.get_vocab() == vocabulary
    assert tokenizer("Hello world <mask>")["input_ids"] == [0, 31414, 232, 50264, 2]


def test_pieces_are_the_merges_and_ids_the_dictionarys(byte_level: Path) -> None:
    tokenizer = made(byte_level)
    assert isinstance(tokenizer, RobertaTokenizerFast)
    assert tokenizer.model_max_length == 33
    symbols = fairseq_symbols(byte_level / DICTIONARY)
    pieces = gpt2_pieces(read_merges(byte_level / "vocab.bpe"))
    for id in tokenizer("a small word <mask>")["input_ids"]:
        piece = tokenizer.convert_ids_to_tokens(id)
        assert symbols[id] == piece if id < 4 or piece == "<mask>" else pieces[int(symbols[id])] == piece
    assert tokenizer.decode(tokenizer("a small text")["input_ids"]) == "<s>a small text</s>"
    assert len(tokenizer) == len(symbols)


@given(text=st.text())
def test_every_text_comes_back(byte_level: Path, text: str) -> None:
    tokenizer = made(byte_level)
    assert tokenizer is not None
    assert (
        tokenizer.decode(tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"])
        == text
    )


def test_an_encoder_of_its_own_counts(byte_level: Path, tmp_path: Path) -> None:
    for path in byte_level.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    before = made(tmp_path)
    assert before is not None
    pieces = gpt2_pieces(read_merges(tmp_path / "vocab.bpe"))[:-1]
    turned = {piece: id for id, piece in enumerate(reversed(pieces))}
    (tmp_path / "encoder.json").write_text(json.dumps(turned), encoding="utf-8")
    after = made(tmp_path)
    assert after is not None
    ids, others = before.get_vocab(), after.get_vocab()
    assert [ids[piece] for piece in pieces] == [others[piece] for piece in reversed(pieces)]
    turned["a"] = 10**6
    (tmp_path / "encoder.json").write_text(json.dumps(turned), encoding="utf-8")
    with pytest.raises(TokenizerError, match=r"encoder.json with ids that leave gaps"):
        made(tmp_path)


def test_the_pieces_may_come_from_another_place(byte_level: Path, tmp_path: Path) -> None:
    (tmp_path / DICTIONARY).write_bytes((byte_level / DICTIONARY).read_bytes())
    assert made(tmp_path) is None
    ours, there = made(byte_level), made(tmp_path, byte_level)
    assert ours is not None
    assert there is not None
    assert ours.get_vocab() == there.get_vocab()


def test_sentencepiece_in_its_order(unigram: Path, tmp_path: Path) -> None:
    tokenizer = made(unigram)
    assert isinstance(tokenizer, XLMRobertaTokenizerFast)
    assert tokenizer.get_vocab() == {
        symbol: id for id, symbol in enumerate(fairseq_symbols(unigram / DICTIONARY))
    }
    (tmp_path / "sentencepiece.bpe.model").write_bytes((unigram / "sentencepiece.bpe.model").read_bytes())
    lines = (unigram / DICTIONARY).read_text(encoding="utf-8").splitlines()
    (tmp_path / DICTIONARY).write_text("\n".join(reversed(lines)) + "\n", encoding="utf-8")
    with pytest.raises(TokenizerError, match=r"in which \d+ pieces have other ids"):
        made(tmp_path)


def test_rows_and_symbols_must_agree(byte_level: Path) -> None:
    with pytest.raises(
        TokenizerError, match=r"dict.txt in folder .* with \d+ symbols for a model with 300 rows"
    ):
        made(byte_level, rows=300)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a 1\nx\n", "line 2 of dict.txt: 'x'"),
        ("a much\n", "line 1 of dict.txt: 'a much'"),
        ("13 1\n13 2\n", "'13' twice"),
        ("<s> 1\n", "'<s>' twice"),
        ("13 1\n99999 1\n", "GPT-2's piece 99999"),
        ("13 1\n", "without the bytes"),
    ],
)
def test_dictionaries_that_are_none(byte_level: Path, tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / DICTIONARY).write_text(text)
    with pytest.raises(TokenizerError, match=said):
        made(tmp_path, byte_level, rows=text.count("\n") + SPECIAL)


def test_symbols(tmp_path: Path) -> None:
    path = tmp_path / DICTIONARY
    first = ["<s>", "<pad>", "</s>", "<unk>"]
    path.write_text("▁a 5\r\nb c 3\n\nb c 2 #fairseq:overwrite\n", encoding="utf-8")
    assert fairseq_symbols(path) == [*first, "▁a", "b c", "b c", "<mask>"]
    path.write_text("x 1\n<mask> 1\n")
    assert fairseq_symbols(path) == [*first, "x", "<mask>"]
