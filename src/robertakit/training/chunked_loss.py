"""Cross-entropy of a linear layer's scores, without the scores of all rows at once.

A vocabulary of 250,002 words makes a megabyte of scores for each row, and training holds them twice more for the
gradient. Here rows go through in chunks: scores, loss, and at once the gradients of rows, weight and bias, which the
backward pass only multiplies by what arrives. What is kept is of the sizes of the inputs.

Shape letters: R rows, W width, V vocabulary, C rows of a chunk.
"""

from collections.abc import Callable
from typing import NamedTuple, cast

from robertakit.architecture import IGNORED_LABEL
from robertakit.errors import ArgumentError, BadShape, InputError, require

require("torch", extra="train", needed_for="training")

import torch  # noqa: E402
from torch import Tensor  # noqa: E402
from torch.autograd.function import FunctionCtx  # noqa: E402

from robertakit.torch.linear import plain_product  # noqa: E402
from robertakit.torch.packing import makes_graph  # noqa: E402

__all__ = ["Scored", "label_ranks", "linear_cross_entropy", "score_labels"]

#: Scores in one chunk (a quarter of a gigabyte), on accelerators more, which need more rows to be busy.
_MOST_SCORES, _MOST_SCORES_OF_ACCELERATORS = 1 << 26, 1 << 28
#: Words that one product is over. oneDNN lays out a matrix anew for each call: for this many in a processor's cache,
#: for a whole vocabulary in memory, at half the speed (docs/decisions.md has the figures).
_WORDS, _WORDS_OF_ACCELERATORS = 1 << 12, 1 << 16
#: The softmax of a chunk is taken in so many parts: what one needs beside the scores is small.
_PARTS = 16
#: float16 cannot hold the probability of a rare word (its least number is 6e-8): probabilities go in magnified.
_MAGNIFIED = 4096.0


class Scored(NamedTuple):
    """What the labelled rows of a batch got.

    Attributes:
        losses: (R,) `-log softmax(scores)[label]`, 0 where the label is -100; float32, or float64 as the rows.
        ranks: (R,) int64, how many words score better than the label, earlier words first among equals; V where the
            label is -100.
    """

    losses: Tensor
    ranks: Tensor


def linear_cross_entropy(
    rows: Tensor, weight: Tensor, bias: Tensor | None, labels: Tensor, chunk: int | None = None
) -> Tensor:
    """Sum of `-log softmax(rows @ weight.T + bias)[label]`, and its gradients, with at most `chunk` rows of scores.

    The products are computed in the dtype of the inputs, or in autocast's; loss, softmax and sums over chunks in
    float32 at least. The gradient can be taken once: it has no second derivative.

    Args:
        rows: (R, W).
        weight: (V, W).
        bias: (V,), or None.
        labels: (R,) integers from 0 to V - 1, or -100 for a row without part in the loss.
        chunk: rows whose scores exist at once; None for 2^25 scores on a processor and 2^28 elsewhere.

    Returns:
        (), float32, or float64 where the rows are; 0, with gradient 0, where no row has a label.

    Raises:
        BadShape: tensors that do not fit each other.
        InputError: a label outside the vocabulary (on an accelerator PyTorch's own assertion).
        ArgumentError: a chunk below 1; in the backward pass, a second one, or one that keeps a graph.

    Example:
        >>> rows, weight = torch.zeros(3, 2, requires_grad=True), torch.ones(4, 2)
        >>> loss = linear_cross_entropy(rows, weight, None, torch.tensor([3, 0, -100]))
        >>> round(float(loss.detach()), 4)  # twice log 4
        2.7726
    """
    chunk = _checked(rows, weight, bias, labels, chunk)
    dtype = _product_dtype(rows)
    if torch.is_grad_enabled() and any(x is not None and x.requires_grad for x in (rows, weight, bias)):
        return cast(Callable[..., Tensor], _LinearCrossEntropy.apply)(
            rows, weight, bias, labels, chunk, dtype
        )
    wanted = (False, False, False)
    losses: Tensor = torch.ops.robertakit.linear_cross_entropy(
        rows, weight, bias, labels, chunk, dtype, *wanted
    )[0]
    return losses.sum()


@torch.no_grad()
def score_labels(
    rows: Tensor, weight: Tensor, bias: Tensor | None, labels: Tensor, chunk: int | None = None
) -> Scored:
    """Loss and rank of each row's label: rank 0 is top-1 right, a rank below 5 top-5.

    Arguments and errors are those of `linear_cross_entropy`; nothing is differentiated.

    Example:
        >>> scored = score_labels(torch.eye(2), torch.eye(2), None, torch.tensor([0, 0]))
        >>> scored.ranks.tolist()
        [0, 1]
    """
    chunk = _checked(rows, weight, bias, labels, chunk)
    dtype = _product_dtype(rows)
    losses, ranks = [], []
    given, words = rows.to(dtype), weight.to(dtype)
    buffer = given.new_empty(min(chunk, len(rows)), len(weight), dtype=_wide(rows.dtype))
    with torch.autocast(rows.device.type, enabled=False):
        for some, wanted in zip(torch.split(given, chunk), torch.split(labels, chunk), strict=True):
            logs = _log_probabilities(some, words, bias, buffer[: len(some)])
            counted = wanted.ne(IGNORED_LABEL)
            at = wanted.where(counted, 0)[:, None]
            losses.append(logs.gather(1, at)[:, 0].neg().where(counted, 0))
            ranks.append(label_ranks(logs, at[:, 0]).where(counted, len(weight)))
    return Scored(torch.cat(losses), torch.cat(ranks))


