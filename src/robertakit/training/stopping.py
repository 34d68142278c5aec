"""Ctrl-C and SIGTERM: a run is asked to stop, and does so where nothing is lost."""

import signal
import threading
from types import FrameType, TracebackType

__all__ = ["StopRequest"]


class StopRequest:
    """Notes the first SIGINT or SIGTERM; the second has its usual effect, for whoever cannot wait.

    A context manager, which puts back what it found. Away from the main thread, where Python lets nobody handle
    signals, it notes nothing.

    Attributes:
        asked: name of the signal that came, or None.

    Example:
        >>> with StopRequest() as stop:
        ...     signal.raise_signal(signal.SIGTERM)
        ...     stop.asked
        'SIGTERM'
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self) -> None:
        self.asked: str | None = None
        self._before: dict[signal.Signals, object] = {}

    def __enter__(self) -> "StopRequest":
        if threading.current_thread() is threading.main_thread():
            for number in self.SIGNALS:
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._put_back()

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.asked = signal.Signals(number).name
        self._put_back()

    def _put_back(self) -> None:
        while self._before:
            number, handler = self._before.popitem()
            # A handler that no Python code set is None here, and cannot be put back.
            signal.signal(
                number, handler if callable(handler) or isinstance(handler, int) else signal.SIG_DFL
            )
