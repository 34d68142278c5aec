"""What all PyTorch models share: configuration, drawn weights, loading and saving. No model is defined here.

Files and their checks are `robertakit.checkpoints`' business; this file only moves arrays in and out of modules.
"""

import copy
import inspect
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import ClassVar, Literal, Self, overload

import numpy as np
import torch
from torch import Tensor, nn

from robertakit.architecture import initial_value, parameters
from robertakit.checkpoints import StoredTensor, Weights, load_weights, save_weights
from robertakit.configuration import PretrainedConfig, RobertaConfig
from robertakit.errors import ArgumentError, ConfigError, listed
from robertakit.field_values import refuse_unknown
from robertakit.files import WHERE, Location, locate, take_where
from robertakit.pretrained_config import read_fields

__all__ = ["RobertaPreTrainedModel", "as_part", "dtype_named"]

_FLOATS = {
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "float32": torch.float32,
    "float64": torch.float64,
}
_STORED = {"F16": torch.float16, "BF16": torch.bfloat16, "F32": torch.float32, "F64": torch.float64}

_inside: ContextVar[bool] = ContextVar("inside", default=False)


@contextmanager
def as_part() -> Iterator[None]:
    """Build a model whose weights somebody else sets: the larger model that it belongs to, or a checkpoint."""
    token = _inside.set(True)
    try:
        yield
    finally:
        _inside.reset(token)


def _drawn_seed() -> tuple[int, Tensor]:
    """One draw from PyTorch's generator, and the generator's state behind it."""
    return int(torch.randint(2**31 - 1, (), device="cpu")), torch.get_rng_state()


