"""Parts: cut by the file alone, named by what they are made of, and whole or not there."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from robertakit import RobertaTokenizerFast, XLMRobertaTokenizerFast, embedded
from robertakit.errors import ShardError
from robertakit.tokenizers import PreTrainedTokenizerBase
from robertakit.tokenizers.training import train_byte_level_bpe, train_unigram
from robertakit.training import parts
from robertakit.training.faults import Fault
from robertakit.training.parts import PartMaker, TextPart, fingerprint, load_part, text_parts
from robertakit.training.sources import Source

HERE = Path("a.txt")


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerBase:
    return RobertaTokenizerFast.from_pretrained(embedded.folder())


def test_parts_joined_are_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "PART_CHARACTERS", 20)
    path = tmp_path / "a.txt"
    path.write_bytes(b"\n\n".join([b"ten letter", b"b", b"\xff", b"c" * 50, b"d", b"\xfe"]))
    made = list(text_parts(path, Source((str(path),))))
    assert [part.documents for part in made] == [[["ten letter"], ["b"], ["c" * 50]], [["d"]]]
    assert [[fault.reason for fault in part.faults] for part in made] == [["not UTF-8"], ["not UTF-8"]]


def test_a_part_is_what_its_text_is(tmp_path: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    text = TextPart([["One. Two here.", "Three."], ["</s> Four"]], [Fault("a.txt:1", "not UTF-8")])
    maker = PartMaker(tokenizer, tmp_path)
    name = maker.make(HERE, text)
    part = load_part(tmp_path / name)
    ends = [0, *part.sentence_ends.tolist()]
    sentences = [tokenizer.decode(part.tokens[a:b].tolist()) for a, b in pairwise(ends)]
    assert sentences == ["One.", " Two here.", "Three.", "</s> Four"]
    assert part.document_ends.tolist() == [3, 4]
    assert not set(part.tokens.tolist()) & set(tokenizer.all_special_ids)
    words = part.counts.pop("words")
    assert words == part.word_starts.sum()
    assert part.counts == {"documents": 2, "sentences": 4, "tokens": ends[-1], "unknown": 0, "characters": 29}
    assert part.faults.first == ["a.txt:1: not UTF-8"]
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_name_says_all_that_a_part_is_made_of(tmp_path: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    texts = [
        TextPart([["a"], ["b"]]),
        TextPart([["a", "b"]]),
        TextPart([["b"], ["a"]]),
        TextPart([["a"], ["b"]], [Fault("x", "y")]),
        TextPart([["a\0b"]]),
    ]
    names = {text.digest(print_) for text in texts for print_ in (fingerprint(tokenizer), "other")}
    assert len(names) == 2 * len(texts)


def test_fingerprints_tell_tokenizers_apart(tmp_path: Path) -> None:
    words = ["low lower lowest", "new newer newest", "wide wider widest"] * 3
    folders = [train_byte_level_bpe(words[:count], 280, tmp_path / f"bpe{count}") for count in (4, 9)]
    made = [RobertaTokenizerFast(str(f / "vocab.json"), str(f / "merges.txt")) for f in folders]
    models = [train_unigram(words[:count], 20, tmp_path / f"unigram{count}") for count in (8, 9)]
    made += [XLMRobertaTokenizerFast(str(folder / "sentencepiece.bpe.model")) for folder in models]
    made.append(RobertaTokenizerFast.from_pretrained(embedded.folder()))
    made.append(RobertaTokenizerFast.from_pretrained(embedded.folder(), add_prefix_space=True))
    assert len({fingerprint(tokenizer) for tokenizer in made}) == len(made)
    assert fingerprint(made[-2]) == fingerprint(RobertaTokenizerFast.from_pretrained(embedded.folder()))


def test_sentences_without_tokens_are_told(tmp_path: Path) -> None:
    folder = train_unigram(["low lower lowest", "new newer newest"] * 4, 20, tmp_path / "unigram")
    maker = PartMaker(XLMRobertaTokenizerFast(str(folder / "sentencepiece.bpe.model")), tmp_path)
    part = maker.tokens_of(HERE, TextPart([["\x01"], ["low", "\x02"], ["\u200b"]]))
    assert part.document_ends.tolist() == [1]
    assert part.sentence_ends.tolist() == [len(part.tokens)]
    assert part.faults.counts["a sentence that no token is left of"] >= 2
    assert part.faults.first[0].startswith("a.txt: '\\x01'")


def test_a_piece_that_is_a_special_token_never_enters(tmp_path: Path) -> None:
    """Where what text can hold is named a special token, its id stands for that alone."""
    folder = train_byte_level_bpe(["***"] * 50, 300, tmp_path / "bpe")
    tokenizer = RobertaTokenizerFast(str(folder / "vocab.json"), str(folder / "merges.txt"), mask_token="***")
    assert tokenizer.mask_token_id == 261
    part = PartMaker(tokenizer, tmp_path).tokens_of(HERE, TextPart([["A *** here. Fine."], ["***"]]))
    assert tokenizer.decode(part.tokens.tolist()) == " Fine."
    assert part.document_ends.tolist() == [1]
    assert part.faults.counts == {"a sentence whose text is a special token of the vocabulary": 2}


def test_a_damaged_part_is_told_and_made_anew(tmp_path: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    maker = PartMaker(tokenizer, tmp_path)
    text = TextPart([["One. Two here."]])
    path = tmp_path / maker.make(HERE, text)
    whole = path.read_bytes()
    for damaged in (b"", whole[:-30], whole[:300] + b"\xff" + whole[301:], b"x" * 100):
        path.write_bytes(damaged)
        with pytest.raises(ShardError, match="run again"):
            load_part(path)
        assert maker.make(HERE, text) == path.name
        assert np.array_equal(load_part(path).tokens, maker.tokens_of(HERE, text).tokens)


def test_a_disk_that_refuses_is_told(tmp_path: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    with pytest.raises(ShardError, match="make room"):
        PartMaker(tokenizer, tmp_path / "absent").make(HERE, TextPart([["One."]]))
