"""What all Flax models share: the configuration, the parameters, how they are called. No layer is defined here.

A model is a linen module with a configuration and a tree of parameters beside it. The work is done beside this file:
`contents` knows the tree, `construction` draws it, `loading` and `saving` move it, `changing` and `resizing` cut it,
`answering` is the documented call, and `calling` looks at what it is given. Files and their checks are
`robertakit.checkpoints`' business.
"""

import copy
import os
from collections.abc import Collection, Mapping
from typing import ClassVar, Self, cast

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from robertakit.architecture import BACKBONE_PREFIX, HEADS, check_head
from robertakit.checkpoints import save_weights
from robertakit.checkpoints.saving import obsolete_weights
from robertakit.configuration import PretrainedConfig, RobertaConfig
from robertakit.errors import ArgumentError
from robertakit.field_values import refuse_unknown
from robertakit.jax.answering import Answering
from robertakit.jax.construction import checked_seed, drawn, filled, initial_params
from robertakit.jax.contents import Contents, Params, Path
from robertakit.jax.loading import Loadable, module_keywords
from robertakit.jax.saving import config_to_save, generation_file, tensors_to_save
from robertakit.jax.values import dtype_named, parameter_dtype
from robertakit.model_card import model_card
from robertakit.publishing import PushToHub

__all__ = ["FlaxPreTrainedModel", "FlaxRobertaPreTrainedModel"]


class FlaxPreTrainedModel(Answering, PushToHub):
    """A linen module with its configuration and parameters: loaded, saved, and called with the documented arguments.

    Parameters are drawn by the architecture's table, without a forward pass: the same seed gives the same weights in
    every framework. They are float32 unless the model computes in float64.

    Args:
        config: copied: what is changed later changes no function that `jit` has compiled.
        module: the linen module.
        input_shape: as documented; parameters do not depend on it.
        seed: of new parameters.
        dtype: to compute in.
        _do_init: False leaves the parameters to the caller (`init_weights`, `params=`).

    Raises:
        ConfigError: fields contradict each other.
        ArgumentError: no configuration of this library, a seed that is none, or no such dtype.
    """

    base_model_prefix: ClassVar[str] = ""
    main_input_name: ClassVar[str] = "input_ids"
    framework: ClassVar[str] = "flax"
    model_tags: list[str] | None = None

    def __init__(
        self,
        config: PretrainedConfig,
        module: nn.Module,
        input_shape: tuple[int, ...] = (1, 1),
        seed: int = 0,
        dtype: DTypeLike = jnp.float32,
        _do_init: bool = True,
    ) -> None:
        self.config = _own_config(config, type(self))
        self.input_shape = tuple(input_shape)
        self.seed = checked_seed(seed)
        self.dtype = dtype_named(dtype)
        self.check_inputs = True
        self.name_or_path = self.config.name_or_path
        self._module = module
        self.contents: Contents = self._contents_under(self.config)
        self._params: Params | None = None
        if _do_init:
            self._params = drawn(self.contents, self.config, self.seed, parameter_dtype(self.dtype))

    # Parameters ---------------------------------------------------------------------------------------------

    @property
    def module(self) -> nn.Module:
        """The linen module, without parameters: `module.apply({"params": params}, …)`."""
        return self._module

    @property
    def key(self) -> jax.Array:
        """The seed as a key."""
        return jax.random.PRNGKey(self.seed)

    @property
    def params(self) -> Params:
        """The parameters, plain dictionaries; set, a `FrozenDict` is taken, too, and every parameter must be there.

        Raises:
            ArgumentError: the model was made with `_do_init=False`.
            TensorMismatch: set to a tree that lacks a parameter, has one more, or one of another shape.
        """
        if self._params is None:
            raise ArgumentError(
                given=f"params of a {type(self).__name__} made with _do_init=False",
                expected="params=… in each call",
                hint="model.init_weights(key, model.input_shape) makes some; from_pretrained returns (model, params)",
            )
        return self._params

    @params.setter
    def params(self, params: Mapping[str, object]) -> None:
        self._params = self.contents.checked(params, type(self).__name__)

    @property
    def params_shape_tree(self) -> Params:
        """The tree of the parameters' shapes and dtypes (`jax.ShapeDtypeStruct`), without any values."""
        return self.contents.shapes(parameter_dtype(self.dtype))

    @property
    def required_params(self) -> set[Path]:
        """The paths of all parameters."""
        return set(self.contents.paths.values())

    def init_weights(
        self,
        rng: jax.Array,
        input_shape: tuple[int, ...] = (1, 1),
        params: Mapping[str, object] | None = None,
    ) -> Params:
        """Return new parameters; the model's own stay as they are. Works inside `jit`, where NumPy is called back.

        Args:
            rng: a key; that of a seed gives what a model of this seed has.
            input_shape: as documented; parameters do not depend on it.
            params: kept; what it lacks is drawn.

        Raises:
            TensorMismatch: `params` has what the model has not, or another shape.

        Example:
            >>> from robertakit import RobertaConfig
            >>> from robertakit.jax import FlaxRobertaModel
            >>> sizes = {"vocab_size": 9, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
            >>> model = FlaxRobertaModel(RobertaConfig(**sizes), _do_init=False)
            >>> params = model.init_weights(jax.random.key(0), model.input_shape)
            >>> params["pooler"]["dense"]["kernel"].shape
            (8, 8)
        """
        new = initial_params(self.contents, self.config, rng, parameter_dtype(self.dtype))
        return new if params is None else self.contents.checked(filled(params, new), type(self).__name__)

    # Files --------------------------------------------------------------------------------------------------

    def save_pretrained(
        self,
        save_directory: str | os.PathLike[str],
        params: Mapping[str, object] | None = None,
        push_to_hub: bool = False,
        max_shard_size: int | str = "5GB",
        token: str | bool | None = None,
        safe_serialization: bool = True,
        variant: str | None = None,
        **kwargs: object,
    ) -> list[str]:
        """Write weights (safetensors, named and laid out as PyTorch's) and `config.json`; a kill leaves the old or new.

        Every framework's classes read them, and the same values give the same bytes as from PyTorch's class.

        Args:
            save_directory: made if it is not there.
            params: in place of the model's own.
            push_to_hub: upload the files, too.
            max_shard_size: bytes, or a text such as `"500MB"`; larger weights are split.
            token: of the upload.
            safe_serialization: False is refused: it would be msgpack, which the other frameworks do not read.
            variant: for example `"fp16"` for `model.fp16.safetensors`.
            **kwargs: of the upload, see `push_to_hub`; `repo_id` is the folder's name by default.

        Returns:
            The names of the files written.

        Raises:
            SaveFailed: the disk or the Hub refused.
            ArgumentError: what is refused above, or a size that is none.
            TensorMismatch: `params` are not the model's.
        """
        if not safe_serialization:
            raise ArgumentError(
                given="safe_serialization=False to save_pretrained",
                expected="a folder of safetensors",
                hint="flax.serialization.to_bytes(model.params) makes msgpack",
            )
        tree = self.params if params is None else self.contents.checked(params, type(self).__name__)
        of_push = kwargs if token is None else {"token": token, **kwargs}
        publication = self._publication(save_directory, push_to_hub, of_push)
        tensors = tensors_to_save(self.contents, tree)
        names = save_weights(
            save_directory,
            tensors,
            config_json=config_to_save(self.config, type(self), tensors).to_json_string(),
            max_shard_size=max_shard_size,
            variant=variant,
            others=generation_file(getattr(self, "generation_config", None)),
        )
        if publication is not None:
            publication.upload(save_directory, names)
        return names

    def add_model_tags(self, tags: list[str] | str) -> None:
        """Add tags to those that the card of a pushed model gets; none comes twice."""
        given = [tags] if isinstance(tags, str) else list(tags)
        self.model_tags = list(dict.fromkeys([*(self.model_tags or []), *given]))

    def _card(self, repo_id: str) -> str | None:
        pooler = bool(getattr(self._module, "add_pooling_layer", True))
        name = type(self).__name__
        return model_card(self.config, HEADS[self.head], repo_id, name, add_pooling_layer=pooler)

    def _obsolete(self, there: Collection[str], written: Collection[str]) -> list[str]:
        return obsolete_weights(there, written)


