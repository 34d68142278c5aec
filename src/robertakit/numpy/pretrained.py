"""The base of the specification's models: weights, the backbone, and what every head does alike.

Heads are in ``heads.py``; the files of a checkpoint are read in ``robertakit.checkpoints``.
"""

import copy
import inspect
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import ClassVar, Generic, Self, TypeVar, cast

import numpy as np
from numpy.typing import DTypeLike, NDArray

from robertakit.architecture import head_named, initial_value, initial_weights, parameters
from robertakit.checkpoints.loading import load_weights
from robertakit.checkpoints.tensors import StoredTensor, as_stored
from robertakit.checkpoints.weight_files import container_asked
from robertakit.configuration import PretrainedConfig, RobertaConfig
from robertakit.errors import ArgumentError, TensorMismatch, listed
from robertakit.field_values import refuse_unknown
from robertakit.files import WHERE, Location, locate, take_where
from robertakit.numpy.attention import CrossAttention, LayerCache, PaddedAttention
from robertakit.numpy.encoder import embed, encode
from robertakit.numpy.inputs import Inputs
from robertakit.numpy.layers import Array, Scope
from robertakit.outputs import ModelOutput
from robertakit.pretrained_config import read_fields

__all__ = ["Backbone", "PreTrainedModel", "Weights"]

OutputT = TypeVar("OutputT", bound=ModelOutput[Array], covariant=True)
#: Tensors by checkpoint name, as arrays or as a file stores them.
Weights = Mapping[str, StoredTensor | NDArray[np.generic]]


@dataclass(frozen=True, slots=True)
class Backbone:
    """What the backbone gives a head: the last rows, and what else was asked for (None where it was not).

    Attributes:
        last: (B, L, W).
        past_key_values: keys and values of each layer.
        hidden_states: rows after the embeddings and after each layer.
        attentions: probabilities of each layer, (B, H, L, K).
        cross_attentions: those of the cross-attention.
    """

    last: Array
    past_key_values: tuple[LayerCache, ...] | None
    hidden_states: tuple[Array, ...] | None
    attentions: tuple[Array, ...] | None
    cross_attentions: tuple[Array, ...] | None


