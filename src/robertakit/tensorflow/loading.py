"""From a checkpoint to a model: `from_pretrained`. Weights go from the file into the model, one tensor after the other.

Files and their checks are `robertakit.checkpoints`' business.
"""

import inspect
import os
from collections.abc import Callable, Mapping
from typing import ClassVar, Literal, Protocol, Self, cast, overload

import tensorflow as tf

from robertakit.checkpoints.arguments import renamed, split_arguments
from robertakit.checkpoints.loading import Weights, fit_weights, stored_weights
from robertakit.checkpoints.weight_files import Container, container_asked
from robertakit.configuration import PretrainedConfig
from robertakit.errors import ArgumentError, NotFound
from robertakit.field_values import one_dtype, refuse_unknown
from robertakit.files import WHERE, Location, locate, take_where
from robertakit.generation.config import GenerationConfig
from robertakit.pretrained_config import read_fields
from robertakit.tensorflow.changing import Changeable
from robertakit.tensorflow.construction import draw, drawn_seed, loading
from robertakit.tensorflow.contents import Contents, contents_of, head_of
from robertakit.tensorflow.values import copy_into

__all__ = ["Loadable", "dtype_asked"]

_STORED = {"F16": "float16", "BF16": "bfloat16", "F32": "float32", "F64": "float64"}
#: Documented arguments that are not done -> what to do instead.
_REFUSED = {
    "device_map": "tf.distribute and tf.device place a model",
    "quantization_config": "model.quantize('int8') of Keras takes a model that is loaded",
    "tf_to_pt_weight_rename": "key_mapping renames tensors",
    "mirror": "set the environment variable HF_ENDPOINT",
}
#: Keywords of every Keras model.
_OF_KERAS = ("name", "dtype", "trainable")


class _Generates(Protocol):
    generation_config: GenerationConfig


