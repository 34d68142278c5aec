"""The precompiled character map of a SentencePiece model, read into nested dictionaries.

A map is a length, a double array (darts-clone) of that many bytes, and the NUL-ended strings it points to. The
array spells the old strings byte by byte; here it becomes an automaton over characters. Nothing is trusted.
"""

import struct
from collections.abc import Iterator
from typing import Final, TypeAlias

from robertakit.errors import TokenizerError

Node: TypeAlias = "dict[str, tuple[str | None, Node]]"
"""Next character -> what the string up to it becomes (None: it is no entry), and where longer ones go on."""

LEAF: Final = 1 << 31
"""Set in a unit that holds a value instead of a transition."""
HAS_VALUE: Final = 1 << 8
MAX_CHARACTERS: Final = 64
"""No old string is longer; the longest of nmt_nfkc has 4 characters."""
MAX_EDGES: Final = 2**20
"""More transitions than this are refused; nmt_nfkc has 7,600."""


def read_charsmap(charsmap: bytes) -> Node:
    """Return the automaton of a compiled map. Raises TokenizerError where it is broken."""
    if not charsmap:
        return {}
    (size,) = struct.unpack_from("<I", charsmap) if len(charsmap) > 4 else (0,)
    if size > len(charsmap) - 4 or size % 4 or not size:
        raise broken("a trie of another length than it says")
    return DoubleArray(struct.unpack_from(f"<{size // 4}I", charsmap, 4), charsmap[4 + size :]).read()


class DoubleArray:
    """Walks the units. A unit is 32 bits: the label of the transition that leads to it, whether a value stands at
    its children's place, and the distance (xor) to that place; a label's child stands at that place xor the label.
    """

    def __init__(self, units: tuple[int, ...], strings: bytes) -> None:
        self.units = units
        self.strings = strings
        self.reached: dict[int, list[int]] = {}  # place of children -> the units that say they are among them
        for place, unit in enumerate(units):
            label = unit & 0xFF
            if label and not unit & LEAF:
                self.reached.setdefault(place ^ label, []).append(place)
        self.nodes: dict[int, Node] = {}
        self.edges = 0

    def read(self) -> Node:
        """The automaton from the root."""
        return self._node(self._children(0), 0)

    def _node(self, base: int, depth: int) -> Node:
        """The transitions from a place between two characters; places are shared by strings that end alike."""
        if depth > MAX_CHARACTERS:
            raise broken("a trie that does not end")
        if base not in self.nodes:
            found: Node = {}
            for character, place in self._characters(base):
                found[character] = (self._value(place), self._node(self._children(place), depth + 1))
                self.edges += 1
                if self.edges > MAX_EDGES:
                    raise broken("a trie that is too large")
            self.nodes[base] = found
        return self.nodes[base]

    def _characters(self, base: int) -> Iterator[tuple[str, int]]:
        """The characters that lead on from a place, each with the unit of its last byte."""
        waiting = [(b"", base)]
        while waiting:
            begun, base = waiting.pop()
            for label, place in self._labels(base):
                raw = begun + bytes((label,))
                try:
                    yield raw.decode(), place
                except UnicodeDecodeError as error:
                    if error.reason != "unexpected end of data" or self.units[place] & HAS_VALUE:
                        raise broken("an entry that is not UTF-8") from None
                    waiting.append((raw, self._children(place)))

    def _labels(self, base: int) -> Iterator[tuple[int, int]]:
        if base | 0xFF >= len(self.units):
            raise broken("a transition that leaves its trie")
        for place in self.reached.get(base, ()):
            yield place ^ base, place

    def _children(self, place: int) -> int:
        unit = self.units[place]
        return place ^ (unit >> 10 << ((unit & 1 << 9) >> 6))

    def _value(self, place: int) -> str | None:
        if not self.units[place] & HAS_VALUE:
            return None
        first = self.units[self._children(place)] & ~LEAF  # within the trie: `_node` looks at the same block
        end = self.strings.find(b"\0", first)
        if end < 0:
            raise broken("an entry outside its strings")
        try:
            value = self.strings[first:end].decode()
        except UnicodeDecodeError:
            raise broken("an entry that is not UTF-8") from None
        if "  " in value.lstrip(" "):
            raise broken("an entry with two spaces in a row")
        return value


def broken(given: str) -> TokenizerError:
    """The error for a compiled map that cannot be followed."""
    return TokenizerError(
        given=f"a precompiled character map with {given}",
        expected="a map as SentencePiece compiles it",
        hint="check the tokenizer's files",
    )