class FlaxRobertaPreTrainedModel(FlaxPreTrainedModel):
    """What RoBERTa's models are made of; see `FlaxPreTrainedModel`.

    Args:
        config: copied.
        input_shape: as documented; parameters do not depend on it.
        seed: of new parameters.
        dtype: to compute in.
        _do_init: False leaves the parameters to the caller.
        gradient_checkpointing: see `enable_gradient_checkpointing`.
        **kwargs: of the module, such as `add_pooling_layer`.

    Raises:
        ConfigError: fields contradict each other.
        ArgumentError: a keyword that the module has not, and as above.
    """

    config_class: ClassVar[type[PretrainedConfig]] = RobertaConfig
    base_model_prefix: ClassVar[str] = BACKBONE_PREFIX.rstrip(".")

    def __init__(
        self,
        config: PretrainedConfig,
        input_shape: tuple[int, ...] = (1, 1),
        seed: int = 0,
        dtype: DTypeLike = jnp.float32,
        _do_init: bool = True,
        gradient_checkpointing: bool = False,
        **kwargs: object,
    ) -> None:
        known = module_keywords(self.module_class)
        refuse_unknown(set(kwargs) - known, type(self).__name__, known)
        make = cast("type[_Module]", self.module_class)
        module = make(
            config=_own_config(config, type(self)),
            dtype=dtype_named(dtype),
            gradient_checkpointing=gradient_checkpointing
            or bool(getattr(config, "gradient_checkpointing", False)),
            **kwargs,
        )
        super().__init__(config, module, input_shape, seed, dtype, _do_init)

    @classmethod
    def from_config(cls, config: PretrainedConfig, **kwargs: object) -> Self:
        """Make a model with new parameters.

        Args:
            config: copied.
            **kwargs: of the constructor.
        """
        make = cast("type[_Made]", cls)
        return cast(Self, make(config, **kwargs))

    _from_config = from_config


class _Module(nn.Module):
    """How the modules are made; for type checkers."""

    config: PretrainedConfig
    dtype: DTypeLike
    gradient_checkpointing: bool

    def __init__(self, **kwargs: object) -> None: ...


class _Made:
    """How the models are made; for type checkers."""

    def __init__(self, config: PretrainedConfig, **kwargs: object) -> None: ...


def _own_config(config: object, model: type[Loadable]) -> PretrainedConfig:
    """A copy of a configuration that makes a model.

    Raises:
        ArgumentError: it is none.
    """
    if not isinstance(config, PretrainedConfig):
        raise ArgumentError(
            given=f"a configuration of type {type(config).__module__}.{type(config).__name__}",
            expected=f"a {model.config_class.__name__}",
            hint=f"{model.config_class.__name__}.from_dict(config.to_dict()) makes one; "
            f"{model.__name__}.from_pretrained(name) loads a model",
        )
    config.validate(building=True)
    check_head(config, model.head)
    return copy.deepcopy(config)
