"""The next batch is made while the device computes this one."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Generic, TypeVar

__all__ = ["Ahead"]

_Made = TypeVar("_Made")
Position = tuple[int, int]


class Ahead(Generic[_Made]):
    """Makes what belongs to a position, one position ahead, in a thread of its own, one call at a time.

    What is made is a function of the position alone, so that nothing but time depends on this. An error in the thread
    comes out where its position is taken.

    Args:
        make: position -> what is made there, and the position behind it.
        wanted: False to make all when it is asked for, in the caller's thread.

    Example:
        >>> with Ahead(lambda at: (f"batch {at[1]}", (at[0], at[1] + 1)), wanted=True) as ahead:
        ...     ahead.take((0, 0)), ahead.take((0, 1))
        (('batch 0', (0, 1)), ('batch 1', (0, 2)))
    """

    def __init__(self, make: Callable[[Position], tuple[_Made, Position]], wanted: bool) -> None:
        self._make = make
        self._thread = ThreadPoolExecutor(1, "batches") if wanted else None
        self._at: Position | None = None
        self._next: Future[tuple[_Made, Position]] | None = None

    def take(self, position: Position) -> tuple[_Made, Position]:
        """Return what belongs to a position, and the position behind it, which is begun now."""
        if self._thread is None:
            return self._make(position)
        waiting, self._next = self._next, None
        if waiting is None or self._at != position:
            waiting = self._thread.submit(self._make, position)
        made, self._at = waiting.result()
        self._next = self._thread.submit(self._make, self._at)
        return made, self._at

    def __enter__(self) -> "Ahead[_Made]":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._thread is not None:
            self._thread.shutdown(cancel_futures=True)
