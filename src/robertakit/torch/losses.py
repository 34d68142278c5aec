"""The losses of the documented heads, in float32 at least. A batch without anything to predict has loss 0.

What a label means is decided in `architecture.py`.

Shape letters: B batch, L padded length, R rows, C classes.
"""

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from robertakit import calls
from robertakit.architecture import IGNORED_LABEL
from robertakit.configuration import RobertaConfig
from robertakit.torch.inputs import kind_of
from robertakit.torch.packing import makes_graph

__all__ = [
    "check_token_labels",
    "classification_loss",
    "cross_entropy",
    "next_tokens",
    "span_loss",
    "span_positions",
]


def cross_entropy(logits: Tensor, labels: Tensor, ignored: int = IGNORED_LABEL) -> Tensor:
    """Mean of `-log softmax(logits)[label]` over the labels that are not `ignored`; 0, with gradient 0, if all are.

    Args:
        logits: (R, C).
        labels: (R,) integers from 0 to C - 1, or `ignored`.
        ignored: label that takes no part.

    Example:
        >>> round(float(cross_entropy(torch.zeros(2, 4), torch.tensor([3, -100]))), 4)
        1.3863
    """
    labels = labels.long()
    chosen = labels.ne(ignored)
    count = chosen.sum().clamp(min=1)
    if not makes_graph() and not labels.is_meta:  # only the rows that count are widened
        logits, labels = logits[chosen], labels[chosen]
    total = F.cross_entropy(_wide(logits), labels, ignore_index=ignored, reduction="sum")
    return total / count


def next_tokens(labels: Tensor) -> Tensor:
    """What each token of (B, L) is to predict: the label behind it, and nothing at the end."""
    return F.pad(labels[:, 1:], (0, 1), value=IGNORED_LABEL)


def check_token_labels(labels: Tensor, shape: torch.Size, classes: int, check: bool) -> Tensor:
    """Return labels as int64; raise for what is not (B, L) integers from 0 to classes - 1, or -100."""
    calls.check_token_labels(labels, shape, kind_of=kind_of)
    labels = labels.long()
    if check:
        _check_classes(labels, classes)
    return labels


def classification_loss(config: RobertaConfig, logits: Tensor, labels: Tensor, check: bool = True) -> Tensor:
    """The loss of sequence classification: squared error, one class of several, or any number of classes.

    Args:
        config: the model's; its `problem_type` is settled by the first labels, as in the reference.
        logits: (B, C).
        labels: (B,) classes or numbers, or (B, C).
        check: whether to look for labels without a class.

    Raises:
        BadShape: labels of another shape.
        InputError: a label without a class.
    """
    kind = calls.check_text_labels(config, labels, logits.shape, kind_of=kind_of)
    if kind == "single_label_classification" and check:
        _check_classes(labels, logits.shape[-1])
    config.problem_type = kind  # settled by labels that fit
    if kind == "single_label_classification":
        return cross_entropy(logits, labels.reshape(-1))
    logits = _wide(logits)
    values = labels.to(logits.dtype).reshape(logits.shape)
    if not len(values):
        return logits.sum()
    if kind == "regression":
        return F.mse_loss(logits, values)
    return F.binary_cross_entropy_with_logits(logits, values)


def span_positions(name: str, positions: Tensor, batch: int, length: int) -> Tensor:
    """Positions (B,) between 0 and `length`, which means none: a negative one counts as 0, as in the reference."""
    calls.check_one_each(name, positions, batch, kind_of=kind_of)
    return positions.reshape(-1).clamp(0, length)


def span_loss(
    start_logits: Tensor, end_logits: Tensor, starts: Tensor, ends: Tensor, real: Tensor | None
) -> Tensor:
    """Mean of the cross-entropies of an answer's first and last token.

    Args:
        start_logits: (B, L).
        end_logits: (B, L).
        starts: (B,) of `span_positions`; L has no part in the loss.
        ends: (B,).
        real: (B, L) bool, the tokens among which an answer may lie; None: all.

    Returns:
        The loss, 0 where no start or no end is left.
    """
    length = start_logits.shape[1]
    losses, left = [], []
    for logits, positions in ((start_logits, starts), (end_logits, ends)):
        if real is not None:
            logits = logits.masked_fill(~real, -torch.inf)
            positions = positions.masked_fill(~real.any(1), length)
        losses.append(cross_entropy(logits, positions, ignored=length))
        left.append(positions.ne(length).any())
    return (losses[0] + losses[1]) / 2 * (left[0] & left[1])


def _wide(logits: Tensor) -> Tensor:
    return logits if logits.dtype == torch.float64 else logits.float()


def _check_classes(labels: Tensor, classes: int) -> None:
    if makes_graph() or labels.is_meta:
        return
    wrong = (labels.ge(classes) | labels.lt(0)) & labels.ne(IGNORED_LABEL)
    if bool(wrong.any()):
        calls.check_classes(labels[wrong].cpu().numpy(), classes)
