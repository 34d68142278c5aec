"""The classes that people derive from and test for: `PreTrainedTokenizerBase`, and its slow and fast kinds.

What a tokenizer does is in the mixins (`calling.py`, `vocabulary.py`, `special_tokens.py`); here it is made,
shown, loaded and saved.
"""

from __future__ import annotations

import inspect
import json
import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

from robertakit.errors import ArgumentError, TokenizerError
from robertakit.publishing import PushToHub
from robertakit.tokenizers.added_tokens import AddedToken, added_token
from robertakit.tokenizers.calling import CallMixin
from robertakit.tokenizers.encoding import FIRST, SECOND
from robertakit.tokenizers.options import UNKNOWN_LENGTH, refuse_unknown
from robertakit.tokenizers.padding import side_of
from robertakit.tokenizers.pipeline import Pipeline, RawPipeline
from robertakit.tokenizers.published import template_slots
from robertakit.tokenizers.special_tokens import NAMES
from robertakit.tokenizers.values import Value

if TYPE_CHECKING:
    import tokenizers

    Json = dict[str, Value]

SETTINGS = frozenset(
    {
        "model_max_length",
        "max_len",
        "padding_side",
        "truncation_side",
        "model_input_names",
        "clean_up_tokenization_spaces",
        "split_special_tokens",
        "additional_special_tokens",
        "extra_special_tokens",
        "added_tokens_decoder",
        "pad_token_type_id",
        "name_or_path",
    }
)


