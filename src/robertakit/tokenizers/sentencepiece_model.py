"""The `.model` file of SentencePiece: reading it and writing it without a protobuf library.

A file says how many bytes each part has; here every such length is checked against the bytes that are there
before anything is made of it. What the parts mean for text is in `normalization` and `unigram`.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Final

from robertakit.errors import TokenizerError

MAX_FILE_BYTES: Final = 256 * 2**20
"""A model above this is refused unread; XLM-R's has 5 MB."""

# Wire types of protobuf (protobuf.dev/programming-guides/encoding).
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
Field = tuple[int, int, int, int]
"""Number, wire type, and either the value twice (VARINT) or where the value begins and ends."""


class PieceType(IntEnum):
    """The types of sentencepiece_model.proto."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


@dataclass(frozen=True, slots=True)
class SentencePieceModel:
    """A unigram model: pieces in order of their ids in the file, with float32 scores and types.

    `charsmap` is the compiled normalisation (empty: none); `serialized` the file as it was read, None for a model
    made of other data. Only what XLM-R and CamemBERT use is accepted: white space collapsed and written as `▁`, a
    `▁` in front, no piece with a `▁` behind its first character, no byte pieces, no user-defined symbols.
    """

    pieces: list[str]
    scores: list[float]
    types: list[int]
    charsmap: bytes = b""
    serialized: bytes | None = None

    def __post_init__(self) -> None:
        if not len(self.pieces) == len(self.scores) == len(self.types):
            raise refusal("a list of pieces, of scores and of types that differ in length")
        if self.types.count(PieceType.UNKNOWN) != 1:
            raise refusal(f"{self.types.count(PieceType.UNKNOWN)} unknown pieces", "exactly one")
        if PieceType.NORMAL not in self.types:
            raise refusal("no piece of text")
        odd = {type for type in self.types if type not in (1, 2, 3, 5)}
        if odd:
            raise refusal(
                f"pieces of type {', '.join(str(type) for type in sorted(odd))}",
                "normal, unknown, control and unused ones",
            )
        ordinary = [piece for piece, type in zip(self.pieces, self.types, strict=True) if type in (1, 5)]
        if len(set(ordinary)) != len(ordinary) or "" in ordinary:
            raise refusal("a piece that is empty or stands twice")
        crossing = next((piece for piece in ordinary if "▁" in piece[1:]), None)
        if crossing is not None:
            raise refusal(f"the piece {crossing!r}", "`▁` only at the front of a piece")
        if not all(score - score == 0.0 for score in self.scores):
            raise refusal("a score that is no finite number")

    @property
    def unk_id(self) -> int:
        """The place of the unknown piece."""
        return self.types.index(PieceType.UNKNOWN)

    @classmethod
    def from_file(cls, path: Path) -> "SentencePieceModel":
        """Read a `.model` file. Raises TokenizerError."""
        try:
            with path.open("rb") as file:
                data = file.read(MAX_FILE_BYTES + 1)
        except OSError as error:
            raise TokenizerError(
                given=f"{path} that cannot be read ({error.strerror})", expected="a file"
            ) from error
        return cls.from_bytes(data)

    @classmethod
    def from_bytes(cls, data: bytes) -> "SentencePieceModel":
        """Read the bytes of a `.model` file. Raises TokenizerError."""
        if len(data) > MAX_FILE_BYTES:
            raise refusal(f"more than {MAX_FILE_BYTES} bytes")
        pieces: list[str] = []
        scores: list[float] = []
        types: list[int] = []
        charsmap = b""
        try:
            for number, wire, start, end in fields(data, 0, len(data)):
                if (number, wire) == (1, BYTES):
                    piece, score, type = read_piece(data, start, end)
                    pieces.append(piece)
                    scores.append(score)
                    types.append(type)
                elif (number, wire) == (2, BYTES):
                    check_trainer(data, start, end)
                elif (number, wire) == (3, BYTES):
                    charsmap = read_charsmap(data, start, end)
        except UnicodeDecodeError:
            raise refusal("a piece that is not UTF-8") from None
        return cls(pieces, scores, types, charsmap, data)

    def to_bytes(self) -> bytes:
        """The model as a `.model` file: the one it was read from, else one with what a reader needs."""
        if self.serialized is not None:
            return self.serialized
        parts = []
        for piece, score, type in zip(self.pieces, self.scores, self.types, strict=True):
            raw = piece.encode()
            message = b"\x0a" + varint(len(raw)) + raw + b"\x15" + struct.pack("<f", score)
            if type != PieceType.NORMAL:
                message += b"\x18" + varint(type)
            parts.append(b"\x0a" + varint(len(message)) + message)
        trainer = b"\x18\x01"  # field 3, the model type: unigram
        parts.append(b"\x12" + varint(len(trainer)) + trainer)
        normalizer = b"\x12" + varint(len(self.charsmap)) + self.charsmap
        normalizer += b"\x18\x01\x20\x01\x28\x01"  # fields 3 to 5, the treatment of white space: all on
        parts.append(b"\x1a" + varint(len(normalizer)) + normalizer)
        return b"".join(parts)


def refusal(given: str, expected: str = "a unigram model of SentencePiece as XLM-R's") -> TokenizerError:
    """The error for a model that is broken or of another kind."""
    return TokenizerError(
        given=f"a SentencePiece model with {given}", expected=expected, hint="check the .model file"
    )


def fields(data: bytes, position: int, end: int) -> Iterator[Field]:
    """The fields of the message in data[position:end]. Raises TokenizerError where a length lies."""
    while position < end:
        key, position = read_varint(data, position, end)
        number, wire = key >> 3, key & 7
        if wire == VARINT:
            value, position = read_varint(data, position, end)
            yield number, wire, value, value
            continue
        if wire == BYTES:
            length, position = read_varint(data, position, end)
        elif wire in (FIXED32, FIXED64):
            length = 4 if wire == FIXED32 else 8
        else:
            raise refusal(f"wire type {wire}")
        if length > end - position:
            raise refusal(f"a field of {length} bytes where {end - position} are left")
        yield number, wire, position, position + length
        position += length


def read_varint(data: bytes, position: int, end: int) -> tuple[int, int]:
    """The number of variable length at a position, and the position after it."""
    value = shift = 0
    while position < end and shift < 64:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
    raise refusal("a number that does not end")


def varint(value: int) -> bytes:
    """A number in protobuf's variable length."""
    raw = bytearray()
    while value >= 0x80:
        raw.append(value & 0x7F | 0x80)
        value >>= 7
    raw.append(value)
    return bytes(raw)


