"""Tokens per second and memory of pre-training beside transformers' Trainer, in one run.

    make bench-pretraining                                       all of it, half an hour on two cores
    make bench-pretraining ARGS="--sequences 32 --rounds 2 --small"     to try the script
    make bench-pretraining ARGS="--save"                         also write benchmarks/results/ and docs/benchmarks.md
    make bench-pretraining ARGS="--device cuda --precision bf16 --compile --length 128 --sequences 16384 --save"

Every way has the same random weights (RoBERTa-base), sequences, threads, optimiser (AdamW, PyTorch's fused one) and
32 sequences an update. Losses and a gradient are compared first: one that differs stops the run. Then come the rounds,
as in `torch_speed.py`: each goes through all ways, and begins one way later. Timed is the work from lists of ids to
updated weights: masks, padding or packing, forward, backward, clipping, AdamW.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from pretraining_report import tables, write_page
from pretraining_ways import BATCH, Setting, Updates, loss_and_gradient, padding_of, ways
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch_report import keep
from torch_speed import Clock, let_go, machine, memory_in_use, rounds_of, sizes_of
from torch_ways import Way
from torch_workload import Workload, chunks, matched_models

from robertakit.training.chunked_loss import linear_cross_entropy
from robertakit.training.devices import peak_flops
from robertakit.training.masked_lm import step_flops
from robertakit.training.places import Place

Say = Callable[[str], None]
#: How far a loss and a gradient may lie from transformers', relatively.
BOUNDS = {"fp32": 1e-5, "bf16": 5e-2}
DTYPES = {"fp32": "float32", "bf16": "bfloat16"}
PARTS = ("steps", "loss", "processes")
#: The vocabulary of XLM-R.
WORDS, WIDTH = 250_002, 768


def setting_of(options: argparse.Namespace) -> Setting:
    """How all ways compute."""
    return Setting(torch.device(options.device), options.precision, options.compile, options.micro_tokens)


def workload(options: argparse.Namespace) -> Workload:
    """The sequences: of the lengths of the other pages, or all of one."""
    words = int(str(sizes_of(options)["vocab_size"]))
    work = Workload.drawn(options.sequences, words, torch.device(options.device))
    if not options.length:
        return work
    fixed = Workload([options.length] * options.sequences, work.device)
    draw = np.random.default_rng(2)
    for _ in fixed.lengths:
        ids = np.concatenate([[0], draw.integers(5, words - 1, options.length - 2), [2]])
        chosen = 1 + draw.permutation(options.length - 2)[: max(1, round(0.15 * (options.length - 2)))]
        masked, labels = ids.copy(), np.full(options.length, -100)
        masked[chosen], labels[chosen] = words - 1, ids[chosen]
        fixed.ids.append(ids)
        fixed.masked.append(masked)
        fixed.labels.append(labels)
    return fixed


def models_of(options: argparse.Namespace, *which: str) -> dict[str, nn.Module]:
    """The models, in training mode and float32: autocast does the rest."""
    made = matched_models(which, sizes_of(options), torch.device(options.device), torch.float32)
    return {name: model.train() for name, model in made.items()}


# Steps ----------------------------------------------------------------------------------------------------------


def compare(
    work: Workload, models: dict[str, nn.Module], options: argparse.Namespace, say: Say
) -> dict[str, float]:
    """Return how far our losses and the first batch's gradient lie from theirs; stop where it is too far."""
    setting = setting_of(options)
    apart: dict[str, float] = {}
    for number, batch in enumerate(chunks(range(len(work.lengths)), BATCH)[:2]):
        found = {name: loss_and_gradient(name, work, models[name], setting, batch) for name in models}
        (ours, gradient), (theirs, reference) = found["ours"], found["theirs"]
        apart[f"loss of batch {number}"] = abs(ours / theirs - 1)
        norm = torch.linalg.vector_norm(gradient - reference) / torch.linalg.vector_norm(reference)
        apart[f"gradient of batch {number}"] = float(norm)
    for name, distance in apart.items():
        if not distance <= BOUNDS[options.precision]:
            sys.exit(
                f"the {name} differs from transformers' by {distance:.1e}, more than {BOUNDS[options.precision]}"
            )
    say(f"the same losses and gradients: they differ by {max(apart.values()):.1e} at most, relatively")
    return apart


