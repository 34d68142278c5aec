"""The masked-LM task: exact however it is cut, honest on held-out text, and true to the model that it is given."""

import math
from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from robertakit import RobertaConfig
from robertakit.errors import ArgumentError, InputError
from robertakit.torch import RobertaForMaskedLM
from robertakit.training.masked_lm import MaskedLM, MaskedLMStep, step_flops
from robertakit.training.masking import Masking
from robertakit.training.micro_batches import MaskedRows
from robertakit.training.packing import Packing

from .shards_in_memory import Corpus, Source, source

WORDS, LENGTH = 60, 32
TEXT = Corpus(
    (
        source([[9, 5, 7], [20, 11, 3], [2], [40]] * 3, "a", language="x", first=5),
        source([[6, 8]] * 8, "b", language="y", first=7),
    ),
    vocab_size=WORDS,
)


def _fewer_words(each: Source) -> Source:
    """Ids of the stand-in rise with the text; a vocabulary of a test's size takes what is left of them."""
    return replace(each, tokens=(5 + each.tokens.astype(np.int64) * 7 % (WORDS - 5)).astype(np.uint16))


TEXT = replace(TEXT, sources=tuple(map(_fewer_words, TEXT.sources)))


def config(dropout: float = 0.0, **fields: object) -> RobertaConfig:
    sizes = {"vocab_size": WORDS, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
             "intermediate_size": 24, "max_position_embeddings": LENGTH + 2, "hidden_dropout_prob": dropout,
             "attention_probs_dropout_prob": dropout}  # fmt: skip
    return RobertaConfig(**(sizes | fields))


def model_of(
    dtype: torch.dtype = torch.float64, dropout: float = 0.0, **fields: object
) -> RobertaForMaskedLM:
    torch.manual_seed(0)
    model = RobertaForMaskedLM(config(dropout, **fields)).to(dtype).train()
    with torch.no_grad():  # gradients of many sizes, as in a trained model
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model


def task_of(**settings: object) -> MaskedLM:
    usual = {"packing": Packing(lengths=((LENGTH, 1.0),)), "masking": Masking(0.3), "seed": 3, "batch_rows": 6,
             "micro_batch_tokens": 2 * LENGTH, "held_out": TEXT}  # fmt: skip
    return MaskedLM(TEXT, config(), **(usual | settings))


def gradient(model: nn.Module, losses: Sequence[Tensor], targets: int) -> Tensor:
    for loss in losses:
        (loss / targets).backward()
    found = torch.cat([p.grad.flatten().double() for p in model.parameters() if p.grad is not None])
    model.zero_grad()
    return found


def padded(micros: Sequence[MaskedRows]) -> dict[str, Tensor]:
    """The same rows as the documented call takes them."""
    ids, labels = [], []
    for micro in micros:
        at = np.full(len(micro.input_ids), -100)
        at[micro.predicted] = micro.labels
        bounds = micro.cumulative_lengths[1:-1]
        ids += [torch.from_numpy(part) for part in np.split(micro.input_ids, bounds)]
        labels += [torch.from_numpy(part) for part in np.split(at, bounds)]
    pad = nn.utils.rnn.pad_sequence
    inputs = pad(ids, batch_first=True, padding_value=1)
    mask = pad([torch.ones(len(part), dtype=torch.int64) for part in ids], batch_first=True)
    return {
        "input_ids": inputs,
        "attention_mask": mask,
        "labels": pad(labels, batch_first=True, padding_value=-100),
    }


def apart(found: Tensor, expected: Tensor) -> float:
    return float(torch.linalg.vector_norm(found - expected) / torch.linalg.vector_norm(expected))


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
def test_cutting_packing_and_sharing_change_no_gradient(dtype: torch.dtype, bound: float) -> None:
    model = model_of(dtype)
    step = MaskedLMStep(model, chunk=3)
    whole = task_of(micro_batch_tokens=10**6)
    (everything,) = whole.micro_batches(0, 1, 0, 1)
    targets = everything.targets
    reference = model(**padded([everything])).loss
    expected = gradient(model, [reference * targets], targets)
    for micro_tokens, processes in (
        (10**6, 1),
        (2 * LENGTH, 1),
        (1, 1),
        (LENGTH, 2),
        (LENGTH, 4),
        (10**6, 9),
    ):
        task = task_of(micro_batch_tokens=micro_tokens)
        shares = [task.micro_batches(0, 1, rank, processes) for rank in range(processes)]
        micros = [micro for share in shares for micro in share]
        assert {len(share) for share in shares} == {len(shares[0])}
        assert sum(micro.targets for micro in micros) == targets
        losses = [task.loss(step, micro) for micro in micros]
        total = sum(float(loss.detach()) for loss in losses)
        assert total == pytest.approx(float(reference.detach()) * targets, rel=bound)
        assert apart(gradient(model, losses, targets), expected) < bound