def label_ranks(scores: Tensor, labels: Tensor) -> Tensor:
    """Return how many words score better than each row's label, (R,); of equal ones, those before it.

    Args:
        scores: (R, V).
        labels: (R,) integers from 0 to V - 1.

    Example:
        >>> label_ranks(torch.tensor([[2.0, 1.0, 2.0]] * 3), torch.tensor([0, 1, 2])).tolist()
        [0, 2, 1]
    """
    own = scores.gather(1, labels[:, None])
    earlier = torch.arange(scores.shape[1], device=scores.device) < labels[:, None]
    return (scores > own).sum(1) + (scores.eq(own) & earlier).sum(1)


def _checked(rows: Tensor, weight: Tensor, bias: Tensor | None, labels: Tensor, chunk: int | None) -> int:
    """Return how many rows a chunk has; raise for what does not fit."""
    fits = rows.dim() == weight.dim() == 2 and rows.shape[1] == weight.shape[1]
    fits = fits and labels.shape == rows.shape[:1] and (bias is None or bias.shape == weight.shape[:1])
    if not fits:
        shapes = [None if x is None else tuple(x.shape) for x in (rows, weight, bias, labels)]
        raise BadShape(
            given="rows, weight, bias and labels of the shapes {}, {}, {}, {}".format(*shapes),
            expected="(rows, width), (words, width), (words,) or None, (rows,)",
        )
    if not makes_graph() and labels.device.type == "cpu":
        wrong = labels[(labels.ge(len(weight)) | labels.lt(0)) & labels.ne(IGNORED_LABEL)]
        if len(wrong):
            raise InputError(
                given=f"the label {int(wrong[0])}", expected=f"0 to {len(weight) - 1}, or {IGNORED_LABEL}"
            )
    if chunk is None:
        most = _MOST_SCORES if rows.device.type == "cpu" else _MOST_SCORES_OF_ACCELERATORS
        chunk = max(1, most // max(1, len(weight)))
        chunks = max(1, -(-len(rows) // chunk))
        return max(1, -(-len(rows) // chunks))  # all alike
    if chunk < 1:
        raise ArgumentError(given=f"chunk={chunk}", expected="1 row or more")
    return chunk


def _product_dtype(rows: Tensor) -> torch.dtype:
    """What autocast makes of the inputs of a product; it does not see into an operator."""
    device = rows.device.type
    if device == "meta" or rows.dtype == torch.float64 or not torch.is_autocast_enabled(device):
        return rows.dtype
    return torch.get_autocast_dtype(device)


# One chunk ------------------------------------------------------------------------------------------------------


def _wide(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)


def _wide_product(rows: Tensor, weight: Tensor) -> Tensor:
    """`rows @ weight.T` of one dtype, summed and returned in float32 at least."""
    half = rows.dtype in (torch.float16, torch.bfloat16)
    if half and rows.device.type == "cuda" and hasattr(torch.ops.aten.mm, "dtype"):  # PyTorch 2.8
        return cast(Tensor, torch.ops.aten.mm.dtype(rows, weight.t(), torch.float32))
    if rows.dtype == torch.float16:  # its range would not hold sums over many rows
        rows, weight = rows.float(), weight.float()
    return plain_product(rows, weight).to(_wide(rows.dtype))


def _tiles(words: int, device: torch.device) -> list[slice]:
    size = _WORDS if device.type == "cpu" else _WORDS_OF_ACCELERATORS
    return [slice(first, min(first + size, words)) for first in range(0, words, size)]


def _log_probabilities(rows: Tensor, weight: Tensor, bias: Tensor | None, scores: Tensor) -> Tensor:
    """Fill and return `scores` (C, V), in float32 at least."""
    for tile in _tiles(len(weight), rows.device):
        scores[:, tile] = _wide_product(rows, weight[tile])
    if bias is not None:
        scores += bias
    for part in torch.split(scores, max(1, len(scores) // _PARTS)):
        part.copy_(torch.log_softmax(part, 1))
    return scores


def _forward(
    rows: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    labels: Tensor,
    chunk: int,
    dtype: torch.dtype,
    of_rows: bool,
    of_weight: bool,
    of_bias: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Losses (R,), and the gradients of their sum that are wanted (others are empty), in float32 at least."""
    losses, for_rows, for_weight, for_bias = _empty(rows, weight, of_rows, of_weight, of_bias)
    if not len(rows):
        for_weight.zero_()
    given, words = rows.to(dtype), weight.to(dtype)
    buffer = given.new_empty(min(chunk, len(rows)), len(weight), dtype=losses.dtype)
    with torch.autocast(rows.device.type, enabled=False):
        for first in range(0, len(rows), chunk):
            part = slice(first, first + chunk)
            logs = _log_probabilities(given[part], words, bias, buffer[: len(given[part])])
            counted = labels[part].ne(IGNORED_LABEL)
            at = labels[part].where(counted, 0)[:, None]
            losses[part] = logs.gather(1, at)[:, 0].neg().where(counted, 0)
            if not (of_rows or of_weight or of_bias):
                continue
            # The slope of a row's loss: its probabilities, less one at the label.
            slope, which = logs.exp_(), (torch.arange(len(at), device=at.device), at[:, 0])
            slope.index_put_(which, slope[which] - 1)
            if of_bias:
                for_bias += counted.to(slope.dtype) @ slope
            if of_rows or of_weight:
                into = (for_rows[part] if of_rows else None, for_weight if of_weight else None)
                _add_products(slope, given[part], words, counted[:, None], *into, adds=first > 0)
    return losses, for_rows, for_weight, for_bias


def _add_products(
    slope: Tensor,
    rows: Tensor,
    weight: Tensor,
    counted: Tensor,
    for_rows: Tensor | None,
    for_weight: Tensor | None,
    adds: bool,
) -> None:
    """Add `slope @ weight` to (C, W), and add or set `slope.T @ rows` (V, W), of the rows `counted` (C, 1)."""
    turned, magnified = (rows * counted).t(), _MAGNIFIED if rows.dtype == torch.float16 else 1.0
    for tile in _tiles(len(weight), rows.device):
        narrow = slope[:, tile]
        if magnified != 1:
            narrow = narrow * magnified
        narrow = narrow.to(rows.dtype)
        if for_rows is not None:
            for_rows.add_(_wide_product(narrow, weight[tile].t()), alpha=1 / magnified)
        if for_weight is not None:
            product = _wide_product(narrow.t(), turned)
            product = product if magnified == 1 else product.div_(magnified)
            for_weight[tile].add_(product) if adds else for_weight[tile].copy_(product)
    if for_rows is not None:
        for_rows *= counted


def _empty(
    rows: Tensor, weight: Tensor, of_rows: bool, of_weight: bool, of_bias: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """What `_forward` returns, before anything is in it."""
    wide = _wide(rows.dtype)
    return (
        rows.new_empty(len(rows), dtype=wide),
        rows.new_zeros(rows.shape if of_rows else (0,), dtype=wide),
        weight.new_empty(weight.shape if of_weight else (0,), dtype=wide),
        weight.new_zeros(len(weight) if of_bias else 0, dtype=wide),
    )


def _forward_fake(
    rows: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    labels: Tensor,
    chunk: int,
    dtype: torch.dtype,
    of_rows: bool,
    of_weight: bool,
    of_bias: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return _empty(rows, weight, of_rows, of_weight, of_bias)


_OPERATOR = torch.library.custom_op(  # kept, since PyTorch holds its operators by weak references
    "robertakit::linear_cross_entropy", _forward, mutates_args=()
)
torch.library.register_fake("robertakit::linear_cross_entropy", _forward_fake)


# The gradient ---------------------------------------------------------------------------------------------------


class _Context(FunctionCtx):
    """What autograd hands from the forward to the backward."""

    saved_tensors: tuple[Tensor, Tensor, Tensor]
    needs_input_grad: tuple[bool, ...]
    dtypes: tuple[torch.dtype, torch.dtype, torch.dtype]


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: FunctionCtx,
        rows: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        labels: Tensor,
        chunk: int,
        dtype: torch.dtype,
    ) -> Tensor:
        context = cast(_Context, ctx)
        wanted = context.needs_input_grad[:3]
        operator = torch.ops.robertakit.linear_cross_entropy
        losses, *gradients = operator(rows, weight, bias, labels, chunk, dtype, *wanted)
        ctx.save_for_backward(*gradients)
        context.dtypes = (rows.dtype, weight.dtype, weight.dtype if bias is None else bias.dtype)
        total: Tensor = losses.sum()
        return total

    @staticmethod
    def backward(ctx: FunctionCtx, *grads: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled() and not makes_graph():  # create_graph=True
            raise ArgumentError(
                given="a derivative of the gradient of linear_cross_entropy",
                expected="its gradient alone",
                hint="take torch.nn.functional.cross_entropy of the scores",
            )
        context, (arriving,) = cast(_Context, ctx), grads
        # In place: the weight's gradient is as large as the weight, and a copy would be all that is gained.
        found = [
            gradient.mul_(arriving).to(dtype) if wanted else None
            for gradient, dtype, wanted in zip(
                _unused(context), context.dtypes, context.needs_input_grad[:3], strict=True
            )
        ]
        return (*found, None, None, None)


def _unused(context: _Context) -> tuple[Tensor, ...]:
    """The gradients that the forward left; PyTorch sees by their versions that a backward has had them."""
    try:
        return context.saved_tensors
    except RuntimeError as error:
        raise ArgumentError(
            given="a second backward through linear_cross_entropy",
            expected="one",
            hint="compute the loss again",
        ) from error
