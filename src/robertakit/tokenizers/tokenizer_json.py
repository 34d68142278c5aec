"""`tokenizer.json`: which pipelines are the published ones, and the model that such a file holds.

A published pipeline holds all that the original needs, so our exact cores run it. Any other is followed as it is
by the generic fast class, elsewhere.
"""

import base64
import binascii
import struct
from collections.abc import Mapping, Sequence
from typing import Final

from robertakit.errors import TokenizerError
from robertakit.tokenizers.byte_level import ByteLevelModel, merges_of, vocabulary_of
from robertakit.tokenizers.fairseq_vocabulary import FIRST_TOKENS, MASK_TOKEN
from robertakit.tokenizers.sentencepiece_model import PieceType, SentencePieceModel

Json = Mapping[str, object]
BPE_DEFAULTS: Final[Mapping[str, tuple[object, ...]]] = {
    "dropout": (None, 0, 0.0),
    "continuing_subword_prefix": (None, ""),
    "end_of_word_suffix": (None, ""),
    "fuse_unk": (None, False),
    "byte_fallback": (None, False),
    "ignore_merges": (None, False),
}


def model_type(tokenizer: Json) -> str:
    """The type of the model of a parsed `tokenizer.json`; older files leave it out, and their parts tell.

    Example:
        >>> model_type({"model": {"vocab": {"a": 0}, "merges": []}})
        'BPE'
    """
    model = part(tokenizer, "model")
    match model:
        case {"type": str(named)}:
            return named
        case {"merges": _}:
            return "BPE"
        case {"vocab": list()}:
            return "Unigram"
        case {"max_input_chars_per_word": _}:
            return "WordPiece"
        case {"vocab": dict()}:
            # Byte-level BPE without merges, and whole words, look alike: neither can be run as RoBERTa.
            return "BPE" if type_of(tokenizer.get("pre_tokenizer")) == "ByteLevel" else "WordLevel"
    raise TokenizerError(
        given="a tokenizer.json without a model", expected="an object 'model' with a vocabulary"
    )


def is_published_roberta_pipeline(tokenizer: Json) -> bool:
    """Whether a parsed `tokenizer.json` does what RoBERTa's does: GPT-2's splitter, plain byte-level BPE."""
    model = part(tokenizer, "model")
    splitter = part(tokenizer, "pre_tokenizer")
    return (
        model_type(tokenizer) == "BPE"
        and all(model.get(name) in usual for name, usual in BPE_DEFAULTS.items())
        and not steps(tokenizer.get("normalizer"), "normalizers")
        and type_of(splitter) == "ByteLevel"
        and splitter.get("use_regex", True) is True
        and type_of(tokenizer.get("decoder")) in (None, "ByteLevel")
    )


def is_published_xlmr_pipeline(tokenizer: Json) -> bool:
    """Whether a parsed `tokenizer.json` does what XLM-R's does: the published one, or one converted from `.model`."""
    if model_type(tokenizer) != "Unigram" or part(tokenizer, "model").get("byte_fallback") not in (
        None,
        False,
    ):
        return False
    normalizers = steps(tokenizer.get("normalizer"), "normalizers")
    splitters = steps(tokenizer.get("pre_tokenizer"), "pretokenizers")
    kinds = [type_of(step) for step in normalizers]
    space = splitters[-1] if splitters else {}
    return (
        # Behind the map a converter strips white space at the end and writes runs of spaces as one.
        kinds[:1] == ["Precompiled"]
        and set(kinds[1:]) <= {"Strip", "Replace"}
        and all(collapses_spaces(step) for step in normalizers[1:])
        and [type_of(step) for step in splitters] in (["WhitespaceSplit", "Metaspace"], ["Metaspace"])
        and space.get("replacement") == "▁"
        and space.get("add_prefix_space", True) is True
        and space.get("prepend_scheme", "always") == "always"
        and space.get("split", True) is True
        and type_of(tokenizer.get("decoder")) in (None, "Metaspace")
        and in_fairseq_order(part(tokenizer, "model").get("vocab"))
    )


def byte_level_model(tokenizer: Json, unk_token: str = "<unk>") -> ByteLevelModel:
    """The vocabulary and merges of a RoBERTa `tokenizer.json`. Raises TokenizerError, also where merges are absent."""
    model = part(tokenizer, "model")
    if not isinstance(model.get("merges"), list):
        raise TokenizerError(
            given="a tokenizer.json without merges",
            expected="a byte-level BPE model with its list of merges",
            hint="save the tokenizer again, or put merges.txt beside vocab.json",
        )
    vocabulary = vocabulary_of(model.get("vocab"), "tokenizer.json")
    return ByteLevelModel(vocabulary, merges_of(listed_in(model, "merges"), "tokenizer.json"), unk_token)


