"""How much robertakit tells: the documented functions, thin over the standard library's ``logging``.

Every logger of the package is a child of ``robertakit``. What they say goes to the standard error, and to the
application's own handlers instead where the root logger has some, so that nothing is said twice. At first
warnings and errors are told; ``ROBERTAKIT_VERBOSITY``, or ``TRANSFORMERS_VERBOSITY``, names another level.

Told here is what was found in data and checkpoints, a head that is newly initialised for one. What the caller's code
should change, a retired name or an argument without effect, goes through Python's ``warnings``, which point at the
line; ``captureWarnings(True)`` brings both together.

Example:
    >>> from robertakit import logging
    >>> logging.set_verbosity_error()
    >>> logging.get_verbosity() == logging.ERROR
    True
    >>> logging.set_verbosity_warning()
"""

import logging
import os
import sys
from functools import cache
from logging import CRITICAL, DEBUG, ERROR, FATAL, INFO, NOTSET, WARN, WARNING

from robertakit.errors import ArgumentError, listed

__all__ = [
    "CRITICAL",
    "DEBUG",
    "ERROR",
    "FATAL",
    "INFO",
    "NOTSET",
    "WARN",
    "WARNING",
    "add_handler",
    "captureWarnings",
    "disable_default_handler",
    "disable_progress_bar",
    "disable_propagation",
    "enable_default_handler",
    "enable_explicit_format",
    "enable_progress_bar",
    "enable_propagation",
    "get_log_levels_dict",
    "get_logger",
    "get_verbosity",
    "is_progress_bar_enabled",
    "remove_handler",
    "reset_format",
    "set_verbosity",
    "set_verbosity_debug",
    "set_verbosity_error",
    "set_verbosity_info",
    "set_verbosity_warning",
    "warning_once",
]

_LEVELS = {"debug": DEBUG, "info": INFO, "warning": WARNING, "error": ERROR, "critical": CRITICAL}
_VARIABLES = ("ROBERTAKIT_VERBOSITY", "TRANSFORMERS_VERBOSITY")
_EXPLICIT = "[%(levelname)s|%(filename)s:%(lineno)d] %(asctime)s >> %(message)s"

_library = logging.getLogger("robertakit")


class _DefaultHandler(logging.Handler):
    """Writes to what is the standard error at that moment, unless the application's handlers get the record."""

    def emit(self, record: logging.LogRecord) -> None:
        logger = logging.getLogger(record.name)
        while logger.propagate and logger.parent is not None:
            logger = logger.parent
        if not (logger is logging.root and logger.handlers) and sys.stderr is not None:
            sys.stderr.write(self.format(record) + "\n")


_default = _DefaultHandler()
# Without any handler, the standard library's last resort would go on telling warnings.
_silence = logging.NullHandler()


def get_logger(name: str | None = None) -> logging.Logger:
    """Return a logger of the standard library.

    Args:
        name: None for the one above all of this package's; ``__name__`` for one of your own.

    Example:
        >>> get_logger().name, get_logger("robertakit.example").parent.name
        ('robertakit', 'robertakit')
    """
    return _library if name is None else logging.getLogger(name)


def get_verbosity() -> int:
    """Return the lowest level that is told, one of ``logging.DEBUG`` (10) to ``logging.CRITICAL`` (50)."""
    return _library.getEffectiveLevel()


def set_verbosity(verbosity: int | str) -> None:
    """Tell this level and those above it.

    Args:
        verbosity: a level of this module, any other integer from 0, or a level's name in either case.

    Raises:
        ArgumentError: no such level.
    """
    level: object = _LEVELS.get(verbosity.lower()) if isinstance(verbosity, str) else verbosity
    if not isinstance(level, int) or isinstance(level, bool) or level < NOTSET:
        raise ArgumentError(
            given=f"verbosity={verbosity!r}",
            expected=f"a level such as logging.INFO, or one of {listed(_LEVELS)}",
        )
    _library.setLevel(level)


def set_verbosity_debug() -> None:
    """Tell everything."""
    set_verbosity(DEBUG)


def set_verbosity_info() -> None:
    """Tell what is done, too."""
    set_verbosity(INFO)


def set_verbosity_warning() -> None:
    """Tell warnings and errors, as at first: a head that is newly initialised, what a checkpoint holds too much."""
    set_verbosity(WARNING)


def set_verbosity_error() -> None:
    """Tell errors alone."""
    set_verbosity(ERROR)


def get_log_levels_dict() -> dict[str, int]:
    """Return the levels by name."""
    return dict(_LEVELS)


def enable_default_handler() -> None:
    """Write to the standard error, as at first."""
    _library.removeHandler(_silence)
    _library.addHandler(_default)


def disable_default_handler() -> None:
    """Write nothing to the standard error; handlers of the application are still told."""
    _library.removeHandler(_default)
    _library.addHandler(_silence)


def add_handler(handler: logging.Handler) -> None:
    """Tell one more handler."""
    _library.addHandler(handler)


def remove_handler(handler: logging.Handler) -> None:
    """Tell a handler no more.

    Raises:
        ArgumentError: it was not told before.
    """
    if handler not in _library.handlers:
        raise ArgumentError(given=f"the handler {handler!r}", expected="one that add_handler was given")
    _library.removeHandler(handler)


def enable_propagation() -> None:
    """Tell the handlers of the root logger, as at first."""
    _library.propagate = True


def disable_propagation() -> None:
    """Keep what is told from the handlers of the root logger."""
    _library.propagate = False


def enable_explicit_format() -> None:
    """Write level, file, line and time before each message, in all handlers of this package's logger."""
    for handler in _library.handlers:
        handler.setFormatter(logging.Formatter(_EXPLICIT))


def reset_format() -> None:
    """Write the bare message again."""
    for handler in _library.handlers:
        handler.setFormatter(None)


def captureWarnings(capture: bool) -> None:  # noqa: N802 (the standard library's and the documented name)
    """Tell what goes through Python's ``warnings`` in the same way, as far as the verbosity lets warnings through.

    Args:
        capture: False gives them back to ``warnings``.
    """
    logger = logging.getLogger("py.warnings")
    logger.parent = _library if capture else logging.root
    logger.setLevel(NOTSET)  # its parent's, from now on
    logging.captureWarnings(capture)


@cache
def warning_once(logger: logging.Logger, message: str) -> None:
    """Warn, once in a process for each message."""
    logger.warning(message)


def disable_progress_bar() -> None:
    """Show no progress of downloads, whoever asks huggingface_hub for them."""
    from huggingface_hub.utils.tqdm import disable_progress_bars

    disable_progress_bars()


def enable_progress_bar() -> None:
    """Show the progress of downloads, as at first."""
    from huggingface_hub.utils.tqdm import enable_progress_bars

    enable_progress_bars()


def is_progress_bar_enabled() -> bool:
    """Whether downloads show their progress."""
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled

    return not are_progress_bars_disabled()


def _start() -> None:
    """Take the level from the environment, unless the application has set one, and write to the standard error."""
    if not _library.handlers:
        enable_default_handler()
    if _library.level != NOTSET:
        return
    _library.setLevel(WARNING)
    variable, named = next(
        ((name, os.environ[name]) for name in _VARIABLES if os.environ.get(name)), ("", "")
    )
    if named.lower() in _LEVELS:
        set_verbosity(named)
    elif named:
        _library.warning("%s=%s is no level; warnings are told: one of %s", variable, named, listed(_LEVELS))


_start()
