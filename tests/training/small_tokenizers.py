"""A byte-level BPE and a unigram tokenizer of a few hundred pieces, trained in a tenth of a second."""

import tempfile
from functools import cache
from pathlib import Path

from robertakit import PreTrainedTokenizerFast, RobertaTokenizerFast, XLMRobertaTokenizerFast
from robertakit.tokenizers.training import train_byte_level_bpe, train_unigram

ENGLISH = Path(__file__).resolve().parent.parent / "golden" / "english.txt"


@cache
def trained(kind: str) -> PreTrainedTokenizerFast:
    """The tokenizer of a kind, ``"bytes"`` or ``"unigram"``."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        texts = ENGLISH.read_text(encoding="utf-8").splitlines()[:400]
        if kind == "bytes":
            train_byte_level_bpe(texts, 500, folder)
            return RobertaTokenizerFast(str(folder / "vocab.json"), str(folder / "merges.txt"))
        train_unigram(texts, 500, folder)
        return XLMRobertaTokenizerFast(str(folder / "sentencepiece.bpe.model"))