def test_an_empty_micro_batch_has_a_loss_of_zero_and_gradients_of_zero() -> None:
    model = model_of()
    micro = MaskedRows.nothing(0, 2, 1)
    assert (micro.targets, micro.tokens) == (0, 0)
    loss = MaskedLMStep(model)(micro)
    loss.backward()
    assert float(loss.detach()) == 0
    assert all(p.grad is not None and not p.grad.any() for p in model.parameters() if p.requires_grad)


def test_every_row_of_an_epoch_is_in_one_batch_and_each_epoch_differs() -> None:
    task = task_of()
    seen = [
        micro
        for batch in range(task.batches(0))
        for rank in range(2)
        for micro in task.micro_batches(0, batch, rank, 2)
    ]
    planned, bounds = task._epoch(0)
    assert sum(micro.tokens for micro in seen) == planned.lengths.sum()
    assert set(np.diff(bounds)) <= {len(planned) // task.batches(0), len(planned) // task.batches(0) + 1}
    again = task_of().micro_batches(0, 0, 0, 1)
    assert np.array_equal(task.micro_batches(0, 0, 0, 1)[0].input_ids, again[0].input_ids)
    assert not np.array_equal(task.micro_batches(1, 0, 0, 1)[0].input_ids[:50], again[0].input_ids[:50])
    assert list(task._epochs) == [0, 1]
    task.batches(2)
    assert list(task._epochs) == [1, 2]


def test_batches_by_tokens() -> None:
    task = task_of(batch_rows=None, batch_tokens=3 * LENGTH)
    sizes = [sum(m.tokens for m in task.micro_batches(0, batch, 0, 1)) for batch in range(task.batches(0))]
    assert max(sizes) <= 3 * LENGTH
    assert sum(sizes) == task._epoch(0)[0].lengths.sum()


def test_recomputing_layers_gives_the_same_gradient_with_dropout() -> None:
    model = model_of(dropout=0.2)
    micro = task_of().micro_batches(0, 0, 0, 1)[0]
    found = []
    for again in (False, True):
        if again:
            model.gradient_checkpointing_enable()
        torch.manual_seed(5)
        found.append(gradient(model, [MaskedLMStep(model)(micro)], 1))
    assert apart(found[1], found[0]) < 1e-12
    torch.manual_seed(6)
    assert apart(gradient(model, [MaskedLMStep(model)(micro)], 1), found[0]) > 0.01  # there is dropout


def test_bfloat16_lies_near_float32() -> None:
    model = model_of(torch.float32)
    step, micro = MaskedLMStep(model), task_of().micro_batches(0, 0, 0, 1)[0]
    exact = gradient(model, [step(micro)], 1)
    with torch.autocast("cpu", torch.bfloat16):
        loss = step(micro)
    assert loss.dtype == torch.float32
    assert 0 < apart(gradient(model, [loss], 1), exact) < 0.05


class Doubled(nn.Module):
    """Somebody's own decoder: twice the scores."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, rows: Tensor) -> Tensor:
        return 2 * self.inner(rows)


@pytest.mark.parametrize("way", ["hook on the head", "hook on the decoder", "another decoder", "untied"])
def test_what_is_done_to_the_head_counts(way: str) -> None:
    model = model_of(tie_word_embeddings=way != "untied")
    if way == "hook on the head":
        model.lm_head.register_forward_hook(lambda module, given, out: out * 2)
    elif way == "hook on the decoder":
        model.lm_head.decoder.register_forward_hook(lambda module, given, out: out * 2)
    elif way == "another decoder":
        model.lm_head.decoder = Doubled(model.lm_head.decoder)
    micro = task_of().micro_batches(0, 0, 0, 1)[0]
    expected = model(**padded([micro])).loss
    step = MaskedLMStep(model)
    loss = step(micro)
    torch.testing.assert_close(loss, expected * micro.targets)
    assert apart(gradient(model, [loss], 1), gradient(model, [expected * micro.targets], 1)) < 1e-10
    judged = step(micro, judge=True)
    torch.testing.assert_close(judged[:, 0].sum(), loss)
    states = model(**padded([micro])).logits[padded([micro])["labels"] != -100]
    right = (states.argmax(1) == torch.from_numpy(micro.labels)).double().mean()
    assert float((judged[:, 1] < 1).double().mean()) == float(right)


def test_held_out_figures_are_those_of_the_plain_call() -> None:
    model = model_of().eval()
    task = task_of(held_out_rows=4)
    figures = task.evaluate(MaskedLMStep(model))
    micros = list(task._held_out_batches())
    given = padded(micros)
    kept = given["labels"] != -100
    assert bool((given["input_ids"][kept] == TEXT.special.mask).all())  # all are hidden
    with torch.no_grad():
        scores = model(**given).logits[kept]
    labels = given["labels"][kept]
    losses = F.cross_entropy(scores, labels, reduction="none")
    five = (scores.topk(5).indices == labels[:, None]).any(1)
    names = np.concatenate([micro.sources for micro in micros])
    assert figures["targets"] == len(labels)
    assert figures["loss"] == pytest.approx(float(losses.mean()))
    assert figures["perplexity"] == pytest.approx(math.exp(float(losses.mean())))
    assert figures["top1"] == pytest.approx(float((scores.argmax(1) == labels).double().mean()))
    assert figures["top5"] == pytest.approx(float(five.double().mean()))
    for index, (name, language) in enumerate((("a", "x"), ("b", "y"))):
        of_one = torch.from_numpy(names == index)
        assert 0 < int(of_one.sum()) < len(labels)
        assert figures["sources"][name]["loss"] == pytest.approx(float(losses[of_one].mean()))
        assert figures["languages"][language] == figures["sources"][name]
    assert (
        task_of(seed=4, held_out_rows=4).evaluate(MaskedLMStep(model)) == figures
    )  # no run has masks of its own
    assert task_of(held_out=None).evaluate(MaskedLMStep(model)) == {}


def test_processes_judge_parts_and_get_the_same_figures() -> None:
    model, alone = MaskedLMStep(model_of().eval()), task_of()
    sums: list[list[float]] = []
    calls = []
    for rank in range(3):
        place = SimpleNamespace(
            rank=rank, processes=3, sum=lambda *numbers: sums.append(list(numbers)) or numbers
        )
        task = task_of(place=place)
        calls.append(len(list(task._held_out_batches())))
        task.evaluate(model)
    assert len(set(calls)) == 1  # FSDP waits for all at each call
    together = SimpleNamespace(rank=0, processes=3, sum=lambda *_: tuple(map(sum, zip(*sums, strict=True))))
    found, expected = task_of(place=together).evaluate(model), alone.evaluate(model)
    assert found["loss"] == pytest.approx(expected["loss"])
    assert found["targets"] == expected["targets"]


def test_operations_are_those_that_pytorch_counts() -> None:
    """Forward and backward of the documented call on full rows, head on the labelled tokens alone."""
    model = model_of(torch.float32, attn_implementation="eager")
    ids = torch.randint(5, WORDS, (4, LENGTH))
    labels = torch.where(torch.rand(ids.shape) < 0.25, ids, -100)
    with FlopCounterMode(display=False) as counter:
        model(ids, labels=labels, logits_to_keep=labels != -100).loss.backward()
    share = float((labels != -100).double().mean())
    expected = step_flops(model.config, predicted=share, seen=LENGTH) * ids.numel()
    assert counter.get_total_flops() == pytest.approx(expected, rel=1e-6)
    full = task_of(masking=Masking(0.5)).flops_per_token()
    assert (
        step_flops(config(), predicted=0.5, seen=LENGTH / 2)
        < full
        <= step_flops(config(), predicted=0.5, seen=LENGTH)
    )


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # PyTorch's own compiler
@pytest.mark.parametrize("by_layer", [False, True])
def test_one_graph_takes_all_micro_batches(by_layer: bool) -> None:
    model = model_of(torch.float32)
    micros = [task_of(micro_batch_tokens=size).micro_batches(0, 0, 0, 1)[0] for size in (200, 96, 64, 130)]
    plain = [gradient(model, [MaskedLMStep(model)(micro)], 1) for micro in micros]
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    step = MaskedLMStep(model)
    step.compile_encoder(by_layer)
    for micro, expected in zip(micros, plain, strict=True):
        assert apart(gradient(model, [step(micro)], 1), expected) < 1e-5
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] <= 2
    assert not torch._dynamo.utils.counters["graph_break"]


def test_what_does_not_fit_is_refused() -> None:
    for sizes in ({"batch_tokens": 9}, {"batch_rows": None}, {"batch_rows": 0}, {"micro_batch_tokens": 0}):
        with pytest.raises(ArgumentError, match="one of the first two"):
            task_of(**sizes)
    with pytest.raises(InputError, match="at most the model's 32 positions"):
        task_of(packing=Packing())
    with pytest.raises(InputError, match="text of 61 words; expected at most the model's 60"):
        task_of(held_out=replace(TEXT, vocab_size=61))
    with pytest.raises(InputError, match="pad token is 0"):
        task_of(held_out=replace(TEXT, special=replace(TEXT.special, pad=0)))
    with pytest.raises(InputError, match="without a row"):
        task_of(held_out=replace(TEXT, sources=(source([]),)))
    with pytest.raises(InputError, match="without a row of text"):
        MaskedLM(replace(TEXT, sources=(source([]),)), config(), packing=Packing(lengths=((LENGTH, 1.0),)),
                 masking=Masking(), seed=0, batch_rows=2)  # fmt: skip