class PreTrainedTokenizerBase(PushToHub, CallMixin):
    """What all tokenizers share.

    Args of every class, beside its own:
        model_max_length: longest row in tokens; default 512 for RoBERTa and XLM-R, else not known (10^30).
        padding_side, truncation_side: `"right"` or `"left"`.
        model_input_names: the columns that a call returns by default; the first one holds the ids.
        clean_up_tokenization_spaces: default of `decode`.
        split_special_tokens: take special tokens in text for plain text.
        additional_special_tokens, extra_special_tokens: more special tokens; a dict gives them names.
        added_tokens_decoder: id -> added token, as `tokenizer_config.json` has it.
        name_or_path: where it comes from.
    """

    vocab_files_names: ClassVar[dict[str, str]] = {}
    model_input_names = ["input_ids", "attention_mask"]  # noqa: RUF012  documented as an attribute of the class
    padding_side: str = "right"
    truncation_side: str = "right"
    slow_tokenizer_class: ClassVar[type[PreTrainedTokenizerBase] | None] = None
    default_max_length: ClassVar[int] = UNKNOWN_LENGTH
    is_fast = False
    init_kwargs: dict[str, object]
    _own_settings: ClassVar[frozenset[str]] = frozenset()
    saved_arguments: ClassVar[frozenset[str]] = frozenset()
    """Arguments of the constructor that `tokenizer_config.json` holds, beside the settings above."""

    @classmethod
    def argument_names(cls) -> frozenset[str]:
        """Return the names of all arguments that the constructor takes."""
        return SETTINGS | cls._own_settings | set(NAMES) | set(inspect.signature(cls.__init__).parameters)

    def _start(
        self,
        pipeline: Pipeline,
        named: Mapping[str, object],
        settings: Mapping[str, Value],
        own: Mapping[str, object],
    ) -> None:
        """Finish a constructor: `named` special tokens, `settings` as above, `own` arguments of the class."""
        right = {*own, *named, *inspect.signature(type(self)).parameters} - {"settings", "kwargs"}
        refuse_unknown(settings, SETTINGS | self._own_settings, type(self).__name__, right)
        self.init_kwargs = {**own, **settings}
        self._kept: dict[str, object] = {}
        self.name_or_path = str(settings.get("name_or_path", ""))
        max_length = settings.get("model_max_length", settings.get("max_len"))
        self.model_max_length = self.default_max_length if max_length is None else int(max_length)
        self.padding_side = side_of(settings.get("padding_side", self.padding_side), "padding_side")
        self.truncation_side = side_of(
            settings.get("truncation_side", self.truncation_side), "truncation_side"
        )
        self.model_input_names = list(settings.get("model_input_names", self.model_input_names))
        self.clean_up_tokenization_spaces = bool(settings.get("clean_up_tokenization_spaces", False))
        self.split_special_tokens = bool(settings.get("split_special_tokens", False))
        if "pad_token_type_id" in settings:
            self.pad_token_type_id = int(settings["pad_token_type_id"])
        self._pipeline = pipeline
        self._added = dict(pipeline.added)
        self._added_ids = {token.content: id for id, token in self._added.items()}
        self._take_tokens(named, settings)

    def _take_tokens(self, named: Mapping[str, object], settings: Mapping[str, Value]) -> None:
        """Give ids to all special tokens: those of the file first, then the named ones in their order."""
        decoder = {
            int(id): added_token(token) for id, token in (settings.get("added_tokens_decoder") or {}).items()
        }
        by_content = {token.content: token for token in [*self._added.values(), *decoder.values()]}
        vocabulary = self._pipeline.vocabulary
        for id, token in decoder.items():
            known = vocabulary.get(token.content)
            taken = self._pipeline.piece_of(id) if known is None else None
            if known not in (None, id) or taken not in (None, token.content):
                raise TokenizerError(
                    given=f"the added token {token.content!r} with id {id}, but {taken or known!r} in the vocabulary",
                    expected="one id for each token",
                    hint="the files do not belong together",
                )
        self._named, self._additional = {}, []
        extra = settings.get("extra_special_tokens") or {}
        names = {**named, **extra} if isinstance(extra, Mapping) else named
        for name, value in names.items():
            if value is not None:
                of_file = by_content.get(value) if isinstance(value, str) else None
                self._named[name] = self._special_token(name, value) if of_file is None else of_file
        more = [
            *(settings.get("additional_special_tokens") or ()),
            *(extra if not isinstance(extra, Mapping) else ()),
        ]
        self._additional = [
            by_content.get(str(token)) or added_token(token, special=True, normalized=False) for token in more
        ]
        if decoder:
            self._set_added({**self._added, **decoder})
        self._add(self.all_special_tokens_extended)

    def _special_token(self, name: str, value: Value) -> AddedToken:
        """A named token as the class makes it of a plain string."""
        return added_token(value, special=True, normalized=False)

    def __getattr__(self, name: str) -> Value:
        """Tokens named by `extra_special_tokens`, and their ids."""
        named: Mapping[str, AddedToken] = self.__dict__.get("_named", {})
        if name in named:
            return named[name].content
        if name.endswith("_id") and name[:-3] in named:
            return self._id_of_special(name[:-3], named[name[:-3]].content)
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")

    def __repr__(self) -> str:
        shown = {
            "name_or_path": self.name_or_path,
            "vocab_size": self.vocab_size,
            "model_max_length": self.model_max_length,
            "is_fast": self.is_fast,
            "padding_side": self.padding_side,
            "truncation_side": self.truncation_side,
            "special_tokens": self.special_tokens_map,
        }
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in shown.items())})"

    # --- files ---

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike[str],
        *init_inputs: Value,
        cache_dir: str | os.PathLike[str] | None = None,
        force_download: bool = False,
        local_files_only: bool = False,
        token: str | bool | None = None,
        revision: str | None = None,
        trust_remote_code: bool | None = None,
        subfolder: str = "",
        **kwargs: Value,
    ) -> Self:
        """Load a tokenizer from a folder or from the Hub.

        Args:
            pretrained_model_name_or_path: a folder, or a name on the Hub.
            *init_inputs: positional arguments of the class, before its files.
            cache_dir: the Hub cache.
            force_download: fetch again what the cache has.
            local_files_only: do not ask the Hub.
            token: access token, True for the stored one.
            revision: branch, tag or commit.
            trust_remote_code: None or False: nothing that comes with a checkpoint is ever run.
            subfolder: folder below the place.
            **kwargs: arguments of the class; they win over the files.

        Raises:
            NotFound: no such place.
            TokenizerError: the place holds no tokenizer, one of another class, or files that contradict.
        """
        from robertakit.files import Location, locate, take_where
        from robertakit.tokenizers.loading import load

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
        return load(cls, place, init_inputs, kwargs)

    def save_pretrained(
        self,
        save_directory: str | os.PathLike[str],
        legacy_format: bool | None = None,
        filename_prefix: str | None = None,
        push_to_hub: bool = False,
        **kwargs: object,
    ) -> tuple[str, ...]:
        """Save all files that ours and other libraries load, atomically.

        Args:
            save_directory: the folder; made if it is not there.
            legacy_format: False leaves out the vocabulary files (fast classes), True leaves out `tokenizer.json`.
            filename_prefix: put before the names of the files, with a hyphen.
            push_to_hub: upload the files, too.
            **kwargs: of `push_to_hub`, the method; `repo_id` is the folder's name by default.

        Returns:
            The paths.

        Raises:
            ArgumentError: a layout that this tokenizer has not, or an argument that is unknown.
            SaveFailed: the disk is full, the folder cannot be written, or the Hub does not take the files.
        """
        from robertakit.tokenizers.saving import save

        publication = self._publication(save_directory, push_to_hub, kwargs)
        paths = save(self, save_directory, legacy_format, filename_prefix)
        if publication is not None:
            publication.upload(save_directory, [Path(path).name for path in paths])
        return paths

    def _obsolete(self, there: Collection[str], written: Collection[str]) -> list[str]:
        from robertakit.tokenizers.loading import CONFIG
        from robertakit.tokenizers.saving import STALE

        prefix = next(name for name in written if name.endswith(CONFIG)).removesuffix(CONFIG)
        return [prefix + name for name in STALE if prefix + name in there and prefix + name not in written]

    def save_vocabulary(
        self, save_directory: str | os.PathLike[str], filename_prefix: str | None = None
    ) -> tuple[str, ...]:
        """Save the vocabulary files alone, without added tokens; return their paths."""
        from robertakit.tokenizers.saving import save_files

        return save_files(save_directory, self._vocabulary_files(), filename_prefix)

    def _vocabulary_files(self) -> dict[str, bytes]:
        """File name -> content of the vocabulary files."""
        return {}

    def _tokenizer_json(self) -> str:
        """The content of `tokenizer.json`."""
        assert isinstance(self._pipeline, RawPipeline)
        return self._pipeline.to_json()


