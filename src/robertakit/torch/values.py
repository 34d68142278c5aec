"""Stored values into tensors and back: each converted on its way, without a second copy of a model."""

import ctypes
import mmap
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from robertakit.checkpoints import StoredTensor, Weights
from robertakit.errors import ArgumentError, TensorMismatch
from robertakit.torch.construction import Origin, draw_described, mark_drawn, without_values
from robertakit.torch.contents import Contents
from robertakit.torch.sharing import holders, put

__all__ = ["as_stored", "copy_into", "fill"]

_DTYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "I64": torch.int64,
    "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8, "BOOL": torch.bool,
}  # fmt: skip
#: After as many bytes of a mapped file, its memory is given back.
_CHUNK = 1 << 25


def copy_into(target: Tensor, stored: StoredTensor) -> None:
    """Write stored values into a tensor of the same shape, in its dtype and on its device.

    Raises:
        TensorMismatch: a value beyond the range of the tensor's dtype, or numbers with a fraction for integers.

    Example:
        >>> target = torch.zeros(2, dtype=torch.bfloat16)
        >>> copy_into(target, StoredTensor("F32", np.array([1.5, 2.0], np.float32)))
        >>> target.tolist()
        [1.5, 2.0]
    """
    source = _DTYPES.get(stored.dtype)
    if source is None or source.is_floating_point != target.is_floating_point():
        raise TensorMismatch(given=f"{stored.dtype} in the file", expected=f"values for {target.dtype}")
    whole = target.detach()
    if not whole.is_contiguous():
        ordered = torch.empty(whole.shape, dtype=whole.dtype, device=whole.device)
        copy_into(ordered, stored)
        whole.copy_(ordered)
        return
    flat, bits = whole.view(-1), stored.bits.reshape(-1)
    step = _CHUNK // bits.itemsize
    for start in range(0, flat.numel(), step):
        values = _view(bits[start : start + step], source)
        part = flat[start : start + step]
        part.copy_(values)
        if part.dtype == torch.float16 and source != torch.float16:
            _check_range(part, values)
        if len(values) == step:
            _let_go(bits)


def _check_range(half: Tensor, values: Tensor) -> None:
    """Raise for a value that became infinite in float16."""
    if half.isinf().any() and int(half.isinf().sum()) != int(values.isinf().sum()):
        raise TensorMismatch(
            given=f"{values[values.isfinite()].abs().max().item():g}, which float16 cannot hold",
            expected="values below 65520",
            hint="load the model in bfloat16 or float32",
        )


def _view(bits: NDArray[np.generic], dtype: torch.dtype) -> Tensor:
    """A tensor over an array's memory, to be read only: PyTorch's own ways warn where the memory is a mapped file's."""
    memory = (ctypes.c_byte * bits.nbytes).from_address(bits.ctypes.data)
    return torch.frombuffer(memory, dtype=dtype)


@torch.no_grad()
def fill(
    model: nn.Module,
    contents: Contents,
    found: Weights,
    origin: Origin,
    device_of: Callable[[str], torch.device] | None,
) -> None:
    """Give each tensor of a model its value: a stored one, or the one that is drawn; one tensor after the other.

    Args:
        model: the model, with parts on the meta device.
        contents: of the model, in the dtype that it is to have.
        found: the model's name -> stored tensor; not for all of them.
        origin: what lacks is drawn from its seed; tensors without a device of their own go to its device.
        device_of: the device of a tensor by its name; None leaves each where it is, or to the origin.

    Raises:
        ArgumentError: a layer of somebody's own has no value yet, and nothing gives it one.
    """
    places = holders(model)
    mapped = 0
    for name, tensor in contents.tensors.items():
        row = contents.table[name]
        device = origin.device if tensor.is_meta else tensor.device
        if device_of is not None:
            device = device_of(name)
        if row.tied_to is not None or device.type == "meta":
            continue
        place = places[id(tensor)]
        if tensor.is_meta and name not in found and name not in contents.described:
            raise _without_value(name)
        if tensor.is_meta:
            tensor = without_values(tensor, device)
            put(place, tensor)
        elif tensor.device != device:
            moved = tensor.to(device)
            tensor = nn.Parameter(moved, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else moved
            put(place, tensor)
        if name in found:
            copy_into(tensor, found[name])
            mapped += found[name].nbytes
            if mapped >= _CHUNK:
                _let_go(found[name].bits)
                mapped = 0
        elif name in contents.described:
            draw_described(tensor, row, contents.described[name], origin.seed)
    for name, buffer in model.named_buffers():
        device = origin.device if device_of is None else device_of(name)
        if buffer.is_meta and device.type != "meta":
            raise _without_value(name)
        if device_of is not None and buffer.device != device:
            put(places[id(buffer)], buffer.to(device))
    for module in model.modules():
        if not any(tensor.is_meta for tensor in module.parameters(recurse=False)):
            mark_drawn(module)


def _let_go(values: NDArray[np.generic]) -> None:
    """Give back the memory of a mapped file that was read: its pages come again when they are asked for."""
    owner: object = values
    while isinstance(owner, np.ndarray | memoryview):
        owner = owner.obj if isinstance(owner, memoryview) else owner.base
    if isinstance(owner, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):  # not on Windows
        owner.madvise(mmap.MADV_DONTNEED)


def _without_value(name: str) -> ArgumentError:
    return ArgumentError(
        given=f"{name}, which is made of weights that are not loaded yet",
        expected="layers that do not need them in the constructor",
        hint="low_cpu_mem_usage=False builds the model with initial weights first",
    )


def as_stored(tensor: Tensor) -> StoredTensor | NDArray[np.generic]:
    """Return a tensor's values for a file; bfloat16, which NumPy has not, by its bits."""
    plain = tensor.detach().cpu()
    if plain.dtype == torch.bfloat16:
        return StoredTensor("BF16", plain.contiguous().view(torch.int16).numpy().view("<u2"))
    array: NDArray[np.generic] = plain.numpy()
    return array
