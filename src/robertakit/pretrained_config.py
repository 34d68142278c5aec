"""What all configurations share: common fields, labels, files, and the checks of single values.

No framework and no NumPy. The fields of the architecture live in ``configuration.py``.
"""

import copy
import difflib
import inspect
import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import ClassVar, Literal, Self, overload

from robertakit.errors import ArgumentError, ConfigError, CorruptFile, NotFound, listed
from robertakit.field_values import (
    ALIASES,
    COMMON_FIELDS,
    LABEL_FIELDS,
    PROVENANCE,
    as_integer,
    as_list,
    as_mapping,
    check_integer,
    dtype_name,
    integer_keys,
    parse_as,
    refuse_misspelling,
    string_keys,
)
from robertakit.files import SAVE_ID, Location, locate, read_json, take_where, text_writer, write_atomically
from robertakit.publishing import PushToHub

__all__ = ["CONFIG_FILE", "PretrainedConfig", "read_fields"]

CONFIG_FILE = "config.json"
PROBLEM_TYPES = ("regression", "single_label_classification", "multi_label_classification")
ProblemType = Literal["regression", "single_label_classification", "multi_label_classification"]
#: Fields that are true or false, ``use_cache`` where a configuration has it.
_FLAGS = (
    "return_dict", "output_hidden_states", "output_attentions", "torchscript", "tie_word_embeddings",
    "is_encoder_decoder", "is_decoder", "add_cross_attention", "use_cache",
)  # fmt: skip
ATTENTION_IMPLEMENTATIONS = (None, "eager", "sdpa", "packed")


