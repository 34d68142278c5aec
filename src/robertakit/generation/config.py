"""`GenerationConfig`: what `generate()` is asked for, with the documented fields, defaults and files."""

import copy
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import ClassVar, Literal, Self, overload

from robertakit.errors import ArgumentError, ConfigError, CorruptFile
from robertakit.field_values import COMMON_FIELDS, refuse_misspelling, refuse_unknown, string_keys
from robertakit.files import Location, locate, read_json, take_where, text_writer, write_atomically
from robertakit.generation.checks import CHECKS
from robertakit.generation.fields import GenerationFields
from robertakit.pretrained_config import PretrainedConfig

__all__ = ["GENERATION_CONFIG_FILE", "GenerationConfig"]

GENERATION_CONFIG_FILE = "generation_config.json"
#: Arguments of `generate` that are no fields.
_ARGUMENTS = (
    "logits_processor", "stopping_criteria", "prefix_allowed_tokens_fn", "synced_gpus", "assistant_model",
    "streamer", "negative_prompt_ids", "negative_prompt_attention_mask", "use_model_defaults", "generator",
)  # fmt: skip
#: Where a file came from: nothing that is asked for.
_METADATA = ("transformers_version", "_from_model_config")
#: What a model's configuration holds beside the legacy fields of generation.
_OF_MODELS = (
    "pad_token_id", "bos_token_id", "eos_token_id", "use_cache", "output_attentions", "output_hidden_states",
)  # fmt: skip


