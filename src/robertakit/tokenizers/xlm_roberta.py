"""XLM-R's tokenizers: SentencePiece's unigram model behind the shared call, slow and fast."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar, Self

from robertakit.errors import ArgumentError, TokenizerError
from robertakit.tokenizers.added_tokens import TokenLike
from robertakit.tokenizers.lattice import Sampling
from robertakit.tokenizers.loading import added_in, read_tokenizer_json
from robertakit.tokenizers.pipeline import SplitPipeline
from robertakit.tokenizers.pretrained import PreTrainedTokenizer, PreTrainedTokenizerFast
from robertakit.tokenizers.published import xlm_roberta_json
from robertakit.tokenizers.roberta import (
    File,
    SeparatedTwice,
    file_or_object,
    named_tokens,
    separates_twice,
    texts_of,
)
from robertakit.tokenizers.sentencepiece_model import SentencePieceModel
from robertakit.tokenizers.tokenizer_json import is_published_xlmr_pipeline, unigram_model
from robertakit.tokenizers.values import Value

UNKNOWN = "<unk>"
MODEL_FILE = "sentencepiece.bpe.model"


class SentencePieceTokenizer(SeparatedTwice):
    """What slow and fast XLM-R share: all but the core."""

    saved_arguments = frozenset({"sp_model_kwargs"})
    sp_model_kwargs: dict[str, Value]
    vocab_file: str | None

    @property
    def _model(self) -> SentencePieceModel | None:
        model = getattr(getattr(self._pipeline, "core", None), "model", None)
        return model if isinstance(model, SentencePieceModel) else None

    def _vocabulary_files(self) -> dict[str, bytes]:
        model = self._model
        return {} if model is None else {MODEL_FILE: model.to_bytes()}

    def _tokenizer_json(self, converted: bool = False) -> str:
        model = self._model
        if model is None:
            return super()._tokenizer_json()
        vocabulary = self._pipeline.vocabulary
        return xlm_roberta_json(model, vocabulary, self._added, self._ends(), converted=converted)


def _is_published(tokenizer: dict[str, Value]) -> bool:
    return is_published_xlmr_pipeline(tokenizer) and separates_twice(tokenizer)


def _model_of(vocab_file: File | None, tokenizer_file: File | None) -> SentencePieceModel:
    if vocab_file is not None:
        return SentencePieceModel.from_file(Path(vocab_file))
    if tokenizer_file is not None:
        tokenizer = read_tokenizer_json(tokenizer_file)
        if not is_published_xlmr_pipeline(tokenizer):
            raise TokenizerError(
                given=f"'{tokenizer_file}' with a pipeline that is not XLM-R's",
                expected="SentencePiece's unigram as published, or sentencepiece.bpe.model",
                hint="the fast class follows other pipelines as they are",
            )
        return unigram_model(tokenizer)
    raise ArgumentError(
        given="no vocabulary", expected="vocab_file, a sentencepiece.bpe.model, or tokenizer_file"
    )


class XLMRobertaTokenizer(SentencePieceTokenizer, PreTrainedTokenizer):
    """XLM-R's SentencePiece tokenizer in plain Python: the specification, which `XLMRobertaTokenizerFast` equals.

    Text is normalised by the model's own character map. Ids are SentencePiece's shifted by one, for fairseq's
    `<s>` 0, `<pad>` 1, `</s>` 2, `<unk>` 3; `<mask>` is the last.

    Args:
        vocab_file: `sentencepiece.bpe.model`.
        bos_token, eos_token: never put in by themselves; `cls_token` and `sep_token` are.
        sep_token: after a text, and twice between two.
        cls_token: before a text.
        unk_token: what is not in the vocabulary.
        pad_token: padding.
        mask_token: the masked word; takes the white space before it along.
        sp_model_kwargs: subword sampling: `enable_sampling`, `nbest_size`, `alpha`, as of sentencepiece.
        **kwargs: as of `PreTrainedTokenizerBase`; also `tokenizer_file`, a `tokenizer.json`, in place of the file.

    Raises:
        TokenizerError: a file that is no unigram model.

    Example:
        >>> from robertakit.tokenizers.training import train_unigram
        >>> from tempfile import mkdtemp
        >>> folder = train_unigram(["a small text", "a small vocabulary"] * 4, 21, mkdtemp())
        >>> tokenizer = XLMRobertaTokenizer(folder / "sentencepiece.bpe.model")
        >>> tokenizer.decode(tokenizer("a text")["input_ids"], skip_special_tokens=True)
        'a text'
    """

    vocab_files_names: ClassVar[dict[str, str]] = {"vocab_file": MODEL_FILE}
    _own_settings = frozenset({"tokenizer_file"})

    def __init__(
        self,
        vocab_file: File | None,
        bos_token: TokenLike | None = "<s>",
        eos_token: TokenLike | None = "</s>",
        sep_token: TokenLike | None = "</s>",
        cls_token: TokenLike | None = "<s>",
        unk_token: TokenLike | None = "<unk>",
        pad_token: TokenLike | None = "<pad>",
        mask_token: TokenLike | None = "<mask>",
        sp_model_kwargs: dict[str, Value] | None = None,
        **kwargs: Value,
    ) -> None:
        from robertakit.tokenizers.unigram import Unigram

        named = named_tokens(locals())
        self.sp_model_kwargs = dict(sp_model_kwargs or {})
        self.vocab_file = None if vocab_file is None else str(vocab_file)
        tokenizer_file = kwargs.pop("tokenizer_file", None)
        model = _model_of(vocab_file, tokenizer_file)
        if tokenizer_file is not None:
            added = added_in(read_tokenizer_json(tokenizer_file))
            kwargs["added_tokens_decoder"] = added | (kwargs.get("added_tokens_decoder") or {})
        core = Unigram(model, sampling=Sampling.from_options(self.sp_model_kwargs))
        own = {"sp_model_kwargs": self.sp_model_kwargs, **named}
        self._start(SplitPipeline(core, unknown=UNKNOWN), named, kwargs, own)


class XLMRobertaTokenizerFast(SentencePieceTokenizer, PreTrainedTokenizerFast):
    """XLM-R's tokenizer by the `sentencepiece` library: the same ids, offsets and text as `XLMRobertaTokenizer`.

    Args:
        vocab_file: `sentencepiece.bpe.model`.
        tokenizer_file: a `tokenizer.json` in its place. With another pipeline than the published one it is
            followed as it is.
        bos_token, eos_token, sep_token, cls_token, unk_token, pad_token, mask_token: as of `XLMRobertaTokenizer`.
        **kwargs: as of `PreTrainedTokenizerBase`; also `legacy_fast=True` for the reference's fast class with its
            faults, and `tokenizer_object`, a `tokenizers.Tokenizer`, in place of files.
    """

    vocab_files_names: ClassVar[dict[str, str]] = {
        "vocab_file": MODEL_FILE,
        "tokenizer_file": "tokenizer.json",
    }
    slow_tokenizer_class = XLMRobertaTokenizer
    _own_settings = frozenset({"sp_model_kwargs"})

    def __init__(
        self,
        vocab_file: File | None = None,
        tokenizer_file: File | None = None,
        bos_token: TokenLike | None = "<s>",
        eos_token: TokenLike | None = "</s>",
        sep_token: TokenLike | None = "</s>",
        cls_token: TokenLike | None = "<s>",
        unk_token: TokenLike | None = "<unk>",
        pad_token: TokenLike | None = "<pad>",
        mask_token: TokenLike | None = "<mask>",
        **kwargs: Value,
    ) -> None:
        named = named_tokens(locals())
        self.sp_model_kwargs = dict(kwargs.pop("sp_model_kwargs", None) or {})
        self.vocab_file = None if vocab_file is None else str(vocab_file)
        own = {"sp_model_kwargs": self.sp_model_kwargs, **named} if self.sp_model_kwargs else named
        legacy, tokenizer = file_or_object(kwargs, tokenizer_file)
        if tokenizer is not None and (legacy or not _is_published(tokenizer)):
            self._odd_to_longer = legacy
            self._start(self._follow(tokenizer), named, kwargs, own)
            return
        if tokenizer is None:
            model = _model_of(vocab_file, None)
        else:
            model = unigram_model(tokenizer)
            kwargs["added_tokens_decoder"] = added_in(tokenizer) | (kwargs.get("added_tokens_decoder") or {})
        from robertakit.tokenizers.fast_unigram import FastUnigram

        core = FastUnigram(model, sampling=Sampling.from_options(self.sp_model_kwargs))
        self._start(SplitPipeline(core, unknown=UNKNOWN), named, kwargs, own)
        if legacy:
            self._pipeline, self._odd_to_longer = (
                self._follow(json.loads(self._tokenizer_json(converted=True))),
                True,
            )

    def train_new_from_iterator(
        self, text_iterator: Iterable[str] | Iterable[Sequence[str]], vocab_size: int, **kwargs: Value
    ) -> Self:
        """Train a unigram vocabulary on texts, and return a tokenizer with it and the settings of this one.

        Args:
            text_iterator: texts, or batches of texts.
            vocab_size: number of ids, special tokens included.
            **kwargs: `character_coverage`, as of `train_unigram`.
        """
        from robertakit.tokenizers.training import train_unigram

        with TemporaryDirectory() as folder:
            train_unigram(texts_of(text_iterator), vocab_size, folder, **kwargs)
            settings: dict[str, Value] = {**self.init_kwargs}
            settings.pop("added_tokens_decoder", None)
            return type(self)(Path(folder) / MODEL_FILE, **settings)