class PretrainedConfig(PushToHub):  # noqa: PLW1641  mutable, so it has no hash
    """What the configurations share: labels, flags, files. Mutable; checked when made and when a model is.

    Args:
        **kwargs: any field of the reference's ``PretrainedConfig``. A keyword that nothing knows is kept as
            an attribute and written back, unless it is nearly the name of a field.

    Raises:
        ConfigError: fields contradict each other.
        ArgumentError: a keyword that looks like a misspelt field.

    Example:
        >>> PretrainedConfig(num_labels=3).id2label
        {0: 'LABEL_0', 1: 'LABEL_1', 2: 'LABEL_2'}
    """

    #: Configuration classes by model type; a subclass with a type of its own enters itself.
    families: ClassVar[dict[str, type["PretrainedConfig"]]] = {}
    model_type: ClassVar[str] = ""
    attribute_map: ClassVar[Mapping[str, str]] = {}
    keys_to_ignore_at_inference: ClassVar[list[str]] = ["past_key_values"]
    is_composition: ClassVar[bool] = False

    # Those of the architecture, which a subclass sets.
    vocab_size: int
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    hidden_act: str | Callable[..., object]
    hidden_dropout_prob: float
    attention_probs_dropout_prob: float
    max_position_embeddings: int
    type_vocab_size: int
    initializer_range: float
    layer_norm_eps: float
    pad_token_id: int
    position_embedding_type: str
    use_cache: bool
    classifier_dropout: float | None
    # Those that all have.
    return_dict: bool
    output_hidden_states: bool
    output_attentions: bool
    torchscript: bool
    dtype: object
    pruned_heads: dict[int, list[int]]
    tie_word_embeddings: bool
    chunk_size_feed_forward: int
    is_encoder_decoder: bool
    is_decoder: bool
    add_cross_attention: bool
    architectures: list[str] | None
    problem_type: ProblemType | None
    tokenizer_class: str | None
    bos_token_id: int | None
    eos_token_id: int | list[int] | None
    sep_token_id: int | None
    id2label: dict[int, str]
    label2id: dict[str, int]
    _name_or_path: str
    _commit_hash: str | None
    _attn_implementation: str | None

    def __init__(self, **kwargs: object) -> None:
        for alias, name in ALIASES.items():
            if alias in kwargs:
                value = kwargs.pop(alias)
                if kwargs.setdefault(name, value) != value:
                    raise ArgumentError(
                        given=f"{alias}={value!r} and {name}={kwargs[name]!r}",
                        expected="one of the two names",
                    )
        labels = {name: kwargs.pop(name, None) for name in LABEL_FIELDS}
        for name, default in COMMON_FIELDS.items():
            setattr(self, name, kwargs.pop(name, copy.copy(default)))
        self.dtype = dtype_name(self.dtype)
        self._set_labels(**labels)
        for name, value in kwargs.items():
            refuse_misspelling(name, self._documented())
            setattr(self, name, value)
        self.pruned_heads = {
            layer: [as_integer("pruned_heads", head) for head in as_list("pruned_heads", heads)]
            for layer, heads in integer_keys("pruned_heads", self.pruned_heads).items()
        }
        self.validate()

    def __init_subclass__(cls) -> None:
        if "model_type" in vars(cls):
            PretrainedConfig.families[cls.model_type] = cls

    def __setattr__(self, name: str, value: object) -> None:
        super().__setattr__(type(self).attribute_map.get(name, name), value)

    def __getattr__(self, name: str) -> object:  # only asked for what is not found in the ordinary way
        target = type(self).attribute_map.get(name)
        if target is None:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(self, target)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, PretrainedConfig) or type(self) is not type(other):
            return NotImplemented
        return self._fields() == other._fields()

    def __iter__(self) -> Iterator[str]:
        return iter(vars(self))

    def __repr__(self) -> str:
        return f"{type(self).__name__} {self.to_json_string()}"

    # Labels ----------------------------------------------------------------------------------------------

    def _set_labels(self, id2label: object, label2id: object, num_labels: object) -> None:
        """Fill the label fields from those that were given; each map can be made from the other."""
        if num_labels is not None:
            check_integer("num_labels", num_labels, least=0)
        to_id = {} if label2id is None else as_mapping("label2id", label2id)
        self.label2id = {str(label): as_integer("label2id", index) for label, index in to_id.items()}
        if id2label is not None:
            names = integer_keys("id2label", id2label)
            self.id2label = {index: str(label) for index, label in names.items()}
            if num_labels is not None and num_labels != len(names):
                raise ConfigError(
                    given=f"num_labels={num_labels} and id2label with {len(names)} entries",
                    hint="give one of the two, or make them agree",
                )
            if not to_id:
                self.label2id = {label: index for index, label in self.id2label.items()}
        elif to_id and num_labels in (None, len(to_id)):
            self.id2label = {index: label for label, index in self.label2id.items()}
        else:
            self.num_labels = 2 if num_labels is None else as_integer("num_labels", num_labels)

    @property
    def num_labels(self) -> int:
        """How many classes a classification head has: the length of ``id2label``."""
        return len(self.id2label)

    @num_labels.setter
    def num_labels(self, count: int) -> None:
        if "id2label" not in vars(self) or len(self.id2label) != count:
            self.id2label = {index: f"LABEL_{index}" for index in range(count)}
            self.label2id = {label: index for index, label in self.id2label.items()}

    # Other names of the same things ----------------------------------------------------------------------

    @property
    def use_return_dict(self) -> bool:
        """Whether outputs are containers by default; plain tuples otherwise."""
        return self.return_dict and not self.torchscript

    @property
    def name_or_path(self) -> str:
        """Where the configuration was read from; empty where it was made by hand."""
        return self._name_or_path

    @name_or_path.setter
    def name_or_path(self, value: str) -> None:
        self._name_or_path = str(value)

    @property
    def torch_dtype(self) -> object:
        """The older name of ``dtype``."""
        return self.dtype

    @torch_dtype.setter
    def torch_dtype(self, value: object) -> None:
        self.dtype = dtype_name(value)

    @property
    def attn_implementation(self) -> str | None:
        """The constructor's name of ``_attn_implementation``: None (automatic), "eager", "sdpa", "packed"."""
        return self._attn_implementation

    @attn_implementation.setter
    def attn_implementation(self, value: str | None) -> None:
        self._attn_implementation = value

    def get_text_config(self, decoder: bool = False, encoder: bool | None = None) -> Self:
        """Return the configuration of the text part, which is the whole of it."""
        return self

    # Validation ------------------------------------------------------------------------------------------

    def validate(self, *, building: bool = False) -> None:
        """Raise unless the fields agree with each other.

        Args:
            building: also ask for what only a model needs: a user may set ``is_decoder`` after construction.

        Raises:
            ConfigError: names the field and the values.
        """
        if self.problem_type not in (None, *PROBLEM_TYPES):
            raise ConfigError(
                given=f"problem_type={self.problem_type!r}",
                expected=f"None or one of {listed(PROBLEM_TYPES)}",
            )
        if self._attn_implementation not in ATTENTION_IMPLEMENTATIONS:
            raise ConfigError(
                given=f"attn_implementation={self._attn_implementation!r}",
                expected="None, 'eager', 'sdpa' or 'packed'",
            )
        for name in _FLAGS:
            if not isinstance(getattr(self, name, False), bool):
                raise ConfigError(given=f"{name}={getattr(self, name)!r}", expected="true or false")
        check_integer("chunk_size_feed_forward", self.chunk_size_feed_forward, least=0)

    # Files -----------------------------------------------------------------------------------------------

    @classmethod
    def _documented(cls) -> set[str]:
        """The keywords that a constructor of this class knows."""
        named = {
            name
            for ancestor in cls.__mro__
            if issubclass(ancestor, PretrainedConfig)
            for name, parameter in inspect.signature(ancestor.__init__).parameters.items()
            if parameter.kind is not inspect.Parameter.VAR_KEYWORD and name != "self"
        }
        return named | set(COMMON_FIELDS) | set(LABEL_FIELDS) | set(ALIASES) | set(cls.attribute_map)

    @overload
    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike[str],
        *,
        return_unused_kwargs: Literal[False] = False,
        **kwargs: object,
    ) -> Self: ...
    @overload
    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike[str],
        *,
        return_unused_kwargs: Literal[True],
        **kwargs: object,
    ) -> tuple[Self, dict[str, object]]: ...
    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike[str],
        *,
        return_unused_kwargs: bool = False,
        **kwargs: object,
    ) -> Self | tuple[Self, dict[str, object]]:
        """Read a configuration from a folder, a JSON file, or the Hub.

        Args:
            pretrained_model_name_or_path: folder with a ``config.json``, JSON file, or name on the Hub.
            return_unused_kwargs: return ``(config, keywords that are no field)``; otherwise those raise.
            **kwargs: ``cache_dir``, ``force_download``, ``local_files_only``, ``token``, ``revision`` and
                ``subfolder`` say where to look; fields override those of the file.

        Raises:
            NotFound: no such folder, file or repository.
            CorruptFile: the file is not a JSON object.
            ConfigError: another architecture, or fields that contradict each other.
            ArgumentError: a keyword that is no field.
        """
        fields, kwargs = cls.get_config_dict(pretrained_model_name_or_path, **kwargs)
        config, unused = cls._from_fields(fields, kwargs, refuse_unknown=not return_unused_kwargs)
        return (config, unused) if return_unused_kwargs else config

    @classmethod
    def get_config_dict(
        cls, pretrained_model_name_or_path: str | os.PathLike[str], **kwargs: object
    ) -> tuple[dict[str, object], dict[str, object]]:
        """Return the fields of a configuration file, and the keywords that do not say where to look."""
        where = take_where(kwargs)
        find: Callable[..., Location] = locate
        return read_fields(find(pretrained_model_name_or_path, **where)), kwargs

    @overload
    @classmethod
    def from_dict(
        cls,
        config_dict: Mapping[str, object],
        *,
        return_unused_kwargs: Literal[False] = False,
        **kwargs: object,
    ) -> Self: ...
    @overload
    @classmethod
    def from_dict(
        cls, config_dict: Mapping[str, object], *, return_unused_kwargs: Literal[True], **kwargs: object
    ) -> tuple[Self, dict[str, object]]: ...
    @classmethod
    def from_dict(
        cls, config_dict: Mapping[str, object], *, return_unused_kwargs: bool = False, **kwargs: object
    ) -> Self | tuple[Self, dict[str, object]]:
        """Make a configuration from the fields of a file; keys that nothing knows are kept.

        Args:
            config_dict: fields, as in a ``config.json``.
            return_unused_kwargs: as for ``from_pretrained``.
            **kwargs: fields that override.
        """
        config, unused = cls._from_fields(config_dict, kwargs, refuse_unknown=not return_unused_kwargs)
        return (config, unused) if return_unused_kwargs else config

    @classmethod
    def _from_fields(
        cls, stored: Mapping[str, object], kwargs: Mapping[str, object], *, refuse_unknown: bool
    ) -> tuple[Self, dict[str, object]]:
        """Merge a file's fields with the caller's; return the configuration and what was no field."""
        stored_type = stored.get("model_type", cls.model_type)
        if cls.model_type and stored_type not in PretrainedConfig.families:
            raise ConfigError(
                given=f"model_type {stored_type!r}",
                expected=f"one of {listed(PretrainedConfig.families)}",
                hint="this checkpoint is of another architecture",
            )
        documented = cls._documented()
        overrides = {name: value for name, value in kwargs.items() if name in documented or name in stored}
        unused = {name: value for name, value in kwargs.items() if name not in overrides}
        if unused and refuse_unknown:
            name = next(iter(unused))
            near = difflib.get_close_matches(name, documented, n=1, cutoff=0.6)
            raise ArgumentError(
                given=f"unknown argument {name!r} of {cls.__name__}",
                expected=f"a field such as {near[0]!r}" if near else "a field of the configuration",
                hint="return_unused_kwargs=True hands unknown ones back",
            )
        fields = _override(stored, overrides)
        make: Callable[..., Self] = cls
        config = make(**{name: value for name, value in fields.items() if name in documented})
        for name in fields.keys() - documented:
            setattr(config, name, copy.deepcopy(fields[name]))
        return config, unused

    @classmethod
    def from_json_file(cls, json_file: str | os.PathLike[str]) -> Self:
        """Read a configuration from a JSON file."""
        return cls.from_dict(_read_object(Path(json_file)))

    def _fields(self) -> dict[str, object]:
        return {name: value for name, value in vars(self).items() if name not in PROVENANCE}

    def to_dict(self) -> dict[str, object]:
        """Return every field, plain data only, in a copy of its own."""
        fields = copy.deepcopy(vars(self))
        for name in ("_commit_hash", "_attn_implementation"):
            fields.pop(name, None)
        if fields.get("transformers_version") is None:  # ours were not written by transformers
            fields.pop("transformers_version", None)
        return fields | {"model_type": self.model_type} if self.model_type else fields

    def to_diff_dict(self) -> dict[str, object]:
        """Return the fields that a file holds: the architecture's, and what differs from the defaults."""
        common = PretrainedConfig().to_dict()
        return {
            name: value
            for name, value in self.to_dict().items()
            if name not in PROVENANCE and (name not in common or value != common[name])
        }

    def to_json_string(self, use_diff: bool = True) -> str:
        """Return the fields as JSON with sorted keys; all of them with ``use_diff=False``.

        Raises:
            ConfigError: a field holds what JSON cannot say, for example a function as ``hidden_act``.
        """
        try:
            fields = string_keys(self.to_diff_dict() if use_diff else self.to_dict())
            return json.dumps(fields, indent=2, sort_keys=True) + "\n"
        except TypeError as error:
            raise ConfigError(given=f"a field that JSON cannot hold ({error})") from error

    def to_json_file(self, json_file_path: str | os.PathLike[str], use_diff: bool = True) -> None:
        """Write the fields to a JSON file."""
        Path(json_file_path).write_text(self.to_json_string(use_diff), encoding="utf-8")

    def save_pretrained(
        self, save_directory: str | os.PathLike[str], push_to_hub: bool = False, **kwargs: object
    ) -> None:
        """Write ``config.json`` into a folder, which is made if need be; an old file is replaced whole.

        Args:
            save_directory: the folder.
            push_to_hub: upload the file, too.
            **kwargs: of ``push_to_hub``, the method; ``repo_id`` is the folder's name by default.
        """
        publication = self._publication(save_directory, push_to_hub, kwargs)
        write_atomically(save_directory, {CONFIG_FILE: text_writer(self.to_json_string())})
        if publication is not None:
            publication.upload(save_directory, [CONFIG_FILE])

    def update(self, config_dict: Mapping[str, object]) -> None:
        """Set each field that is named. The next validation is the model's."""
        for name, value in config_dict.items():
            setattr(self, name, value)

    def update_from_string(self, update_str: str) -> None:
        """Set fields from ``"hidden_size=24,use_cache=false"``; each keeps the type that it has."""
        for pair in update_str.split(","):
            name, _, text = pair.partition("=")
            if name not in vars(self):
                raise ConfigError(given=f"key {name!r} in {update_str!r}", expected="the name of a field")
            setattr(self, name, parse_as(name, text, vars(self)[name]))