class PreTrainedTokenizer(PreTrainedTokenizerBase):
    """The slow kind: the specification in plain Python."""


class PreTrainedTokenizerFast(PreTrainedTokenizerBase):
    """The fast kind. By itself, any `tokenizer.json`, followed as it is.

    Args:
        tokenizer_object: a `tokenizers.Tokenizer`; it is copied.
        tokenizer_file: path of a `tokenizer.json`. Where it tells the texts of a pair apart by their token types
            (as BERT's does), a call returns `token_type_ids` by default.
        bos_token, eos_token, unk_token, sep_token, pad_token, cls_token, mask_token: special tokens.
        **kwargs: as of `PreTrainedTokenizerBase`.

    Raises:
        TokenizerError: a file that is no tokenizer.
    """

    is_fast = True
    vocab_files_names: ClassVar[dict[str, str]] = {"tokenizer_file": "tokenizer.json"}
    _processor: object = None  # the post-processor of a pipeline that is followed as it is
    _follows_file = True

    def __init__(
        self,
        tokenizer_object: tokenizers.Tokenizer | None = None,
        tokenizer_file: str | os.PathLike[str] | None = None,
        **kwargs: Value,
    ) -> None:
        from robertakit.tokenizers.loading import read_tokenizer_json

        if (tokenizer_object is None) == (tokenizer_file is None):
            raise ArgumentError(
                given="neither tokenizer_object nor tokenizer_file"
                if tokenizer_file is None
                else "both of them",
                expected="tokenizer_object or tokenizer_file",
            )
        if tokenizer_object is not None:
            tokenizer: Json = json.loads(tokenizer_object.to_str())
        elif tokenizer_file is not None:
            tokenizer = read_tokenizer_json(tokenizer_file)
        named = {name: kwargs.pop(name) for name in NAMES if name in kwargs}
        pipeline = self._follow(tokenizer)
        if any(self.create_token_type_ids_from_sequences([0], [0])):
            kwargs.setdefault("model_input_names", ["input_ids", "token_type_ids", "attention_mask"])
        self._start(pipeline, named, kwargs, named)

    def _follow(self, tokenizer: Json) -> RawPipeline:
        """Take the pipeline of a `tokenizer.json` and the special tokens that its post-processor puts in."""
        try:
            pipeline = RawPipeline.from_json(json.dumps(tokenizer, ensure_ascii=False))
        except Exception as error:
            raise TokenizerError(given=f"a tokenizer.json that tokenizers cannot read: {error}") from error
        self._processor, self._follows_file = tokenizer.get("post_processor"), True
        return pipeline

    def build_inputs_with_special_tokens(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None
    ) -> list[int]:
        """Put special tokens around ids as the file's post-processor does."""
        if not self._follows_file:
            return super().build_inputs_with_special_tokens(token_ids_0, token_ids_1)
        slots, _ = template_slots(self._processor, token_ids_1 is not None, (FIRST, SECOND))
        row: list[int] = []
        for slot in slots:
            row += token_ids_0 if slot == FIRST else (token_ids_1 or []) if slot == SECOND else [slot]
        return row

    def create_token_type_ids_from_sequences(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None
    ) -> list[int]:
        """Return the token type ids that the file's post-processor gives."""
        if not self._follows_file:
            return super().create_token_type_ids_from_sequences(token_ids_0, token_ids_1)
        slots, types = template_slots(self._processor, token_ids_1 is not None, (FIRST, SECOND))
        row: list[int] = []
        for slot, type in zip(slots, types, strict=True):
            row += [type] * (
                len(token_ids_0) if slot == FIRST else len(token_ids_1 or []) if slot == SECOND else 1
            )
        return row

    @property
    def backend_tokenizer(self) -> tokenizers.Tokenizer:
        """A `tokenizers.Tokenizer` of the same pipeline. Changing it does not change this tokenizer."""
        return RawPipeline.from_json(self._tokenizer_json()).tokenizer

    @property
    def can_save_slow_tokenizer(self) -> bool:
        """Whether the vocabulary files of the slow class can be saved."""
        return bool(self._vocabulary_files())

    def train_new_from_iterator(
        self, text_iterator: Iterable[str] | Iterable[Sequence[str]], vocab_size: int, **kwargs: Value
    ) -> Self:
        """Train a vocabulary of the same kind on texts; only the classes of this library have a trainer."""
        raise TokenizerError(
            given=f"train_new_from_iterator of {type(self).__name__}",
            expected="RobertaTokenizerFast or XLMRobertaTokenizerFast",
            hint="train other pipelines with the tokenizers library",
        )
