"""What slow and fast byte-level BPE share: the alphabet of bytes, the checked vocabulary, trimmed offsets.

Reading the published files (`vocab.json`, `merges.txt`) is here too; encoding is not.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from robertakit.errors import TokenizerError

MAX_FILE_BYTES: Final = 256 * 2**20
"""A vocabulary or merges file above this is refused unread; the published ones have about 1 MB."""


def byte_alphabet() -> dict[int, str]:
    """Byte -> the printable character that stands for it in pieces (Radford et al. 2019, encoder.py).

    The printable characters of Latin-1 stand for themselves, all other bytes for U+0100 onwards in order.

    Example:
        >>> byte_alphabet()[ord(" ")]
        'Ġ'
    """
    printable = (*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100))
    others = (byte for byte in range(0x100) if byte not in printable)
    alphabet = {byte: chr(byte) for byte in printable}
    alphabet.update((byte, chr(0x100 + number)) for number, byte in enumerate(others))
    return alphabet


CHARACTER_OF: Final = byte_alphabet()
BYTE_OF: Final = {character: byte for byte, character in CHARACTER_OF.items()}
SPACE: Final = CHARACTER_OF[ord(" ")]


@dataclass(frozen=True, slots=True)
class ByteLevelModel:
    """A checked byte-level BPE model: vocabulary (piece -> id), merges in order of rank, the unknown piece.

    Raises:
        TokenizerError: ids that are no distinct whole numbers from 0, a merge whose parts or result are not in
            the vocabulary, or a vocabulary that lacks both a byte and the unknown token.
    """

    vocabulary: Mapping[str, int]
    merges: Sequence[tuple[str, str]]
    unk_token: str = "<unk>"

    def __post_init__(self) -> None:
        ids = self.vocabulary.values()
        if not all(type(id) is int and 0 <= id < 2**32 for id in ids) or len(set(ids)) != len(
            self.vocabulary
        ):
            raise TokenizerError(
                given="a byte-level BPE vocabulary with ids that repeat or are no numbers from 0",
                expected="one id for each piece",
            )
        for left, right in self.merges:
            for piece in (left, right, left + right):
                if piece not in self.vocabulary:
                    raise TokenizerError(
                        given=f"merge '{left} {right}' with {piece!r} outside the vocabulary",
                        expected="merges made of pieces of the vocabulary",
                        hint="take vocab.json and merges.txt of the same model",
                    )
        lacking = [character for character in BYTE_OF if character not in self.vocabulary]
        if lacking and self.unk_token not in self.vocabulary:
            raise TokenizerError(
                given=f"a byte-level BPE vocabulary without {lacking[0]!r} and without {self.unk_token!r}",
                expected="a piece for each byte, or an unknown token",
            )


def read_vocabulary(path: Path) -> dict[str, int]:
    """Read a `vocab.json`: one JSON object, piece -> id. Raises TokenizerError."""
    try:
        found = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise TokenizerError(
            given=f"{path.name} that is no JSON ({error})", expected="an object piece -> id"
        ) from None
    return vocabulary_of(found, path.name)


def vocabulary_of(found: object, name: str) -> dict[str, int]:
    """Check that parsed JSON is a vocabulary, piece -> id. Raises TokenizerError."""
    if not isinstance(found, dict) or not all(type(id) is int for id in found.values()):
        raise TokenizerError(given=f"{name} that is no vocabulary", expected="an object piece -> id")
    return found


def read_merges(path: Path) -> list[tuple[str, str]]:
    """Read a `merges.txt`: a merge a line, by rank; a first line `#version…` is left out. Raises TokenizerError."""
    lines = read_text(path).split("\n")
    if lines[0].startswith("#version"):
        lines[0] = ""
    return merges_of((line.rstrip("\r") for line in lines if line.strip()), path.name)


def merges_of(found: Iterable[object], name: str) -> list[tuple[str, str]]:
    """Check merges as `merges.txt` and older `tokenizer.json` ("a b") or newer ones (["a", "b"]) write them."""
    merges = []
    for merge in found:
        parts = merge.split(" ") if isinstance(merge, str) else merge
        match parts:
            case [str(left), str(right)] if left and right:
                merges.append((left, right))
            case _:
                raise TokenizerError(
                    given=f"{name} with the merge {str(merge)[:80]!r}",
                    expected="two pieces with a space between",
                )
    return merges


def read_text(path: Path) -> str:
    """Read a UTF-8 file of bounded size. Raises TokenizerError."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise TokenizerError(
            given=f"{path} that cannot be read ({error.strerror})", expected="a file"
        ) from error
    if len(raw) > MAX_FILE_BYTES:
        raise TokenizerError(given=f"{path.name} above {MAX_FILE_BYTES} bytes", expected="a tokenizer file")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise TokenizerError(
            given=f"{path.name} that is not UTF-8 ({error.reason})", expected="UTF-8"
        ) from None


def decode_pieces(pieces: Iterable[str], errors: str) -> str:
    """The text of pieces; `errors` as of `bytes.decode`. Characters outside the alphabet stand for themselves."""
    joined = "".join(pieces)
    try:
        raw = bytes(map(BYTE_OF.__getitem__, joined))
    except KeyError:
        raw = b"".join(
            bytes((BYTE_OF[character],)) if character in BYTE_OF else character.encode()
            for character in joined
        )
    return raw.decode("utf-8", errors=errors)


def spaces_around(piece: str) -> tuple[int, int]:
    """How many spaces a piece begins and ends with; one of spaces alone counts them twice."""
    return len(piece) - len(piece.lstrip(SPACE)), len(piece) - len(piece.rstrip(SPACE))


def trim(
    offsets: list[tuple[int, int]], spaces: Iterable[tuple[int, int]], keep_first: bool
) -> list[tuple[int, int]]:
    """Take the spaces at the ends of pieces out of their offsets, as the reference's fast class does.

    `spaces`: of each piece, `spaces_around`. `keep_first`: the reference with `add_prefix_space` leaves the
    front of a piece that starts at the first character of the text alone, be the space its own or the text's.
    """
    trimmed = []
    for (start, end), (leading, trailing) in zip(offsets, spaces, strict=True):
        if leading and not (keep_first and start == 0):
            start = min(start + leading, end)
        if trailing and end >= trailing:
            end = max(end - trailing, start)
        trimmed.append((start, end))
    return trimmed
