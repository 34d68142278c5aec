"""A run that takes a second: a model of the family with dropout, batches in memory, some of them bad on purpose."""

import copy
import dataclasses
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from robertakit import RobertaConfig, RobertaForMaskedLM
from robertakit.training.checkpoints import Checkpoints
from robertakit.training.logs import LOG, RunLog, read_log
from robertakit.training.loop import Loop
from robertakit.training.loop_settings import LoopSettings
from robertakit.training.places import Place

SIZES = {
    "vocab_size": 24, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2,
    "intermediate_size": 16, "max_position_embeddings": 12,
}  # fmt: skip
BATCHES, ROWS, LENGTH = 9, 4, 8
#: What may happen to the loss of a batch: gets the step and the loss, gives another.
Accident = Callable[[nn.Module, Tensor], Tensor]


@dataclass
class Micro:
    ids: Tensor
    labels: Tensor
    targets: int
    tokens: int
    accident: Accident | None = None


class ToyTask:
    """Rows in which each token says the next one, with a seventh of them hidden.

    Args:
        accidents: (epoch, batch) -> what happens to its loss.
        micro_rows: rows of a micro-batch.
    """

    def __init__(
        self, accidents: Mapping[tuple[int, int], Accident] | None = None, *, micro_rows: int = 3
    ) -> None:
        self.accidents, self.micro_rows = dict(accidents or {}), micro_rows
        self.fetched: list[tuple[int, int]] = []

    def batches(self, epoch: int) -> int:
        return BATCHES

    def micro_batches(self, epoch: int, batch: int, rank: int, processes: int) -> list[Micro]:
        self.fetched.append((epoch, batch))
        generator = torch.Generator().manual_seed(1000 * epoch + batch)
        ids = torch.randint(4, 24, (ROWS, 1), generator=generator) + torch.arange(LENGTH)
        ids = (ids - 4) % 20 + 4
        hidden = torch.rand(ids.shape, generator=generator) < 1 / 7
        hidden[0, 2] = True  # one at least
        labels = torch.where(hidden, ids, -100)
        ids = torch.where(hidden, 3, ids)
        accident = self.accidents.get((epoch, batch))
        return [
            Micro(rows, targets, int((targets != -100).sum()), rows.numel(), accident)
            for rows, targets in zip(
                ids[rank::processes].split(self.micro_rows),
                labels[rank::processes].split(self.micro_rows),
                strict=True,
            )
        ]

    def loss(self, model: nn.Module, micro: Micro) -> Tensor:
        loss = model(micro)
        return loss if micro.accident is None else micro.accident(model, loss)

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        assert not model.training
        assert not torch.is_grad_enabled()
        micros = ToyTask.micro_batches(self, 10**6, 0, 0, 1)
        return {"loss": sum(float(model(micro)) for micro in micros) / sum(m.targets for m in micros)}

    def flops_per_token(self) -> float:
        return 1000.0


class ToyStep(nn.Module):
    """The sum of the losses of a micro-batch."""

    def __init__(self, dropout: float = 0.1) -> None:
        super().__init__()
        torch.manual_seed(1)
        probabilities = {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout}
        self.model = RobertaForMaskedLM(RobertaConfig(**SIZES, **probabilities))

    def forward(self, micro: Micro) -> Tensor:
        logits = self.model(micro.ids).logits
        return nn.functional.cross_entropy(logits.flatten(0, 1), micro.labels.flatten(), reduction="sum")


def times(factor: float) -> Accident:
    return lambda model, loss: loss * factor


def spoil(model: nn.Module, loss: Tensor) -> Tensor:
    """Ruin the weights behind the forward pass: its own loss looks as ever, and its gradient is 0."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(torch.nan)
    return loss.detach() + sum(parameter.flatten()[0] * 0 for parameter in model.parameters()).nan_to_num()


#: One batch without a number, one that leaps, and three leaps in a row, which cost the batch before them too.
ACCIDENTS: dict[tuple[int, int], Accident] = {
    (1, 5): times(float("nan")),
    (2, 7): times(1e3),
    **{(4, batch): times(1e4) for batch in (4, 5, 6)},
}
SETTINGS = LoopSettings(
    steps=60, warm_up=5, learning_rate=1e-2, seed=3, deterministic=True, clip=1.0, spike_window=16,
    log_every=4, evaluate_every=10, save_every=7,
)  # fmt: skip


def a_loop(
    folder: Path,
    task: ToyTask | None = None,
    *,
    parallel: str = "auto",
    dropout: float = 0.1,
    checkpoints: "Kept | None" = None,
    **changed: object,
) -> Loop:
    """A loop in a folder, with `SETTINGS` but for those given; its checkpoints are on the disk unless given, too."""
    settings = dataclasses.replace(SETTINGS, **changed)
    place = Place.here(parallel, device="cpu")
    return Loop(
        task or ToyTask(ACCIDENTS), ToyStep(dropout), settings, place,
        checkpoints or Checkpoints(folder / "checkpoints", place, settings.keep),
        RunLog(folder, writes=place.first), identity={"corpus": "toy"}, shown=False,
    )  # fmt: skip


def weights(loop: Loop) -> dict[str, Tensor]:
    """Weights and moments, as they are."""
    found = {name: tensor.detach().clone() for name, tensor in loop.step.state_dict().items()}
    for name, parameter in loop.step.named_parameters():
        for moment, value in loop.optimiser.state.get(parameter, {}).items():
            found[f"{moment} of {name}"] = value.clone()
    return found


def curve(folder: Path) -> list[dict[str, object]]:
    """What a log says, but for when and how fast, and how often the run was begun."""
    untold = ("seconds", "tokens_per_second")
    return [
        {name: value for name, value in row.items() if name not in untold}
        for row in read_log(folder / LOG)
        if row["event"] != "start"
    ]


class Kept:
    """Checkpoints in memory, for tests that are about something else than the disk: each is bit for bit what it was.

    Progress goes through JSON, as it does on its way to a disk.
    """

    def __init__(self, keep: int = 2) -> None:
        self.keep = keep
        self.states: dict[int, tuple[object, object, str]] = {}

    def numbers(self) -> list[int]:
        return list(self.states)

    def save(self, number: int, step: nn.Module, optimiser: torch.optim.Optimizer, progress: object) -> None:
        state = copy.deepcopy((step.state_dict(), optimiser.state_dict()))
        self.states.pop(number, None)
        self.states[number] = (*state, json.dumps(progress, allow_nan=False))
        for old in list(self.states)[: -self.keep]:
            del self.states[old]

    def load(self, step: nn.Module, optimiser: torch.optim.Optimizer) -> object:
        if not self.states:
            return None
        weights, moments, progress = copy.deepcopy(self.states[next(reversed(self.states))])
        step.load_state_dict(weights)
        optimiser.load_state_dict(moments)
        return json.loads(progress)
