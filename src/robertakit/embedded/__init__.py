"""The models that ship with the package, each with its tokenizer and card. No code but their place."""

from pathlib import Path

from robertakit.errors import ArgumentError, listed

__all__ = ["NAMES", "folder"]

#: A RoBERTa for English, and a smaller XLM-RoBERTa for 33 languages.
NAMES = ("english", "multilingual")


def folder(name: str = "english") -> Path:
    """Return the folder of a shipped model; every loader takes it as a local checkpoint.

    Args:
        name: ``"english"``, of the RoBERTa family, or ``"multilingual"``, of the XLM-RoBERTa family.

    Raises:
        ArgumentError: another name.

    Example:
        >>> (folder() / "vocab.json").is_file(), (folder("multilingual") / "sentencepiece.bpe.model").is_file()
        (True, True)
    """
    if name not in NAMES:
        raise ArgumentError(given=f"an embedded model {name!r}", expected=f"one of {listed(NAMES)}")
    return Path(__file__).parent / name
