"""From files to a constructor's arguments: every layout in which tokenizers are found.

`tokenizer_config.json` (of transformers 4 and 5), `special_tokens_map.json`, `added_tokens.json`, `tokenizer.json`,
the vocabulary files, and `config.json` for the length that the model takes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from robertakit.errors import CorruptFile, TokenizerError
from robertakit.fairseq_settings import FAIRSEQ_FILE
from robertakit.files import Location, read_json
from robertakit.pretrained_config import read_fields
from robertakit.tokenizers.added_tokens import AddedToken, added_token
from robertakit.tokenizers.fairseq_dictionary import (
    DICTIONARY,
    ENCODER,
    FILES,
    MERGES,
    check_dictionary,
)
from robertakit.tokenizers.options import LARGEST_LENGTH
from robertakit.tokenizers.special_tokens import NAMES
from robertakit.tokenizers.values import Value

if TYPE_CHECKING:
    from robertakit.tokenizers.pretrained import PreTrainedTokenizerBase

    Tokenizer = TypeVar("Tokenizer", bound=PreTrainedTokenizerBase)

CONFIG, SPECIAL, ADDED, WHOLE = (
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "tokenizer.json",
)
LIMIT = 256 << 20
# Classes that say nothing of the kind: such a folder is judged by its files.
GENERIC_CLASSES = ("PreTrainedTokenizerFast", "PreTrainedTokenizer", "TokenizersBackend", "PythonBackend")
# Keys of tokenizer_config.json that say where a tokenizer came from, not what it is.
PROVENANCE = frozenset(
    {
        "tokenizer_class",
        "vocab_file",
        "merges_file",
        "tokenizer_file",
        "special_tokens_map_file",
        "name_or_path",
        "init_inputs",
        "from_slow",
        "is_local",
        "backend",
        "auto_map",
        "tokenizer_object",
    }
)
FAMILIES = {
    "roberta": "RobertaTokenizer",
    "xlm-roberta": "XLMRobertaTokenizer",
    "camembert": "CamembertTokenizer",
}


def read_tokenizer_json(path: str | os.PathLike[str]) -> dict[str, Value]:
    """Read a `tokenizer.json`, with the model's type filled in where the file leaves it out.

    Raises:
        TokenizerError: no tokenizer, or a BPE without merges.
    """
    from robertakit.tokenizers.tokenizer_json import model_type

    path = Path(path)
    if not path.is_file():
        raise TokenizerError(given=f"no file '{path}'", expected="a tokenizer.json")
    found = _object(path)
    kind = model_type(found)
    model = found["model"]
    if kind == "BPE" and not isinstance(model.get("merges"), list):
        raise TokenizerError(
            given=f"'{path}' holds a BPE without merges: every text would fall into single characters",
            expected="a model with its list of merges",
            hint="save the tokenizer again, or put vocab.json and merges.txt in its place",
        )
    return found | {"model": {"type": kind, **model}}


def added_in(tokenizer: Mapping[str, Value]) -> dict[int, AddedToken]:
    """Return the added tokens of a `tokenizer.json`."""
    tokens = tokenizer.get("added_tokens") or ()
    try:
        return {int(token["id"]): added_token(token) for token in tokens}
    except (KeyError, TypeError, ValueError) as error:
        raise TokenizerError(
            given="a tokenizer.json with added tokens that lack an id", expected="ids"
        ) from error


def load(
    cls: type[Tokenizer], place: Location, inputs: tuple[object, ...], given: Mapping[str, Value]
) -> Tokenizer:
    """Make a tokenizer of class `cls` of the files at `place`; `given` arguments win over the files."""
    config = read_optional(place, CONFIG)
    check_class(cls, config, place)
    model_config = model_fields(place)
    settings = {name: value for name, value in config.items() if name not in PROVENANCE}
    if "added_tokens_decoder" not in settings:
        settings |= _older_files(place, settings)
    for name in NAMES:
        if isinstance(settings.get(name), dict):
            settings[name] = added_token(settings[name], special=True)
    settings["model_max_length"] = known_length(settings, model_config, cls.default_max_length)
    known = cls.argument_names()
    kept = {name: settings.pop(name) for name in list(settings) if name not in known}
    files = _files(cls, place, settings, given)
    tokenizer = cls(*inputs, **{**settings, **files, "name_or_path": place.name, **given})
    tokenizer._kept = kept
    dictionary = place.path_of(DICTIONARY) if list(files) == ["vocab_file"] else None
    if dictionary is not None and not config and place.path_of("config.json") is None:
        check_dictionary(dictionary, tokenizer.get_vocab())
    return tokenizer


def model_fields(place: Location) -> dict[str, object]:
    """The fields of the model's configuration, those in a fairseq checkpoint included; empty where there is none."""
    found = read_optional(place, "config.json")
    if found or place.path_of(DICTIONARY) is None or place.path_of(FAIRSEQ_FILE) is None:
        return found
    return read_fields(place)


def known_length(settings: Mapping[str, Value], model_config: Mapping[str, Value], default: int) -> int:
    """The longest row: as the tokenizer's file says, else as the model's positions allow, else `default`.

    Files that do not know it say 10^30. A model of this family loses `pad_token_id + 1` rows of its positions.
    """
    said = settings.get("model_max_length", settings.get("max_len"))
    if isinstance(said, int | float) and 0 < said <= LARGEST_LENGTH:
        return int(said)
    rows = model_config.get("max_position_embeddings")
    if isinstance(rows, int) and rows > 0:
        padding = model_config.get("pad_token_id", 1)
        lost = padding + 1 if model_config.get("model_type") in FAMILIES and isinstance(padding, int) else 0
        return rows - lost
    return default


