"""Products of linear layers by the faster of the two libraries that PyTorch brings for a processor.

PyTorch takes float32 products from MKL, which is made for Intel's processors: on AMD's it reaches less than half of
what oneDNN does (docs/decisions.md has the figures). There, large products are oneDNN's, forward and backward. A layer
that is hooked, replaced or changed is called as ever.

Shape letters: I inputs, O outputs.
"""

import platform
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx
from torch.nn.modules.module import _has_any_global_hook

from robertakit.torch.packing import makes_graph

__all__ = ["is_plain", "linear", "plain_product", "product"]

#: Multiplications from which oneDNN's preparation is paid back (measured: docs/decisions.md).
_WORTH_IT = 1 << 22
#: What processors call themselves on which MKL takes its slow ways.
_SLOW_FOR_MKL = ("AuthenticAMD", "HygonGenuine")


def linear(module: nn.Module, rows: Tensor) -> Tensor:
    """Return `module(rows)`, (..., I) to (..., O), computed in the fastest way that this processor has.

    Example:
        >>> layer, rows = nn.Linear(3, 2), torch.ones(4, 3)
        >>> torch.equal(linear(layer, rows), layer(rows))
        True
    """
    if type(module) is nn.Linear and is_plain(module) and _pays(rows, module.weight, module.bias):
        return product(rows, module.weight, module.bias)
    out: Tensor = module(rows)
    return out


def product(rows: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return `rows @ weight.T + bias` by oneDNN.

    Args:
        rows: (..., I), float32, on the processor; in any memory layout.
        weight: (O, I).
        bias: (O,), or None.

    Returns:
        (..., O); gradients of any order are products by oneDNN, too.

    Example:
        >>> product(torch.ones(2, 3), torch.ones(1, 3), torch.ones(1)).tolist()
        [[4.0], [4.0]]
    """
    tracked = [x for x in (rows, weight, bias) if x is not None and x.requires_grad]
    if tracked and torch.is_grad_enabled():
        return cast(Callable[..., Tensor], _Product.apply)(rows, weight, bias)
    return _by_onednn(rows, weight, bias)


def plain_product(rows: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return `rows @ weight.T + bias`, which no gradient passes, in the fastest way that this processor has.

    Args:
        rows: (R, I), of any kind of float.
        weight: (O, I), of the same.
        bias: (O,), or None.

    Example:
        >>> plain_product(torch.ones(2, 3), torch.ones(1, 3)).tolist()
        [[3.0], [3.0]]
    """
    on_cpu, large = rows.device.type == "cpu", rows.numel() * len(weight) >= _WORTH_IT
    if on_cpu and large and rows.dtype == weight.dtype == torch.float32 and _onednn_is_faster():
        return _by_onednn(rows, weight, bias)
    return nn.functional.linear(rows, weight, bias)


class _Saved(FunctionCtx):
    """What a forward leaves for its backward."""

    saved_tensors: tuple[Tensor, Tensor]
    needs_input_grad: tuple[bool, bool, bool]


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, rows: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(rows, weight)
        return _by_onednn(rows, weight, bias)

    @staticmethod
    def backward(ctx: FunctionCtx, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        saved = cast(_Saved, ctx)
        rows, weight = saved.saved_tensors
        of_rows, of_weight, of_bias = saved.needs_input_grad
        (grad,) = grads
        flat = grad.flatten(0, -2)
        return (
            product(grad, weight.t()) if of_rows else None,
            product(flat.t(), rows.flatten(0, -2).t()) if of_weight else None,
            flat.sum(0) if of_bias else None,
        )


def _by_onednn(rows: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    out: Tensor = torch.ops.mkldnn._linear_pointwise(rows, weight, bias, "none", [], "")
    return out


def is_plain(module: nn.Module) -> bool:
    """Whether calling a module does what its class says alone: nobody listens, nobody has put another `forward`."""
    hooks_of_all = cast(Callable[[], bool], _has_any_global_hook)
    listened = (
        module._forward_hooks
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
    )
    return not listened and "forward" not in vars(module) and not hooks_of_all()


def _pays(rows: Tensor, weight: Tensor, bias: Tensor | None) -> bool:
    """Whether a product can be, and had better be, oneDNN's."""
    plain = (
        type(rows) is Tensor and type(weight) is nn.Parameter and (bias is None or type(bias) is nn.Parameter)
    )
    if not plain or makes_graph() or not rows.numel() or rows.numel() * weight.shape[0] < _WORTH_IT:
        return False
    fits = rows.dim() > 1 and rows.shape[-1] == weight.shape[1]
    on_cpu = rows.device.type == weight.device.type == "cpu"
    floats = rows.dtype == weight.dtype == torch.float32 and (bias is None or bias.dtype == torch.float32)
    return fits and on_cpu and floats and _onednn_is_faster() and not _watched()


def _watched() -> bool:
    """Whether somebody has PyTorch compute in another way now (autocast, forward derivatives), or counts it."""
    modes = torch._C._len_torch_dispatch_stack() > 0
    return torch.is_autocast_enabled("cpu") or torch.autograd.forward_ad._current_level >= 0 or modes


def _onednn_is_faster() -> bool:
    return torch._C._get_mkldnn_enabled() and _slow_for_mkl()


@cache
def _slow_for_mkl() -> bool:
    """Whether PyTorch has both libraries, and the processor is of those that MKL is slow on."""
    if not (torch._C.has_mkl and torch._C._has_mkldnn):
        return False
    listed = Path("/proc/cpuinfo")  # Linux; elsewhere the name of the processor tells its maker
    said = listed.read_text(encoding="utf-8", errors="replace") if listed.is_file() else platform.processor()
    return any(maker in said for maker in _SLOW_FOR_MKL)