class RobertaPreTrainedModel(nn.Module):
    """What all classes share: the configuration, and weights drawn by the architecture table.

    Two models of one configuration, built after the same `torch.manual_seed`, have the same weights; so has the
    model of another framework that is built from the same seed.
    """

    config_class: ClassVar[type[RobertaConfig]] = RobertaConfig
    base_model_prefix: ClassVar[str] = "roberta"
    head: ClassVar[str]
    #: Whether calls look for ids and labels without a row; False spares an accelerator the wait.
    check_inputs: bool = True

    def __init__(self, config: RobertaConfig) -> None:
        super().__init__()
        config.validate(building=True)
        self.config = config
        # One draw, whatever the class and its size: modules' own first values, which nobody sees, are drawn
        # behind it and taken back.
        if not _inside.get():
            self._seed, self._generator_state = _drawn_seed()

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """What the weights are."""
        return next(self.parameters()).dtype

    def post_init(self) -> None:
        """Give every parameter its initial value, unless somebody else will."""
        if not _inside.get():
            torch.set_rng_state(self._generator_state)
            self._set_weights({}, self._seed)

    _draw_weights = post_init

    @torch.no_grad()
    def _set_weights(self, found: Weights, seed: int) -> None:
        """Set every parameter of the table: to what was found, else to its initial value."""
        named = dict(self.named_parameters(remove_duplicate=False))
        pooler = getattr(self, "pooler", None) is not None
        for name, row in parameters(self.config, self.head, add_pooling_layer=pooler).items():
            if row.tied_to is not None or named[name].is_meta:
                continue
            if name in found:
                wide = found[name].dtype == "F64" or named[name].dtype == torch.float64
                value = found[name].read(np.float64 if wide else np.float32)
            else:
                value = initial_value(row, self.config, seed)
            named[name].copy_(torch.tensor(value))

    @overload
    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike[str],
        *model_args: object,
        config: PretrainedConfig | str | os.PathLike[str] | None = None,
        dtype: torch.dtype | str | None = None,
        torch_dtype: torch.dtype | str | None = None,
        strict: bool = True,
        ignore_mismatched_sizes: bool = False,
        output_loading_info: Literal[False] = False,
        use_safetensors: bool | None = None,
        variant: str | None = None,
        **kwargs: object,
    ) -> Self: ...
    @overload
    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike[str],
        *model_args: object,
        config: PretrainedConfig | str | os.PathLike[str] | None = None,
        dtype: torch.dtype | str | None = None,
        torch_dtype: torch.dtype | str | None = None,
        strict: bool = True,
        ignore_mismatched_sizes: bool = False,
        output_loading_info: Literal[True],
        use_safetensors: bool | None = None,
        variant: str | None = None,
        **kwargs: object,
    ) -> tuple[Self, dict[str, list[str]]]: ...
    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike[str],
        *model_args: object,
        config: PretrainedConfig | str | os.PathLike[str] | None = None,
        dtype: torch.dtype | str | None = None,
        torch_dtype: torch.dtype | str | None = None,
        strict: bool = True,
        ignore_mismatched_sizes: bool = False,
        output_loading_info: bool = False,
        use_safetensors: bool | None = None,
        variant: str | None = None,
        **kwargs: object,
    ) -> Self | tuple[Self, dict[str, list[str]]]:
        """Load a checkpoint from a folder or the Hub, ready to answer (`eval()`).

        Args:
            pretrained_model_name_or_path: folder, file of weights, or name on the Hub.
            *model_args: of the constructor, behind the configuration.
            config: used in place of the checkpoint's own, or where to read it; not changed.
            dtype: of the model: a `torch.dtype`, its name, or `"auto"` for the one that is stored; default float32.
            torch_dtype: older name of the same.
            strict: refuse tensors that belong to nothing known (see `checkpoints.load_weights`).
            ignore_mismatched_sizes: draw a head anew whose shape differs.
            output_loading_info: return `(model, report)`.
            use_safetensors: True for safetensors only, False for `.bin` only, None for safetensors first.
            variant: for example `"fp16"` for `model.fp16.safetensors`.
            **kwargs: where to look (`revision`, `token`, `cache_dir`, `local_files_only`, `subfolder`,
                `force_download`); fields of the configuration, `attn_implementation` among them; and arguments of
                the constructor, such as `add_pooling_layer`.

        Raises:
            CheckpointError: one of its leaves says what is wrong with the files.
            ConfigError: the configuration makes no model of this class.
            ArgumentError: a keyword that nothing knows, or a dtype that no model has.

        Example:
            >>> import tempfile
            >>> from robertakit.torch import RobertaModel
            >>> sizes = {"vocab_size": 9, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
            >>> folder = tempfile.mkdtemp()
            >>> files = RobertaModel(RobertaConfig(**sizes)).save_pretrained(folder)
            >>> RobertaModel.from_pretrained(folder, add_pooling_layer=False, dtype="float64").dtype
            torch.float64
        """
        where = take_where(kwargs)
        find: Callable[..., Location] = locate
        location = find(pretrained_model_name_or_path, **where)
        known, own = cls._split(config, location, where, kwargs)
        asked = _one_dtype(dtype, torch_dtype)
        seed, state = _drawn_seed()
        make: Callable[..., Self] = cls
        with as_part():
            model = make(known, *model_args, **own)
        torch.set_rng_state(state)
        pooler = getattr(model, "pooler", None) is not None
        found, info = load_weights(
            location, known, cls.head, strict=strict, ignore_mismatched_sizes=ignore_mismatched_sizes,
            add_pooling_layer=pooler, use_safetensors=use_safetensors, variant=variant,
        )  # fmt: skip
        model.to(_stored_dtype(known, found) if asked == "auto" else dtype_named(asked))
        known.dtype = str(model.dtype).removeprefix("torch.")
        model._set_weights(found, seed)
        model.eval()
        return (model, info.as_dict()) if output_loading_info else model

    @classmethod
    def _split(
        cls,
        config: PretrainedConfig | str | os.PathLike[str] | None,
        location: Location,
        where: Mapping[str, object],
        kwargs: Mapping[str, object],
    ) -> tuple[PretrainedConfig, dict[str, object]]:
        """The configuration under the caller's fields, and the keywords that are the constructor's."""
        own = set(inspect.signature(cls.__init__).parameters) - {"self", "config"}
        if isinstance(config, PretrainedConfig):
            known, rest = copy.deepcopy(config), dict(kwargs)
            if "attn_implementation" in rest:
                known = type(known).from_dict(
                    known.to_dict() | {"attn_implementation": rest.pop("attn_implementation")}
                )
        else:
            find: Callable[..., Location] = locate
            fields = read_fields(location if config is None else find(config, **where))
            kind = PretrainedConfig.families.get(str(fields.get("model_type")), cls.config_class)
            ours = {name: value for name, value in kwargs.items() if name not in own}
            make: Callable[..., tuple[PretrainedConfig, dict[str, object]]] = kind.from_dict
            known, rest = make(fields, return_unused_kwargs=True, **ours)
            rest |= {name: value for name, value in kwargs.items() if name in own}
        unknown = sorted(set(rest) - own)
        if unknown and isinstance(config, PretrainedConfig):
            raise ArgumentError(
                given=f"config, and {listed(unknown)} of {cls.__name__}.from_pretrained",
                hint="set fields on the config itself",
            )
        right = {*inspect.signature(cls.from_pretrained).parameters, *WHERE, *own, *known.to_dict()}
        refuse_unknown(unknown, f"{cls.__name__}.from_pretrained", right)
        return known, rest

    def save_pretrained(
        self,
        save_directory: str | os.PathLike[str],
        is_main_process: bool = True,
        state_dict: Mapping[str, Tensor] | None = None,
        *,
        push_to_hub: bool = False,
        max_shard_size: int | str = "5GB",
        safe_serialization: bool = True,
        variant: str | None = None,
        **kwargs: object,
    ) -> list[str]:
        """Write weights (safetensors) and `config.json`; a kill leaves the old checkpoint or the new one.

        Args:
            save_directory: made if it is not there.
            is_main_process: False writes nothing: another process does.
            state_dict: in place of the model's own, under the model's names.
            push_to_hub: refused; upload the folder.
            max_shard_size: bytes, or a text such as `"500MB"`; larger weights are split.
            safe_serialization: False is refused: nothing that we write is a pickle.
            variant: for example `"fp16"` for `model.fp16.safetensors`.
            **kwargs: refused.

        Returns:
            The names of the files written.

        Raises:
            SaveFailed: the disk refused.
            ArgumentError: what is refused above, or a size that is none.
        """
        refused = {"push_to_hub": push_to_hub, "safe_serialization": not safe_serialization} | kwargs
        for name, value in refused.items():
            if name in kwargs or value:
                hints = {"push_to_hub": "save, then call huggingface_hub.upload_folder"}
                raise ArgumentError(
                    given=f"{name}={kwargs.get(name, name == 'push_to_hub')!r} to save_pretrained",
                    expected="a folder of safetensors",
                    hint=hints.get(name, "leave it out"),
                )
        if not is_main_process:
            return []
        tensors = self.state_dict() if state_dict is None else state_dict
        config = copy.deepcopy(self.config)
        config.architectures = [type(self).__name__]
        config.dtype = str(self.dtype).removeprefix("torch.")
        return save_weights(
            save_directory,
            {name: _as_stored(tensor) for name, tensor in tensors.items()},
            config_json=config.to_json_string(),
            max_shard_size=max_shard_size,
            variant=variant,
        )