def measure_steps(options: argparse.Namespace, arguments: list[str], say: Say) -> dict[str, object]:
    """Compare and time all ways."""
    work, models = workload(options), models_of(options, "ours", "theirs")
    found: dict[str, object] = {"distances": compare(work, models, options, say)}
    taken = [
        way for way in ways(work, models, setting_of(options)) if not options.ways or way.key in options.ways
    ]
    say(f"steps: {len(work.lengths)} sequences, {work.tokens} tokens")
    for way in taken:  # the first update makes the optimiser's state, and compiles
        let_go()
        list(way.run(way.batches[:1]))
    found |= rounds_of(taken, options.rounds, Clock(work.device), say)
    lengths = np.array(work.lengths, np.float64)
    share = sum(int((labels != -100).sum()) for labels in work.labels) / work.tokens
    found |= {
        "tokens": work.tokens,
        "lengths": work.lengths,
        "shown": {way.key: way.shown for way in taken},
        "computed_tokens": {way.key: padding_of(way, work.lengths) for way in taken},
        "flops_per_token": step_flops(
            models["ours"].config, predicted=share, seen=float((lengths**2).sum() / lengths.sum())
        ),
        "attention": models["theirs"].config._attn_implementation,
    }
    del models, taken
    let_go()
    if options.memory:
        found["memory"] = {key: peak(["steps", key], arguments, say) for key in found["shown"]}
    return found


# Memory ---------------------------------------------------------------------------------------------------------


def peak(what: list[str], arguments: list[str], say: Say) -> dict[str, int]:
    """Return the bytes that something adds to a process of its own."""
    command = [sys.executable, __file__, *arguments, "--peak-of", *what]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"the process that measures the memory of {' '.join(what)} ended with {done.returncode}")
    found: dict[str, int] = json.loads(done.stdout.splitlines()[-1])
    say(f"{found['added'] / 2**20:8.0f} MiB more: {' '.join(what)}")
    return found


def peak_here(options: argparse.Namespace) -> dict[str, int]:
    """Return what `peak` asks this process for."""
    device = torch.device(options.device)
    part, key, *rest = options.peak_of
    if part == "loss":
        inputs = loss_inputs(int(rest[0]), options)
        work = lambda: loss_once(key, inputs)  # noqa: E731
    else:
        texts, name = workload(options), "theirs" if key.startswith("theirs") else "ours"
        models = models_of(options, name)
        way = next(way for way in ways(texts, models, setting_of(options)) if way.key == key)
        batch = max(way.batches, key=lambda batch: max(texts.lengths[i] for i in batch))
        with torch.inference_mode():  # what a first call loads is code, no activations
            models[name](**texts.padded(texts.by_length()[-2:]))
        work = lambda: list(way.run([batch]))  # noqa: E731
    let_go()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
    else:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak begins anew
        before = memory_in_use("VmRSS")
    work()
    highest = torch.cuda.max_memory_allocated() if device.type == "cuda" else memory_in_use("VmHWM")
    return {"model": before, "added": highest - before}


# The loss in chunks ---------------------------------------------------------------------------------------------

Inputs = tuple[Tensor, Tensor, Tensor, Tensor]


def loss_inputs(rows: int, options: argparse.Namespace) -> Inputs:
    """Rows, weight, bias and labels."""
    words, width = (2000, 64) if options.small else (WORDS, WIDTH)
    made = torch.Generator().manual_seed(0)
    x, w = torch.randn(rows, width, generator=made), torch.randn(words, width, generator=made) * 0.02
    labels = torch.randint(0, words, (rows,), generator=made)
    x, w, b, labels = (tensor.to(options.device) for tensor in (x, w, torch.zeros(words), labels))
    return x.requires_grad_(), w.requires_grad_(), b.requires_grad_(), labels


