"""Fairseq's `dict.txt`: the ids of a model whose vocabulary was never written as `vocab.json`.

A line is a symbol and a count. Ids 0 to 3 are fairseq's first tokens, each line has the next, `<mask>` is last. The
symbols of RoBERTa are the numbers of GPT-2's pieces, which `encoder.json` beside it names; those of XLM-R are pieces.
"""

from collections.abc import Mapping
from pathlib import Path

from robertakit.errors import TokenizerError
from robertakit.tokenizers.byte_level import read_text, read_vocabulary
from robertakit.tokenizers.fairseq_vocabulary import FIRST_TOKENS, MASK_TOKEN

DICTIONARY, ENCODER, MERGES = "dict.txt", "encoder.json", "vocab.bpe"
FILES = {"vocab_file": DICTIONARY, "merges_file": MERGES}
"""Arguments of RoBERTa's classes -> what fairseq and GPT-2 call the files."""
OVERWRITE = " #fairseq:overwrite"


def read_dictionary(path: Path) -> dict[str, int]:
    """Read a `dict.txt` as symbol -> id, first tokens and `<mask>` included. Raises TokenizerError."""
    ids = {token: id for id, token in enumerate(FIRST_TOKENS)}
    next_id = len(ids)
    lines = read_text(path).removesuffix("\n").split("\n")  # pieces may hold other ends of lines
    for number, line in enumerate(lines, 1):
        line = line.removesuffix("\r")
        symbol, _, count = line.removesuffix(OVERWRITE).rpartition(" ")
        if not symbol or not count.isdecimal():
            raise TokenizerError(
                given=f"line {number} of '{path}', {line[:80]!r}", expected="a symbol and its count"
            )
        if symbol in ids and not line.endswith(OVERWRITE):
            raise TokenizerError(given=f"'{path}' with {symbol[:80]!r} twice", expected="each symbol once")
        ids[symbol] = next_id
        next_id += 1
    ids.setdefault(MASK_TOKEN, next_id)
    return ids


def byte_level_vocabulary(path: Path) -> dict[str, int]:
    """Read a `dict.txt` of numbers of GPT-2's pieces, and the `encoder.json` beside it, as piece -> id.

    Raises:
        TokenizerError: no `encoder.json`, or a number that it has not.
    """
    encoder = path.with_name(ENCODER)
    if not encoder.is_file():
        raise TokenizerError(
            given=f"'{path}' without {ENCODER} beside it",
            expected="GPT-2's encoder.json and vocab.bpe, which the symbols are numbers of",
            hint="put the two files into the folder",
        )
    pieces = {str(number): piece for piece, number in read_vocabulary(encoder).items()}
    vocabulary: dict[str, int] = {}
    for symbol, id in read_dictionary(path).items():
        if symbol.isdecimal() and symbol not in pieces:
            raise TokenizerError(
                given=f"'{path}' with the symbol {symbol}", expected=f"a number of '{encoder}'"
            )
        vocabulary[pieces.get(symbol, symbol)] = (
            id  # "madeupword0000" and special tokens stand for themselves
        )
    return vocabulary


def check_dictionary(path: Path, vocabulary: Mapping[str, int]) -> None:
    """Raise TokenizerError unless a tokenizer of other files has the ids of a `dict.txt`: the model's rows are its."""
    for symbol, id in read_dictionary(path).items():
        if vocabulary.get(symbol) != id:
            raise TokenizerError(
                given=f"'{path}' gives {symbol[:80]!r} the id {id}, the vocabulary beside it {vocabulary.get(symbol)}",
                expected="the order of XLM-R's pieces",
                hint="a model with ids of its own (CamemBERT's among them) needs its tokenizer.json",
            )