class PreTrainedModel(Generic[OutputT]):
    """A model of the specification: configuration and weights, called with the documented arguments.

    Args:
        config: sizes and switches; kept, not copied.
        weights: tensors by checkpoint name; None draws new ones. Half precision stays so, and is widened matrix by
            matrix when it is used.
        dtype: float32 (the default) or float64, in which everything is computed.
        seed: of new weights.

    Raises:
        ConfigError: the configuration makes no model.
        TensorMismatch: a weight is missing or has another shape.
    """

    config_class: ClassVar[type[RobertaConfig]] = RobertaConfig
    base_model_prefix: ClassVar[str] = "roberta"
    output_class: ClassVar[type[ModelOutput[Array]]]
    #: Each head has one, with the documented arguments.
    forward: Callable[..., OutputT]

    def __init__(
        self,
        config: PretrainedConfig,
        *,
        weights: Weights | None = None,
        dtype: DTypeLike | None = None,
        seed: int = 0,
        add_pooling_layer: bool = True,
    ) -> None:
        config.validate(building=True)
        self.config = config
        self.head = head_named(type(self).__name__)
        self.dtype = _float_type(dtype)
        if not add_pooling_layer and self.head.pooler != "optional":
            raise ArgumentError(
                given=f"add_pooling_layer=False to {type(self).__name__}", expected="the bare model"
            )
        self.add_pooling_layer = add_pooling_layer
        if weights is None:
            weights = initial_weights(config, self.head, seed, add_pooling_layer=add_pooling_layer)
        self.weights = self._bound(weights)
        self._notes: dict[str, Array] | None = None

    def _bound(self, given: Weights) -> dict[str, StoredTensor]:
        """Return the tensor of every name that the table has, ties followed."""
        table = parameters(self.config, self.head, add_pooling_layer=self.add_pooling_layer)
        sources = {name: parameter.tied_to or name for name, parameter in table.items()}
        missing = {source for source in sources.values() if source not in given}
        wrong = [
            n for n, source in sources.items() if source in given and given[source].shape != table[n].shape
        ]
        if missing or wrong:
            shapes = [f"{name} {given[sources[name]].shape} instead of {table[name].shape}" for name in wrong]
            lists = [f"missing {listed(missing)}"] * bool(missing) + [f"misshapen {listed(shapes)}"] * bool(
                wrong
            )
            raise TensorMismatch(
                given="; ".join(lists), expected=f"the {len(table)} tensors of {type(self).__name__}"
            )
        return {name: as_stored(given[source]) for name, source in sources.items()}

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike[str],
        *,
        config: PretrainedConfig | str | os.PathLike[str] | None = None,
        dtype: DTypeLike | None = None,
        torch_dtype: DTypeLike | None = None,
        strict: bool = True,
        ignore_mismatched_sizes: bool = False,
        output_loading_info: bool = False,
        add_pooling_layer: bool = True,
        use_safetensors: bool | None = None,
        variant: str | None = None,
        from_tf: bool = False,
        from_flax: bool = False,
        seed: int = 0,
        **kwargs: object,
    ) -> Self | tuple[Self, dict[str, list[str]]]:
        """Load a checkpoint from a folder or the Hub.

        Args:
            pretrained_model_name_or_path: folder, file of weights, or name on the Hub.
            config: used in place of the checkpoint's own, or where to read it.
            dtype: float32 (the default) or float64; the weights stay as they are stored, and are widened when they
                are used.
            torch_dtype: older name of the same.
            strict: refuse tensors that belong to nothing known (see ``checkpoints.load_weights``).
            ignore_mismatched_sizes: draw a head anew whose shape differs.
            output_loading_info: return ``(model, report)``.
            add_pooling_layer: whether the bare model has its pooler.
            use_safetensors: True for safetensors only, False for all but that, None for safetensors first.
            variant: for example ``"fp16"`` for ``model.fp16.safetensors``.
            from_tf: TensorFlow's weights only. They are taken without being asked for where there are no others.
            from_flax: Flax's weights only; as ``from_tf``.
            seed: of a head that the checkpoint lacks.
            **kwargs: where to look (``revision``, ``token``, ``cache_dir``, ``local_files_only``, ``subfolder``,
                ``force_download``), and fields of the configuration.

        Raises:
            CheckpointError: one of its leaves says what is wrong with the files.
            ConfigError: the configuration makes no model.
            ArgumentError: a keyword that nothing knows, or two that contradict each other.
        """
        where = take_where(kwargs)
        find: Callable[..., Location] = locate
        location = find(pretrained_model_name_or_path, **where)
        if not isinstance(config, PretrainedConfig):
            fields = read_fields(location if config is None else find(config, **where))
            kind = PretrainedConfig.families.get(str(fields.get("model_type")), cls.config_class)
            make_config: Callable[..., tuple[PretrainedConfig, dict[str, object]]] = kind.from_dict
            config, unknown = make_config(fields, return_unused_kwargs=True, **kwargs)
            right = {*inspect.signature(cls.from_pretrained).parameters, *WHERE, *config.to_dict()}
            refuse_unknown(unknown, f"{cls.__name__}.from_pretrained", right)
        elif kwargs:
            raise ArgumentError(
                given=f"config, and {listed(kwargs)}", expected="fields set on the config itself"
            )
        config.validate(building=True)
        if dtype is not None and torch_dtype is not None and _float_type(dtype) != _float_type(torch_dtype):
            raise ArgumentError(
                given=f"dtype={dtype!r} and torch_dtype={torch_dtype!r}", expected="one of the two names"
            )
        found, info = load_weights(
            location,
            config,
            cls.__name__,
            strict=strict,
            ignore_mismatched_sizes=ignore_mismatched_sizes,
            add_pooling_layer=add_pooling_layer,
            use_safetensors=use_safetensors,
            variant=variant,
            container=container_asked(use_safetensors=use_safetensors, from_tf=from_tf, from_flax=from_flax),
        )
        table = parameters(config, cls.__name__, add_pooling_layer=add_pooling_layer)
        new = {
            name: initial_value(parameter, config, seed)
            for name, parameter in table.items()
            if parameter.tied_to is None and name not in found
        }
        dtype = torch_dtype if dtype is None else dtype
        model = cls(config, weights={**found, **new}, dtype=dtype, add_pooling_layer=add_pooling_layer)
        return (model, info.as_dict()) if output_loading_info else model

    def __call__(self, *args: object, **kwargs: object) -> OutputT:
        """Call ``forward``: the documented output, or a plain tuple with ``return_dict=False``."""
        return self.forward(*args, **kwargs)

    def trace(self, *args: object, **kwargs: object) -> dict[str, Array]:
        """Call the model and return every intermediate result by name, in the order of computation.

        The output of a module has the module's path, for example ``roberta.encoder.layer.0.attention.self.query``;
        scaled scores before the mask and the probabilities stand under ``....attention.self.scores`` and
        ``....attention.self.probabilities``.
        """
        traced = copy.copy(self)
        notes: dict[str, Array] = {}
        traced._notes = notes
        traced(*args, **kwargs)
        return notes

    def scope(self) -> Scope:
        """Return the scope of the model itself."""
        return Scope(self.weights, self.dtype, trace=self._notes)

    def backbone_scope(self, scope: Scope) -> Scope:
        """Return the scope of the backbone: the bare model's names have no prefix."""
        return scope if self.head.group is None else scope.at(self.base_model_prefix)

    def run_backbone(
        self,
        scope: Scope,
        inputs: Inputs,
        use_cache: bool | None,
        output_attentions: bool | None,
        output_hidden_states: bool | None,
    ) -> Backbone:
        """Compute the backbone at every position, padding included; None lets the configuration say."""
        config = self.config
        use_cache = config.is_decoder and self._switch("use_cache", use_cache)
        attentions = self._switch("output_attentions", output_attentions)
        hidden_states = self._switch("output_hidden_states", output_hidden_states)
        scope = self.backbone_scope(scope)
        attention = PaddedAttention(
            config, inputs.mask, inputs.head_masks, inputs.past, attentions, use_cache
        )
        cross = None
        if inputs.encoder_states is not None:
            cross = CrossAttention(
                config, inputs.encoder_states, inputs.encoder_mask, inputs.head_masks, inputs.past, attentions
            )
        x = embed(
            scope.at("embeddings"),
            config,
            position_ids=inputs.position_ids,
            input_ids=inputs.input_ids,
            inputs_embeds=inputs.inputs_embeds,
            token_type_ids=inputs.token_type_ids,
        )
        states = [x]
        for rows in encode(scope.at("encoder"), config, x, attention, cross):
            states = [*states, rows] if hidden_states else [rows]
        caches = tuple(attention.caches)
        if cross is not None:
            caches = tuple(own + other for own, other in zip(caches, cross.caches, strict=False))
        return Backbone(
            last=states[-1],
            past_key_values=caches if use_cache else None,
            hidden_states=tuple(states) if hidden_states else None,
            attentions=tuple(attention.maps) if attentions else None,
            cross_attentions=tuple(cross.maps) if cross is not None and attentions else None,
        )

    def _switch(self, name: str, given: bool | None) -> bool:
        """Return a flag of a call: what the caller says, else the configuration."""
        return bool(getattr(self.config, name) if given is None else given)

    def answer(
        self,
        backbone: Backbone,
        return_dict: bool | None,
        own: Mapping[str, Array | None],
        *,
        keep_none: tuple[str, ...] = (),
    ) -> OutputT:
        """Return the documented output of a head: its own fields, then what was asked of the backbone.

        Args:
            backbone: what the backbone gave.
            return_dict: container or tuple; None lets the configuration say.
            own: the head's own fields, in order.
            keep_none: fields that stand in the tuple even where they are None.
        """
        answer = self.output_class.answer(
            own, backbone, as_dict=self._switch("use_return_dict", return_dict), keep_none=keep_none
        )
        return cast(OutputT, answer)  # a tuple is what the caller asked for


def _float_type(dtype: DTypeLike | None) -> np.dtype[np.floating]:
    """Return the dtype to compute in, also from PyTorch's name of it."""
    if dtype is None or (isinstance(dtype, str) and dtype == "auto"):
        return np.dtype(np.float32)
    given = dtype if isinstance(dtype, type | np.dtype) else str(dtype).removeprefix("torch.")
    with suppress(TypeError):  # no dtype of NumPy's at all
        for known in (np.dtype(np.float32), np.dtype(np.float64)):
            if np.dtype(given) == known:
                return known
    raise ArgumentError(
        given=f"dtype={dtype!r}",
        expected="float32 or float64",
        hint="the weights may be stored in half",
    )
