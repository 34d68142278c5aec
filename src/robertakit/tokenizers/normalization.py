"""SentencePiece's normalisation: a compiled map of strings to strings, white space collapsed and written `▁`.

Each character of the result knows which characters of the caller's text it stands for. The map's trie is a
double array (darts-clone); what has no entry in it stays as it is. No `sentencepiece` here.
"""

import re
from dataclasses import dataclass

from robertakit.tokenizers.charsmap import Node, read_charsmap

WORD_MARK = "▁"


@dataclass(slots=True)
class Normalized:
    """Normalised text, and for each of its characters the first of the caller's that it stands for and the one
    after the last (None where they were not asked for).
    """

    text: str
    starts: list[int] | None = None
    ends: list[int] | None = None


class Normalizer:
    """What SentencePiece does to text before it looks for pieces (its normalizer.cc).

    Args:
        charsmap: `precompiled_charsmap` of a `.model` or `tokenizer.json`; empty for none. Raises TokenizerError
            where it is broken.

    Example:
        >>> normalized = Normalizer(b"").normalize(" two  words")
        >>> normalized.text, normalized.starts
        ('▁two▁words', [1, 1, 2, 3, 6, 6, 7, 8, 9, 10])
    """

    def __init__(self, charsmap: bytes) -> None:
        self.entries = read_charsmap(charsmap)
        tails: set[str] = set()
        waiting = [following for _, following in self.entries.values()]
        seen: set[int] = set()
        while waiting:
            node = waiting.pop()
            if id(node) not in seen:
                seen.add(id(node))
                tails.update(node)
                waiting += [following for _, following in node.values()]
        singles = {character for character, (new, _) in self.entries.items() if new not in (None, character)}
        # Where none of these stands, nothing changes: a character with an entry of its own, or one that goes on
        # with a sequence that has one. (All beyond U+FFFF are taken in: `re` is slow with many of those.)
        marked = re.escape(
            "".join(sorted(character for character in singles | tails if character <= "\uffff"))
        )
        self._mark = re.compile(f"[{marked}\U00010000-\U0010ffff]") if self.entries else None

    def normalize(self, text: str, with_alignment: bool = True) -> Normalized:
        """Normalise text; blank text gives an empty one, all else begins with `▁`."""
        mapped, alignment = self._map(text, with_alignment)
        if not with_alignment:
            words = [word for word in mapped.split(" ") if word]
            joined = WORD_MARK + WORD_MARK.join(words) if words else ""
            return Normalized(joined.rstrip(WORD_MARK))
        parts: list[str] = []
        places: list[int] = []
        place = 0
        for word in mapped.split(" "):
            if word:
                parts.append(WORD_MARK + word)
                places.append(place)  # a mark stands where its word begins
                places.extend(range(place, place + len(word)))
            place += len(word) + 1
        joined = "".join(parts).rstrip(WORD_MARK)
        del places[len(joined) :]
        if alignment is None:
            return Normalized(joined, places, [place + 1 for place in places])
        starts, ends = alignment
        return Normalized(joined, [starts[place] for place in places], [ends[place] for place in places])

    def _map(self, text: str, with_alignment: bool) -> tuple[str, tuple[list[int], list[int]] | None]:
        """Replace the longest entry at each place; the alignment is None where all characters keep their places."""
        mark = self._mark.search(text) if self._mark else None
        if self._mark is None or mark is None:
            return text, None
        parts: list[str] = []
        replaced: list[tuple[int, int, int]] = []  # where, how many characters became how many
        done = 0
        while mark is not None:
            place = mark.start()
            old, new = (0, "") if place == done else longest_entry(self.entries, text, place - 1)
            if old:
                place -= 1
            else:
                old, new = longest_entry(self.entries, text, place)
            if old:
                parts += (text[done:place], new)
                if old != len(new):
                    replaced.append((place, old, len(new)))
                done = place + old
            mark = self._mark.search(text, max(done, mark.start() + (not old)))
        parts.append(text[done:])
        return "".join(parts), align(len(text), replaced) if with_alignment and replaced else None


def longest_entry(entries: Node, text: str, place: int) -> tuple[int, str]:
    """The length of the longest entry at a place of the text, and what it becomes; (0, "") for none."""
    length, becomes = 0, ""
    node = entries
    for end in range(place, len(text)):
        found = node.get(text[end])
        if found is None:
            break
        new, node = found
        if new is not None:
            length, becomes = end + 1 - place, new
    return length, becomes


def align(length: int, replaced: list[tuple[int, int, int]]) -> tuple[list[int], list[int]]:
    """Starts and ends of the characters that replacements leave, as the reference's fast class counts them.

    Replaced characters stand one for one as far as they go; more of them share the last, and where there are fewer
    the last new one takes what is left over. Where nothing new is left to take it, the character before takes it,
    though it is not shown as covering it; at the very front of a text there is none, and all that follows stands
    that much too far left. That is `tokenizers`' arithmetic, which the published offsets carry.

    Args:
        length: characters of the caller's text.
        replaced: place, number of old and number of new characters of each replacement, in order.
    """
    # For each new character: 1 if it shares the old one before it, else 0 less the further old ones it takes.
    changes: list[int] = []
    done = 0
    for place, old, new in replaced:
        changes += [0] * (place - done + min(old, new)) + [1] * (new - old)
        if new < old and changes:
            changes[-1] -= old - new
        done = place + old
    changes += [0] * (length - done)
    starts, ends = [], []
    place = 0
    for change in changes:
        if change > 0:
            starts.append(max(place - 1, 0))
            ends.append(place)
        else:
            starts.append(place)
            ends.append(place + 1)
            place += 1 - change
    return starts, ends