class Loadable(Changeable):
    """Gives a model `from_pretrained`."""

    config_class: ClassVar[type[PretrainedConfig]] = PretrainedConfig
    #: Regular expressions for names that may lack in a checkpoint, and for such that a model need not have.
    _keys_to_ignore_on_load_missing: ClassVar[list[str] | None] = None
    _keys_to_ignore_on_load_unexpected: ClassVar[list[str] | None] = None

    @property
    def generation_config(self) -> GenerationConfig | None:
        """What `generate` is asked for by default; None for a model that does not."""
        return None

    @overload
    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike[str],
        *model_args: object,
        config: PretrainedConfig | str | os.PathLike[str] | None = None,
        ignore_mismatched_sizes: bool = False,
        use_safetensors: bool | None = None,
        from_pt: bool = False,
        from_flax: bool = False,
        from_tf: bool = False,
        variant: str | None = None,
        key_mapping: Mapping[str, str] | None = None,
        dtype: object = None,
        torch_dtype: object = None,
        check_inputs: bool = True,
        strict: bool = True,
        output_loading_info: Literal[False] = False,
        **kwargs: object,
    ) -> Self: ...
    @overload
    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike[str],
        *model_args: object,
        config: PretrainedConfig | str | os.PathLike[str] | None = None,
        ignore_mismatched_sizes: bool = False,
        use_safetensors: bool | None = None,
        from_pt: bool = False,
        from_flax: bool = False,
        from_tf: bool = False,
        variant: str | None = None,
        key_mapping: Mapping[str, str] | None = None,
        dtype: object = None,
        torch_dtype: object = None,
        check_inputs: bool = True,
        strict: bool = True,
        output_loading_info: Literal[True],
        **kwargs: object,
    ) -> tuple[Self, dict[str, list[str]]]: ...
    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike[str],
        *model_args: object,
        config: PretrainedConfig | str | os.PathLike[str] | None = None,
        ignore_mismatched_sizes: bool = False,
        use_safetensors: bool | None = None,
        from_pt: bool = False,
        from_flax: bool = False,
        from_tf: bool = False,
        variant: str | None = None,
        key_mapping: Mapping[str, str] | None = None,
        dtype: object = None,
        torch_dtype: object = None,
        check_inputs: bool = True,
        strict: bool = True,
        output_loading_info: bool = False,
        **kwargs: object,
    ) -> Self | tuple[Self, dict[str, list[str]]]:
        """Load a checkpoint of any framework from a folder or the Hub.

        Nothing is drawn that the checkpoint has; beside the model, one tensor at a time is in memory.

        Args:
            pretrained_model_name_or_path: folder, file of weights, or name on the Hub.
            *model_args: of the constructor, behind the configuration.
            config: used in place of the checkpoint's own, or where to read it; not changed.
            ignore_mismatched_sizes: draw a head anew whose shape differs.
            use_safetensors: True for safetensors only, False for all but that, None for safetensors first.
            from_pt: read what PyTorch writes, safetensors or `.bin`. Without it, too, unless there is nothing else.
            from_flax: read `flax_model.msgpack`.
            from_tf: read `tf_model.h5`.
            variant: for example `"fp16"` for `model.fp16.safetensors`.
            key_mapping: regular expression -> replacement, for tensors' names that a wrapper changed.
            dtype: of the model: a dtype or its name, a policy of Keras such as `"mixed_bfloat16"`, or `"auto"` for
                the one that is stored; default Keras' own (`keras.config.dtype_policy()`).
            torch_dtype: older name of the same.
            check_inputs: False spares calls the look at the values of ids and labels.
            strict: refuse tensors that belong to nothing known (see `checkpoints.load_weights`).
            output_loading_info: return `(model, report)`.
            **kwargs: where to look (`cache_dir`, `force_download`, `local_files_only`, `token`, `revision`,
                `subfolder`); fields of the configuration; and arguments of the constructor, such as
                `add_pooling_layer` and Keras' `name`.

        Raises:
            CheckpointError: one of its leaves says what is wrong with the files.
            ConfigError: the configuration makes no model of this class.
            ArgumentError: a keyword that nothing knows or that is not done, or a dtype that no model has.

        Example:
            >>> import tempfile
            >>> from robertakit import RobertaConfig, TFRobertaModel
            >>> sizes = {"vocab_size": 9, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
            >>> folder = tempfile.mkdtemp()
            >>> files = TFRobertaModel(RobertaConfig(**sizes)).save_pretrained(folder)
            >>> TFRobertaModel.from_pretrained(folder, add_pooling_layer=False, dtype="float64").dtype
            'float64'
        """
        where = take_where(kwargs)
        _refuse_what_is_not_done(kwargs)
        asked = dtype_asked(dtype, torch_dtype)
        find: Callable[..., Location] = locate
        location = find(pretrained_model_name_or_path, **where)
        known, own = cls._configuration(location, config, where, kwargs)
        container = container_asked(use_safetensors=use_safetensors, from_tf=from_tf, from_flax=from_flax)
        stored = renamed(_opened(location, use_safetensors, variant, container, from_pt), key_mapping)
        if asked == "auto":
            asked = _stored_dtype(known, stored)
        make: Callable[..., Self] = cls
        seed = drawn_seed()
        with loading():
            model = make(known, *model_args, **own, **({} if asked is None else {"dtype": asked}))
        contents = contents_of(model)
        found, info = fit_weights(
            stored, contents.table, place=str(location), model=cls.__name__, strict=strict,
            ignore_mismatched_sizes=ignore_mismatched_sizes,
            pardoned=(cls._keys_to_ignore_on_load_missing or (), cls._keys_to_ignore_on_load_unexpected or ()),
        )  # fmt: skip
        _fill(contents, found, seed)
        known.dtype = model.dtype
        model.check_inputs = check_inputs
        asked_of = GenerationConfig.at(location) if cls.can_generate() else None
        if asked_of is not None:
            cast(_Generates, model).generation_config = asked_of
        return (model, info.as_dict()) if output_loading_info else model

    @classmethod
    def _configuration(
        cls,
        location: Location,
        config: PretrainedConfig | str | os.PathLike[str] | None,
        where: Mapping[str, object],
        kwargs: dict[str, object],
    ) -> tuple[PretrainedConfig, dict[str, object]]:
        """The configuration under the caller's fields, and the keywords that are the constructor's."""
        find: Callable[..., Location] = locate

        def read() -> dict[str, object]:
            given = cast("str | os.PathLike[str] | None", config)
            return read_fields(location if given is None else find(given, **where))

        given = config if isinstance(config, PretrainedConfig) else None
        documented = set(inspect.signature(cls.from_pretrained).parameters)
        known, own = split_arguments(cls, cls.config_class, given, read, kwargs, documented)
        known.name_or_path = location.name
        if head_of(cls) is not None:  # a class of somebody's own knows what it takes
            right = {*_OF_KERAS, *inspect.signature(cls.__init__).parameters}
            where_known = {*right, *documented, *WHERE, *known.to_dict()}
            refuse_unknown(sorted(set(own) - right), f"{cls.__name__}.from_pretrained", where_known)
        return known, own


