"""Attention over sequences that lie end to end: every token is real, none is padding.

One operator, `robertakit::packed_attention`, stands for it in a traced graph: it reads the lengths when it runs, so
that the graph knows neither them nor their number. Half types on an NVIDIA GPU go to PyTorch's own kernel instead.

Shape letters: T packed tokens, S sequences, H heads, D head width, R rows of the table of relative positions; n
sequences of at most L tokens share one call.
"""

import itertools
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from typing import Protocol, cast

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from robertakit.errors import ArgumentError, BadShape
from robertakit.torch.packed_calls import Call, plan, read_bounds
from robertakit.torch.relative_positions import relative_scores

__all__ = ["packed_attention"]

# PyTorch 2.10 and newer, built for NVIDIA GPUs.
_KERNEL_EXISTS = (
    torch.version.cuda is not None
    and torch.backends.cuda.is_flash_attention_available()
    and find_spec("torch.nn.attention.varlen") is not None
)


def packed_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    cumulative_lengths: Tensor,
    dropout: float = 0.0,
    distances: Tensor | None = None,
    with_keys: bool = False,
) -> Tensor:
    """Let every token attend to the tokens of its own sequence, in both directions.

    Each sequence gets what it gets alone, whatever lies beside it, and has its own gradient. The operator compiles
    without a graph break (`torch.compile(fullgraph=True)`, which needs a C++ compiler on a CPU), and new lengths
    compile nothing anew.

    Args:
        query: (T, H, D).
        key: (T, H, D).
        value: (T, H, D).
        cumulative_lengths: (S + 1,) integers from 0 to T; sequence s has the rows from [s] up to [s + 1], which may
            be none. Best on the CPU for every device: the lengths are needed there, and a copy from the GPU waits
            for the GPU.
        dropout: probability with which an attention weight is dropped, 0 to 1; 0 in inference. What is dropped is
            decided by one number from PyTorch's CPU generator.
        distances: (R, D) table of relative positions, row (R - 1) / 2 for distance 0; None without.
        with_keys: whether the keys meet the table too (`relative_key_query`).

    Returns:
        (T, H, D), contiguous, in the dtype of the query (under autocast in autocast's).

    Raises:
        BadShape: tensors that do not fit each other, or lengths that do not cover the tokens.
        ArgumentError: tensors of several dtypes, or a `dropout` that is no probability.

    Example:
        >>> value = torch.tensor([1.0, 3.0, 5.0]).view(3, 1, 1)
        >>> query = torch.zeros(3, 1, 1)
        >>> packed_attention(query, query, value, torch.tensor([0, 2, 3])).flatten().tolist()
        [2.0, 2.0, 5.0]
    """
    query, key, value = (_autocast(x) for x in (query, key, value))
    _check(query, key, value, cumulative_lengths, dropout, distances)
    if not dropout and distances is None and _fits_kernel(query, key, value):
        return _by_kernel(query, key, value, cumulative_lengths)
    seed = torch.randint(2**62, (), device="cpu") if dropout else None
    out: Tensor = torch.ops.robertakit.packed_attention(
        query, key, value, cumulative_lengths, float(dropout), distances, with_keys, seed
    )
    return out


def _autocast(x: Tensor) -> Tensor:
    """What autocast does to the inputs of an attention kernel; it does not see into an operator."""
    device = x.device.type
    if device == "meta" or not torch.is_autocast_enabled(device) or x.dtype == torch.float64:
        return x
    return x.to(torch.get_autocast_dtype(device))


def _check(
    query: Tensor, key: Tensor, value: Tensor, bounds: Tensor, dropout: float, distances: Tensor | None
) -> None:
    shapes = [tuple(x.shape) for x in (query, key, value)]
    if query.ndim != 3 or shapes[1] != shapes[0] or shapes[2] != shapes[0]:
        raise BadShape(
            given="query, key and value of the shapes {}, {}, {}".format(*shapes),
            expected="one shape (tokens, heads, head width) for all three",
        )
    if not query.dtype == key.dtype == value.dtype:
        raise ArgumentError(
            given=f"query, key and value in {query.dtype}, {key.dtype}, {value.dtype}", expected="one dtype"
        )
    if bounds.ndim != 1 or not bounds.shape[0] or bounds.is_floating_point():
        raise BadShape(
            given=f"cumulative_lengths of the shape {tuple(bounds.shape)}, {bounds.dtype}",
            expected="integers (sequences + 1,)",
        )
    if not 0 <= dropout <= 1:
        raise ArgumentError(given=f"dropout={dropout}", expected="a probability, 0 to 1")
    if distances is not None and (distances.ndim != 2 or distances.shape[1] != query.shape[2]):
        raise BadShape(
            given=f"a table of distances of the shape {tuple(distances.shape)}",
            expected=f"(distances, {query.shape[2]}), as wide as a head",
        )


# PyTorch's kernel for sequences of several lengths, which is an operator itself.


