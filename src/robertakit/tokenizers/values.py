"""The one type that cannot be said: a value of a JSON file, a keyword on its way, a column of a batch."""

from typing import Any

Value = Any
"""What it really is, is checked where it is read; a caller who indexes a column knows what he asked for."""
