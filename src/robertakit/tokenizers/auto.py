"""`AutoTokenizer`: the class that the files ask for."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from robertakit.errors import ArgumentError, TokenizerError
from robertakit.files import Location, locate, take_where
from robertakit.tokenizers.fairseq_dictionary import DICTIONARY
from robertakit.tokenizers.loading import (
    CONFIG,
    GENERIC_CLASSES,
    WHOLE,
    class_named,
    load,
    model_fields,
    read_optional,
    read_tokenizer_json,
)
from robertakit.tokenizers.pretrained import PreTrainedTokenizerBase, PreTrainedTokenizerFast
from robertakit.tokenizers.roberta import RobertaTokenizer, RobertaTokenizerFast
from robertakit.tokenizers.tokenizer_json import (
    is_published_roberta_pipeline,
    is_published_xlmr_pipeline,
)
from robertakit.tokenizers.values import Value
from robertakit.tokenizers.xlm_roberta import XLMRobertaTokenizer, XLMRobertaTokenizerFast

# Slow name -> the slow and the fast class.
CLASSES: dict[str, tuple[type[PreTrainedTokenizerBase], type[PreTrainedTokenizerBase]]] = {
    "RobertaTokenizer": (RobertaTokenizer, RobertaTokenizerFast),
    "XLMRobertaTokenizer": (XLMRobertaTokenizer, XLMRobertaTokenizerFast),
}


class AutoTokenizer:
    """Chooses a tokenizer class by the files. It has no objects of its own.

    Example:
        >>> from robertakit.tokenizers.training import train_byte_level_bpe
        >>> from tempfile import mkdtemp
        >>> folder = train_byte_level_bpe(["a small text"] * 3, 270, mkdtemp())
        >>> type(AutoTokenizer.from_pretrained(folder)).__name__
        'RobertaTokenizerFast'
    """

    def __init__(self) -> None:
        raise ArgumentError(given="AutoTokenizer()", hint="call AutoTokenizer.from_pretrained(name_or_path)")

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike[str],
        *inputs: Value,
        use_fast: bool = True,
        tokenizer_type: str | None = None,
        config: object = None,
        cache_dir: str | os.PathLike[str] | None = None,
        force_download: bool = False,
        local_files_only: bool = False,
        token: str | bool | None = None,
        revision: str | None = None,
        subfolder: str = "",
        trust_remote_code: bool | None = None,
        **kwargs: Value,
    ) -> PreTrainedTokenizerBase:
        """Load a tokenizer of the class that `tokenizer_config.json`, `config.json` or the files themselves name.

        A class that is not of this library is followed by its `tokenizer.json`, as a `PreTrainedTokenizerFast`.

        Args:
            pretrained_model_name_or_path: a folder, or a name on the Hub.
            *inputs: positional arguments of the class.
            use_fast: the fast class; False for the slow one.
            tokenizer_type: `"roberta"` or `"xlm-roberta"`, whatever the files say.
            config: a configuration whose `model_type` counts where the files name no class.
            cache_dir, force_download, local_files_only, token, revision, subfolder: as of `from_pretrained`
                of the classes.
            trust_remote_code: None or False: nothing that comes with a checkpoint is ever run.
            **kwargs: arguments of the class.

        Raises:
            NotFound: no such place.
            TokenizerError: no tokenizer there, or one of a class that is neither of this library nor has a
                `tokenizer.json`.
        """
        kwargs |= {
            "cache_dir": cache_dir,
            "force_download": force_download,
            "local_files_only": local_files_only,
            "token": token,
            "revision": revision,
            "subfolder": subfolder,
            "trust_remote_code": trust_remote_code,
        }
        find: Callable[..., Location] = locate
        place = find(pretrained_model_name_or_path, **take_where(kwargs))
        chosen = _chosen(place, use_fast, tokenizer_type, config)
        return load(chosen, place, inputs, kwargs)


def _chosen(
    place: Location, use_fast: bool, tokenizer_type: str | None, config: object
) -> type[PreTrainedTokenizerBase]:
    if tokenizer_type is not None:
        by_type = {"roberta": "RobertaTokenizer", "xlm-roberta": "XLMRobertaTokenizer"}
        if tokenizer_type not in by_type:
            raise ArgumentError(
                given=f"tokenizer_type={tokenizer_type!r}", expected=" or ".join(map(repr, by_type))
            )
        return CLASSES[by_type[tokenizer_type]][use_fast]
    model_config = model_fields(place)
    if not model_config and config is not None:
        model_config = {"model_type": getattr(config, "model_type", None)}
    said = read_optional(place, CONFIG)
    named = class_named(said, model_config)
    if named is None:
        named = _by_files(place)
    if named in CLASSES and not (use_fast and _is_generic(place, said, model_config)):
        return CLASSES[named][use_fast]
    if place.path_of(WHOLE) is None:
        raise TokenizerError(
            given=f"{place} holds a {named or 'tokenizer of no class that could be told'}, and no {WHOLE}",
            expected=f"{', '.join(CLASSES)}, or a {WHOLE}",
            hint="save it with its fast class first, or check the name",
        )
    if not use_fast:
        raise TokenizerError(
            given=f"use_fast=False for a {named or 'tokenizer.json'}",
            expected=" or ".join(CLASSES),
            hint="leave use_fast out: its tokenizer.json is followed as it is",
        )
    return PreTrainedTokenizerFast


def _is_generic(place: Location, config: Mapping[str, Value], model_config: Mapping[str, Value]) -> bool:
    """Whether a `PreTrainedTokenizerFast` was saved whose pipeline is neither RoBERTa's nor XLM-R's.

    A class of the family would give such a pipeline special tokens of its own, that the model has no rows for.
    """
    name = config.get("tokenizer_class") or model_config.get("tokenizer_class")
    path = place.path_of(WHOLE) if name in GENERIC_CLASSES else None
    if path is None:
        return False
    tokenizer = read_tokenizer_json(path)
    return not (is_published_roberta_pipeline(tokenizer) or is_published_xlmr_pipeline(tokenizer))


def _by_files(place: Location) -> str | None:
    """The class that the files look like, where none is named."""
    if place.path_of("sentencepiece.bpe.model") is not None:
        return "XLMRobertaTokenizer"
    if place.path_of("vocab.json") is not None and place.path_of("merges.txt") is not None:
        return "RobertaTokenizer"
    return "RobertaTokenizer" if place.path_of(DICTIONARY) is not None else None
