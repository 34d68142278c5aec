"""From a tokenizer to files: what ours and transformers 4.57 and 5 load, written atomically."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from robertakit.errors import ArgumentError
from robertakit.files import Writer, write_atomically
from robertakit.tokenizers.added_tokens import AddedToken
from robertakit.tokenizers.loading import ADDED, CONFIG, SPECIAL, WHOLE
from robertakit.tokenizers.options import LARGEST_LENGTH, UNKNOWN_LENGTH

if TYPE_CHECKING:
    from robertakit.tokenizers.pretrained import PreTrainedTokenizerBase

#: Files of an earlier save that would be read beside the new ones.
STALE = (ADDED, WHOLE)


def save(
    tokenizer: PreTrainedTokenizerBase,
    folder: str | os.PathLike[str],
    legacy_format: bool | None,
    prefix: str | None,
) -> tuple[str, ...]:
    """Write all files of a tokenizer; see `PreTrainedTokenizerBase.save_pretrained`."""
    vocabulary = tokenizer._vocabulary_files()
    if legacy_format is False and not tokenizer.is_fast:
        raise ArgumentError(
            given="legacy_format=False for a slow tokenizer", hint="a slow one has no tokenizer.json"
        )
    if legacy_format is True and not vocabulary:
        raise ArgumentError(
            given="legacy_format=True", hint="this pipeline has no vocabulary files of a slow class"
        )
    files = {
        CONFIG: _json(config_of(tokenizer)),
        SPECIAL: _json(special_tokens_of(tokenizer)),
    }
    if legacy_format is not False:
        files |= vocabulary
        beyond = {
            token: id for token, id in tokenizer.added_tokens_encoder.items() if id >= tokenizer.vocab_size
        }
        if beyond:
            files[ADDED] = _json(beyond)
    if tokenizer.is_fast and legacy_format is not True:
        files[WHOLE] = tokenizer._tokenizer_json().encode()
    stale = [name for name in STALE if name not in files]
    return save_files(folder, files, prefix, stale)


def save_files(
    folder: str | os.PathLike[str],
    files: Mapping[str, bytes],
    prefix: str | None,
    stale: list[str] | None = None,
) -> tuple[str, ...]:
    """Write files under their names, with `prefix` and a hyphen before them; return their paths."""
    start = f"{prefix}-" if prefix else ""
    named = {start + name: _writer(content) for name, content in files.items()}
    write_atomically(folder, named, remove=[start + name for name in stale or ()])
    return tuple(str(Path(folder) / name) for name in named)


def config_of(tokenizer: PreTrainedTokenizerBase) -> dict[str, object]:
    """Return `tokenizer_config.json`, keys of the file that was loaded and that nothing here knows included."""
    length = tokenizer.model_max_length
    constructor = {
        name: value
        for name, value in tokenizer.init_kwargs.items()
        if isinstance(value, str | int | float | bool | dict) and name in tokenizer.saved_arguments
    }
    extra = {name: token for name, token in tokenizer.special_tokens_map.items() if name.endswith("_token")}
    config = {
        **tokenizer._kept,
        **constructor,
        "added_tokens_decoder": {
            str(id): token.as_dict() for id, token in tokenizer.added_tokens_decoder.items()
        },
        **extra,
        "clean_up_tokenization_spaces": tokenizer.clean_up_tokenization_spaces,
        "model_max_length": length if length <= LARGEST_LENGTH else UNKNOWN_LENGTH,
        "padding_side": tokenizer.padding_side,
        "truncation_side": tokenizer.truncation_side,
        "tokenizer_class": type(tokenizer).__name__.removesuffix("Fast")
        if tokenizer._vocabulary_files()
        else type(tokenizer).__name__,
        "extra_special_tokens": {},
    }
    if tokenizer.additional_special_tokens:
        config["additional_special_tokens"] = tokenizer.additional_special_tokens
    if tokenizer.model_input_names != type(tokenizer).model_input_names:
        config["model_input_names"] = tokenizer.model_input_names
    if tokenizer.split_special_tokens:
        config["split_special_tokens"] = True
    return dict(sorted(config.items()))


def special_tokens_of(tokenizer: PreTrainedTokenizerBase) -> dict[str, object]:
    """Return `special_tokens_map.json`."""

    def flags(token: AddedToken) -> dict[str, str | bool]:
        return {name: value for name, value in token.as_dict().items() if name != "special"}

    return {
        name: [flags(token) for token in value] if isinstance(value, list) else flags(value)
        for name, value in tokenizer.special_tokens_map_extended.items()
    }


def _json(value: object) -> bytes:
    return (json.dumps(value, ensure_ascii=False, indent=2) + "\n").encode()


def _writer(content: bytes) -> Writer:
    def write(file: BinaryIO) -> None:
        file.write(content)

    return write
