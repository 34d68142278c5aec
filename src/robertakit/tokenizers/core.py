"""What a tokenizer core is: plain text in, ids and offsets out.

A core knows one model (byte-level BPE or unigram) and nothing of special tokens, pairs, truncation
or padding: the tokenizer classes split the text at added tokens and hand the stretches between to
a core. Each model has a slow core, the readable specification, and a fast one that equals it:
`ByteLevelBPE` and `FastByteLevelBPE`, `Unigram` and `FastUnigram`, each in a file of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from robertakit.errors import InputError


@dataclass(slots=True)
class Pieces:
    """The pieces of one stretch of plain text.

    `ids`: model ids. `offsets`: for each piece the first character of the stretch that it covers and
    the one after its last (None where they were not asked for). `words`: for each piece the number of
    its word, counted from 0 within the stretch (None together with `offsets`).
    """

    ids: list[int]
    offsets: list[tuple[int, int]] | None = None
    words: list[int] | None = None


class Core(Protocol):
    """One tokenization model, slow or fast; both give the same for every string.

    Cores are safe to share between threads, and pickle as what they were built from.
    """

    @property
    def vocabulary(self) -> Mapping[str, int]:
        """Piece -> model id, as the documented class shows them: XLM-R's with fairseq's offset, with
        `<s>` 0, `<pad>` 1, `</s>` 2, `<unk>` 3 and `<mask>` last. Added tokens are not in here. Not to be changed.
        """
        ...

    def piece_of(self, id: int) -> str:
        """The piece of an id; KeyError for an id that the vocabulary does not have."""
        ...

    def encode(
        self,
        text: str,
        with_offsets: bool = True,
        *,
        prefix_space: bool | None = None,
        begins_text: bool = True,
    ) -> Pieces:
        """Encode one stretch of plain text.

        The keywords matter to byte-level BPE only (unigram always starts a stretch with `▁`).
        `prefix_space`: whether a stretch that does not begin with U+0020 gets one; None is the core's
        own `add_prefix_space`. `begins_text`: False for a stretch after an added token; there the
        reference trims a space that it put in from the offsets of the text itself, and so do we.
        An empty stretch has no pieces. A lone surrogate raises InputError.
        """
        ...

    def encode_batch(
        self,
        texts: Sequence[str],
        with_offsets: bool = False,
        *,
        prefix_space: bool | None = None,
        begins_text: Sequence[bool] | None = None,
    ) -> list[Pieces]:
        """Encode many stretches, each as `encode` does (`begins_text`: one for each, None all True)."""
        ...

    def decode(self, pieces: Sequence[str]) -> str:
        """The text of pieces of plain text, as the documented slow class joins them."""
        ...


def refuse_lone_surrogates(text: str) -> None:
    """Raise InputError where `text` holds half of a surrogate pair: it has no UTF-8 form."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InputError(
            given=f"text with the lone surrogate U+{ord(text[error.start]):04X} at character {error.start}",
            expected="text that UTF-8 can write",
            hint="decode the bytes with errors='replace', or drop the character",
        ) from None
