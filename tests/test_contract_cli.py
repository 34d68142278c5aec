"""The command line is frozen: a new, changed or vanished option is seen here before a user sees it.

Run as a program (``make freeze``), this file writes the frozen list anew.
"""

import argparse
import json
from pathlib import Path

import pytest

from robertakit.cli.main import COMMANDS, command_parser

FROZEN = Path(__file__).resolve().parent / "golden" / "cli_options.json"


def described(action: argparse.Action) -> str:
    """Return one line on an argument: its names, how many values, its choices, its default."""
    names = "/".join(action.option_strings) or action.dest
    choices = f" of {list(action.choices)}" if action.choices else ""
    return f"{names} nargs={action.nargs!r} default={action.default!r}{choices}"


def current_options() -> dict[str, list[str]]:
    return {name: [described(action) for action in command_parser(name)[0]._actions] for name in COMMANDS}


def test_options_are_the_frozen_ones() -> None:
    frozen = json.loads(FROZEN.read_text(encoding="utf-8"))
    assert current_options() == frozen, (
        "if this is meant: `make freeze`, read the difference, tell the changelog"
    )


@pytest.mark.parametrize("name", COMMANDS)
def test_each_option_has_a_line_of_help(name: str) -> None:
    parser, _ = command_parser(name)
    assert not [described(action) for action in parser._actions if not action.help]
    assert parser.format_help()


if __name__ == "__main__":
    FROZEN.write_text(json.dumps(current_options(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