def read_piece(data: bytes, start: int, end: int) -> tuple[str, float, int]:
    """One piece: text, score, type (normal where it does not say)."""
    piece, score, type = "", 0.0, int(PieceType.NORMAL)
    for number, wire, first, last in fields(data, start, end):
        if number == 1 and wire == BYTES:
            piece = data[first:last].decode()
        elif number == 2 and wire == FIXED32:
            (score,) = struct.unpack_from("<f", data, first)
        elif number == 3 and wire == VARINT:
            type = first
    return piece, score, type


def check_trainer(data: bytes, start: int, end: int) -> None:
    """Refuse a model that is no unigram model or writes white space otherwise (TrainerSpec)."""
    for number, wire, value, _ in fields(data, start, end):
        if wire != VARINT:
            continue
        if number == 3 and value != 1:
            kinds = {2: "BPE", 3: "words", 4: "characters"}
            raise refusal(f"model type {value} ({kinds.get(value, 'unknown')})", "a unigram model (type 1)")
        if number == 24 and value:
            raise refusal("white space behind words (treat_whitespace_as_suffix)", "white space before words")
        if number == 35 and value:
            raise refusal("byte pieces (byte_fallback)", "an unknown piece for unknown characters")


def read_charsmap(data: bytes, start: int, end: int) -> bytes:
    """The compiled normalisation; a model that treats white space otherwise is refused (NormalizerSpec)."""
    charsmap = b""
    flags = {3: "add_dummy_prefix", 4: "remove_extra_whitespaces", 5: "escape_whitespaces"}
    for number, wire, first, last in fields(data, start, end):
        if number == 2 and wire == BYTES:
            charsmap = data[first:last]
        elif number in flags and wire == VARINT and not first:
            raise refusal(f"{flags[number]} off", f"{flags[number]} on, as in XLM-R")
    return charsmap
