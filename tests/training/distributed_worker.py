"""What several processes do in `test_distributed.py`: started once, since PyTorch's import takes longer than all of it.

Processes are forked from this one, which imports and computes no gradient; each finds the others as under torchrun.

Usage: python distributed_worker.py OUT PART…
"""

import contextlib
import errno
import json
import os
import resource
import shutil
import socket
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from shards_in_memory import Corpus, source
from torch import Tensor, nn

from robertakit import RobertaConfig, RobertaForMaskedLM
from robertakit.errors import RobertakitError
from robertakit.training.checkpoints import Checkpoints
from robertakit.training.logs import LOG, RunLog, read_log
from robertakit.training.loop import Loop
from robertakit.training.loop_settings import LoopSettings
from robertakit.training.masked_lm import MaskedLM, MaskedLMStep
from robertakit.training.masking import Masking
from robertakit.training.packing import Packing
from robertakit.training.places import FullySharded, Place

STEPS = 20
#: Micro-batches of a batch; no multiple of four, so that of four processes two have one that holds nothing.
MICRO_BATCHES = 6
_CONFIG = {
    "vocab_size": 99, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 30,
    "max_position_embeddings": 40, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0,
}  # fmt: skip

Micro = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]


class Step(nn.Module):
    """A masked-LM loss, summed, in the plainest way."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.model = RobertaForMaskedLM(RobertaConfig(**_CONFIG))

    def forward(self, micro: Micro) -> Tensor:
        input_ids, position_ids, cumulative_lengths, rows, labels = micro
        states = self.model.roberta.encode_packed(input_ids, position_ids, cumulative_lengths)
        scores = self.model.score(states[rows])["logits"]
        return F.cross_entropy(scores.float(), labels, ignore_index=-100, reduction="sum")


def micro_batch(step: int, index: int) -> Micro:
    """One of MICRO_BATCHES, of mixed lengths and a different number of targets; behind the last, one without any."""
    generator = torch.Generator().manual_seed(1000 * step + index)
    lengths = [5 + (3 * index + step) % 7, 9] if index < MICRO_BATCHES else [2]
    total = sum(lengths)
    ids = torch.randint(4, 99, (total,), generator=generator)
    positions = torch.cat([torch.arange(2, 2 + length) for length in lengths])
    rows = torch.randperm(total, generator=generator)[: 2 + index % 3]
    labels = ids[rows]  # what is learnt is to copy
    if index >= MICRO_BATCHES:
        labels = torch.full_like(labels, -100)
    return ids, positions, torch.tensor([0, *torch.tensor(lengths).cumsum(0)]), rows, labels


class Run:
    """A training run, the same whatever the place."""

    def __init__(self, place: Place, precision: str = "fp32", rate: float = 1e-2) -> None:
        self.place = place
        self.step = place.prepare(Step(), precision)
        self.optimiser = torch.optim.AdamW(self.step.parameters(), lr=rate, betas=(0.9, 0.98), eps=1e-6)
        self.losses: list[float] = []
        self.norms: list[float] = []
        self.gradients: dict[str, Tensor] = {}

    def go(self, first: int, end: int) -> "Run":
        place = self.place
        each = -(-MICRO_BATCHES // place.processes)
        for number in range(first, end):
            micros = [micro_batch(number, place.rank + place.processes * i) for i in range(each)]
            (targets,) = place.sum(sum(int(micro[-1].ge(0).sum()) for micro in micros))
            loss = 0.0
            for i, micro in enumerate(micros):
                with place.accumulating(self.step, last=i == each - 1):
                    summed = self.step(micro)
                    (summed * (place.processes / targets)).backward()
                    loss += summed.item()
            if number == 0:
                self.gradients = {
                    name.removeprefix("module."): _whole(parameter.grad).clone()
                    for name, parameter in self.step.named_parameters()
                }
            self.losses.append(place.sum(loss)[0] / targets)
            self.norms.append(place.clip(self.step, 1.0))
            self.optimiser.step()
            self.optimiser.zero_grad(set_to_none=True)
        return self

    def told(self) -> dict[str, object]:
        """What the test compares; of the first process."""
        weights = self.place.state_for_export(self.step)
        gradients = {name: value.tolist() for name, value in self.gradients.items()}
        plain = None if weights is None else {name: value.tolist() for name, value in weights.items()}
        return {"losses": self.losses, "norms": self.norms, "gradients": gradients, "weights": plain}


def _whole(tensor: Tensor) -> Tensor:
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


# --- processes ---


def together(processes: int, parallel: str, work: Callable[[Place], object]) -> list[object]:
    """Run something on new processes, and return what each gave, or how it ended."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    children = []
    for rank in range(processes):
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(read)
            if processes > 1 or parallel != "auto":
                os.environ |= {
                    "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(processes),
                    "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
                }  # fmt: skip
            try:
                with Place.here(parallel, "cpu") as place:
                    answer = work(place)
                with os.fdopen(write, "w") as pipe:
                    json.dump(answer, pipe)
            except BaseException:  # noqa: BLE001
                traceback.print_exc()
                sys.stderr.flush()
                os._exit(1)
            os._exit(0)
        os.close(write)
        children.append((child, read))
    answers = []
    for child, read in children:
        with os.fdopen(read) as pipe:
            said = pipe.read()
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        answers.append(json.loads(said) if said else {"ended": code})
    return answers