def unigram_model(tokenizer: Json) -> SentencePieceModel:
    """The SentencePiece model that an XLM-R `tokenizer.json` was made from, as far as encoding goes.

    Fairseq's four first tokens become SentencePiece's three, the mask goes, scores become float32 again.
    Raises TokenizerError.
    """
    vocab = part(tokenizer, "model").get("vocab")
    if not in_fairseq_order(vocab):
        raise TokenizerError(
            given="a tokenizer.json whose unigram vocabulary does not begin with <s>, <pad>, </s>, <unk>",
            expected="XLM-R's order",
            hint="load it with AutoTokenizer, which follows other pipelines as they are",
        )
    rows = listed_in(part(tokenizer, "model"), "vocab")[len(FIRST_TOKENS) :]
    if rows and rows[-1][:1] == [MASK_TOKEN]:
        rows.pop()
    pieces, scores = ["<unk>", "<s>", "</s>"], [0.0, 0.0, 0.0]
    for row in rows:
        match row:
            case [str(piece), int() | float() as score]:
                pieces.append(piece)
                scores.append(score)
            case _:
                raise TokenizerError(
                    given=f"a tokenizer.json with the vocabulary entry {str(row)[:80]}",
                    expected="a piece and its score",
                )
    types = [PieceType.UNKNOWN, PieceType.CONTROL, PieceType.CONTROL] + [PieceType.NORMAL] * len(rows)
    return SentencePieceModel(
        pieces, float32_all(scores), [int(type) for type in types], charsmap_of(tokenizer)
    )


def charsmap_of(tokenizer: Json) -> bytes:
    """The compiled character map of an XLM-R `tokenizer.json`; empty where it has none."""
    for step in steps(tokenizer.get("normalizer"), "normalizers"):
        charsmap = step.get("precompiled_charsmap")
        if isinstance(charsmap, str):
            try:
                return base64.b64decode(charsmap, validate=True)
            except (binascii.Error, ValueError):
                raise TokenizerError(
                    given="a tokenizer.json whose precompiled_charsmap is no base64", expected="base64"
                ) from None
    return b""


def float32_all(scores: Sequence[float]) -> list[float]:
    """Scores rounded to 32 bits, as the `.model` file holds them. Raises TokenizerError for one beyond them."""
    try:
        return list(struct.unpack(f"<{len(scores)}f", struct.pack(f"<{len(scores)}f", *scores)))
    except OverflowError:
        raise TokenizerError(
            given="a tokenizer.json with a score beyond float32", expected="scores"
        ) from None


def in_fairseq_order(vocab: object) -> bool:
    """Whether a unigram vocabulary begins with fairseq's four tokens."""
    if not isinstance(vocab, list) or len(vocab) <= len(FIRST_TOKENS):
        return False
    return all(
        isinstance(row, list) and row[:1] == [name] for row, name in zip(vocab, FIRST_TOKENS, strict=False)
    )


def collapses_spaces(step: Json) -> bool:
    """Whether a normaliser behind the character map only does what SentencePiece does with spaces anyway."""
    match step:
        case {"type": "Strip", "strip_left": bool(), "strip_right": bool()}:
            return True
        case {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " " | "▁"}:
            return True
    return False


def steps(found: object, inner: str) -> list[Json]:
    """The steps of a normaliser or splitter: those of a Sequence, the one that is there, or none."""
    if not isinstance(found, dict):
        return []
    if found.get("type") != "Sequence":
        return [found]
    parts = found.get(inner)
    return [step for step in parts if isinstance(step, dict)] if isinstance(parts, list) else []


def part(tokenizer: Json, name: str) -> Json:
    """An object of the file; empty where it is absent or something else."""
    found = tokenizer.get(name)
    return found if isinstance(found, dict) else {}


def listed_in(found: Json, name: str) -> list[list[object]]:
    """A list of the file, known to be one."""
    value = found[name]
    return value if isinstance(value, list) else []


def type_of(step: object) -> object:
    """The type a step names; None for no step."""
    return step.get("type") if isinstance(step, dict) else None
