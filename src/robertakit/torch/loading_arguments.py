"""What the arguments of `from_pretrained` mean in PyTorch: dtypes, and what is refused.

Which of them are fields and which the constructor's, `robertakit.checkpoints.arguments` decides.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from robertakit.checkpoints import StoredTensor, Weights
from robertakit.checkpoints.tensors import as_stored as of_array
from robertakit.configuration import PretrainedConfig
from robertakit.errors import ArgumentError, listed
from robertakit.torch.values import as_stored

__all__ = ["dtype_named", "refuse_what_is_not_done", "stored_dtype", "stored_tensors"]

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


def dtype_named(dtype: torch.dtype | str) -> torch.dtype:
    """A dtype that a model can have, from itself or its name.

    Raises:
        ArgumentError: no such dtype.
    """
    name = str(dtype).removeprefix("torch.")
    if name not in FLOATS:
        raise ArgumentError(given=f"dtype={dtype!r}", expected=f"one of {listed(FLOATS)}, or 'auto'")
    return FLOATS[name]


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