def loss_once(key: str, inputs: Inputs) -> tuple[float, list[Tensor]]:
    """Loss and gradients, which are gone from the inputs afterwards."""
    x, w, b, labels = inputs
    chunked = key == "chunked"
    loss = (
        linear_cross_entropy(*inputs)
        if chunked
        else F.cross_entropy(F.linear(x, w, b), labels, reduction="sum")
    )
    loss.backward()
    gradients = [x.grad, w.grad, b.grad]
    x.grad = w.grad = b.grad = None
    return float(loss.detach()), gradients


def loss_way(key: str, inputs: Inputs) -> Way:
    """One of the two, as rounds take it."""
    shown = f"{key} loss of {len(inputs[0])} rows"
    return Way(key, shown, None, [[]], lambda _: iter([(0, torch.tensor(loss_once(key, inputs)[0]))]))


def measure_loss(options: argparse.Namespace, arguments: list[str], say: Say) -> dict[str, object]:
    """Compare and time the two ways to take the loss."""
    measured, distances = [], {"loss": 0.0, "gradient": 0.0}
    clock = Clock(torch.device(options.device))
    for rows in (64, 256, 1024):
        inputs = loss_inputs(rows, options)
        (plain, expected), (ours, found) = loss_once("plain", inputs), loss_once("chunked", inputs)
        apart = [float((a - b).norm() / b.norm()) for a, b in zip(found, expected, strict=True)]
        distances["loss"] = max(distances["loss"], abs(ours / plain - 1))
        distances["gradient"] = max(distances["gradient"], *apart)
        del expected, found
        if not max(distances.values()) <= 1e-5:
            sys.exit(f"the loss in chunks differs from the plain one: {distances}")
        each = [loss_way(key, inputs) for key in ("plain", "chunked")]
        seconds = rounds_of(each, options.rounds, clock, say)["seconds"]
        memory = {key: peak(["loss", key, str(rows)], arguments, say)["added"] for key in seconds}
        measured.append({"rows": rows, "seconds": seconds, "memory": memory})
    return {
        "words": len(inputs[1]),
        "width": inputs[1].shape[1],
        "distances": distances,
        "measured": measured,
    }


# Processes ------------------------------------------------------------------------------------------------------


def measure_processes(options: argparse.Namespace, arguments: list[str], say: Say) -> dict[str, object]:
    """Time the same updates on several processes of one thread each."""
    seconds, first = {}, {}
    for count in options.processes:
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}"]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            [*command, __file__, *arguments, "--threads", "1", "--worker"],
            stdout=subprocess.PIPE, text=True, env=environment,
        )  # fmt: skip
        if done.returncode:
            sys.exit(f"{count} processes ended with {done.returncode}")
        said = json.loads(next(line for line in done.stdout.splitlines() if line.startswith("{")))
        seconds[str(count)], first[count] = said["seconds"], said["loss"]
        say(f"{count} processes: {said['tokens'] / min(said['seconds']):8.0f} tokens/s at best")
    alone = first[options.processes[0]]
    distance = max(abs(loss / alone - 1) for loss in first.values())
    if not distance <= BOUNDS[options.precision]:
        sys.exit(f"the first loss depends on the number of processes: {first}")
    return {"seconds": seconds, "tokens": said["tokens"], "distance": distance}