# --- what is tried ---


def train(processes: int, parallel: str) -> object:
    return together(processes, parallel, lambda place: Run(place).go(0, STEPS).told())[0]


def half(processes: int, parallel: str, folder: Path) -> object:
    """Half of the steps, saved."""

    def work(place: Place) -> object:
        run = Run(place).go(0, STEPS // 2)
        Checkpoints(folder, place).save(STEPS // 2, run.step, run.optimiser, {"step": STEPS // 2})
        return run.losses

    return together(processes, parallel, work)[0]


def other_half(processes: int, parallel: str, folder: Path) -> object:
    """The other half, by whatever processes there are now; the model and the optimiser begin as something else."""

    def work(place: Place) -> object:
        run = Run(place)
        with torch.no_grad():
            for parameter in run.step.parameters():
                parameter.fill_(0.5)
        progress = Checkpoints(folder, place).load(run.step, run.optimiser)
        assert progress == {"step": STEPS // 2}, progress
        run.go(STEPS // 2, STEPS)
        return run.told()

    return together(processes, parallel, work)[0]


def places(processes: int, parallel: str) -> object:
    """What a place says and does beside training."""

    def work(place: Place) -> object:
        answer: dict[str, object] = {
            "rank": place.rank, "processes": place.processes, "first": place.first, "device": str(place.device),
            "sum": place.sum(1, place.rank + 0.5), "gathered": place.gather(f"process {place.rank}"),
        }  # fmt: skip
        done: list[int] = []
        place.once(lambda: done.append(place.rank))
        answer["done"] = done
        with contextlib.suppress(ZeroDivisionError):
            try:
                place.once(lambda: 1 // 0)
            except RobertakitError as error:
                answer["failed"] = str(error)
        place.once(lambda: done.append(place.rank))
        step = place.prepare(Step())
        shares = [_local(parameter).numel() for parameter in step.parameters()]
        answer["share"] = sum(shares) / sum(parameter.numel() for parameter in step.parameters())
        if isinstance(place, FullySharded):
            units = [
                name for name, module in step.named_modules() if type(module).__name__.startswith("FSDP")
            ]
            answer["units"] = units
        return answer

    return together(processes, parallel, work)


def _local(tensor: Tensor) -> Tensor:
    return tensor.to_local() if hasattr(tensor, "to_local") else tensor


def first_weights(processes: int, parallel: str) -> object:
    """Processes that begin with different weights go on with the first one's."""

    def work(place: Place) -> object:
        plain = Step()
        with torch.no_grad():
            for parameter in plain.parameters():
                parameter.fill_(1.0 + place.rank)
        weights = place.state_for_export(place.prepare(plain)) or {}
        return sorted({value for tensor in weights.values() for value in tensor.flatten().tolist()})

    return together(processes, parallel, work)[0]


def judged_then_loaded(processes: int, parallel: str, folder: Path) -> object:
    """Weights that an evaluation gathered are not what training goes on with after a load."""

    def work(place: Place) -> object:
        run = Run(place).go(0, 2)
        checkpoints = Checkpoints(folder, place)
        checkpoints.save(2, run.step, run.optimiser, {})
        run.go(2, 4)
        with torch.no_grad():
            run.step(micro_batch(0, place.rank))
        checkpoints.load(run.step, run.optimiser)
        return run.go(2, 4).losses

    return together(processes, parallel, work)[0]


def half_precision(processes: int, parallel: str) -> object:
    """Gathered in bfloat16, kept and summed in float32."""

    def work(place: Place) -> object:
        run = Run(place, "bf16")
        seen: list[str] = []
        run.step.model.roberta.encoder.layer[0].attention.self.query.register_forward_hook(
            lambda module, given, out: seen.append(str(module.weight.dtype))
        )
        run.go(0, 3)
        kept = sorted({str(parameter.dtype) for parameter in run.step.parameters()})
        return {"losses": run.losses, "computed": sorted(set(seen)), "kept": kept}

    return together(processes, parallel, work)[0]


def loop(processes: int, parallel: str, folder: Path, begun: Path | None = None) -> object:
    """The real loop over the real task, from the start or from where another run was after half of the steps."""

    def work(place: Place) -> object:
        if begun is not None and place.first:
            shutil.copy(begun / LOG, folder / LOG)
            shutil.copytree(
                next(begun.glob(f"checkpoints/*-step-{STEPS // 2}")),
                folder / "checkpoints" / "000001-step-10",
            )
        place.gather(None)  # the folder is there
        config = RobertaConfig(**_CONFIG)
        task = MaskedLM(
            _text(1), config, packing=Packing(lengths=((24, 1.0),)), masking=Masking(), seed=5, batch_rows=7,
            micro_batch_tokens=50, held_out=_text(2), held_out_rows=5, place=place,
        )  # fmt: skip
        settings = LoopSettings(
            steps=STEPS, learning_rate=3e-3, warm_up=4, clip=1.0, seed=3, deterministic=True, log_every=1,
            evaluate_every=5, save_every=STEPS // 2, keep=9,
        )  # fmt: skip
        torch.manual_seed(0)
        step = MaskedLMStep(RobertaForMaskedLM(config))
        checkpoints = Checkpoints(folder / "checkpoints", place, settings.keep)
        trained = Loop(
            task, step, settings, place, checkpoints, RunLog(folder, writes=place.first), shown=False
        )
        progress = trained.run()
        weights = place.state_for_export(trained.step) or {}
        rank = [[micro.targets for micro in task.micro_batches(0, 0, r, processes)] for r in range(processes)]
        return {
            "log": list(read_log(folder / LOG)) if place.first else None,
            "weights": {name: value.tolist() for name, value in weights.items()},
            "tokens": progress.tokens,
            "targets": rank,
        }

    folder.mkdir()
    return together(processes, parallel, work)[0]


def _text(seed: int) -> Corpus:
    """Documents whose tokens come after one another, so that there is something to learn."""
    generator = np.random.default_rng(seed)
    made = [source(generator.integers(4, 12, (30, 4)).tolist(), name, first=10) for name in ("a", "b")]
    tokens = [replace(one, tokens=(one.tokens % 60 + 10).astype(np.uint16)) for one in made]
    return Corpus(tuple(tokens), vocab_size=99)


def full_disk(processes: int, parallel: str, folder: Path) -> object:
    """The last process finds the disk full: all raise, and the checkpoint before stands."""

    def work(place: Place) -> object:
        run = Run(place).go(0, 1)
        checkpoints = Checkpoints(folder, place)
        checkpoints.save(1, run.step, run.optimiser, {"saved": 1})
        run.go(1, 2)
        answer: dict[str, object] = {}
        with _disk(full=place.rank == processes - 1):
            try:
                checkpoints.save(2, run.step, run.optimiser, {"saved": 2})
            except RobertakitError as error:
                answer["error"] = [type(error).__name__, str(error)]
        answer["loaded"] = checkpoints.load(run.step, run.optimiser)
        checkpoints.save(2, run.step, run.optimiser, {"saved": 3})
        answer["then"] = checkpoints.load(run.step, run.optimiser)
        answer["left"] = sorted(path.name for path in folder.iterdir())
        return answer

    return together(processes, parallel, work)


@contextlib.contextmanager
def _disk(full: bool) -> Iterator[None]:
    sync = os.fsync

    def refuse(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    os.fsync = refuse if full else sync
    try:
        yield
    finally:
        os.fsync = sync


def another_model(processes: int, parallel: str, folder: Path) -> object:
    """A checkpoint of another model is refused on all processes."""

    def work(place: Place) -> object:
        run = Run(place).go(0, 1)
        Checkpoints(folder, place).save(1, run.step, run.optimiser, {})
        _CONFIG["vocab_size"] = 101
        other = Run(place)
        try:
            Checkpoints(folder, place).load(other.step, other.optimiser)
        except RobertakitError as error:
            return [type(error).__name__, str(error)]
        return None

    return together(processes, parallel, work)


def killed(processes: int, parallel: str, folder: Path) -> object:
    """One process dies while all save, at each of what it does to the disk; then one process loads."""
    outcomes = []
    for at in range(1, 40):
        here = folder / str(at)

        def work(place: Place, here: Path = here, at: int = at) -> object:
            run = Run(place).go(0, 1)
            checkpoints = Checkpoints(here, place)
            checkpoints.save(1, run.step, run.optimiser, {"saved": 1})
            run.go(1, 2)
            counted = _die_at(at) if place.rank == at % processes else [0]
            checkpoints.save(2, run.step, run.optimiser, {"saved": 2})
            return counted[0]

        ended = together(processes, parallel, work)

        def look(place: Place, here: Path = here) -> object:
            run = Run(place)
            return Checkpoints(here, place).load(run.step, run.optimiser)

        outcomes.append([at, ended, together(1, "auto", look)[0]])
    return outcomes


def _die_at(at: int) -> list[int]:
    """Let this process end at its n-th step on the disk, by SIGKILL: nothing is tidied up."""
    count = [0]

    def counting(function: Callable[..., object]) -> Callable[..., object]:
        def call(*args: object, **keywords: object) -> object:
            count[0] += 1
            if count[0] == (at + 1) // 2:
                os.kill(os.getpid(), 9)
            return function(*args, **keywords)

        return call

    for name in ("fsync", "rename", "replace", "mkdir", "unlink", "rmdir"):
        setattr(os, name, counting(getattr(os, name)))
    return count


def main() -> None:
    torch.set_num_threads(1)
    Run(Place(0, 1, torch.device("cpu")))  # imports what PyTorch imports late, once for all processes
    out = Path(sys.argv[1])
    parts: dict[str, Callable[[], object]] = {
        "one": lambda: train(1, "auto"),
        **{f"{way}{n}": lambda way=way, n=n: train(n, way) for way in ("ddp", "fsdp") for n in (2, 4)},
        **{f"places {way}": lambda way=way: places(2, way) for way in ("ddp", "fsdp")},
        **{f"first weights {way}": lambda way=way: first_weights(2, way) for way in ("ddp", "fsdp")},
        "bf16": lambda: half_precision(2, "fsdp"),
        **{f"half {way}2": lambda way=way: half(2, way, out / way) for way in ("ddp", "fsdp")},
        **{
            f"{way}2 to {then}{n}": lambda way=way, then=then, n=n: other_half(n, then, out / way)
            for way, then, n in (
                ("fsdp", "fsdp", 4), ("fsdp", "ddp", 2), ("fsdp", "auto", 1), ("ddp", "fsdp", 2), ("ddp", "auto", 1),
                ("ddp", "ddp", 4), ("ddp", "fsdp", 4),
            )
        },
        **{
            f"loop {way}{n}": lambda way=way, n=n: loop(n, way, out / f"loop {way}{n}")
            for way, n in (("auto", 1), ("ddp", 2), ("ddp", 4), ("fsdp", 2), ("fsdp", 4))
        },
        **{
            f"loop fsdp2 to {way}{n}": lambda way=way, n=n: loop(
                n, way, out / f"loop fsdp2 to {way}{n}", out / "loop fsdp2"
            )
            for way, n in (("fsdp", 4), ("auto", 1), ("ddp", 2))
        },
        "full disk": lambda: full_disk(2, "fsdp", out / "full"),
        "another model": lambda: another_model(2, "fsdp", out / "another"),
        "judged": lambda: judged_then_loaded(2, "fsdp", out / "judged"),
        "killed": lambda: killed(2, "fsdp", out / "killed"),
    }  # fmt: skip
    for name in sys.argv[2:]:
        (out / f"{name}.json").write_text(json.dumps(parts[name]()))
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        print(f"{name}: {used.ru_utime + used.ru_stime:.1f} s of processor so far", flush=True)


if __name__ == "__main__":
    main()