def dtype_named(dtype: torch.dtype | str) -> torch.dtype:
    """A dtype that a model can have, from itself or its name.

    Raises:
        ArgumentError: no such dtype.
    """
    name = str(dtype).removeprefix("torch.")
    if name not in _FLOATS:
        raise ArgumentError(given=f"dtype={dtype!r}", expected=f"one of {listed(_FLOATS)}, or 'auto'")
    return _FLOATS[name]


def _one_dtype(dtype: torch.dtype | str | None, torch_dtype: torch.dtype | str | None) -> torch.dtype | str:
    if dtype is not None and torch_dtype is not None and str(dtype) != str(torch_dtype):
        raise ArgumentError(
            given=f"dtype={dtype!r} and torch_dtype={torch_dtype!r}", expected="one of the two names"
        )
    chosen = torch_dtype if dtype is None else dtype
    return torch.float32 if chosen is None else chosen


def _stored_dtype(config: PretrainedConfig, found: Weights) -> torch.dtype:
    """What `"auto"` means: what the configuration says, else what the first tensor is stored in."""
    if isinstance(config.dtype, str) and config.dtype in _FLOATS:
        return _FLOATS[config.dtype]
    return _STORED[next(iter(found.values())).dtype]


def _as_stored(tensor: Tensor) -> StoredTensor | np.ndarray[tuple[int, ...], np.dtype[np.generic]]:
    """A tensor's values for a file; bfloat16, which NumPy has not, by its bits."""
    plain = tensor.detach().cpu()
    if plain.dtype == torch.bfloat16:
        return StoredTensor("BF16", plain.contiguous().view(torch.int16).numpy().view("<u2"))
    array: np.ndarray[tuple[int, ...], np.dtype[np.generic]] = plain.numpy()
    return array
