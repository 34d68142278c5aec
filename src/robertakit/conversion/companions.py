"""What goes along with a converted model: its tokenizer, carried or made, and other files of its folder."""

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO, Final

from robertakit.batch import longest_input
from robertakit.checkpoints.inspection import TOKENIZER_FILES
from robertakit.configuration import PretrainedConfig
from robertakit.errors import TokenizerError
from robertakit.files import Location, Writer, locate
from robertakit.tokenizers import AutoTokenizer, PreTrainedTokenizerBase
from robertakit.tokenizers.fairseq_files import DICTIONARY, fairseq_tokenizer

__all__ = ["companions"]

#: Files of a model beside its weights, its configuration and its tokenizer.
_OTHERS: Final = ("generation_config.json",)
#: Where one of these is, the tokenizer needs no making.
_READY: Final = ("tokenizer.json", "vocab.json")
#: Arguments of ``locate`` that concern no single repository.
_ACCESS: Final = ("token", "cache_dir", "local_files_only")


def companions(
    place: Location,
    config: PretrainedConfig,
    tokenizer: str | os.PathLike[str] | bool | None,
    where: Mapping[str, object],
) -> tuple[dict[str, Writer], list[str]]:
    """Return the files beside weights and configuration, name -> writer, and what there is to say of them.

    Args:
        place: where the model is.
        config: the model's configuration.
        tokenizer: another place to take the tokenizer from; None and True for the model's, False for none.
        where: arguments of ``locate`` for the model; those that concern its repository alone are not the tokenizer's.

    Raises:
        TokenizerError: files that make no tokenizer, or one with more tokens than the model has rows.
    """
    files = {name: path.read_bytes() for name in _OTHERS if (path := place.path_of(name)) is not None}
    notes: list[str] = []
    if not isinstance(tokenizer, bool) and tokenizer is not None:
        files |= _of_another_place(place, config, tokenizer, {n: v for n, v in where.items() if n in _ACCESS})
    elif tokenizer is not False:
        found = _made(config, [place]) if _needs_making(place) else _stored(place)
        if not found:
            lack = (
                "has none" if not _needs_making(place) else f"tells its ids ({DICTIONARY}) but not its pieces"
            )
            notes.append(f"no tokenizer goes along: {place} {lack}")
        files |= found
    return {name: partial(_write, content=content) for name, content in files.items()}, notes


def _of_another_place(
    place: Location,
    config: PretrainedConfig,
    tokenizer: str | os.PathLike[str],
    access: Mapping[str, object],
) -> dict[str, bytes]:
    find: Callable[..., Location] = locate
    other = find(tokenizer, **access)
    if _needs_making(place):  # fairseq's dictionary tells the ids, whatever the other place says
        found = _made(config, [place, other])
    else:
        load: Callable[..., PreTrainedTokenizerBase] = AutoTokenizer.from_pretrained
        size = len(load(tokenizer, **access))
        if size > config.vocab_size:
            raise TokenizerError(
                given=f"the tokenizer in {other} has {size:,} tokens, the model {config.vocab_size:,} rows",
                expected="the tokenizer that the model was trained with",
            )
        found = _stored(other)
    if not found:
        raise TokenizerError(given=f"{other} has no tokenizer that goes with {place}", expected="its files")
    return found


def _needs_making(place: Location) -> bool:
    return place.path_of(DICTIONARY) is not None and not any(map(place.path_of, _READY))


def _stored(place: Location) -> dict[str, bytes]:
    return {name: path.read_bytes() for name in TOKENIZER_FILES if (path := place.path_of(name)) is not None}


def _made(config: PretrainedConfig, places: Sequence[Location]) -> dict[str, bytes]:
    """The files of the tokenizer that fairseq's dictionary tells of; empty where its pieces are in no place."""
    tokenizer = fairseq_tokenizer(places, config.vocab_size, longest_input(config))
    return {} if tokenizer is None else _saved(tokenizer)


def _saved(tokenizer: PreTrainedTokenizerBase) -> dict[str, bytes]:
    with TemporaryDirectory() as folder:
        return {Path(path).name: Path(path).read_bytes() for path in tokenizer.save_pretrained(folder)}


def _write(file: BinaryIO, content: bytes) -> None:
    file.write(content)
