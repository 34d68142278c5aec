"""From a checkpoint to a model: `from_pretrained`. Every container that is read gives the same parameters.

Files and their checks are `robertakit.checkpoints`' business.
"""

import inspect
import os
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import ClassVar, Self, cast

import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax.typing import DTypeLike

from robertakit.checkpoints.arguments import renamed, split_arguments
from robertakit.checkpoints.loading import Weights, fit_weights, stored_weights
from robertakit.checkpoints.weight_files import container_asked
from robertakit.configuration import PretrainedConfig
from robertakit.errors import ArgumentError, NotFound
from robertakit.field_values import one_dtype
from robertakit.files import Location, locate, take_where
from robertakit.generation.config import GenerationConfig
from robertakit.jax.changing import Changeable
from robertakit.jax.construction import drawn_value
from robertakit.jax.contents import Params
from robertakit.jax.values import dtype_named, from_stored, parameter_dtype
from robertakit.pretrained_config import read_fields

__all__ = ["Loadable", "module_keywords"]


class Loadable(Changeable):
    """Gives a model `from_pretrained`."""

    config_class: ClassVar[type[PretrainedConfig]] = PretrainedConfig
    module_class: ClassVar[type[nn.Module]]
    check_inputs: bool
    generation_config: GenerationConfig

    @classmethod
    def can_generate(cls) -> bool:
        """Whether the class has `generate`."""
        return hasattr(cls, "generate")

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike[str],
        dtype: DTypeLike | None = None,
        *model_args: object,
        config: PretrainedConfig | str | os.PathLike[str] | None = None,
        ignore_mismatched_sizes: bool = False,
        from_pt: bool = False,
        from_tf: bool = False,
        from_flax: bool = False,
        use_safetensors: bool | None = None,
        variant: str | None = None,
        key_mapping: Mapping[str, str] | None = None,
        torch_dtype: object = None,
        check_inputs: bool = True,
        strict: bool = True,
        output_loading_info: bool = False,
        _do_init: bool = True,
        **kwargs: object,
    ) -> Self:
        """Load a checkpoint from a folder or the Hub.

        Nothing is drawn that the checkpoint has. Parameters are float32, whatever a file stores, unless `dtype` says
        otherwise.

        Args:
            pretrained_model_name_or_path: folder, file of weights, or name on the Hub.
            dtype: to compute in, default float32; the parameters stay float32 (see `to_bf16`), but for float64, which
                they are then, too. `"auto"`: both in the dtype that is stored.
            *model_args: of the constructor, behind the configuration.
            config: used in place of the checkpoint's own, or where to read it; not changed.
            ignore_mismatched_sizes: draw a head anew whose shape differs.
            from_pt: PyTorch's weights only. They are taken without being asked for.
            from_tf: read `tf_model.h5`.
            from_flax: read `flax_model.msgpack`, also where PyTorch's weights stand beside it.
            use_safetensors: True for safetensors only, False for all but that, None for safetensors first.
            variant: for example `"fp16"` for `model.fp16.safetensors`.
            key_mapping: regular expression -> replacement, for tensors' names that a wrapper changed.
            torch_dtype: other name of `dtype`.
            check_inputs: False spares calls the look at ids and labels, for which an accelerator has to wait.
            strict: refuse tensors that belong to nothing known (see `checkpoints.load_weights`).
            output_loading_info: return the report, too, last.
            _do_init: False returns `(model, params)`, the model without parameters of its own.
            **kwargs: where to look (`cache_dir`, `force_download`, `local_files_only`, `token`, `revision`,
                `subfolder`); fields of the configuration; and arguments of the constructor, such as `seed` (of what
                the checkpoint lacks), `gradient_checkpointing` and `add_pooling_layer`.

        Raises:
            CheckpointError: one of its leaves says what is wrong with the files.
            ConfigError: the configuration makes no model of this class.
            ArgumentError: a keyword that nothing knows, or a dtype that no model has.

        Example:
            >>> import tempfile
            >>> from robertakit import RobertaConfig
            >>> from robertakit.jax import FlaxRobertaModel
            >>> sizes = {"vocab_size": 9, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
            >>> folder = tempfile.mkdtemp()
            >>> files = FlaxRobertaModel(RobertaConfig(**sizes)).save_pretrained(folder)
            >>> FlaxRobertaModel.from_pretrained(folder, dtype="bfloat16", add_pooling_layer=False).dtype.name
            'bfloat16'
        """
        find: Callable[..., Location] = locate
        location = find(pretrained_model_name_or_path, **(where := take_where(kwargs)))
        given = config if isinstance(config, PretrainedConfig) else None
        known, own = split_arguments(
            cls,
            cls.config_class,
            given,
            lambda: read_fields(location if config is None else find(config, **where)),
            kwargs,
            set(inspect.signature(cls.from_pretrained).parameters),
            own={"input_shape", "seed", "gradient_checkpointing", *module_keywords(cls.module_class)},
        )
        known.name_or_path = location.name
        stored = _weights(
            location, use_safetensors, variant, from_pt=from_pt, from_tf=from_tf, from_flax=from_flax
        )
        asked = one_dtype(dtype, torch_dtype, jnp.float32)
        make: Callable[..., Self] = cls
        compute = jnp.float32 if asked == "auto" else dtype_named(asked)
        model = make(known, *model_args, dtype=compute, _do_init=False, **own)
        found, info = fit_weights(
            renamed(stored, key_mapping), model.contents.table, place=str(location), model=cls.__name__,
            strict=strict, ignore_mismatched_sizes=ignore_mismatched_sizes,
        )  # fmt: skip
        of_params = parameter_dtype(compute)
        if asked == "auto":
            of_params = _stored_dtype(known, found)
            model._compute_in(of_params)
        params = _filled(model, found, of_params)
        model.config.dtype = of_params.name
        model.check_inputs = check_inputs
        asked_of = GenerationConfig.at(location) if cls.can_generate() else None
        if asked_of is not None:
            model.generation_config = asked_of
        model._params = params if _do_init else None
        others = [
            item for item, wanted in ((params, not _do_init), (info.as_dict(), output_loading_info)) if wanted
        ]
        return cast(Self, (model, *others) if others else model)


