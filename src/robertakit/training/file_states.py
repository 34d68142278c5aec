"""What a corpus was made of: the names and the content of its files, remembered so that one that changed is seen."""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

__all__ = ["FileState", "file_states", "states_in"]

#: Name, size in bytes, time of its last change in nanoseconds, digest of its content: as JSON stores it.
FileState = list[str | int]

_DIGEST_BYTES = 20


def file_states(paths: Iterable[Path], before: Sequence[object] = ()) -> list[FileState]:
    """Describe files, those whose content is as it was before by the very description of before.

    A file of the same name, size and time of change counts as the same without being read, as for ``make`` and
    ``rsync``. One whose time alone differs is read: text that was copied, unpacked or mounted anew is the same text.

    Args:
        paths: of the files.
        before: what this function returned of them once, as a manifest has it; anything else in it is left aside.

    Raises:
        OSError: a file is gone or cannot be read.

    Example:
        >>> from tempfile import mkdtemp
        >>> path = Path(mkdtemp()) / "a.txt"
        >>> _ = path.write_text("the same")
        >>> first = file_states([path])
        >>> path.touch()
        >>> file_states([path], first) == first
        True
    """
    known = {row[0]: row for row in before if isinstance(row, list) and len(row) == 4}
    return [_state(path, known.get(str(path))) for path in paths]


def states_in(sources: object) -> list[object]:
    """Return the descriptions in a stored list of sources, ``[{"files": …}, …]``; none where it is something else.

    Example:
        >>> states_in([{"files": [["a.txt", 3, 1, "0f"]]}, {"files": []}]), states_in(None)
        ([['a.txt', 3, 1, '0f']], [])
    """
    rows = sources if isinstance(sources, list) else []
    files = [row.get("files") for row in rows if isinstance(row, dict)]
    return [state for states in files if isinstance(states, list) for state in states]


def _state(path: Path, before: FileState | None) -> FileState:
    found = path.stat()
    name, size, changed = str(path), found.st_size, found.st_mtime_ns
    if before is not None and before[1:3] == [size, changed]:
        return before
    state: FileState = [name, size, changed, _digest(path)]
    return before if before is not None and before[3] == state[3] else state


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=_DIGEST_BYTES)).hexdigest()
