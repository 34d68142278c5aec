"""Parts: a few megabytes of a file's text, and their tokens on disk under a name that says what they are made of.

A part is named by the digest of its text, its faults and the tokenizer. So a part that is there is right, whoever wrote
it and whenever: that is all there is to going on after a run was killed, and to several processes sharing the work.
"""

import hashlib
import json
import os
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from robertakit.errors import ShardError
from robertakit.tokenizers import PreTrainedTokenizerBase
from robertakit.training.bulk_encoding import BulkEncoder, bulk_encoder
from robertakit.training.faults import Fault, Faults
from robertakit.training.sentences import split_sentences
from robertakit.training.shards import SpecialIds
from robertakit.training.sources import Document, Source, read_file

__all__ = ["Part", "PartMaker", "TextPart", "fingerprint", "load_part", "text_parts"]

#: Characters of a part, about: few enough that a process holds one, and that a kill costs little.
PART_CHARACTERS = 1 << 23
#: Changes where the same text gives other tokens, sentences or documents.
_VERSION = 1


@dataclass
class TextPart:
    """Consecutive documents of one file, and what was left out between them."""

    documents: list[Document] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)

    def digest(self, fingerprint: str) -> str:
        """Name of the part's tokens."""
        digest = hashlib.blake2b(f"{_VERSION} {fingerprint} {len(self.documents)}\n".encode(), digest_size=20)
        for document in self.documents:
            digest.update("\n".join(document).encode() + b"\0")
        for fault in self.faults:
            digest.update(f"{fault.place}\n{fault.reason}\n".encode())
        return digest.hexdigest()


@dataclass(frozen=True)
class Part:
    """The tokens of a part.

    Attributes:
        tokens: (t,) uint32.
        word_starts: (t,) True where a token begins a word.
        sentence_ends: where sentences end, in tokens; the last is t.
        document_ends: where documents end, in sentences.
        counts: documents, sentences, words, tokens, unknown (tokens), characters.
        faults: what was left out.
    """

    tokens: NDArray[np.uint32]
    word_starts: NDArray[np.bool_]
    sentence_ends: NDArray[np.int64]
    document_ends: NDArray[np.int64]
    counts: dict[str, int]
    faults: Faults


def text_parts(path: Path, source: Source) -> Iterator[TextPart]:
    """Cut a file into parts; where they end depends on the file alone.

    Raises:
        SourceError: as of ``sources.read_file``.
    """
    part, size = TextPart(), 0
    for item in read_file(path, source):
        if isinstance(item, Fault):
            part.faults.append(item)
            continue
        part.documents.append(item)
        size += sum(map(len, item))
        if size >= PART_CHARACTERS:
            yield part
            part, size = TextPart(), 0
    if part.documents or part.faults:
        yield part


def fingerprint(tokenizer: PreTrainedTokenizerBase) -> str:
    """Return a digest of all that decides which ids a text has.

    Example:
        >>> from robertakit import RobertaTokenizerFast, embedded
        >>> tokenizer = RobertaTokenizerFast.from_pretrained(embedded.folder())
        >>> before = fingerprint(tokenizer)
        >>> _ = tokenizer.add_tokens(["newword"])
        >>> before == fingerprint(tokenizer)
        False
    """
    content = json.loads(tokenizer._tokenizer_json())
    added = {str(id): str(token) for id, token in sorted(tokenizer.added_tokens_decoder.items())}
    special = list(tokenizer.all_special_ids)
    text = json.dumps([content, added, special], sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=20).hexdigest()


class PartMaker:
    """Tokenizes parts into a folder.

    Args:
        tokenizer: any of this library's.
        folder: where parts go; there already.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
        self._encoder: BulkEncoder = bulk_encoder(tokenizer)
        self._fingerprint = fingerprint(tokenizer)
        self._folder = folder
        special = SpecialIds.of(tokenizer)
        self._unknown = special.unk
        self._no_text = np.array([id for id in special.all if id != special.unk])

    def make(self, path: Path, text: TextPart) -> str:
        """Write the tokens of a part, unless they are there; return its name.

        Args:
            path: of the file that the part is of, for faults.
            text: the part.

        Raises:
            ShardError: the disk refused.
        """
        name = text.digest(self._fingerprint)
        target = self._folder / name
        if not target.exists():
            try:
                _save(target, self.tokens_of(path, text))
            except OSError as error:
                raise ShardError(
                    given=f"'{target}' cannot be written ({error.strerror or error})",
                    hint="make room and run again: it goes on from the parts that are there",
                ) from error
        return name

    def tokens_of(self, path: Path, text: TextPart) -> Part:
        """Return the tokens of a part."""
        faults = Faults()
        for fault in text.faults:
            faults.add(fault)
        rows = [
            [split for paragraph in document for split in split_sentences(paragraph)]
            for document in text.documents
        ]
        sentences = [sentence for row in rows for sentence in row]
        encoded = self._encoder.encode(sentences)
        document_of = np.repeat(np.arange(len(rows)), np.fromiter(map(len, rows), np.int64, len(rows)))

        sentence_of = np.repeat(np.arange(len(sentences)), encoded.lengths)
        special = np.zeros(len(sentences), bool)
        special[sentence_of[np.isin(encoded.tokens, self._no_text)]] = True
        for reason, lost in (
            ("a sentence that no token is left of", encoded.lengths == 0),
            ("a sentence whose text is a special token of the vocabulary", special),
        ):
            for number in np.flatnonzero(lost).tolist():
                faults.add(Fault(f"{path}: {sentences[number].strip()[:40]!r}", reason))
        kept = (encoded.lengths > 0) & ~special
        tokens, word_starts = encoded.tokens[kept[sentence_of]], encoded.word_starts[kept[sentence_of]]
        sizes = np.bincount(document_of[kept], minlength=len(rows))
        document_ends = np.cumsum(sizes[sizes > 0])
        return Part(
            tokens,
            word_starts,
            np.cumsum(encoded.lengths[kept]),
            document_ends,
            {
                "documents": len(document_ends),
                "sentences": int(kept.sum()),
                "words": int(word_starts.sum()),
                "tokens": len(tokens),
                "unknown": int((tokens == self._unknown).sum()),
                "characters": sum(map(len, sentences)),
            },
            faults,
        )


def load_part(path: Path) -> Part:
    """Read a part.

    Raises:
        ShardError: it is damaged; it is removed, so that the next run makes it anew.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            about = json.loads(bytes(arrays["about"]))
            faults = Faults()
            faults.extend(about["faults"].items(), about["first"])
            tokens = arrays["tokens"]
            word_starts = np.unpackbits(arrays["word_starts"], bitorder="little")[: len(tokens)].astype(bool)
            return Part(
                tokens, word_starts, arrays["sentence_ends"], arrays["document_ends"], about["counts"], faults
            )
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        path.unlink(missing_ok=True)
        raise ShardError(
            given=f"'{path}' is damaged ({error})", hint="run again: the part is made anew"
        ) from error


def _save(target: Path, part: Part) -> None:
    about = {"counts": part.counts, "faults": dict(part.faults.counts), "first": part.faults.first}
    draft = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        with draft.open("wb") as file:
            np.savez(
                file,
                tokens=part.tokens,
                word_starts=np.packbits(part.word_starts, bitorder="little"),
                sentence_ends=part.sentence_ends,
                document_ends=part.document_ends,
                about=np.frombuffer(json.dumps(about).encode(), np.uint8),
            )
            file.flush()
            os.fsync(file.fileno())
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)
