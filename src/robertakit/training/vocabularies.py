"""A vocabulary for a corpus: text drawn from its sources by their weights, trained on, kept as a tokenizer's folder."""

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from robertakit.errors import ArgumentError, InputError, ShardError, SourceError
from robertakit.files import read_json
from robertakit.tokenizers import RobertaTokenizerFast, XLMRobertaTokenizerFast
from robertakit.tokenizers.training import train_byte_level_bpe, train_unigram
from robertakit.training import counter_random
from robertakit.training.file_states import file_states, states_in
from robertakit.training.sampling import smoothed_passes
from robertakit.training.sentences import split_sentences
from robertakit.training.shards import SourceTokens
from robertakit.training.sources import Document, Source, read_documents

__all__ = ["KINDS", "sample_documents", "train_vocabulary"]

KINDS = ("byte-level-bpe", "unigram")
#: Tells in a folder what its vocabulary was trained on.
NOTE = "vocabulary_training.json"
#: SentencePiece leaves out longer sentences without a word (its `max_sentence_length`).
_LONGEST_SENTENCE = 4192
_BLOCK = 4096
_DRAW = 0x766F6361  # what a key is for


def train_vocabulary(
    sources: Sequence[Source],
    kind: str,
    vocabulary: int,
    folder: str | os.PathLike[str],
    *,
    characters: int = 500_000_000,
    smoothing: float | None = None,
    min_frequency: int = 2,
    character_coverage: float = 0.9995,
    seed: int = 0,
) -> Path:
    """Train a vocabulary on sources and save its tokenizer; the same text gives the same files.

    The text is read twice, and streams: first it is counted, then drawn from. A killed run leaves nothing behind; a
    folder that the same call has finished is taken as it is.

    Args:
        sources: what to read.
        kind: "byte-level-bpe" (RoBERTa's; trained by `tokenizers`) or "unigram" (XLM-R's; by SentencePiece, which
            holds the text that was drawn in memory).
        vocabulary: ids in all, special tokens included.
        folder: of the tokenizer; must not be there, or hold what the same call made.
        characters: that are trained on at most, about.
        smoothing: exponent of the languages' shares (Conneau et al. 2020, section 3); None: the sources' weights.
        min_frequency: (byte-level BPE) pairs seen fewer times are not merged.
        character_coverage: (unigram) share of the text's characters that get a piece of their own.
        seed: of the draw.

    Returns:
        The folder, which `AutoTokenizer` loads.

    Raises:
        ArgumentError: another kind, or a size that the text cannot fill.
        InputError: no text.
        SourceError: as of ``sources.read_documents``.
        ShardError: the folder holds something else, or the disk refused.

    Example:
        >>> from tempfile import mkdtemp
        >>> text = Path(mkdtemp()) / "words.txt"
        >>> _ = text.write_text("newer newest " * 9)
        >>> made = train_vocabulary([Source((str(text),))], "byte-level-bpe", 280, text.parent / "tokenizer")
        >>> RobertaTokenizerFast.from_pretrained(made).tokenize(" newest newer")
        ['Ġnewest', 'Ġnewer']
    """
    if kind not in KINDS:
        raise ArgumentError(given=f"kind={kind!r}", expected=f"one of {', '.join(KINDS)}")
    folder = Path(folder)
    option = (
        {"min_frequency": min_frequency} if kind == KINDS[0] else {"character_coverage": character_coverage}
    )
    draw = {"characters": characters, "smoothing": smoothing, "seed": seed}
    there = _note(folder)
    note: dict[str, object] = {
        "kind": kind,
        "vocabulary": vocabulary,
        **option,
        **draw,
        "sources": _described(sources, states_in(there.get("sources"))),
    }
    if _is_there(folder, there, note):
        return folder
    texts = _texts(sample_documents(sources, characters, smoothing=smoothing, seed=seed), kind)
    draft = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    try:
        draft.mkdir(parents=True)
        tokenizer: RobertaTokenizerFast | XLMRobertaTokenizerFast
        if kind == KINDS[0]:
            train_byte_level_bpe(texts, vocabulary, draft, min_frequency=min_frequency)
            tokenizer = RobertaTokenizerFast(str(draft / "vocab.json"), str(draft / "merges.txt"))
        else:
            train_unigram(texts, vocabulary, draft, character_coverage=character_coverage)
            tokenizer = XLMRobertaTokenizerFast(str(draft / "sentencepiece.bpe.model"))
        tokenizer.save_pretrained(draft)
        (draft / NOTE).write_text(json.dumps(note, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
        for path in draft.iterdir():
            with path.open("rb") as file:
                os.fsync(file.fileno())
        draft.replace(folder)
    except SourceError:
        raise
    except OSError as error:  # SaveFailed is one
        raise ShardError(
            given=f"the tokenizer cannot be written into '{folder}' ({error})",
            hint="make room, or say another folder",
        ) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return folder


def sample_documents(
    sources: Sequence[Source], characters: int, *, smoothing: float | None = None, seed: int = 0
) -> Iterator[Document]:
    r"""Return documents as an epoch weighs them, or as many of them as are asked for.

    A document of a source of weight w comes ``w·s`` times, ``s`` the same for all sources and at most 1: the whole
    part of that always, and once more with the probability of the rest, drawn by (seed, source, document).

    Args:
        sources: read once when this is called, and once more as documents are taken.
        characters: that the documents have at most, about.
        smoothing: exponent of the languages' shares.
        seed: of the draw.

    Raises:
        InputError: there is no text.
        SourceError: as of ``sources.read_documents``.

    Example:
        >>> from tempfile import mkdtemp
        >>> text = Path(mkdtemp()) / "words.txt"
        >>> _ = text.write_text("One.\n\nTwo.\n")
        >>> list(sample_documents([Source((str(text),), weight=2)], 1000))
        [['One.'], ['One.'], ['Two.'], ['Two.']]
    """
    if characters < 1:
        raise ArgumentError(given=f"characters={characters}", expected="1 or more")
    sizes = [sum(sum(map(len, document)) for document in read_documents(source)) for source in sources]
    if not any(sizes):
        raise InputError(
            given="sources without text", expected="at least one document", hint="check files and format"
        )
    passes = smoothed_passes(
        [_counted(source, size) for source, size in zip(sources, sizes, strict=True)], smoothing
    )
    share = min(1.0, characters / float(passes @ np.array(sizes)))
    copies = [float(each) * share for each in passes]
    return _drawn(sources, copies, seed)


def _drawn(sources: Sequence[Source], copies: Sequence[float], seed: int) -> Iterator[Document]:
    for number, source in enumerate(sources):
        for document, draw in zip(read_documents(source), _draws(seed, number), strict=False):
            for _ in range(int(copies[number] + draw)):
                yield document


def _counted(source: Source, size: int) -> SourceTokens:
    """A source as the sampling of languages knows it, its characters in place of tokens: a view of one, not copied."""
    tokens = np.broadcast_to(np.zeros(1, np.uint16), size)
    none: NDArray[np.int64] = np.zeros(0, np.int64)
    return SourceTokens(
        source.title, source.weight, source.language, tokens, np.zeros(0, np.uint8), none, none
    )


def _draws(seed: int, source: int) -> Iterator[float]:
    key = counter_random.key(seed, _DRAW, source)
    for start in count(0, _BLOCK):
        yield from counter_random.uniform(key, np.arange(start, start + _BLOCK)).tolist()


def _texts(documents: Iterator[Document], kind: str) -> Iterator[str]:
    """Paragraphs for byte-level BPE; sentences for SentencePiece, those cut that it would leave out."""
    for document in documents:
        for paragraph in document:
            if kind == KINDS[0]:
                yield paragraph
                continue
            for sentence in split_sentences(paragraph):
                yield from _cut(sentence.strip())


def _cut(sentence: str) -> Iterator[str]:
    most = _LONGEST_SENTENCE // 4  # a character has at most four bytes
    while len(sentence) > most and len(sentence.encode()) > _LONGEST_SENTENCE:
        end = sentence.rfind(" ", 1, most) if " " in sentence[1:most] else most
        yield sentence[:end]
        sentence = sentence[end:].strip()
    yield sentence


def _described(sources: Sequence[Source], before: Sequence[object]) -> list[dict[str, object]]:
    return [
        {
            "format": source.format,
            "field": source.field,
            "share": list(source.share),
            "weight": source.weight,
            "language": source.language,
            "files": file_states(source.paths(), before),
        }
        for source in sources
    ]


def _note(folder: Path) -> dict[str, object]:
    """What a finished call left in the folder, empty where there is nothing of the kind."""
    try:
        note: object = read_json(folder / NOTE)
    except OSError:
        return {}
    return note if isinstance(note, dict) else {}


def _is_there(folder: Path, there: dict[str, object], note: dict[str, object]) -> bool:
    """Whether the same call has finished before."""
    if not folder.exists():
        return False
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
        return False
    if there == json.loads(json.dumps(note)):
        return True
    what = [name for name, value in note.items() if there.get(name) != value]
    raise ShardError(
        given=f"'{folder}' is there and "
        + (f"holds a vocabulary of other {', '.join(what)}" if there else f"has no {NOTE}"),
        expected="no folder, or the vocabulary that was asked for",
        hint="say another folder, or remove it",
    )
