"""From a checkpoint to a model: `from_pretrained`. Weights go from the file into the model, one tensor after the other.

What the arguments mean is judged in `loading_arguments`; files and their checks are `robertakit.checkpoints`' business.
"""

import inspect
import os
from collections.abc import Callable, Mapping
from typing import ClassVar, Literal, Protocol, Self, cast, overload

import torch
from torch import Tensor

from robertakit.checkpoints.arguments import renamed, split_arguments
from robertakit.checkpoints.loading import Weights, fit_weights, stored_weights
from robertakit.checkpoints.weight_files import container_asked
from robertakit.configuration import PretrainedConfig
from robertakit.errors import ArgumentError
from robertakit.field_values import one_dtype
from robertakit.files import Location, locate, take_where
from robertakit.generation.config import GenerationConfig
from robertakit.pretrained_config import read_fields
from robertakit.torch.changing import Changeable
from robertakit.torch.construction import Origin, drawn_seed, loading
from robertakit.torch.contents import contents_of
from robertakit.torch.device_maps import DeviceMap, placement
from robertakit.torch.loading_arguments import (
    dtype_named,
    refuse_what_is_not_done,
    stored_dtype,
    stored_tensors,
)
from robertakit.torch.values import fill

__all__ = ["Loadable"]


class _Generates(Protocol):
    generation_config: GenerationConfig