def class_named(config: Mapping[str, Value], model_config: Mapping[str, Value]) -> str | None:
    """The slow name of the class that the files ask for, None where they do not say."""
    for name in (config.get("tokenizer_class"), model_config.get("tokenizer_class")):
        if isinstance(name, str) and name not in GENERIC_CLASSES:
            return name.removesuffix("Fast")
    return FAMILIES.get(str(model_config.get("model_type")))


def check_class(cls: type[PreTrainedTokenizerBase], config: Mapping[str, Value], place: Location) -> None:
    """Raise TokenizerError where the files are those of another class."""
    wanted = {base.__name__.removesuffix("Fast") for base in cls.__mro__}
    found = class_named(config, {})
    if found is not None and found not in wanted and cls.__name__ not in GENERIC_CLASSES:
        raise TokenizerError(
            given=f"{place} holds a {found}",
            expected=f"a {cls.__name__}",
            hint="AutoTokenizer.from_pretrained loads it where it has a tokenizer.json",
        )


def read_optional(place: Location, name: str) -> dict[str, Value]:
    """Read a JSON object, empty where the file is not there."""
    path = place.path_of(name)
    return {} if path is None else _object(path)


def _object(path: Path) -> dict[str, Value]:
    try:
        found = read_json(path, limit=LIMIT)
    except CorruptFile as error:
        raise TokenizerError(error.given, error.expected, error.hint) from error
    if not isinstance(found, dict):
        raise TokenizerError(given=f"'{path}' holds a {type(found).__name__}", expected="a JSON object")
    return found


def _older_files(place: Location, settings: Mapping[str, Value]) -> dict[str, Value]:
    """What `special_tokens_map.json` and `added_tokens.json` say, which newer files say in one place."""
    found: dict[str, Value] = {}
    for name, value in read_optional(place, SPECIAL).items():
        if name in NAMES and value is not None:
            found[name] = added_token(value, special=True) if isinstance(value, dict) else value
        elif name in ("additional_special_tokens", "extra_special_tokens") and isinstance(value, list):
            found[name] = [
                added_token(each, special=True) if isinstance(each, dict) else each for each in value
            ]
    named = {**settings, **found}
    special = {str(named.get(name)) for name in NAMES} | {
        str(each) for each in named.get("additional_special_tokens") or ()
    }
    tokens = read_optional(place, ADDED)
    for token, id in tokens.items():
        if not isinstance(id, int) or isinstance(id, bool):
            raise TokenizerError(given=f"{place}: {ADDED} with {token!r}: {id!r}", expected="token -> id")
    ours = {str(named.get(name)): name for name in NAMES if isinstance(named.get(name), str)}
    # A token that the class names by itself keeps the class's flags (`<mask>` takes the space before it).
    plain = {id: token for token, id in tokens.items() if token not in ours and token != "<mask>"}
    found["added_tokens_decoder"] = {
        id: added_token(token, special=token in special) for id, token in plain.items()
    }
    return {name: value for name, value in found.items() if value}


def _files(
    cls: type[PreTrainedTokenizerBase],
    place: Location,
    settings: dict[str, Value],
    given: Mapping[str, Value],
) -> dict[str, Value]:
    """The constructor's file arguments: `tokenizer.json` first for fast classes, last for slow ones."""
    if any(name in given for name in ("vocab_file", "tokenizer_file", "tokenizer_object")):
        return {}
    names = {
        argument: name for argument, name in cls.vocab_files_names.items() if argument != "tokenizer_file"
    }
    found = {argument: place.path_of(name) for argument, name in names.items()}
    vocabulary = found if names and all(found.values()) else None
    if vocabulary is None and names.keys() == FILES.keys() and place.path_of(ENCODER) is not None:
        fairseq = {argument: place.path_of(name) for argument, name in FILES.items()}
        vocabulary = fairseq if all(fairseq.values()) else None
    whole = place.path_of(WHOLE) if cls.is_fast or vocabulary is None else None
    if whole is None and vocabulary is not None:
        return {argument: str(path) for argument, path in vocabulary.items()}
    if whole is None:
        lacking = [name for argument, name in names.items() if found[argument] is None]
        raise TokenizerError(
            given=f"{place} has no {' and no '.join([*lacking, WHOLE])}",
            expected=f"the files of {cls.__name__}",
            hint="check the folder, or the class of the checkpoint"
            if place.path_of(DICTIONARY) is None
            else f"fairseq's {DICTIONARY} needs GPT-2's {ENCODER} and {MERGES}, or a SentencePiece model, beside it",
        )
    tokenizer = read_tokenizer_json(whole)
    if "add_prefix_space" in cls.argument_names() and "add_prefix_space" not in {**settings, **given}:
        splitter = tokenizer.get("pre_tokenizer")
        settings["add_prefix_space"] = isinstance(splitter, dict) and bool(splitter.get("add_prefix_space"))
    return (
        {**dict.fromkeys(names), "tokenizer_file": str(whole)}
        if not cls.is_fast
        else {"tokenizer_file": str(whole)}
    )


def dumped(tokenizer: Mapping[str, Value]) -> str:
    """A parsed `tokenizer.json` as text again."""
    return json.dumps(tokenizer, ensure_ascii=False)