# Reading and merging -------------------------------------------------------------------------------------


def read_fields(location: Location) -> dict[str, object]:
    """Return the fields of the configuration file at a place, or of the JSON file that was named.

    Where there is none and the weights are fairseq's, the settings in those are the configuration.
    """
    named = location.filename if location.filename and location.filename.endswith(".json") else None
    path = location.path_of(named or CONFIG_FILE)
    fields = _fairseq_fields(location) if path is None and named is None else None
    if fields is None:
        fields = _read_object(location.require(named or CONFIG_FILE))
    fields.pop(SAVE_ID, None)  # of the files, not of the model
    return fields | {"_name_or_path": location.name, "_commit_hash": location.commit}


def _fairseq_fields(location: Location) -> dict[str, object] | None:
    # Imported here: most places have a config.json.
    from robertakit.fairseq_settings import FAIRSEQ_FILE, fairseq_fields

    named = location.filename if location.filename and location.filename.endswith(".pt") else None
    path = location.path_of(named or FAIRSEQ_FILE)
    if path is None:
        return None
    return fairseq_fields(path, sentencepiece=location.path_of("sentencepiece.bpe.model") is not None)


def _read_object(path: Path) -> dict[str, object]:
    try:
        fields = read_json(path)
    except FileNotFoundError as error:
        raise NotFound(given=f"there is no file '{path}'", expected="a JSON file") from error
    if not isinstance(fields, dict):
        raise CorruptFile(given=f"'{path}' holds a {type(fields).__name__}", expected="a JSON object")
    return fields


def _override(stored: Mapping[str, object], overrides: Mapping[str, object]) -> dict[str, object]:
    """A file's fields under the caller's. Labels are one thing: what the caller says replaces all three."""
    fields = {ALIASES.get(name, name): value for name, value in stored.items() if name != "model_type"}
    changes = {ALIASES.get(name, name): value for name, value in overrides.items()}
    id2label, label2id = fields.get("id2label"), fields.get("label2id")
    kept = id2label if id2label is not None else label2id
    if kept is not None:  # old files write num_labels beside the map, and not always the same number
        fields.pop("num_labels", None)
        if "num_labels" in changes and isinstance(kept, Mapping) and len(kept) == changes["num_labels"]:
            changes.pop("num_labels")
    if any(name in changes for name in LABEL_FIELDS):
        fields = {name: value for name, value in fields.items() if name not in LABEL_FIELDS}
    return fields | changes
