"""What all PyTorch models share: the configuration, where weights come from and go to. No model is defined here.

The work is done beside it: `construction` draws, `loading` and `saving` move weights, `changing` adds and cuts. Files
and their checks are `robertakit.checkpoints`' business.
"""

import os
from collections.abc import Callable, Collection, Mapping
from typing import ClassVar, Self, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.module import _IncompatibleKeys

from robertakit.architecture import HEADS, ROWS
from robertakit.checkpoints import save_weights
from robertakit.checkpoints.saving import obsolete_weights
from robertakit.configuration import PretrainedConfig, RobertaConfig
from robertakit.errors import ArgumentError
from robertakit.field_values import one_dtype
from robertakit.model_card import model_card
from robertakit.publishing import PushToHub
from robertakit.torch.construction import Origin, as_part, draw, draw_by_type
from robertakit.torch.contents import contents_of, head_of
from robertakit.torch.loading import Loadable
from robertakit.torch.loading_arguments import dtype_named
from robertakit.torch.saving import config_to_save, generation_file, refuse_other_formats, tensors_to_save
from robertakit.torch.sharing import absent_names, settle_names, share, share_again, shared_places
from robertakit.torch.values import as_stored

__all__ = ["PreTrainedModel", "RobertaPreTrainedModel", "as_part", "dtype_named"]


