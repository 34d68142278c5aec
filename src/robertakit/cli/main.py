"""The frame of the command line: finds the command, parses, and turns an error into one sentence.

A command is a module of this folder with ``add_arguments(parser)`` and ``run(arguments) -> exit status``, and
one line in ``COMMANDS``. It is imported when it is called, so that ``--help`` stays quick.
"""

import argparse
import importlib
import os
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn, Protocol, cast

from robertakit import __version__
from robertakit.errors import RobertakitError

__all__ = ["COMMANDS", "Parser", "command_parser", "main"]

COMMANDS: dict[str, str] = {
    "run": "answer lines of text with a model",
    "pretrain": "train a masked language model, from text to checkpoint, as a recipe says",
    "inspect": "show what a checkpoint holds, and any trouble in it",
    "convert": "write a checkpoint of any format as safetensors, and compare the two",
    "env": "print what a bug report needs",
}

# Exit statuses, as shells expect them.
OK, FAILED, MISUSED, INTERRUPTED, PIPE_CLOSED = 0, 1, 2, 130, 141


class Command(Protocol):
    """What a module of this folder offers."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the command's arguments."""

    def run(self, arguments: argparse.Namespace) -> int:
        """Do it, and return the exit status."""


class Parser(argparse.ArgumentParser):
    """An argparse parser that abbreviates nothing, and whose errors are one sentence."""

    def parse(self, words: Sequence[str]) -> argparse.Namespace:
        """Parse as ``parse_args`` does; a mistyped option gets a suggestion."""
        parsed, unknown = self.parse_known_args(words)
        if unknown:
            self.error(
                f"unknown argument {unknown[0]!r}{suggestion(unknown[0], list(self._option_string_actions))}"
            )
        return parsed

    def error(self, message: str) -> NoReturn:
        """Print one sentence and where to read more, and exit with status 2."""
        self.exit(MISUSED, f"{self.prog}: {message} (see {self.prog} --help)\n")


def suggestion(word: str, known: Sequence[str]) -> str:
    """Return ``; did you mean 'x'?`` for the closest known word, or nothing.

    Example:
        >>> suggestion("insepct", ["run", "inspect"])
        "; did you mean 'inspect'?"
        >>> suggestion("xyz", ["run", "inspect"])
        ''
    """
    import difflib  # costs a millisecond or two, and is needed only after a typo

    close = difflib.get_close_matches(word.partition("=")[0], known, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def top_parser() -> Parser:
    """Return the parser of ``robertakit`` itself; of the commands it knows only the names."""
    width = max(map(len, COMMANDS))
    listing = "\n".join(f"  {name:<{width}}  {summary}" for name, summary in COMMANDS.items())
    parser = Parser(
        prog="robertakit",
        usage="robertakit [-h] [--version] COMMAND ...",
        description="RoBERTa and XLM-RoBERTa: exact, strict, and answering without a framework.",
        epilog=f"commands:\n{listing}\n\nrobertakit COMMAND --help tells more about each.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"robertakit {__version__}")
    return parser


def command_parser(name: str) -> tuple[Parser, Callable[[argparse.Namespace], int]]:
    """Return the parser of a command, and the function that carries it out.

    Args:
        name: a key of ``COMMANDS``.
    """
    command = cast(Command, importlib.import_module(f"robertakit.cli.{name}"))
    parser = Parser(prog=f"robertakit {name}", description=f"{COMMANDS[name]}.", allow_abbrev=False)
    command.add_arguments(parser)
    return parser, command.run


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line, and return the exit status.

    Args:
        argv: the words behind ``robertakit``; those of the process by default.

    Returns:
        0 done; 1 an error, told in one sentence; 2 a misused command line; 130 after Ctrl-C; 141 when whoever
        read the output closed it.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if not words:
        top_parser().print_help()
        return OK
    name, rest = words[0], words[1:]
    if name not in COMMANDS:
        parser = top_parser()
        parser.parse(words[:1] if name.startswith("-") else [])  # --help and --version exit here
        parser.error(f"unknown command {name!r}{suggestion(name, list(COMMANDS))}")
    try:
        parser, run = command_parser(name)
        status = run(parser.parse(rest))
        if sys.stdout is not None:  # a process may be started without one
            sys.stdout.flush()
        return status
    except RobertakitError as error:
        print(f"robertakit {name}: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print(f"robertakit {name}: stopped", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # `robertakit run … | head` is no error. Nothing more may be written, not even by the last flush.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_CLOSED