class Loadable(Changeable):
    """Gives a model `from_pretrained`."""

    config_class: ClassVar[type[PretrainedConfig]] = PretrainedConfig
    #: What accelerate leaves on one device, and what it does not move.
    _no_split_modules: ClassVar[list[str]] = ["RobertaEmbeddings", "RobertaLayer"]
    _skip_keys_device_placement: ClassVar[str] = "past_key_values"
    #: Regular expressions for names that may lack in a checkpoint, and for such that a model need not have.
    _keys_to_ignore_on_load_missing: ClassVar[list[str] | None] = None
    _keys_to_ignore_on_load_unexpected: ClassVar[list[str] | None] = None
    _origin: Origin | None

    @property
    def generation_config(self) -> GenerationConfig | None:
        """What `generate` is asked for by default; None for a model that does not."""
        return None

    @overload
    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike[str] | None,
        *model_args: object,
        config: PretrainedConfig | str | os.PathLike[str] | None = None,
        ignore_mismatched_sizes: bool = False,
        use_safetensors: bool | None = None,
        weights_only: bool = True,
        state_dict: Mapping[str, Tensor] | None = None,
        from_tf: bool = False,
        from_flax: bool = False,
        variant: str | None = None,
        key_mapping: Mapping[str, str] | None = None,
        dtype: torch.dtype | str | None = None,
        torch_dtype: torch.dtype | str | None = None,
        device_map: DeviceMap | None = None,
        max_memory: Mapping[int | str, int | str] | None = None,
        offload_folder: str | os.PathLike[str] | None = None,
        offload_buffers: bool = False,
        low_cpu_mem_usage: bool | None = None,
        check_inputs: bool = True,
        strict: bool = True,
        output_loading_info: Literal[False] = False,
        **kwargs: object,
    ) -> Self: ...
    @overload
    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike[str] | None,
        *model_args: object,
        config: PretrainedConfig | str | os.PathLike[str] | None = None,
        ignore_mismatched_sizes: bool = False,
        use_safetensors: bool | None = None,
        weights_only: bool = True,
        state_dict: Mapping[str, Tensor] | None = None,
        from_tf: bool = False,
        from_flax: bool = False,
        variant: str | None = None,
        key_mapping: Mapping[str, str] | None = None,
        dtype: torch.dtype | str | None = None,
        torch_dtype: torch.dtype | str | None = None,
        device_map: DeviceMap | None = None,
        max_memory: Mapping[int | str, int | str] | None = None,
        offload_folder: str | os.PathLike[str] | None = None,
        offload_buffers: bool = False,
        low_cpu_mem_usage: bool | None = None,
        check_inputs: bool = True,
        strict: bool = True,
        output_loading_info: Literal[True],
        **kwargs: object,
    ) -> tuple[Self, dict[str, list[str]]]: ...
    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike[str] | None,
        *model_args: object,
        config: PretrainedConfig | str | os.PathLike[str] | None = None,
        ignore_mismatched_sizes: bool = False,
        use_safetensors: bool | None = None,
        weights_only: bool = True,
        state_dict: Mapping[str, Tensor] | None = None,
        from_tf: bool = False,
        from_flax: bool = False,
        variant: str | None = None,
        key_mapping: Mapping[str, str] | None = None,
        dtype: torch.dtype | str | None = None,
        torch_dtype: torch.dtype | str | None = None,
        device_map: DeviceMap | None = None,
        max_memory: Mapping[int | str, int | str] | None = None,
        offload_folder: str | os.PathLike[str] | None = None,
        offload_buffers: bool = False,
        low_cpu_mem_usage: bool | None = None,
        check_inputs: bool = True,
        strict: bool = True,
        output_loading_info: bool = False,
        **kwargs: object,
    ) -> Self | tuple[Self, dict[str, list[str]]]:
        """Load a checkpoint from a folder or the Hub, ready to answer (`eval()`).

        Nothing is drawn that the checkpoint has, and no weight is in memory twice.

        Args:
            pretrained_model_name_or_path: folder, file of weights, or name on the Hub; None where `config` and
                `state_dict` say all.
            *model_args: of the constructor, behind the configuration.
            config: used in place of the checkpoint's own, or where to read it; not changed.
            ignore_mismatched_sizes: draw a head anew whose shape differs.
            use_safetensors: True for safetensors only, False for all but that, None for safetensors first.
            weights_only: True and False are one: no file can run anything.
            state_dict: tensors in place of the checkpoint's.
            from_tf: read `tf_model.h5`.
            from_flax: read `flax_model.msgpack`.
            variant: for example `"fp16"` for `model.fp16.safetensors`.
            key_mapping: regular expression -> replacement, for tensors' names that a wrapper changed.
            dtype: of the model: a `torch.dtype`, its name, or `"auto"` for the one that is stored; default float32.
            torch_dtype: older name of the same.
            device_map: a device for the whole model; names of modules -> devices or `"disk"`; or `"auto"`: the
                accelerators of the machine as far as the model fits, then memory, then the disk. None: where PyTorch
                makes tensors, which `with torch.device(...)` says.
            max_memory: the most that an automatic map takes of each device, `{0: "1GB", "cpu": "4GB"}`.
            offload_folder: where parts are kept that a map sends to the disk.
            offload_buffers: send their buffers, too.
            low_cpu_mem_usage: False builds a model with initial weights first, for a constructor of one's own that
                computes with them; otherwise weights come into being when they are read.
            check_inputs: False spares calls the look at ids and labels, for which an accelerator has to wait.
            strict: refuse tensors that belong to nothing known (see `checkpoints.load_weights`).
            output_loading_info: return `(model, report)`.
            **kwargs: where to look (`cache_dir`, `force_download`, `local_files_only`, `token`, `revision`,
                `subfolder`); fields of the configuration, `attn_implementation` among them; and arguments of the
                constructor, such as `add_pooling_layer`.

        Raises:
            CheckpointError: one of its leaves says what is wrong with the files.
            ConfigError: the configuration makes no model of this class.
            ArgumentError: a keyword that nothing knows or that is not done, or a dtype that no model has.
            InputError: PyTorch cannot compute on a device.

        Example:
            >>> import tempfile
            >>> from robertakit import RobertaConfig, RobertaModel
            >>> sizes = {"vocab_size": 9, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
            >>> folder = tempfile.mkdtemp()
            >>> files = RobertaModel(RobertaConfig(**sizes)).save_pretrained(folder)
            >>> RobertaModel.from_pretrained(folder, add_pooling_layer=False, dtype="float64").dtype
            torch.float64
        """
        where = take_where(kwargs)
        refuse_what_is_not_done(kwargs)
        default: torch.dtype | str = torch.float32
        asked = one_dtype(dtype, torch_dtype, default)
        location = _located(pretrained_model_name_or_path, where, config, state_dict)
        known, own = cls._configuration(location, config, where, kwargs)
        if state_dict is not None or location is None:
            stored: Weights = stored_tensors(state_dict or {})
        else:
            container = container_asked(use_safetensors=use_safetensors, from_tf=from_tf, from_flax=from_flax)
            stored = stored_weights(
                location, use_safetensors=use_safetensors, variant=variant, container=container
            )
        model, seed = cls._built(known, model_args, own, low_cpu_mem_usage)
        contents = contents_of(model)
        found, info = fit_weights(
            renamed(stored, key_mapping), contents.table, place=str(location or "state_dict"), model=cls.__name__,
            strict=strict, ignore_mismatched_sizes=ignore_mismatched_sizes, prefix=contents.prefix,
            pardoned=(cls._keys_to_ignore_on_load_missing or (), cls._keys_to_ignore_on_load_unexpected or ()),
        )  # fmt: skip
        model.to(stored_dtype(known, found) if asked == "auto" else dtype_named(asked))
        placed = placement(
            model, device_map, unsplit=cls._no_split_modules, max_memory=max_memory,
            offload_folder=offload_folder, offload_buffers=offload_buffers,
        )  # fmt: skip
        model._origin = Origin(seed, torch.get_default_device(), loading=False)
        fill(model, contents_of(model), found, model._origin, None if placed is None else placed.device_of)
        known.dtype = str(model.dtype).removeprefix("torch.")
        model.check_inputs = check_inputs
        model.eval()
        if placed is not None:
            placed.finish(model, cls._skip_keys_device_placement)
        if location is not None and cls.can_generate():
            _take_generation_defaults(model, location)
        return (model, info.as_dict()) if output_loading_info else model

    @classmethod
    def _configuration(
        cls,
        location: Location | None,
        config: PretrainedConfig | str | os.PathLike[str] | None,
        where: Mapping[str, object],
        kwargs: dict[str, object],
    ) -> tuple[PretrainedConfig, dict[str, object]]:
        """The configuration under the caller's fields, and the keywords that are the constructor's."""
        find: Callable[..., Location] = locate

        def read() -> dict[str, object]:
            assert location is not None
            return read_fields(location if config is None else find(config, **where))

        given = config if isinstance(config, PretrainedConfig) else None
        documented = set(inspect.signature(cls.from_pretrained).parameters)
        known, own = split_arguments(cls, cls.config_class, given, read, kwargs, documented)
        if location is not None:
            known.name_or_path = location.name
        return known, own

    @classmethod
    def _built(
        cls, config: PretrainedConfig, args: tuple[object, ...], own: Mapping[str, object], lean: bool | None
    ) -> tuple[Self, int]:
        """A model, without values unless they are asked for, and the seed of what the checkpoint lacks.

        One draw is taken from PyTorch's generator, whatever a constructor of somebody's own draws.
        """
        make: Callable[..., Self] = cls
        seed = drawn_seed()
        state = torch.get_rng_state()
        try:
            if lean is False:
                return make(config, *args, **own), seed
            with loading(seed):
                return make(config, *args, **own), seed
        finally:
            torch.set_rng_state(state)


def _located(
    name: str | os.PathLike[str] | None,
    where: Mapping[str, object],
    config: object,
    state_dict: Mapping[str, Tensor] | None,
) -> Location | None:
    """The place of the files; None where configuration and tensors are given."""
    if name is None:
        if not isinstance(config, PretrainedConfig) or state_dict is None:
            raise ArgumentError(
                given="pretrained_model_name_or_path=None",
                expected="a folder, or a name on the Hub",
                hint="None is for config and state_dict, given both",
            )
        return None
    find: Callable[..., Location] = locate
    return find(name, **where)


def _take_generation_defaults(model: Changeable, location: Location) -> None:
    """Give a model that generates the settings that its folder asks for."""
    asked = GenerationConfig.at(location)
    if asked is not None:
        cast(_Generates, model).generation_config = asked