class PreTrainedModel(Loadable, PushToHub):
    """A model with a configuration that is loaded and saved; the seven models are, and so is one of your own.

    Two models of one configuration, built after the same `torch.manual_seed`, have the same weights; so has the
    model of another framework that is built from the same seed.

    Args:
        config: kept, not copied.

    Raises:
        ConfigError: fields contradict each other.
        ArgumentError: no configuration of this library.

    Example:
        >>> from torch import nn
        >>> from robertakit import RobertaConfig, RobertaModel, RobertaPreTrainedModel
        >>> class Scored(RobertaPreTrainedModel):
        ...     def __init__(self, config):
        ...         super().__init__(config)
        ...         self.roberta = RobertaModel(config, add_pooling_layer=False)
        ...         self.scorer = nn.Linear(config.hidden_size, 1)
        ...         self.post_init()
        >>> sizes = {"vocab_size": 9, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
        >>> Scored(RobertaConfig(**sizes)).scorer.bias.tolist()
        [0.0]
    """

    #: A key of `architecture.HEADS`; a model of somebody's own has none. Not set here: it may have a layer called so.
    head: ClassVar[str]
    #: Names of tensors that share another's values where the config says so; read by PEFT.
    _tied_weights_keys: ClassVar[list[str] | None] = None
    _keys_to_ignore_on_save: ClassVar[list[str] | None] = None
    is_parallelizable = False
    #: No `forward` takes the number of labels of several batches: a trainer divides by the steps it accumulates.
    accepts_loss_kwargs = False
    _hf_peft_config_loaded = False

    def __init__(self, config: RobertaConfig) -> None:
        super().__init__()
        if not isinstance(cast(object, config), PretrainedConfig):
            raise ArgumentError(
                given=f"a configuration of type {type(config).__module__}.{type(config).__name__}",
                expected=f"a {self.config_class.__name__}",
                hint=f"{self.config_class.__name__}.from_dict(config.to_dict()) makes one; "
                f"{type(self).__name__}.from_pretrained(name) loads a model",
            )
        config.validate(building=True)
        self.config = config
        self.name_or_path = config.name_or_path
        self.warnings_issued: dict[str, bool] = {}
        self._origin = Origin.now()
        register = cast(Callable[..., object], self.register_load_state_dict_post_hook)
        register(share_again)

    def __init_subclass__(cls, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        if isinstance(vars(cls).get("head"), str):
            group = HEADS[cls.head].group
            cls._tied_weights_keys = [row.name for row in ROWS if row.tied_to and row.group == group] or None

    def __setattr__(self, name: str, value: object) -> None:
        """Set; a layer that somebody gives the name of an attribute of our classes (`head`, `score`) is that layer."""
        super().__setattr__(name, cast(nn.Module, value))
        if hasattr(type(self), name) and name in self._modules:
            self.__dict__[name] = value

    # Weights of a new model ---------------------------------------------------------------------------------

    def post_init(self) -> None:
        """End a constructor: weights get their initial values. A part of a larger model leaves that to it."""
        self.init_weights()
        if getattr(self.config, "gradient_checkpointing", False):  # as configurations of 2020 ask for it
            self._set_checkpointing(True, {"use_reentrant": False})

    def init_weights(self) -> None:
        """Draw what has no value yet: by the architecture's table, and layers of one's own by `_init_weights`.

        What was drawn or loaded before stays. On the meta device there is nothing to draw; after `to_empty` there is.
        """
        if self._origin is None:
            return
        of_somebody = type(self)._init_weights is not PreTrainedModel._init_weights
        draw(self, self._origin, self._init_weights, of_somebody)
        self.tie_weights()

    def _init_weights(self, module: nn.Module) -> None:
        """Draw one layer of one's own, by its type; override it for another way."""
        draw_by_type(module, self.config.initializer_range)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Move or convert all tensors; what was one tensor stays one, also where PyTorch makes new ones."""
        shared = shared_places(self)
        cast(Callable[..., object], super()._apply)(fn, recurse)
        share(shared)
        return self

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *rest: object) -> None:
        """Take a state dict as any release wrote it; what was one tensor stays one, also with `assign=True`."""
        settle_names(state_dict, prefix, contents_of(self))
        self.__dict__["_shared"] = shared_places(self)
        take = cast(Callable[..., None], super()._load_from_state_dict)
        take(state_dict, prefix, *rest)

    def load_state_dict(
        self, state_dict: Mapping[str, object], strict: bool = True, assign: bool = False
    ) -> _IncompatibleKeys:
        """As PyTorch's; one name of a shared tensor is enough. The others count as missing where nobody is strict."""
        absent = absent_names(state_dict, contents_of(self))
        load = cast(Callable[..., _IncompatibleKeys], super().load_state_dict)
        found = load(state_dict, strict=strict, assign=assign)
        if not strict:  # safetensors.torch.load_model looks for them there
            found.missing_keys.extend(absent)
        return found

    @classmethod
    def from_config(
        cls,
        config: PretrainedConfig,
        *,
        dtype: torch.dtype | str | None = None,
        torch_dtype: torch.dtype | str | None = None,
        attn_implementation: str | None = None,
        **kwargs: object,
    ) -> Self:
        """Make a model with new weights.

        Args:
            config: kept, not copied.
            dtype: of the model; None for the configuration's, else float32.
            torch_dtype: older name of the same.
            attn_implementation: written into the configuration.
            **kwargs: of the constructor.
        """
        if attn_implementation is not None:
            config.attn_implementation = attn_implementation
        default = torch.float32 if config.dtype is None else str(config.dtype)
        make: Callable[..., Self] = cls
        return make(config, **kwargs).to(dtype_named(one_dtype(dtype, torch_dtype, default)))

    _from_config = from_config

    # Files --------------------------------------------------------------------------------------------------

    def save_pretrained(
        self,
        save_directory: str | os.PathLike[str],
        is_main_process: bool = True,
        state_dict: Mapping[str, Tensor] | None = None,
        save_function: Callable[..., object] = torch.save,
        push_to_hub: bool = False,
        max_shard_size: int | str = "5GB",
        safe_serialization: bool = True,
        variant: str | None = None,
        token: str | bool | None = None,
        save_peft_format: bool = True,
        **kwargs: object,
    ) -> list[str]:
        """Write weights (safetensors) and `config.json`; a kill leaves the old checkpoint or the new one.

        A tensor under several names is written once. What the model really ties goes into the written configuration.

        Args:
            save_directory: made if it is not there.
            is_main_process: False writes nothing: another process does.
            state_dict: in place of the model's own, under the model's names.
            save_function: what would write pickles, as accelerate's examples pass it; none are written.
            push_to_hub: upload the files, too.
            max_shard_size: bytes, or a text such as `"500MB"`; larger weights are split.
            safe_serialization: False is refused, for the same reason.
            variant: for example `"fp16"` for `model.fp16.safetensors`.
            token: of the upload.
            save_peft_format: False is refused: adapters are saved by the peft package.
            **kwargs: of the upload, see `push_to_hub`; `repo_id` is the folder's name by default.

        Returns:
            The names of the files written.

        Raises:
            SaveFailed: the disk or the Hub refused.
            ArgumentError: what is refused above, a size that is none, or weights without values.
        """
        refuse_other_formats(safe_serialization, save_peft_format)
        if not is_main_process:
            return []
        of_push = kwargs if token is None else {"token": token, **kwargs}
        publication = self._publication(save_directory, push_to_hub, of_push)
        tensors = tensors_to_save(self, state_dict)
        config = config_to_save(self, tensors)
        names = save_weights(
            save_directory,
            {name: as_stored(tensor) for name, tensor in tensors.items()},
            config_json=config.to_json_string(),
            max_shard_size=max_shard_size,
            variant=variant,
            others=generation_file(self.generation_config),
        )
        if publication is not None:
            publication.upload(save_directory, names)
        return names

    def _card(self, repo_id: str) -> str | None:
        head = head_of(self)
        if head is None:
            return None
        pooler = getattr(self, "pooler", None) is not None
        return model_card(self.config, HEADS[head], repo_id, type(self).__name__, add_pooling_layer=pooler)

    def _obsolete(self, there: Collection[str], written: Collection[str]) -> list[str]:
        return obsolete_weights(there, written)


class RobertaPreTrainedModel(PreTrainedModel):
    """What RoBERTa's models are made of, and models of one's own around them; see `PreTrainedModel`."""

    config_class: ClassVar[type[PretrainedConfig]] = RobertaConfig
    base_model_prefix: ClassVar[str] = "roberta"
