"""A whole file as bytes, without reading it."""

import mmap
from pathlib import Path

from robertakit.errors import CorruptFile

__all__ = ["map_file"]


def map_file(path: Path) -> mmap.mmap:
    """Map a whole file read-only.

    Raises:
        CorruptFile: no ordinary file, or an empty one.
    """
    if not path.is_file():  # a pipe or a device would block or never end
        raise CorruptFile(given=f"'{path}' is no ordinary file")
    with path.open("rb") as file:
        if file.seek(0, 2) == 0:
            raise CorruptFile(given=f"'{path}' is empty", hint="fetch the file again")
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
