"""The tokenizer of a fairseq model: pieces from GPT-2's or SentencePiece's files, their ids from ``dict.txt``."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from robertakit.errors import TokenizerError, listed
from robertakit.files import Location
from robertakit.tokenizers.byte_level import BYTE_OF, CHARACTER_OF, read_merges, read_text, read_vocabulary
from robertakit.tokenizers.fairseq_vocabulary import FIRST_TOKENS, MASK_TOKEN
from robertakit.tokenizers.pretrained import PreTrainedTokenizerBase
from robertakit.tokenizers.roberta import RobertaTokenizerFast
from robertakit.tokenizers.xlm_roberta import MODEL_FILE, XLMRobertaTokenizerFast

__all__ = ["DICTIONARY", "fairseq_symbols", "fairseq_tokenizer", "gpt2_pieces"]

DICTIONARY = "dict.txt"
#: GPT-2's files: their names in fairseq's examples, and in ours.
_MERGES = ("vocab.bpe", "merges.txt")
_ENCODER = "encoder.json"
_OVERWRITE = "#fairseq:overwrite"
_END_OF_TEXT = "<|endoftext|>"


def fairseq_tokenizer(
    places: Sequence[Location], vocab_size: int, model_max_length: int
) -> PreTrainedTokenizerBase | None:
    """Make the tokenizer of a fairseq model.

    Args:
        places: where its files may be; the first one has ``dict.txt``.
        vocab_size: rows of the model's word embeddings, one for each symbol.
        model_max_length: tokens that the model takes.

    Returns:
        The tokenizer; None where no place has ``vocab.bpe`` (or ``merges.txt``) or ``sentencepiece.bpe.model``.

    Raises:
        TokenizerError: files that contradict each other or the model.
    """
    symbols = fairseq_symbols(places[0].require(DICTIONARY))
    if len(symbols) != vocab_size:
        raise TokenizerError(
            given=f"{DICTIONARY} in {places[0]} with {len(symbols):,} symbols for a model with {vocab_size:,} rows",
            expected="a symbol for each row: fairseq's four first ones, the lines of the file, <mask>",
            hint="take the dictionary that the model was trained with, or leave the tokenizer out",
        )
    sentencepiece = _first(places, (MODEL_FILE,))
    merges = _first(places, _MERGES)
    tokenizer: PreTrainedTokenizerBase
    if sentencepiece is not None:
        tokenizer = XLMRobertaTokenizerFast(sentencepiece, model_max_length=model_max_length)
        pieces = {symbol: id for id, symbol in enumerate(symbols)}
    elif merges is not None:
        encoder = _first(places, (_ENCODER,))
        pieces = _byte_level(
            symbols, gpt2_pieces(read_merges(merges)) if encoder is None else _decoder(encoder)
        )
        with TemporaryDirectory() as folder:
            vocabulary = Path(folder, "vocab.json")
            vocabulary.write_text(json.dumps(pieces), encoding="utf-8")
            tokenizer = RobertaTokenizerFast(vocabulary, merges, model_max_length=model_max_length)
    else:
        return None
    other = {piece for piece, id in tokenizer.get_vocab().items() if pieces.get(piece) != id}
    if other or len(tokenizer) != len(pieces):
        raise TokenizerError(
            given=f"{DICTIONARY} in {places[0]}, in which {len(other):,} pieces have other ids than in the "
            f"tokenizer's own order: {listed(map(repr, other), 5)}",
            expected="the order of the published models",
            hint="leave the tokenizer out",
        )
    return tokenizer


def fairseq_symbols(path: str | os.PathLike[str]) -> list[str]:
    """Return the symbols of a dictionary in the order of their ids, fairseq's own before and behind them.

    Args:
        path: a ``dict.txt``: a line for each symbol, with its count behind a space.

    Raises:
        TokenizerError: a line of another form, or a symbol twice.
    """
    symbols = list(FIRST_TOKENS)
    known = set(symbols)
    for number, line in enumerate(read_text(Path(path)).split("\n"), 1):
        if not line.strip("\r"):
            continue
        overwrites = line.rstrip().endswith(_OVERWRITE)
        symbol, _, count = line.rstrip().removesuffix(_OVERWRITE).rstrip().rpartition(" ")
        if not symbol or not count.isdecimal():
            raise TokenizerError(
                given=f"line {number} of {Path(path).name}: {line[:80]!r}",
                expected="a symbol, a space, a count",
            )
        if symbol in known and not overwrites:
            raise TokenizerError(
                given=f"{Path(path).name} with {symbol[:80]!r} twice", expected="each symbol once"
            )
        symbols.append(symbol)
        known.add(symbol)
    return symbols if MASK_TOKEN in known else [*symbols, MASK_TOKEN]


def gpt2_pieces(merges: Sequence[tuple[str, str]]) -> list[str]:
    """Return GPT-2's pieces by its ids: the alphabet of bytes, what the merges make in their order, the end of a text.

    Example:
        >>> gpt2_pieces([("Ġ", "t")])[13], gpt2_pieces([("Ġ", "t")])[256:]
        ('.', ['Ġt', '<|endoftext|>'])
    """
    return [*CHARACTER_OF.values(), *(left + right for left, right in merges), _END_OF_TEXT]


def _decoder(path: Path) -> list[str]:
    """The pieces of an ``encoder.json`` by their ids."""
    encoder = read_vocabulary(path)
    by_id = sorted(encoder, key=lambda piece: encoder[piece])
    if [encoder[piece] for piece in by_id] != list(range(len(by_id))):
        raise TokenizerError(given=f"{path.name} with ids that leave gaps", expected="0, 1, 2, …")
    return by_id


def _byte_level(symbols: Sequence[str], pieces: Sequence[str]) -> dict[str, int]:
    """A dictionary of GPT-2's numbers as a vocabulary, piece -> id; other symbols stand for themselves."""
    vocabulary: dict[str, int] = {}
    for id, symbol in enumerate(symbols):
        if symbol.isdecimal() and int(symbol) >= len(pieces):
            raise TokenizerError(
                given=f"{DICTIONARY} with GPT-2's piece {symbol}, of {len(pieces):,}",
                expected="the merges that the model was trained with",
            )
        vocabulary[pieces[int(symbol)] if symbol.isdecimal() else symbol] = id
    lacking = [character for character in BYTE_OF if character not in vocabulary]
    if lacking:
        raise TokenizerError(
            given=f"{DICTIONARY} without the bytes {listed(map(repr, lacking), 5)}",
            expected="GPT-2's numbers",
        )
    return vocabulary


def _first(places: Sequence[Location], names: Sequence[str]) -> Path | None:
    """The first of the files that any of the places has."""
    found = (place.path_of(name) for place in places for name in names)
    return next((path for path in found if path is not None), None)
