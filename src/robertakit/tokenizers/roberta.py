"""RoBERTa's tokenizers: byte-level BPE behind the shared call, slow and fast."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar, Self

from robertakit.errors import ArgumentError, TokenizerError
from robertakit.tokenizers.added_tokens import AddedToken, TokenLike, added_token
from robertakit.tokenizers.byte_level import ByteLevelModel, read_merges, read_vocabulary
from robertakit.tokenizers.encoding import FIRST, SECOND
from robertakit.tokenizers.fairseq_dictionary import byte_level_vocabulary
from robertakit.tokenizers.loading import added_in, read_tokenizer_json
from robertakit.tokenizers.pipeline import Pipeline, SplitPipeline
from robertakit.tokenizers.pretrained import (
    PreTrainedTokenizer,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)
from robertakit.tokenizers.published import roberta_json, template_slots
from robertakit.tokenizers.tokenizer_json import byte_level_model, is_published_roberta_pipeline
from robertakit.tokenizers.values import Value

File = str | os.PathLike[str]
MAX_LENGTH = 512
"""Tokens that the published models take: 514 rows of positions less the two that padding uses up."""


class SeparatedTwice(PreTrainedTokenizerBase):
    """Rows of RoBERTa and XLM-R: `<s> A </s>` and `<s> A </s></s> B </s>`, one segment."""

    default_max_length = MAX_LENGTH
    _special_tokens_normalized = False
    _follows_file = False

    def build_inputs_with_special_tokens(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None
    ) -> list[int]:
        """Put special tokens around ids: `<s> A </s>`, or for a pair `<s> A </s></s> B </s>`.

        Args:
            token_ids_0: ids of the text.
            token_ids_1: ids of a second text.

        Returns:
            The ids of the row.
        """
        if self._follows_file:
            return super().build_inputs_with_special_tokens(token_ids_0, token_ids_1)
        cls, sep = self._required_id("cls_token"), self._required_id("sep_token")
        row = [cls, *token_ids_0, sep]
        return row if token_ids_1 is None else [*row, sep, *token_ids_1, sep]

    def _special_token(self, name: str, value: Value) -> AddedToken:
        if name == "mask_token" and isinstance(value, str):
            return AddedToken(value, lstrip=True, special=True)  # "a <mask>" is "a" and "<mask>"
        return added_token(value, special=True, normalized=self._special_tokens_normalized)

    def _ends(self) -> tuple[tuple[str, int], tuple[str, int]]:
        cls, sep = self._required_id("cls_token"), self._required_id("sep_token")
        return (str(self.cls_token), cls), (str(self.sep_token), sep)


class ByteLevelTokenizer(SeparatedTwice):
    """What slow and fast RoBERTa share: all but the core."""

    _special_tokens_normalized = True  # as the reference writes it to files; text is not normalised anyway
    _call_arguments = SeparatedTwice._call_arguments | {"add_prefix_space"}
    _own_settings = frozenset({"tokenizer_file", "trim_offsets"})
    saved_arguments = frozenset({"errors", "add_prefix_space", "trim_offsets"})
    add_prefix_space: bool
    trim_offsets: bool

    def _make(
        self,
        pipeline: Pipeline,
        named: dict[str, object],
        settings: dict[str, Value],
        errors: str,
        add_prefix_space: bool,
        trim_offsets: bool,
    ) -> None:
        self.errors, self.add_prefix_space, self.trim_offsets = errors, add_prefix_space, trim_offsets
        own = {"errors": errors, "add_prefix_space": add_prefix_space, "trim_offsets": trim_offsets}
        self._start(pipeline, named, settings, {**own, **named})

    @property
    def _model(self) -> ByteLevelModel | None:
        core = getattr(self._pipeline, "core", None)
        model = getattr(core, "model", None)
        return model if isinstance(model, ByteLevelModel) else None

    def _vocabulary_files(self) -> dict[str, bytes]:
        model = self._model
        if model is None:
            return {}
        vocabulary = dict(sorted(model.vocabulary.items(), key=lambda item: item[1]))
        merges = ["#version: 0.2", *(f"{left} {right}" for left, right in model.merges)]
        return {
            "vocab.json": (json.dumps(vocabulary, ensure_ascii=False) + "\n").encode(),
            "merges.txt": ("\n".join(merges) + "\n").encode(),
        }

    def _tokenizer_json(self) -> str:
        model = self._model
        if model is None:
            return super()._tokenizer_json()
        return roberta_json(
            model,
            self._added,
            self._ends(),
            add_prefix_space=self.add_prefix_space,
            trim_offsets=self.trim_offsets,
        )


def _model_of(
    vocab_file: File | None, merges_file: File | None, tokenizer_file: File | None
) -> ByteLevelModel:
    if vocab_file is not None and merges_file is not None:
        path = Path(vocab_file)
        read = byte_level_vocabulary if path.suffix == ".txt" else read_vocabulary
        return ByteLevelModel(read(path), read_merges(Path(merges_file)))
    if tokenizer_file is not None:
        return _model_in(read_tokenizer_json(tokenizer_file), str(tokenizer_file))
    raise ArgumentError(
        given="no vocabulary" if vocab_file is None else "a vocab_file without merges_file",
        expected="vocab_file and merges_file, or tokenizer_file",
    )


class RobertaTokenizer(ByteLevelTokenizer, PreTrainedTokenizer):
    """RoBERTa's byte-level BPE in plain Python: the specification, which `RobertaTokenizerFast` equals.

    A space is part of the piece that follows it, so that a word differs at the start of a text (without space)
    from elsewhere; `add_prefix_space=True`, here or in a call, takes the difference away.

    Args:
        vocab_file: `vocab.json`, piece -> id; or fairseq's `dict.txt`, with GPT-2's `encoder.json` beside it.
        merges_file: `merges.txt`; GPT-2 calls it `vocab.bpe`.
        errors: what `decode` does with bytes that are no UTF-8, as of `bytes.decode`.
        bos_token, eos_token: never put in by themselves; `cls_token` and `sep_token` are.
        sep_token: after a text, and twice between two.
        cls_token: before a text.
        unk_token: what is not in the vocabulary; with all bytes in it, nothing.
        pad_token: padding.
        mask_token: the masked word; takes the white space before it along.
        add_prefix_space: put a space before a text that does not begin with one. Pre-split words always get one.
        **kwargs: as of `PreTrainedTokenizerBase`; also `trim_offsets` (True), and `tokenizer_file` in place of
            the two files.

    Raises:
        TokenizerError: files that are no byte-level BPE.

    Example:
        >>> from robertakit.tokenizers.training import train_byte_level_bpe
        >>> from tempfile import mkdtemp
        >>> folder = train_byte_level_bpe(["a small text, a small vocabulary"] * 3, 280, mkdtemp())
        >>> tokenizer = RobertaTokenizer(folder / "vocab.json", folder / "merges.txt")
        >>> tokenizer.decode(tokenizer("a text")["input_ids"])
        '<s>a text</s>'
    """

    vocab_files_names: ClassVar[dict[str, str]] = {"vocab_file": "vocab.json", "merges_file": "merges.txt"}

    def __init__(
        self,
        vocab_file: File | None,
        merges_file: File | None,
        errors: str = "replace",
        bos_token: TokenLike | None = "<s>",
        eos_token: TokenLike | None = "</s>",
        sep_token: TokenLike | None = "</s>",
        cls_token: TokenLike | None = "<s>",
        unk_token: TokenLike | None = "<unk>",
        pad_token: TokenLike | None = "<pad>",
        mask_token: TokenLike | None = "<mask>",
        add_prefix_space: bool = False,
        **kwargs: Value,
    ) -> None:
        from robertakit.tokenizers.byte_level_bpe import ByteLevelBPE

        named = named_tokens(locals())
        trim_offsets = bool(kwargs.pop("trim_offsets", True))
        tokenizer_file = kwargs.pop("tokenizer_file", None)
        model = _model_of(vocab_file, merges_file, tokenizer_file)
        if tokenizer_file is not None:
            added = added_in(read_tokenizer_json(tokenizer_file))
            kwargs["added_tokens_decoder"] = added | (kwargs.get("added_tokens_decoder") or {})
        core = ByteLevelBPE(
            model, add_prefix_space=add_prefix_space, trim_offsets=trim_offsets, errors=errors
        )
        pipeline = SplitPipeline(core, trim_added=trim_offsets, prefix_words=True)
        self._make(pipeline, named, kwargs, errors, add_prefix_space, trim_offsets)


class RobertaTokenizerFast(ByteLevelTokenizer, PreTrainedTokenizerFast):
    """RoBERTa's byte-level BPE by the `tokenizers` library: the same ids, offsets and text as `RobertaTokenizer`.

    Args:
        vocab_file, merges_file: as of `RobertaTokenizer`.
        tokenizer_file: a `tokenizer.json` in place of the two. With another pipeline than the published one it
            is followed as it is.
        errors, bos_token, eos_token, sep_token, cls_token, unk_token, pad_token, mask_token, add_prefix_space: as
            of `RobertaTokenizer`.
        trim_offsets: leave the space before a word out of its offsets.
        **kwargs: as of `PreTrainedTokenizerBase`; also `legacy_fast=True` for the reference's fast class with its
            faults, and `tokenizer_object`, a `tokenizers.Tokenizer`, in place of files.
    """

    vocab_files_names: ClassVar[dict[str, str]] = {
        "vocab_file": "vocab.json",
        "merges_file": "merges.txt",
        "tokenizer_file": "tokenizer.json",
    }
    slow_tokenizer_class = RobertaTokenizer
    _spaces_between_special_tokens = False

    def __init__(
        self,
        vocab_file: File | None = None,
        merges_file: File | None = None,
        tokenizer_file: File | None = None,
        errors: str = "replace",
        bos_token: TokenLike | None = "<s>",
        eos_token: TokenLike | None = "</s>",
        sep_token: TokenLike | None = "</s>",
        cls_token: TokenLike | None = "<s>",
        unk_token: TokenLike | None = "<unk>",
        pad_token: TokenLike | None = "<pad>",
        mask_token: TokenLike | None = "<mask>",
        add_prefix_space: bool = False,
        trim_offsets: bool = True,
        **kwargs: Value,
    ) -> None:
        named = named_tokens(locals())
        made = (errors, add_prefix_space, trim_offsets)
        legacy, tokenizer = file_or_object(kwargs, tokenizer_file)
        if tokenizer is not None and (legacy or not _is_published(tokenizer)):
            self._odd_to_longer = legacy
            self._make(self._follow(tokenizer), named, kwargs, *made)
            return
        if tokenizer is None:
            model = _model_of(vocab_file, merges_file, None)
        else:
            model = byte_level_model(tokenizer)
            kwargs["added_tokens_decoder"] = added_in(tokenizer) | (kwargs.get("added_tokens_decoder") or {})
        from robertakit.tokenizers.fast_bpe import FastByteLevelBPE

        core = FastByteLevelBPE(
            model, add_prefix_space=add_prefix_space, trim_offsets=trim_offsets, errors=errors
        )
        self._make(SplitPipeline(core, trim_added=trim_offsets, prefix_words=True), named, kwargs, *made)
        if legacy:
            self._pipeline, self._odd_to_longer = self._follow(json.loads(self._tokenizer_json())), True

    def train_new_from_iterator(
        self, text_iterator: Iterable[str] | Iterable[Sequence[str]], vocab_size: int, **kwargs: Value
    ) -> Self:
        """Train a byte-level BPE vocabulary on texts, and return a tokenizer with it and the settings of this one.

        Args:
            text_iterator: texts, or batches of texts.
            vocab_size: number of ids, special tokens included.
            **kwargs: `min_frequency`, as of `train_byte_level_bpe`.
        """
        from robertakit.tokenizers.training import train_byte_level_bpe

        with TemporaryDirectory() as folder:
            train_byte_level_bpe(texts_of(text_iterator), vocab_size, folder, **kwargs)
            files = (Path(folder) / "vocab.json", Path(folder) / "merges.txt")
            settings: dict[str, Value] = {**self.init_kwargs}
            settings.pop("added_tokens_decoder", None)
            return type(self)(*files, **settings)


def texts_of(batches: Iterable[str] | Iterable[Sequence[str]]) -> Iterable[str]:
    """Flatten an iterator of texts or of batches of texts."""
    for batch in batches:
        if isinstance(batch, str):
            yield batch
        else:
            yield from batch


def named_tokens(arguments: dict[str, Value]) -> dict[str, object]:
    """The special tokens among the arguments of a constructor, in the order in which they get ids."""
    names = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
    return {name: arguments[name] for name in names}


def file_or_object(
    kwargs: dict[str, Value], tokenizer_file: File | None
) -> tuple[bool, dict[str, Value] | None]:
    """Take `legacy_fast` and `tokenizer_object` out of the keywords; return the former and the pipeline, if any."""
    legacy, given = bool(kwargs.pop("legacy_fast", False)), kwargs.pop("tokenizer_object", None)
    if given is not None:
        tokenizer: dict[str, Value] = json.loads(given.to_str())
        return legacy, tokenizer
    return legacy, None if tokenizer_file is None else read_tokenizer_json(tokenizer_file)


def separates_twice(tokenizer: dict[str, Value]) -> bool:
    """Whether a pipeline puts special tokens where RoBERTa does: `<s> A </s>`, `<s> A </s></s> B </s>`."""
    places = (FIRST, SECOND)
    single, _ = template_slots(tokenizer.get("post_processor"), False, places)
    pair, types = template_slots(tokenizer.get("post_processor"), True, places)
    if len(single) != 3 or any(types):
        return False
    cls, _, sep = single
    return single == [cls, FIRST, sep] and pair == [cls, FIRST, sep, sep, SECOND, sep]


def _is_published(tokenizer: dict[str, Value]) -> bool:
    return is_published_roberta_pipeline(tokenizer) and separates_twice(tokenizer)


def _model_in(tokenizer: dict[str, Value], name: str) -> ByteLevelModel:
    """The model of a `tokenizer.json` for the slow class, which runs the published pipeline only."""
    if not is_published_roberta_pipeline(tokenizer):
        raise TokenizerError(
            given=f"'{name}' with a pipeline that is not RoBERTa's",
            expected="byte-level BPE as published, or vocab.json and merges.txt",
            hint="the fast class follows other pipelines as they are",
        )
    return byte_level_model(tokenizer)
