"""What the arguments of `from_pretrained` mean: the configuration, the constructor's own, dtypes, and what is refused.

Files and their checks are `robertakit.checkpoints`' business.
"""

import copy
import inspect
import re
from collections.abc import Callable, Mapping
from typing import cast

import torch
from torch import Tensor, nn

from robertakit.checkpoints import StoredTensor, Weights
from robertakit.checkpoints.tensors import as_stored as of_array
from robertakit.configuration import PretrainedConfig
from robertakit.errors import ArgumentError, listed
from robertakit.field_values import refuse_unknown
from robertakit.files import WHERE
from robertakit.torch.values import as_stored

__all__ = [
    "dtype_named", "one_dtype", "refuse_what_is_not_done", "renamed", "split_arguments", "stored_dtype",
    "stored_tensors",
]  # fmt: skip

FLOATS = {
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "float32": torch.float32,
    "float64": torch.float64,
}
_STORED = {"F16": torch.float16, "BF16": torch.bfloat16, "F32": torch.float32, "F64": torch.float64}

_QUANTISED = "load it in bfloat16 or float16"
_PARALLEL = "torch.distributed.tensor.parallel.parallelize_module takes a model that is loaded"
#: Documented arguments that are not done -> what to do instead.
_REFUSED = {
    "quantization_config": _QUANTISED,
    "load_in_8bit": _QUANTISED,
    "load_in_4bit": _QUANTISED,
    "gguf_file": "load safetensors",
    "tp_plan": _PARALLEL,
    "tp_size": _PARALLEL,
    "device_mesh": _PARALLEL,
    "adapter_kwargs": "load the model, then peft.PeftModel.from_pretrained(model, adapter)",
    "adapter_name": "load the model, then peft.PeftModel.from_pretrained(model, adapter)",
    "use_kernels": "attn_implementation chooses how attention is computed",
    "kernel_config": "attn_implementation chooses how attention is computed",
    "code_revision": "nothing that comes with a checkpoint is ever run",
    "mirror": "set the environment variable HF_ENDPOINT",
    "offload_state_dict": "weights are never all in memory beside the model; leave it out",
}


def refuse_what_is_not_done(arguments: dict[str, object]) -> None:
    """Take out of the arguments the documented ones that are not done; raise for one that asks for something.

    Raises:
        ArgumentError: what to do instead.
    """
    if not arguments.pop("_fast_init", True):
        raise ArgumentError(given="_fast_init=False", hint="low_cpu_mem_usage=False builds all weights first")
    for name, instead in _REFUSED.items():
        value = arguments.pop(name, None)
        if value not in (None, False, {}):
            raise ArgumentError(
                given=f"{name}={str(value)[:60]!r} of from_pretrained",
                expected="a model as it is stored",
                hint=instead,
            )


def _arguments_of(kind: type[nn.Module]) -> tuple[set[str], bool]:
    """Return the keywords of a model's constructor beside the configuration, and whether it takes any others."""
    known = inspect.signature(kind.__init__).parameters
    keywords = {name for name, p in known.items() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    return keywords - {"self", "config"}, any(p.kind is p.VAR_KEYWORD for p in known.values())


def split_arguments(
    kind: type[nn.Module],
    config_class: type[PretrainedConfig],
    given: PretrainedConfig | None,
    read: Callable[[], dict[str, object]],
    kwargs: Mapping[str, object],
    documented: set[str],
) -> tuple[PretrainedConfig, dict[str, object]]:
    """Return the configuration under the caller's fields, and the keywords that are the constructor's.

    Args:
        kind: the model's class.
        config_class: its configuration's class; a file of a wider kind is read as one of this class.
        given: the caller's configuration, which is not changed.
        read: reads the fields of the checkpoint's, where there is no other.
        kwargs: fields and keywords of the constructor; what both know is the constructor's.
        documented: names of the other arguments, for the error.

    Raises:
        ArgumentError: a keyword that nothing knows.
    """
    own, any_other = _arguments_of(kind)
    if given is not None:
        config, rest = copy.deepcopy(given), dict(kwargs)
        if "attn_implementation" in rest:
            config.attn_implementation = cast("str | None", rest.pop("attn_implementation"))
            config.validate()
    else:
        fields = read()
        stored = PretrainedConfig.families.get(str(fields.get("model_type")), config_class)
        chosen = config_class if issubclass(config_class, stored) else stored
        ours = {name: value for name, value in kwargs.items() if name not in own}
        make: Callable[..., tuple[PretrainedConfig, dict[str, object]]] = chosen.from_dict
        config, rest = make(fields, return_unused_kwargs=True, **ours)
        rest |= {name: value for name, value in kwargs.items() if name in own}
    unknown = sorted(set(rest) - own)
    if any_other or not unknown:
        return config, rest
    if given is not None and unknown:
        raise ArgumentError(
            given=f"config, and {listed(unknown)} of {kind.__name__}.from_pretrained",
            hint="set fields on the config itself",
        )
    refuse_unknown(
        unknown, f"{kind.__name__}.from_pretrained", {*documented, *WHERE, *own, *config.to_dict()}
    )
    return config, rest


def dtype_named(dtype: torch.dtype | str) -> torch.dtype:
    """A dtype that a model can have, from itself or its name.

    Raises:
        ArgumentError: no such dtype.
    """
    name = str(dtype).removeprefix("torch.")
    if name not in FLOATS:
        raise ArgumentError(given=f"dtype={dtype!r}", expected=f"one of {listed(FLOATS)}, or 'auto'")
    return FLOATS[name]


def one_dtype(
    dtype: torch.dtype | str | None, torch_dtype: torch.dtype | str | None, default: torch.dtype | str
) -> torch.dtype | str:
    """Return the dtype under either of its names.

    Raises:
        ArgumentError: two dtypes.
    """
    if dtype is not None and torch_dtype is not None and str(dtype) != str(torch_dtype):
        raise ArgumentError(
            given=f"dtype={dtype!r} and torch_dtype={torch_dtype!r}", expected="one of the two names"
        )
    chosen = torch_dtype if dtype is None else dtype
    return default if chosen is None else chosen


def stored_dtype(config: PretrainedConfig, found: Weights) -> torch.dtype:
    """What `"auto"` means: what the configuration says, else what the first tensor is stored in."""
    if isinstance(config.dtype, str) and config.dtype in FLOATS:
        return FLOATS[config.dtype]
    return next(
        (_STORED[tensor.dtype] for tensor in found.values() if tensor.dtype in _STORED), torch.float32
    )


def stored_tensors(state_dict: Mapping[str, Tensor]) -> dict[str, StoredTensor]:
    """Return tensors as a file would hold them; on the processor they are not copied."""
    return {name: of_array(as_stored(tensor)) for name, tensor in state_dict.items()}


def renamed(stored: Weights, key_mapping: Mapping[str, str] | None) -> Weights:
    """Return stored tensors under other names: the first regular expression that matches is replaced.

    Raises:
        ArgumentError: two tensors get one name, or an expression is none.
    """
    if not key_mapping:
        return stored
    result: dict[str, StoredTensor] = {}
    for name, tensor in stored.items():
        new = name
        for pattern, replacement in key_mapping.items():
            try:
                new, count = re.subn(pattern, replacement, name)
            except (re.error, IndexError) as error:
                raise ArgumentError(
                    given=f"key_mapping with {pattern!r} and {replacement!r} ({error})",
                    expected="regular expressions",
                ) from error
            if count:
                break
        if new in result:
            raise ArgumentError(given=f"key_mapping that makes two tensors {new!r}")
        result[new] = tensor
    return result
