"""One run in a folder at a time.

The processes that ``torchrun`` started live on when it is killed. Were the command given again meanwhile, two runs
would write the same log and remove each other's checkpoints.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from robertakit.errors import TrainingError

__all__ = ["alone_in"]

LOCK = ".lock"


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Hold a run's folder; the system lets go of it when the process ends, however it ends.

    Where the system has no such locks (Windows), nothing is held.

    Args:
        folder: of the run; made if it is not there.

    Raises:
        TrainingError: another process holds it.

    Example:
        >>> from tempfile import mkdtemp
        >>> folder = Path(mkdtemp())
        >>> with alone_in(folder):
        ...     with alone_in(folder):
        ...         pass
        Traceback (most recent call last):
            ...
        robertakit.errors.TrainingError: another process trains in '...'; wait until it ends, or end it (what ...
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        import fcntl
    except ImportError:
        yield
        return
    with (folder / LOCK).open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise TrainingError(
                given=f"another process trains in '{folder}'",
                hint="wait until it ends, or end it (what torchrun started lives on when torchrun is killed)",
            ) from error
        yield
