"""Files read through gzip, xz or zstd, told by their first bytes; a file that is cut off never looks whole."""

import gzip
import io
import lzma
import zlib
from pathlib import Path
from typing import Protocol, cast

from robertakit.errors import SourceError, require

__all__ = ["DAMAGES", "open_decompressed"]

#: What the readers raise for a file that is cut off or damaged.
DAMAGES = (EOFError, gzip.BadGzipFile, lzma.LZMAError, zlib.error)
_BUFFER = 1 << 18
_GZIP = b"\x1f\x8b"
_XZ = b"\xfd7zXZ\x00"
_ZSTD = b"\x28\xb5\x2f\xfd"
_ZSTD_SKIPPABLE = b"\x2a\x4d\x18"  # behind a byte 0x50 to 0x5f (RFC 8878, section 3.1.2)


def open_decompressed(path: Path) -> io.BufferedReader:
    """Open a file for reading, decompressed as its first bytes ask for.

    Raises:
        SourceError: (as it is read, too) a zstd file that is cut off or damaged.
        DependencyError: a zstd file, and no `zstandard`.

    Example:
        >>> from tempfile import mkdtemp
        >>> path = Path(mkdtemp()) / "no ending tells"
        >>> _ = path.write_bytes(gzip.compress(b"text"))
        >>> with open_decompressed(path) as file:
        ...     file.read()
        b'text'
    """
    with path.open("rb") as file:
        start = file.read(6)
    raw: object
    if start.startswith(_GZIP):
        raw = gzip.GzipFile(path)
    elif start == _XZ:
        raw = lzma.LZMAFile(path)  # noqa: SIM115 (the buffer around it closes it)
    elif start.startswith(_ZSTD) or (start[1:4] == _ZSTD_SKIPPABLE and start[0] >> 4 == 5):
        raw = _ZstdFile(path)
    else:
        raw = path.open("rb", buffering=0)
    return io.BufferedReader(cast("io.RawIOBase", raw), _BUFFER)


class _Frame(Protocol):
    """A `zstandard` decompression object: one frame, from its first byte to its last."""

    eof: bool
    unused_data: bytes

    def decompress(self, data: bytes) -> bytes: ...


class _ZstdFile(io.RawIOBase):
    """A zstd file of any number of frames.

    `zstandard`'s own stream reader takes the end of a file inside a frame for the end of the text.
    """

    def __init__(self, path: Path) -> None:
        zstandard = require("zstandard", extra="train", needed_for=f"reading '{path}'")
        self._error: type[Exception] = zstandard.ZstdError
        self._decompressor = zstandard.ZstdDecompressor()
        self._path = path
        self._file = path.open("rb")
        self._frame: _Frame | None = None
        self._input = b""
        self._output = b""

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self._file.close()
        super().close()

    def readinto(self, buffer: object) -> int:
        view = memoryview(cast("bytearray", buffer)).cast("B")
        while not self._output:
            self._input = self._input or self._file.read(_BUFFER)
            if not self._input:
                if self._frame is not None:
                    raise SourceError(
                        given=f"'{self._path}' is cut off: it ends inside a zstd frame",
                        expected="a whole file",
                        hint="copy or download it again, or leave it out",
                    )
                return 0
            self._decompress()
        count = min(len(view), len(self._output))
        view[:count] = self._output[:count]
        self._output = self._output[count:]
        return count

    def _decompress(self) -> None:
        frame = self._frame or cast("_Frame", self._decompressor.decompressobj())
        try:
            self._output = frame.decompress(self._input)
        except self._error as error:
            raise SourceError(
                given=f"'{self._path}' is damaged ({error})",
                expected="a whole zstd file",
                hint="copy or download it again, or leave it out",
            ) from error
        self._frame, self._input = (None, frame.unused_data) if frame.eof else (frame, b"")