class GenerationConfig(GenerationFields):  # noqa: PLW1641  mutable, so it has no hash
    """What `generate()` is asked for: the fields that are set here win over those of the model.

    A field that nobody set has its documented default and does not count as set, so that a field may be set to its
    default, too.

    Args:
        **kwargs: any documented field (see `GenerationFields`). A keyword that nothing knows is kept as an attribute
            and written back, unless it is nearly the name of a field.

    Raises:
        ConfigError: a value that a field cannot have, or fields that contradict each other.
        ArgumentError: a keyword that looks like a misspelt field, or is an argument of `generate`.

    Example:
        >>> config = GenerationConfig(num_beams=3, max_new_tokens=12)
        >>> config.num_beams, config.top_k, config.to_diff_dict()
        (3, 50, {'num_beams': 3, 'max_new_tokens': 12})
    """

    #: The documented fields and their defaults, in their order.
    defaults: ClassVar[dict[str, object]] = {
        name: vars(GenerationFields)[name] for name in GenerationFields.__annotations__
    }

    #: Whether a model's configuration gave the fields, so that its later changes count.
    _from_model_config: bool = False

    def __init__(self, **kwargs: object) -> None:
        for name, value in kwargs.items():
            if name in _ARGUMENTS:
                raise ArgumentError(
                    given=f"{name} as a field of GenerationConfig", expected=f"generate({name}=…)"
                )
            refuse_misspelling(name, set(self.defaults))
            setattr(self, name, value)
        self.validate()

    # Validation ------------------------------------------------------------------------------------------

    def validate(self, strict: bool = False) -> None:
        """Raise unless each field has a value that it can have, and they agree with each other.

        Args:
            strict: raise for fields that have no effect, too.

        Raises:
            ConfigError: names the field and its value.
        """
        for name, value in vars(self).items():
            if name in CHECKS:
                CHECKS[name](name, value)
        if self.do_sample and self.temperature == 0:
            raise ConfigError(
                given="temperature=0 with do_sample=True",
                expected="a temperature above 0",
                hint="or do_sample=False",
            )
        if self.num_return_sequences > self.num_beams and not (self.do_sample and self.num_beams == 1):
            raise ConfigError(
                given=f"num_return_sequences={self.num_return_sequences} with num_beams={self.num_beams}"
                f" and do_sample={self.do_sample}",
                expected="at most num_beams sequences of each prompt, or do_sample=True without beams",
            )
        without = self.without_effect() if strict else {}
        for name, reason in without.items():
            raise ConfigError(given=f"{name}={getattr(self, name)!r}, which has no effect", expected=reason)

    def without_effect(self) -> dict[str, str]:
        """Return the fields that are set and change nothing, with what would make them count."""
        of_draws = ("temperature", "top_k", "top_p", "min_p", "typical_p", "epsilon_cutoff", "eta_cutoff")
        of_beams = ("early_stopping", "length_penalty")
        of_containers = ("output_attentions", "output_hidden_states", "output_scores", "output_logits")
        reasons: dict[str, str] = {}
        if not self.do_sample:
            reasons |= dict.fromkeys(of_draws, "do_sample=True")
        if self.num_beams == 1:
            reasons |= dict.fromkeys(of_beams, "num_beams above 1")
        if not self.return_dict_in_generate:
            reasons |= dict.fromkeys((*of_containers, "return_legacy_cache"), "return_dict_in_generate=True")
        if not self.use_cache:
            reasons["return_legacy_cache"] = "use_cache=True"
        return {
            name: reason
            for name, reason in reasons.items()
            if getattr(self, name) is not None and getattr(self, name) != self.defaults[name]
        }

    def get_generation_mode(self, assistant_model: object = None) -> str:
        """Return how tokens are chosen: "greedy_search", "sample", "beam_search" or "beam_sample".

        Raises:
            ArgumentError: an assistant model, which is not supported.
        """
        if assistant_model is not None:
            raise ArgumentError(
                given="assistant_model", expected="None", hint="there is no assisted generation here"
            )
        if self.num_beams > 1:
            return "beam_sample" if self.do_sample else "beam_search"
        return "sample" if self.do_sample else "greedy_search"

    # Fields ----------------------------------------------------------------------------------------------

    def given(self) -> dict[str, object]:
        """Return the fields that are set, private ones left out."""
        return {name: copy.deepcopy(value) for name, value in vars(self).items() if not name.startswith("_")}

    def own(self, derived: Mapping[str, object]) -> dict[str, object]:
        """Return the fields that were set by hand: all, or, of one made of a model's, those that differ from it.

        Args:
            derived: what the model's configuration gave when this was made.
        """
        given = self.given()
        if not self._from_model_config:
            return given
        return {name: value for name, value in given.items() if name not in derived or derived[name] != value}

    def update(self, **kwargs: object) -> dict[str, object]:
        """Set fields; return the keywords that are none."""
        known = {name: value for name, value in kwargs.items() if name in self.defaults or name in vars(self)}
        for name, value in known.items():
            setattr(self, name, value)
        self.validate()
        return {name: value for name, value in kwargs.items() if name not in known}

    @classmethod
    def from_model_config(cls, model_config: PretrainedConfig) -> Self:
        """Make one of what a model's configuration says: its special tokens, and the legacy fields of generation."""
        fields = {
            name: value
            for name, value in vars(model_config).items()
            if (name in _OF_MODELS or name in COMMON_FIELDS)
            and name in cls.defaults
            and value is not None
            and value != COMMON_FIELDS.get(name, cls.defaults[name])
        }
        if any(name.startswith("output_") for name in fields):
            fields.setdefault("return_dict_in_generate", True)
        make: Callable[..., Self] = cls
        config = make(**copy.deepcopy(fields))
        config._from_model_config = True
        return config

    def to_dict(self) -> dict[str, object]:
        """Return every field, in a copy of its own."""
        return copy.deepcopy(self.defaults) | self.given()

    def to_diff_dict(self) -> dict[str, object]:
        """Return the fields that are set, which is what a file holds, and whether a model's configuration gave them."""
        return self.given() | ({"_from_model_config": True} if self._from_model_config else {})

    def to_json_string(self, use_diff: bool = True, ignore_metadata: bool = False) -> str:
        """Return the fields as JSON with sorted keys.

        Args:
            use_diff: only those that are set.
            ignore_metadata: leave out who wrote them.

        Raises:
            ConfigError: a field holds what JSON cannot say.
        """
        fields = self.to_diff_dict() if use_diff else self.to_dict()
        if isinstance(bias := fields.get("sequence_bias"), Mapping):
            fields["sequence_bias"] = [[list(ids), number] for ids, number in bias.items()]
        if ignore_metadata:
            fields = {name: value for name, value in fields.items() if name not in _METADATA}
        try:
            return json.dumps(string_keys(fields), indent=2, sort_keys=True) + "\n"
        except TypeError as error:
            raise ConfigError(given=f"a field that JSON cannot hold ({error})") from error

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, GenerationConfig):
            return NotImplemented
        no_version = {"transformers_version": None}
        return self.to_dict() | no_version == other.to_dict() | no_version

    def __repr__(self) -> str:
        return f"{type(self).__name__} {self.to_json_string(ignore_metadata=True)}"

    # Files -----------------------------------------------------------------------------------------------

    @overload
    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name: str | os.PathLike[str],
        config_file_name: str | None = None,
        *,
        return_unused_kwargs: Literal[False] = False,
        **kwargs: object,
    ) -> Self: ...
    @overload
    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name: str | os.PathLike[str],
        config_file_name: str | None = None,
        *,
        return_unused_kwargs: Literal[True],
        **kwargs: object,
    ) -> tuple[Self, dict[str, object]]: ...
    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name: str | os.PathLike[str],
        config_file_name: str | None = None,
        *,
        return_unused_kwargs: bool = False,
        **kwargs: object,
    ) -> Self | tuple[Self, dict[str, object]]:
        """Read a `generation_config.json` from a folder or the Hub.

        Args:
            pretrained_model_name: folder, or name on the Hub.
            config_file_name: another name of the file.
            return_unused_kwargs: return `(config, keywords that are no field)`; otherwise those raise.
            **kwargs: `cache_dir`, `force_download`, `local_files_only`, `token`, `revision` and `subfolder` say where
                to look; fields override those of the file.

        Raises:
            NotFound: no such folder, file or repository.
            CorruptFile: the file is not a JSON object.
            ConfigError: a value that a field cannot have.
            ArgumentError: a keyword that is no field.
        """
        where = take_where(kwargs)
        find: Callable[..., Location] = locate
        path = find(pretrained_model_name, **where).require(config_file_name or GENERATION_CONFIG_FILE)
        config = cls._read(path)
        unused = config.update(**kwargs)
        if not return_unused_kwargs:
            refuse_unknown(unused, f"{cls.__name__}.from_pretrained", cls.defaults)
        return (config, unused) if return_unused_kwargs else config

    @classmethod
    def at(cls, location: Location) -> Self | None:
        """Read the `generation_config.json` of a place that was found; None where it has none."""
        path = location.path_of(GENERATION_CONFIG_FILE)
        return None if path is None else cls._read(path)

    @classmethod
    def _read(cls, path: Path) -> Self:
        fields = read_json(path)
        if not isinstance(fields, dict):
            raise CorruptFile(given=f"'{path}' holds a {type(fields).__name__}", expected="a JSON object")
        return cls.from_dict(fields)

    @classmethod
    def from_dict(cls, config_dict: Mapping[str, object], **kwargs: object) -> Self:
        """Make one of the fields of a file; `kwargs` override them, and keys that nothing knows are kept."""
        make: Callable[..., Self] = cls
        fields = {name: value for name, value in config_dict.items() if name in cls.defaults}
        config = make(**copy.deepcopy(fields | kwargs))
        for name in config_dict.keys() - fields.keys() - kwargs.keys():
            if not name.startswith("_"):
                setattr(config, name, copy.deepcopy(config_dict[name]))
        config._from_model_config = config_dict.get("_from_model_config") is True
        return config

    def to_json_file(self, json_file_path: str | os.PathLike[str], use_diff: bool = True) -> None:
        """Write the fields to a JSON file."""
        Path(json_file_path).write_text(self.to_json_string(use_diff), encoding="utf-8")

    def save_pretrained(
        self,
        save_directory: str | os.PathLike[str],
        config_file_name: str | None = None,
        push_to_hub: bool = False,
        **kwargs: object,
    ) -> None:
        """Write `generation_config.json` into a folder, which is made if need be; an old file is replaced whole.

        Raises:
            ConfigError: a field has no effect with the others.
            SaveFailed: the disk refused.
        """
        if push_to_hub or kwargs:
            raise ArgumentError(
                given="push_to_hub=True" if push_to_hub else f"unknown argument {next(iter(kwargs))!r}",
                expected="a folder to write to",
                hint="save, then call huggingface_hub.upload_folder",
            )
        self.validate(strict=True)
        name = config_file_name or GENERATION_CONFIG_FILE
        write_atomically(save_directory, {name: text_writer(self.to_json_string())})