def _fits_kernel(*tensors: Tensor) -> bool:
    """Whether the kernel takes query, key and value: half types, whole and not too wide heads, at least a token."""
    x = tensors[0]
    return (
        _KERNEL_EXISTS
        and x.device.type == "cuda"
        and x.dtype in (torch.float16, torch.bfloat16)
        and x.shape[2] % 8 == 0
        and x.shape[2] <= 192  # wider ones have a backward on some GPUs only
        and x.shape[0] > 0
        and all(part.stride(2) == 1 for part in tensors)
        and torch.cuda.get_device_properties(x.device).major >= 8  # Ampere
    )


def _by_kernel(query: Tensor, key: Tensor, value: Tensor, cumulative_lengths: Tensor) -> Tensor:
    from torch.nn.attention.varlen import varlen_attn  # seconds to import, and for GPUs only

    longest = torch.ops.robertakit.longest_sequence(cumulative_lengths, query.shape[0])
    bounds = cumulative_lengths.to(query.device, torch.int32, non_blocking=True)
    return cast(Tensor, varlen_attn(query, key, value, bounds, bounds, longest, longest)).contiguous()


def _longest(cumulative_lengths: Tensor, tokens: int) -> int:
    """The kernel wants a number, which a traced graph must not know: hence an operator."""
    return max(stop - start for start, stop in itertools.pairwise(read_bounds(cumulative_lengths, tokens)))


def _longest_fake(cumulative_lengths: Tensor, tokens: int) -> torch.SymInt:
    return torch.library.get_ctx().new_dynamic_size()


# One call: a fused kernel, or the weights written out where dropout or distances need them.


def _fused(query: Tensor, key: Tensor, value: Tensor, keep: Tensor | None) -> Tensor:
    """(n, H, L, D) three times to the same; `keep` (n, 1, 1, L) hides keys."""
    return F.scaled_dot_product_attention(query, key, value, attn_mask=keep)


def _weights(
    query: Tensor, key: Tensor, distances: Tensor | None = None, *, keep: Tensor | None, with_keys: bool
) -> Tensor:
    """(n, H, L, D) twice to what each query takes of each key, (n, H, L, L); the softmax is float32 at least."""
    scale = query.shape[-1] ** -0.5
    scores = (query * scale) @ key.mT
    if distances is not None:
        scores = scores + relative_scores(query, key, distances, with_keys) * scale
    if keep is not None:
        scores = scores.masked_fill(~keep, -torch.inf)
    precise = torch.promote_types(scores.dtype, torch.float32)
    return torch.softmax(scores, -1, dtype=precise).to(query.dtype)


