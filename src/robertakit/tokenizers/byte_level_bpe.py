"""Byte-level BPE in plain Python: the specification that the fast core equals, string for string.

Words of the splitter become bytes, the bytes printable characters, and pairs of them are merged in order of
rank (Sennrich et al. 2016; Radford et al. 2019). No `tokenizers` here.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from heapq import heapify, heappop, heappush
from itertools import pairwise

from robertakit.tokenizers.byte_level import CHARACTER_OF, ByteLevelModel, decode_pieces, spaces_around, trim
from robertakit.tokenizers.core import Pieces, refuse_lone_surrogates
from robertakit.tokenizers.splitter import split

CACHED_WORDS = 2**17
CACHED_CHARACTERS = 64
"""Words are remembered up to this number and this length, so that strange text cannot fill the memory."""

Word = tuple[list[int], list[tuple[int, int]], list[tuple[int, int]]]
"""Ids of a word, the characters of the word that each covers, and the spaces around each."""


class ByteLevelBPE:
    """The slow core of RoBERTa's tokenizer; see `core.Core`.

    Args:
        model: vocabulary and merges, checked.
        add_prefix_space: put a space before a stretch of text that does not begin with one.
        trim_offsets: leave spaces at the ends of a piece out of its offsets.
        errors: what `decode` does with bytes that are no UTF-8, as of `bytes.decode`.

    Example:
        >>> alphabet = {character: id for id, character in enumerate(CHARACTER_OF.values())}
        >>> core = ByteLevelBPE(ByteLevelModel({**alphabet, "Ġa": 256}, [("Ġ", "a")]))
        >>> [core.piece_of(id) for id in core.encode("an a").ids]
        ['a', 'n', 'Ġa']
    """

    def __init__(
        self,
        model: ByteLevelModel,
        *,
        add_prefix_space: bool = False,
        trim_offsets: bool = True,
        errors: str = "replace",
    ) -> None:
        self.model = model
        self.add_prefix_space = add_prefix_space
        self.trim_offsets = trim_offsets
        self.errors = errors
        self._ranks = {pair: rank for rank, pair in enumerate(model.merges)}
        self._pieces = {id: piece for piece, id in model.vocabulary.items()}
        self._words: dict[str, Word] = {}

    def __reduce__(self) -> tuple[object, ...]:
        options = {name: getattr(self, name) for name in ("add_prefix_space", "trim_offsets", "errors")}
        return partial(type(self), **options), (self.model,)

    @property
    def vocabulary(self) -> Mapping[str, int]:
        """Piece -> id."""
        return self.model.vocabulary

    def piece_of(self, id: int) -> str:
        """The piece of an id; KeyError for an id that the vocabulary does not have."""
        return self._pieces[id]

    def encode(
        self,
        text: str,
        with_offsets: bool = True,
        *,
        prefix_space: bool | None = None,
        begins_text: bool = True,
    ) -> Pieces:
        """Encode one stretch of plain text; see `core.Core.encode`."""
        refuse_lone_surrogates(text)
        wants_prefix = self.add_prefix_space if prefix_space is None else prefix_space
        prefixed = wants_prefix and bool(text) and not text.startswith(" ")
        words = [self._word(word) for word in split(" " + text if prefixed else text)]
        ids = [id for word in words for id in word[0]]
        if not with_offsets:
            return Pieces(ids)
        offsets: list[tuple[int, int]] = []
        position = 0
        for _, spans, _ in words:
            offsets += [(position + start, position + end) for start, end in spans]
            position += spans[-1][1]
        if prefixed:  # the space that was put in shares the first character
            offsets = [(max(start - 1, 0), max(end - 1, 1)) for start, end in offsets]
        if self.trim_offsets:
            spaces = (spaces for word in words for spaces in word[2])
            offsets = trim(offsets, spaces, keep_first=wants_prefix and begins_text)
        return Pieces(ids, offsets, [number for number, word in enumerate(words) for _ in word[0]])

    def encode_batch(
        self,
        texts: Sequence[str],
        with_offsets: bool = False,
        *,
        prefix_space: bool | None = None,
        begins_text: Sequence[bool] | None = None,
    ) -> list[Pieces]:
        """Encode many stretches; see `core.Core.encode_batch`."""
        begins = begins_text if begins_text is not None else [True] * len(texts)
        return [
            self.encode(text, with_offsets, prefix_space=prefix_space, begins_text=begin)
            for text, begin in zip(texts, begins, strict=True)
        ]

    def decode(self, pieces: Sequence[str]) -> str:
        """The text of pieces; `decode` of what `encode` gave is the text again."""
        return decode_pieces(pieces, self.errors)

    def _word(self, word: str) -> Word:
        known = self._words.get(word)
        if known is None:
            known = self._encode_word(word)
            if len(word) <= CACHED_CHARACTERS:
                if len(self._words) >= CACHED_WORDS:
                    self._words = {}
                self._words[word] = known
        return known

    def _encode_word(self, word: str) -> Word:
        pieces = self._merge([CHARACTER_OF[byte] for byte in word.encode()])
        character_of = [number for number, character in enumerate(word) for _ in character.encode()]
        spans = []
        first = 0
        for piece in pieces:  # a piece that begins or ends inside a character covers the whole of it
            last = first + len(piece) - 1
            spans.append((character_of[first], character_of[last] + 1))
            first = last + 1
        vocabulary = self.model.vocabulary
        ids = [vocabulary[piece if piece in vocabulary else self.model.unk_token] for piece in pieces]
        return ids, spans, [spaces_around(piece) for piece in pieces]

    def _merge(self, symbols: list[str]) -> list[str]:
        """Merge the pair of lowest rank, the leftmost of equals, until no pair has a rank.

        A heap holds the pairs with their places, so that a word of n bytes costs n·log n. A merged symbol stands
        at its first byte and its other places are emptied; pairs in the heap that have changed since are passed over.
        """
        ranks = self._ranks
        following = list(range(1, len(symbols) + 1))
        preceding = list(range(-1, len(symbols) - 1))
        heap = [(ranks[pair], place) for place, pair in enumerate(pairwise(symbols)) if pair in ranks]
        heapify(heap)
        end = len(symbols)
        while heap:
            rank, place = heappop(heap)
            neighbour = following[place]
            if not symbols[place] or neighbour == end:
                continue
            if ranks.get((symbols[place], symbols[neighbour])) != rank:
                continue
            symbols[place] += symbols[neighbour]
            symbols[neighbour] = ""
            beyond = following[place] = following[neighbour]
            if beyond < end:
                preceding[beyond] = place
                new_rank = ranks.get((symbols[place], symbols[beyond]))
                if new_rank is not None:
                    heappush(heap, (new_rank, place))
            before = preceding[place]
            if before >= 0:
                new_rank = ranks.get((symbols[before], symbols[place]))
                if new_rank is not None:
                    heappush(heap, (new_rank, before))
        return [symbol for symbol in symbols if symbol]