def module_keywords(module_class: type[nn.Module]) -> set[str]:
    """Return what a module has beside what every module of ours has: `add_pooling_layer`."""
    of_all = {"config", "dtype", "gradient_checkpointing", "parent", "name"}
    return {field.name for field in fields(module_class) if field.init} - of_all


def _stored_dtype(config: PretrainedConfig, found: Weights) -> np.dtype[np.generic]:
    """What `"auto"` means: what the configuration says, else what the first tensor is stored in."""
    if isinstance(config.dtype, str):
        return dtype_named(config.dtype)
    return dtype_named(next((tensor.dtype for tensor in found.values()), "F32"))


def _weights(
    location: Location,
    use_safetensors: bool | None,
    variant: str | None,
    *,
    from_pt: bool,
    from_tf: bool,
    from_flax: bool,
) -> Weights:
    """The weights of the container that is asked for.

    Raises:
        ArgumentError: two that contradict each other.
    """
    if not from_pt:
        container = container_asked(use_safetensors=use_safetensors, from_tf=from_tf, from_flax=from_flax)
        return stored_weights(location, use_safetensors=use_safetensors, variant=variant, container=container)
    if from_tf or from_flax:
        raise ArgumentError(given="from_pt=True, and from_tf or from_flax", expected="one of them")
    return _of_torch(location, use_safetensors, variant)


def _of_torch(location: Location, use_safetensors: bool | None, variant: str | None) -> Weights:
    """PyTorch's weights in either container, and no other framework's."""
    if use_safetensors is not False:
        try:
            return stored_weights(location, variant=variant, container="safetensors")
        except NotFound:
            if use_safetensors:
                raise
    return stored_weights(location, variant=variant, container="bin")


def _filled(model: Changeable, found: Weights, dtype: DTypeLike) -> Params:
    """The stored values, and initial ones of what is not stored."""
    contents, values = model.contents, {}
    for name in contents.paths:
        row = contents.table[name]
        if name in found:
            values[name] = from_stored(found[name], row.kind, dtype)
        else:
            values[name] = jnp.array(drawn_value(row, model.config, model.seed, dtype))
    return contents.tree(values)