def work_here(options: argparse.Namespace) -> None:
    """One of several processes: the first prints what `measure_processes` reads."""
    work = workload(options)
    model = models_of(options, "ours")["ours"].eval()  # no dropout, so that losses can be compared
    with Place.here(device=options.device) as place:
        updates = Updates(work, model, setting_of(options), place)
        batch = list(range(BATCH))
        ((_, loss),) = updates([batch])
        seconds = []
        for _ in range(options.rounds):
            place.sum(0)  # all begin together
            begun = time.perf_counter()
            list(updates([batch]))
            place.sum(0)
            seconds.append(time.perf_counter() - begun)
        if place.first:
            tokens = sum(work.lengths[:BATCH])
            print(json.dumps({"seconds": seconds, "tokens": tokens, "loss": float(loss)}), flush=True)


# The run --------------------------------------------------------------------------------------------------------


def run(options: argparse.Namespace, arguments: list[str], say: Say) -> dict[str, object]:
    """Compare, measure, and return the raw results."""
    names = (
        "small",
        "sequences",
        "length",
        "rounds",
        "device",
        "precision",
        "compile",
        "micro_tokens",
        "ways",
    )
    facts = machine(options)
    if options.device == "cuda":
        facts["peak_flops"] = peak_flops(str(facts["GPU"]), options.precision)
    results: dict[str, object] = {
        "settings": {name: getattr(options, name) for name in names} | {"dtype": DTYPES[options.precision]},
        "machine": facts,
        "load_before": os.getloadavg(),
    }
    measures = {"steps": measure_steps, "loss": measure_loss, "processes": measure_processes}
    for part in options.parts:
        results[part] = measures[part](options, arguments, say)
    attention = results["steps"]["attention"] if "steps" in results else "not asked"
    return results | {"transformers_attention": attention, "load_after": os.getloadavg()}


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    made.add_argument("--sequences", type=int, default=64, help=f"sequences to train on, {BATCH} an update")
    made.add_argument(
        "--length", type=int, default=0, help="tokens of every sequence (default: mixed lengths)"
    )
    made.add_argument("--rounds", type=int, default=5, help="counted rounds")
    made.add_argument("--small", action="store_true", help="a small model, to try the script")
    made.add_argument("--threads", type=int, default=os.cpu_count(), help="threads of PyTorch")
    made.add_argument("--device", default="cpu", choices=["cpu", "cuda"], help="where to compute")
    made.add_argument(
        "--precision", default="fp32", choices=list(BOUNDS), help="float32, or bfloat16 by autocast"
    )
    made.add_argument("--compile", action="store_true", help="torch.compile, on both sides")
    made.add_argument("--micro-tokens", type=int, default=4096, help="most tokens that ours computes at once")
    made.add_argument("--parts", nargs="+", default=list(PARTS), choices=PARTS, help="what to measure")
    made.add_argument(
        "--processes", nargs="+", type=int, default=[1, 2, 4], help="numbers of processes to try"
    )
    made.add_argument("--ways", nargs="+", help="keys of the ways to take (default: all)")
    made.add_argument(
        "--no-memory", dest="memory", action="store_false", help="leave the memory of steps out"
    )
    made.add_argument("--save", action="store_true", help="write benchmarks/results/ and docs/benchmarks.md")
    made.add_argument("--output", type=Path, help="write the raw results to this file")
    made.add_argument("--peak-of", nargs="+", help=argparse.SUPPRESS)  # in a process of its own
    made.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)  # one of several processes
    return made


def main() -> None:
    """Read the command line; measure, print, and save if asked to."""
    arguments = sys.argv[1:]
    options = parser().parse_args(arguments)
    if options.sequences < BATCH:
        sys.exit(f"an update takes {BATCH} sequences: ask for as many, or more")
    torch.set_num_threads(options.threads)
    if options.peak_of:
        print(json.dumps(peak_here(options)))
        return
    if options.worker:
        work_here(options)
        return
    results = run(options, arguments, lambda line: print(line, file=sys.stderr, flush=True))
    print(tables(results))
    name = f"pretraining-{options.device}-{options.precision}{f'-{options.length}' if options.length else ''}"
    keep(results, name, options.output, write_page if options.save else None)


if __name__ == "__main__":
    main()
