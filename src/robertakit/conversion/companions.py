"""What goes along with a converted model: its tokenizer, carried or made, and other files of its folder."""

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO, Final

from robertakit.checkpoints.inspection import TOKENIZER_FILES
from robertakit.configuration import PretrainedConfig
from robertakit.errors import TokenizerError
from robertakit.files import Location, Writer, locate
from robertakit.tokenizers import AutoTokenizer, PreTrainedTokenizerBase
from robertakit.tokenizers.byte_level import CHARACTER_OF, read_merges
from robertakit.tokenizers.fairseq_dictionary import DICTIONARY, ENCODER, MERGES
from robertakit.tokenizers.xlm_roberta import MODEL_FILE

__all__ = ["companions", "gpt2_encoder"]

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


def gpt2_encoder(merges: Iterable[tuple[str, str]]) -> dict[str, int]:
    """Return GPT-2's ``encoder.json``, which its merges tell: bytes first, then what each merge makes, in order.

    Example:
        >>> gpt2_encoder([("Ġ", "t")])["."], gpt2_encoder([("Ġ", "t")])["Ġt"]
        (13, 256)
    """
    pieces = [*CHARACTER_OF.values(), *(left + right for left, right in merges), "<|endoftext|>"]
    return {piece: number for number, piece in enumerate(pieces)}


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
    """The files of the tokenizer that fairseq's dictionary tells the ids of; empty where no place has its pieces."""
    model, merges = _first(places, MODEL_FILE), _first(places, MERGES, "merges.txt")
    if model is None and merges is None:
        return {}
    with TemporaryDirectory() as folder:
        config.save_pretrained(folder)  # which says the class, and how long a row may be
        files = {DICTIONARY: places[0].require(DICTIONARY), MODEL_FILE: model}
        if merges is not None and model is None:
            files |= {MERGES: merges, ENCODER: _first(places, ENCODER)}
            if files[ENCODER] is None:
                Path(folder, ENCODER).write_text(
                    json.dumps(gpt2_encoder(read_merges(merges))), encoding="utf-8"
                )
        for name, path in files.items():
            if path is not None:
                Path(folder, name).write_bytes(path.read_bytes())
        tokenizer = AutoTokenizer.from_pretrained(folder)
        if len(tokenizer) != config.vocab_size:
            raise TokenizerError(
                given=f"{DICTIONARY} in {places[0]} with {len(tokenizer):,} symbols for a model with "
                f"{config.vocab_size:,} rows",
                expected="a symbol for each row: fairseq's four first ones, the lines of the file, <mask>",
                hint="take the dictionary that the model was trained with, or leave the tokenizer out",
            )
        saved = tokenizer.save_pretrained(Path(folder, "saved"))
        return {Path(path).name: Path(path).read_bytes() for path in saved}


def _first(places: Sequence[Location], *names: str) -> Path | None:
    """The first of the files that any of the places has."""
    found = (place.path_of(name) for place in places for name in names)
    return next((path for path in found if path is not None), None)


def _write(file: BinaryIO, content: bytes) -> None:
    file.write(content)
