"""The ways that `torch_speed.py` compares: each answers, or trains on, the same sequences.

Shape letters: B batch, L padded length, T packed tokens, W width.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch_workload import Workload, chunks

from robertakit.batch import plan
from robertakit.torch.packed_attention import packed_attention

__all__ = ["Way", "answering", "loss_of", "size_of", "training"]

Answers = Iterator[tuple[int, Tensor]]


class Run(Protocol):
    """Works through batches, and yields what can be compared: each sequence's rows, or each batch's loss."""

    def __call__(self, batches: Iterable[list[int]]) -> Answers: ...


@dataclass(frozen=True)
class Way:
    """One way to do the work.

    Attributes:
        key: its name in the raw results.
        shown: its name on the page.
        model: `"ours"` or `"theirs"`, or None where products alone are measured.
        batches: indices of sequences; the padded ones are padded to their longest.
        run: does the work.
        pads: whether the batches are padded.
    """

    key: str
    shown: str
    model: str | None
    batches: list[list[int]]
    run: Run
    pads: bool = False


def size_of(way: Way, lengths: list[int], batch: list[int]) -> int:
    """Tokens of a batch, padding included where the way pads."""
    each = [lengths[i] for i in batch]
    return len(each) * max(each) if way.pads else sum(each)


# Answering: hidden states of all tokens -----------------------------------------------------------------------


def answering(work: Workload, models: dict[str, nn.Module], tokens_per_batch: int) -> list[Way]:
    """Return the ways to encode, of those whose model is there."""
    ours, theirs = models.get("ours"), models.get("theirs")
    as_come, by_length = range(len(work.lengths)), work.by_length()
    window = [sorted(part, key=lambda i: -work.lengths[i]) for part in chunks(as_come, 32)]
    planned = plan(work.lengths, tokens_per_batch)
    most = max(sum(work.lengths[i] for i in batch) for batch in planned)
    of_32, of_8 = chunks(as_come, 32), chunks(by_length, 8)
    of_window = [batch for part in window for batch in chunks(part, 8)]
    documented, reference = _documented(work, ours), _documented(work, theirs)
    either = ours or theirs
    assert either is not None
    products = [
        Way(
            "ceiling",
            "ceiling: the linear products alone",
            None,
            planned,
            _products(work, either, most, F.linear),
        )
    ]
    if either.dtype == torch.float32 and work.device.type == "cpu":
        shown = "the same products by oneDNN, whatever the processor"
        products.append(
            Way("ceiling_onednn", shown, None, planned, _products(work, either, most, _by_onednn))
        )
    return [
        *products,
        Way("attention", "our attention alone", None, planned, _attention(work, either, most)),
        Way("ours_packed", "robertakit, packed (`batch.plan`)", "ours", planned, _packed(work, ours)),
        Way("ours_sorted_8", "robertakit, documented call, sorted 8", "ours", of_8, documented, True),
        Way("ours_32", "robertakit, documented call, 32 as they come", "ours", of_32, documented, True),
        Way("theirs_32", "transformers, 32 as they come", "theirs", of_32, reference, True),
        Way(
            "theirs_window_8", "transformers, sorted 8 within those 32", "theirs", of_window, reference, True
        ),
        Way("theirs_sorted_8", "transformers, sorted 8", "theirs", of_8, reference, True),
    ]


def _documented(work: Workload, model: nn.Module | None) -> Run:
    def run(batches: Iterable[list[int]]) -> Answers:
        assert model is not None
        with torch.inference_mode():
            for batch in batches:
                states = model.roberta(**work.padded(batch)).last_hidden_state
                yield from work.unpad(batch, states)

    return run


def _packed(work: Workload, model: nn.Module | None) -> Run:
    def run(batches: Iterable[list[int]]) -> Answers:
        assert model is not None
        with torch.inference_mode():
            for batch in batches:
                yield from work.split(batch, model.roberta.encode_packed(*work.packed(batch)))

    return run


def _by_onednn(rows: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    product: Tensor = torch.ops.mkldnn._linear_pointwise(rows, weight, bias, "none", [], "")
    return product


def _new(shape: tuple[int, ...], model: nn.Module) -> Tensor:
    """Random numbers where the model is, in its dtype."""
    drawn = torch.randn(shape, generator=torch.Generator().manual_seed(0)).mul(0.02)
    return drawn.to(model.device, model.dtype)


def _products(
    work: Workload, model: nn.Module, most: int, linear: Callable[[Tensor, Tensor, Tensor], Tensor]
) -> Run:
    """The four products of each layer, with query, key and value as one, on rows that are there already."""
    width, inner = model.config.hidden_size, model.config.intermediate_size
    rows = {size: _new((most, size), model) for size in (width, inner)}
    sizes = [(3 * width, width), (width, width), (inner, width), (width, inner)]
    layers = [
        [(_new(size, model), _new(size[:1], model)) for size in sizes]
        for _ in range(model.config.num_hidden_layers)
    ]

    def run(batches: Iterable[list[int]]) -> Answers:
        with torch.inference_mode():
            for batch in batches:
                total = sum(work.lengths[i] for i in batch)
                for layer in layers:
                    for weight, bias in layer:
                        linear(rows[weight.shape[1]][:total], weight, bias)
        yield from ()

    return run


def _attention(work: Workload, model: nn.Module, most: int) -> Run:
    """What our attention does between the products, as often as there are layers."""
    config = model.config
    heads = config.num_attention_heads
    states = _new((3, most, heads, config.hidden_size // heads), model)

    def run(batches: Iterable[list[int]]) -> Answers:
        with torch.inference_mode():
            for batch in batches:
                *_, bounds = work.packed(batch)
                query, key, value = states[:, : int(bounds[-1])]
                for _ in range(config.num_hidden_layers):
                    packed_attention(query, key, value, bounds)
        yield from ()

    return run


# Training: loss, gradient, AdamW -----------------------------------------------------------------------------


def training(work: Workload, models: dict[str, nn.Module], rate: float = 1e-5) -> list[Way]:
    """Return the ways to train, of those whose model is there; eight sequences a step, as `Trainer` takes them."""
    as_come, sorted_8 = chunks(range(len(work.lengths)), 8), chunks(work.by_length(), 8)
    steps = {
        (name, kept): _step(work, models.get(name), kept, rate)
        for name, kept in (("ours", False), ("ours", True), ("theirs", False))
    }
    return [
        Way("ours", "robertakit, documented call", "ours", as_come, steps["ours", False], True),
        Way("ours_labelled", "the same, `logits_to_keep=labels != -100`", "ours", as_come, steps["ours", True], True),
        Way("theirs", "transformers, as they come", "theirs", as_come, steps["theirs", False], True),
        Way("theirs_sorted", "transformers, sorted by length", "theirs", sorted_8, steps["theirs", False], True),
    ]  # fmt: skip


def _step(work: Workload, model: nn.Module | None, kept: bool, rate: float) -> Run:
    optimizer = None if model is None else torch.optim.AdamW(model.parameters(), lr=rate, fused=True)

    def run(batches: Iterable[list[int]]) -> Answers:
        assert model is not None
        assert optimizer is not None
        for number, batch in enumerate(batches):
            loss = loss_of(model, work.padded(batch, labelled=True), kept)
            loss.backward()
            if model.training:  # else nothing but the loss is asked for
                optimizer.step()
            optimizer.zero_grad()
            yield number, loss.detach()

    return run


def loss_of(model: nn.Module, arguments: dict[str, Tensor], kept: bool) -> Tensor:
    """The documented call's loss; `kept` computes the head for labelled tokens alone, which is ours only."""
    extra = {"logits_to_keep": arguments["labels"] != -100} if kept else {}
    loss: Tensor = model(**arguments, **extra).loss
    return loss