def dtype_asked(dtype: object, torch_dtype: object = None) -> object:
    """Return what Keras takes as `dtype=`, from either name of the argument; None where nobody asks.

    Raises:
        ArgumentError: two that differ, or no dtype that a model has.

    Example:
        >>> dtype_asked(tf.bfloat16), dtype_asked("torch.float16"), dtype_asked(None, "auto")
        ('bfloat16', 'float16', 'auto')
    """
    chosen = one_dtype(dtype, torch_dtype, None)
    if chosen is None or (hasattr(chosen, "compute_dtype") and not isinstance(chosen, str)):
        return chosen
    name = tf.as_dtype(chosen).name if isinstance(chosen, tf.DType | type) else str(chosen)
    name = name.removeprefix("torch.").removeprefix("tf.")
    policies = {"float16", "bfloat16", "float32", "float64", "mixed_float16", "mixed_bfloat16", "auto"}
    if name not in policies:
        raise ArgumentError(given=f"dtype={chosen!r}", expected=f"one of {', '.join(sorted(policies))}")
    return name


def _refuse_what_is_not_done(arguments: dict[str, object]) -> None:
    """Take the documented arguments that are not done out; raise for one that asks for something."""
    for name, instead in _REFUSED.items():
        value = arguments.pop(name, None)
        if value not in (None, False, {}):
            raise ArgumentError(
                given=f"{name}={str(value)[:60]!r} of from_pretrained",
                expected="a model as it is stored",
                hint=instead,
            )


def _opened(
    location: Location,
    use_safetensors: bool | None,
    variant: str | None,
    container: Container | None,
    from_pt: bool,
) -> Weights:
    """The stored tensors; PyTorch's own formats only where they are asked for."""
    if not from_pt or container == "safetensors":
        return stored_weights(location, use_safetensors=use_safetensors, variant=variant, container=container)
    if container is not None:
        raise ArgumentError(
            given=f"from_pt=True and the container {container!r}", expected="one framework's weights"
        )
    try:
        if use_safetensors is not False:
            return stored_weights(location, variant=variant, container="safetensors")
    except NotFound:
        pass
    return stored_weights(location, variant=variant, container="bin")


def _stored_dtype(config: PretrainedConfig, stored: Weights) -> str:
    """What `"auto"` means: what the configuration says, else what the first tensor is stored in."""
    if config.dtype in _STORED.values():
        return str(config.dtype)
    return next((_STORED[tensor.dtype] for tensor in stored.values() if tensor.dtype in _STORED), "float32")


def _fill(contents: Contents, found: Weights, seed: int) -> None:
    """Give each variable its value: a stored one, or the one that is drawn; one tensor after the other."""
    for name, variable in contents.variables.items():
        if name in found:
            copy_into(variable, contents.table[name].kind, found[name])
    draw(contents, (name for name in contents.variables if name not in found), seed)
