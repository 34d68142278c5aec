"""The model that ships with the package: a small English RoBERTa with its tokenizer and card. No code but its place."""

from pathlib import Path

__all__ = ["folder"]


def folder() -> Path:
    """Return the folder of the shipped model; every loader takes it as a local checkpoint.

    Example:
        >>> (folder() / "vocab.json").is_file()
        True
    """
    return Path(__file__).parent / "english"
