"""Where words begin in rows of ids, for tokenizers of this family.

A word is what the fast tokenizers' ``word_ids`` call one: with byte-level BPE a piece of the text as GPT-2's pattern
cuts it (a word with the space before it, a number, a run of punctuation), with unigram what stands between spaces.
Neither is marked by ``##`` as BERT's are: byte-level pieces of punctuation begin a word and bear no mark at all.
"""

import codecs
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from robertakit.errors import InputError
from robertakit.tokenizers.byte_level import BYTE_OF, SPACE
from robertakit.tokenizers.normalization import WORD_MARK

if TYPE_CHECKING:
    from robertakit.tokenizers import PreTrainedTokenizerBase

__all__ = ["WordStarts"]

_PLACEHOLDERS = "robertakit.placeholders"


class WordStarts:
    """Says which ids of a row begin a word.

    Args:
        tokenizer: byte-level BPE or unigram.

    Raises:
        InputError: a vocabulary of neither kind.

    Example:
        >>> from robertakit import AutoTokenizer, embedded
        >>> tokenizer = AutoTokenizer.from_pretrained(embedded.folder())
        >>> ids = tokenizer("Unbelievably, it rained.").input_ids
        >>> starts = WordStarts(tokenizer)(ids)
        >>> [tokenizer.decode(word) for word in np.split(np.array(ids), np.flatnonzero(starts))[1:]]
        ['<s>', 'Unbelievably', ',', ' it', ' rained', '.', '</s>']
    """

    def __init__(self, tokenizer: "PreTrainedTokenizerBase") -> None:
        vocabulary = tokenizer.get_vocab()
        added = set(tokenizer.added_tokens_decoder)
        size = max(vocabulary.values(), default=-1) + 1
        self._own = np.zeros(size, np.bool_)  # an added token is a word of its own
        self._own[sorted(added)] = True
        self._own[[id for id in tokenizer.all_special_ids if id < size]] = True
        # Byte-level BPE has no piece with unigram's mark, while unigram may have byte-level BPE's: a Maltese letter.
        marks = np.zeros(size, np.bool_)
        marks[[id for piece, id in vocabulary.items() if piece.startswith(WORD_MARK)]] = True
        marks &= ~self._own
        self._marks = marks if marks.any() else None
        if self._marks is not None and tokenizer.unk_token_id is not None:
            self._own[tokenizer.unk_token_id] = False  # unigram's stand-in for characters inside of words
        if self._marks is None and SPACE not in vocabulary:
            raise InputError(
                given=f"{type(tokenizer).__name__} whose vocabulary marks no words",
                expected=f"byte-level BPE ({SPACE!r}) or unigram ({WORD_MARK!r})",
                hint="give each example its word_ids",
            )

        self._bytes = [b""] * size
        if self._marks is None:
            for piece, id in vocabulary.items():
                self._bytes[id] = bytes(BYTE_OF.get(each, ord("?")) for each in piece)
        self._lengths = np.array([len(each) for each in self._bytes], np.int64)

    def __call__(self, ids: Sequence[int] | NDArray[np.integer]) -> NDArray[np.bool_]:
        """Return where words begin, (n,); special and added tokens are words of their own.

        Args:
            ids: (n,) of one row.

        Raises:
            InputError: an id outside the vocabulary.
        """
        row = np.asarray(ids, np.int64)
        if row.size and not (row.min() >= 0 and row.max() < len(self._own)):
            wrong = row.max() if row.max() >= len(self._own) else row.min()
            raise InputError(given=f"id {wrong}", expected=f"0 to {len(self._own) - 1}")
        own = self._own[row]
        starts = own.copy()
        starts[1:] |= own[:-1]
        starts[:1] = True
        if self._marks is not None:
            return starts | self._marks[row]
        begin = 0
        for end in [*np.flatnonzero(own).tolist(), len(row)]:
            if end > begin:
                starts[begin:end] |= self._cut_by_pattern(row[begin:end].tolist())
            begin = end + 1
        return starts

    def _cut_by_pattern(self, ids: list[int]) -> NDArray[np.bool_]:
        """Byte-level pieces say nothing of their words: the text is put together and cut as GPT-2 cuts it."""
        from tokenizers import pre_tokenizers  # the core's own cutter

        written = b"".join([self._bytes[id] for id in ids])
        text = written.decode("utf-8", _PLACEHOLDERS)
        cut = pre_tokenizers.ByteLevel(add_prefix_space=False).pre_tokenize_str(text)
        begins = np.zeros(len(written) + 1, np.bool_)
        begins[0] = True
        begins[np.cumsum([len(word) for word, _ in cut])] = True  # a character of the alphabet is a byte
        lengths = self._lengths[ids]
        starts: NDArray[np.bool_] = begins[np.cumsum(lengths) - lengths]
        return starts


def _placeholders(error: UnicodeError) -> tuple[str, int]:
    """Put a letter in the place of each byte of a character that a row begins or ends inside of."""
    assert isinstance(error, UnicodeDecodeError)
    return "x" * (error.end - error.start), error.end


codecs.register_error(_PLACEHOLDERS, _placeholders)