class _Dropout:
    """Which weights stay, for one call after the other: the same for the same seed and the same lengths.

    The rate is a multiple of 1 / 32768; `share` is exactly what stays, so that the expectation is exact.
    """

    def __init__(self, rate: float, seed: Tensor, device: torch.device) -> None:
        self._stay = round((1 - rate) * 32768)
        self.share = self._stay / 32768 or 1.0  # where nothing stays there is nothing to divide
        self._generator = torch.Generator(device).manual_seed(int(seed))

    def keep(self, weights: Tensor) -> Tensor:
        """Draw ones and zeros like `weights`."""
        if weights.device.type != "cpu":
            return torch.empty_like(weights).bernoulli_(self._stay / 32768, generator=self._generator)
        # `bernoulli_` draws a number for each weight; one of 63 bits holds four times 15, in a fifth of the time.
        drawn = torch.empty(-(-weights.numel() // 4), dtype=torch.int64, device="cpu")
        drawn.random_(generator=self._generator)
        bits = drawn.view(torch.int16)[: weights.numel()].view(weights.shape).bitwise_and_(32767)
        return bits.le_(self._stay - 1).to(weights.dtype)


# The operator: a forward, and a backward that runs it again, call by call.


def _calls(query: Tensor, cumulative_lengths: Tensor, fused: bool) -> tuple[Call, ...]:
    device = query.device
    most = None if fused else _most_weights(device) // query.shape[1]
    return plan(read_bounds(cumulative_lengths, query.shape[0]), device, most, pick=_picks(device))


def _picks(device: torch.device) -> bool:
    """A call costs a CPU 20 µs, less than copies would; elsewhere it is a handful of kernels, and few do best."""
    return device.type != "cpu"


def _most_weights(device: torch.device) -> int:
    """How many weights are written out at once: on a CPU what its cache holds, 4 MB; elsewhere 256 MB."""
    return 2**20 if device.type == "cpu" else 2**26


def _forward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    cumulative_lengths: Tensor,
    dropout: float,
    distances: Tensor | None,
    with_keys: bool,
    seed: Tensor | None,
) -> Tensor:
    out = query.new_empty(query.shape)
    draws = None if seed is None else _Dropout(dropout, seed, query.device)
    fused = draws is None and distances is None
    for call in _calls(query, cumulative_lengths, fused):
        q, k, v = (call.gather(x).transpose(1, 2) for x in (query, key, value))
        if fused:
            mixed = _fused(q, k, v, call.keep)
        else:
            weights = _weights(q, k, distances, keep=call.keep, with_keys=with_keys)
            mixed = weights @ v if draws is None else weights.mul_(draws.keep(weights)) @ (v / draws.share)
        call.scatter(mixed.transpose(1, 2), out)
    return out


def _backward(
    gradient: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    cumulative_lengths: Tensor,
    dropout: float,
    distances: Tensor | None,
    with_keys: bool,
    seed: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    draws = None if seed is None else _Dropout(dropout, seed, query.device)
    fused = draws is None and distances is None
    if fused and query.device.type == "cpu" and query.dtype in (torch.float16, torch.bfloat16):
        # PyTorch's fused backward in half types takes a processor four times as long as the one in float32.
        one, two, three, of_table = _backward(
            gradient.float(), query.float(), key.float(), value.float(),
            cumulative_lengths, dropout, distances, with_keys, seed,
        )  # fmt: skip
        return one.to(query.dtype), two.to(query.dtype), three.to(query.dtype), of_table.to(query.dtype)
    gradients = [x.new_empty(x.shape) for x in (query, key, value)]
    of_table = query.new_zeros(0) if distances is None else torch.zeros_like(distances)
    with torch.autocast(query.device.type, enabled=False):  # as in the forward, wherever backward() is called
        for call in _calls(query, cumulative_lengths, fused):
            taken = (call.gather(x).transpose(1, 2) for x in (query, key, value, gradient))
            q, k, v, arriving = taken
            if call.keep is not None:  # padding repeats a token, which has no say twice
                arriving = arriving * call.keep.mT
            if fused:
                parts = torch.func.vjp(partial(_fused, keep=call.keep), q, k, v)[1](arriving)
            else:
                inputs = [q, k] if distances is None else [q, k, distances]
                function = partial(_weights, keep=call.keep, with_keys=with_keys)
                of_query, of_key, of_value, *of_distances = _gradients(function, inputs, v, arriving, draws)
                parts = (of_query, of_key, of_value)
                for of_some in of_distances:
                    of_table += of_some
            for part, whole in zip(parts, gradients, strict=True):
                call.scatter(part.transpose(1, 2), whole)
    return gradients[0], gradients[1], gradients[2], of_table


def _gradients(
    function: Callable[..., Tensor],
    inputs: list[Tensor],
    value: Tensor,
    gradient: Tensor,
    draws: _Dropout | None,
) -> tuple[Tensor, ...]:
    """Gradients of query, key, value, and of the table if it is among the inputs of the weights' `function`."""
    both = torch.func.vjp(function, *inputs)
    weights, pull = both[0], both[1]
    if draws is None:
        stayed, of_weights = weights, gradient @ value.mT
    else:
        kept = draws.keep(weights)
        gradient = gradient / draws.share
        stayed, of_weights = weights * kept, (gradient @ value.mT).mul_(kept)
    of_query, of_key, *of_distances = pull(of_weights)
    return of_query, of_key, stayed.mT @ gradient, *of_distances


def _forward_fake(query: Tensor, *_: object) -> Tensor:
    return query.new_empty(query.shape)


def _backward_fake(
    gradient: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    cumulative_lengths: Tensor,
    dropout: float,
    distances: Tensor | None,
    *_: object,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    of_table = query.new_empty(0) if distances is None else distances.new_empty(distances.shape)
    return (query.new_empty(query.shape), key.new_empty(key.shape), value.new_empty(value.shape), of_table)


class _Saved(Protocol):
    """What autograd hands from the forward to the backward."""

    saved_tensors: tuple[Tensor, Tensor, Tensor, Tensor, Tensor | None, Tensor | None]
    dropout: float
    with_keys: bool

    def save_for_backward(self, *tensors: Tensor | None) -> None: ...


def _save(ctx: _Saved, inputs: tuple[object, ...], output: Tensor) -> None:
    query, key, value, bounds, dropout, distances, with_keys, seed = inputs
    tensors = (query, key, value, bounds, distances, seed)
    ctx.save_for_backward(*cast("tuple[Tensor | None, ...]", tensors))
    ctx.dropout, ctx.with_keys = cast(float, dropout), cast(bool, with_keys)


def _differentiate(ctx: _Saved, gradient: Tensor) -> tuple[Tensor | None, ...]:
    query, key, value, bounds, distances, seed = ctx.saved_tensors
    inputs = (query, key, value, bounds, ctx.dropout, distances, ctx.with_keys, seed)
    *gradients, of_table = torch.ops.robertakit.packed_attention_backward(gradient, *inputs)
    return (*gradients, None, None, None if distances is None else of_table, None, None)


_OPERATORS = [  # kept, since PyTorch holds its operators by weak references
    torch.library.custom_op("robertakit::packed_attention", _forward, mutates_args=()),
    torch.library.custom_op("robertakit::packed_attention_backward", _backward, mutates_args=()),
    torch.library.custom_op("robertakit::longest_sequence", _longest, mutates_args=()),
]
torch.library.register_fake("robertakit::packed_attention", _forward_fake)
torch.library.register_fake("robertakit::packed_attention_backward", _backward_fake)
torch.library.register_fake("robertakit::longest_sequence", _longest_fake)
torch.library.register_autograd("robertakit::packed_attention", _differentiate, setup_context=_save)
