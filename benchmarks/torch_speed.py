"""Useful tokens per second, training steps and peak memory of robertakit and transformers, in one run.

    make bench-torch                                         the whole page, about half an hour on two cores
    make bench-torch ARGS="--sequences 24 --rounds 2"        something smaller
    make bench-torch ARGS="--save"                           also write benchmarks/results/ and docs/benchmarks.md

Every way has the same random weights (RoBERTa-base), sequences and threads. A first pass, which is not counted, warms
everything and compares the outputs: a way that answers something else stops the run. Then come the rounds: in each,
every way goes through all sequences once, one way after the other, and each round begins one way later, so that a
busy moment of the machine, or a neighbour's heat, falls on all alike. Timed is the work from lists of ids to hidden
states (to updated weights), padding and packing included. Ratios are taken inside a round; shown is their median.
"""

import argparse
import ctypes
import datetime as dt
import gc
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch_report import keep, tables, write_page
from torch_ways import Way, answering, loss_of, size_of, training
from torch_workload import BASE, SMALL, Workload, matched_models

#: How far rows may lie from transformers', as a share of max(1, the row's largest): DESIGN's bound in float32, and
#: what a half type's own roundings make of twelve layers.
BOUNDS = {"float32": 1e-5, "bfloat16": 1e-1, "float16": 2e-2}
#: Operators by what they are for; the first part of a name that fits decides.
KINDS = {
    "products": ("addmm", "mm", "_linear_pointwise", "linear"),
    "attention": ("scaled_dot_product", "flash", "packed_attention", "varlen"),
    "GELU": ("gelu",),
    "LayerNorm": ("layer_norm",),
    "residuals and embeddings": ("add", "embedding", "index_select"),
}


class Clock:
    """Seconds of the wall and of the processor, after the device has done what it was given."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def __call__(self, work: Callable[[], object]) -> tuple[float, float]:
        """Return the seconds that `work` takes."""
        self._wait()
        wall, processor = time.perf_counter(), time.process_time()
        work()
        self._wait()
        return time.perf_counter() - wall, time.process_time() - processor

    def _wait(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize()


def rounds_of(ways: list[Way], rounds: int, clock: Clock, say: Callable[[str], None]) -> dict[str, object]:
    """Return each way's seconds, a list with one number a round."""
    seconds: dict[str, list[float]] = {way.key: [] for way in ways}
    processor: dict[str, list[float]] = {way.key: [] for way in ways}
    for number in range(rounds):
        first = number % len(ways)
        for way in ways[first:] + ways[:first]:
            let_go()
            wall, busy = clock(lambda way=way: [None for _ in way.run(way.batches)])
            seconds[way.key].append(wall)
            processor[way.key].append(busy)
            say(f"round {number + 1} of {rounds}: {wall:8.2f} s  {way.shown}")
    return {"seconds": seconds, "processor_seconds": processor}


# Comparing outputs --------------------------------------------------------------------------------------------


def compare_answers(ways: list[Way], bound: float, say: Callable[[str], None]) -> dict[str, float]:
    """Return each way's distance from transformers', the largest of any row; stop where it is too large."""
    reference = {
        i: rows.float() for way in ways if way.key == "theirs_sorted_8" for i, rows in way.run(way.batches)
    }
    distances = {}
    for way in ways:
        if way.model is None:
            for _ in way.run(way.batches):
                pass
            continue
        distances[way.key] = 0.0
        for index, rows in way.run(way.batches):
            expected = reference[index]
            scale = expected.abs().amax(-1, keepdim=True).clamp(min=1)
            distances[way.key] = max(
                distances[way.key], float(((rows.float() - expected).abs() / scale).max())
            )
        if not distances[way.key] <= bound:
            sys.exit(f"{way.shown} differs from transformers by {distances[way.key]:.1e}, more than {bound}")
    say(f"the same hidden states: they differ by {max(distances.values()):.1e} at most")
    return distances


def compare_training(
    work: Workload, ways: list[Way], models: dict[str, nn.Module], bound: float, say: Callable[[str], None]
) -> dict[str, float]:
    """Return how far losses and the first batch's gradients lie from transformers'; dropout is off."""
    labels = [int((x != -100).sum()) for x in work.labels]
    means = {}
    for way in ways:
        weighted = [
            float(loss) * sum(labels[i] for i in batch)
            for batch, (_, loss) in zip(way.batches, way.run(way.batches), strict=True)
        ]
        means[way.key] = sum(weighted) / sum(labels)
    batch = ways[0].batches[0]
    gradients: dict[str, Tensor] = {}
    for name, kept in (("theirs", False), ("ours", False), ("ours", True)):
        loss_of(models[name], work.padded(batch, labelled=True), kept).backward()
        named = dict(models[name].named_parameters())
        gradients[f"{name}{'_labelled' * kept}"] = torch.cat(
            [named[n].grad.flatten().cpu() for n in sorted(named)]
        )
        models[name].zero_grad()
    reference = gradients.pop("theirs").double()
    apart = {f"loss of {key}": abs(mean / means["theirs"] - 1) for key, mean in means.items()}
    for key, gradient in gradients.items():
        norm = torch.linalg.vector_norm(gradient.double() - reference) / torch.linalg.vector_norm(reference)
        apart[f"gradient of {key}"] = float(norm)
    for name, distance in apart.items():
        if not distance <= bound:
            sys.exit(f"the {name} differs from transformers' by {distance:.1e}, more than {bound}")
    say(f"the same losses and gradients: they differ by {max(apart.values()):.1e} at most, relatively")
    return apart


# Where the time goes, and memory ------------------------------------------------------------------------------


def profiled(way: Way) -> dict[str, float]:
    """Return each kind of operator's share of one pass's processor (or device) time."""
    os.environ.setdefault("KINETO_LOG_LEVEL", "5")  # no lines of its own
    from torch.profiler import profile

    with profile() as profiler:
        for _ in way.run(way.batches):
            pass
    shares = dict.fromkeys([*KINDS, "everything else"], 0.0)
    for event in profiler.key_averages():
        name = event.key.lower()
        fits = [kind for kind, parts in KINDS.items() if any(part in name for part in parts)]
        shares[fits[0] if fits else "everything else"] += (
            event.self_device_time_total or event.self_cpu_time_total
        )
    total = sum(shares.values())
    return {kind: time_ / total for kind, time_ in shares.items()}


def let_go() -> None:
    """Hand memory that nothing uses back to the system, so that every way begins with as little.

    glibc keeps what was freed between blocks that live: after a padded batch 12 GiB, and the next found no room.
    """
    gc.collect()
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)


def memory_in_use(field: str) -> int:
    """Return bytes of this process: `VmRSS` now, `VmHWM` at most. Linux tells; others have no peak to reset."""
    for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"this system does not tell {field}")


def peak_of(part: str, key: str, options: argparse.Namespace) -> dict[str, int]:
    """Return the bytes of a process with the model, and what the way's largest batch (a first step) adds to them."""
    device, dtype = torch.device(options.device), getattr(torch, options.dtype)
    work = workload(part, options)
    name = "theirs" if key.startswith("theirs") else "ours"
    models = matched_models([name], sizes_of(options), device, dtype)
    ways = ways_of(part, work, models)
    way = next(way for way in ways if way.key == key)
    middle, shortest = (work.by_length()[place] for place in (len(work.lengths) // 2, -1))
    with torch.inference_mode():  # what a first call loads is code, no activations
        models[name](**work.padded([middle, shortest]))
    if part == "training":
        models[name].train()
    gc.collect()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
    else:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak begins anew
        before = memory_in_use("VmRSS")
    for _ in way.run([max(way.batches, key=lambda batch: size_of(way, work.lengths, batch))]):
        pass
    peak = torch.cuda.max_memory_allocated() if device.type == "cuda" else memory_in_use("VmHWM")
    return {"model": before, "added": peak - before}


def peaks(part: str, keys: list[str], arguments: list[str], say: Callable[[str], None]) -> dict[str, object]:
    """Return `peak_of` every way that has a model, each in a process of its own."""
    found = {}
    for key in keys:
        if key.startswith(("ours", "theirs")):
            command = [sys.executable, __file__, *arguments, "--peak-of", f"{part}:{key}"]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
            if done.returncode:
                sys.exit(f"the process that measures the memory of {key} ended with {done.returncode}")
            found[key] = json.loads(done.stdout)
            say(f"{found[key]['added'] / 2**20:8.0f} MiB above the model's: {part}, {key}")
    return found


# The run ------------------------------------------------------------------------------------------------------


def sizes_of(options: argparse.Namespace) -> dict[str, object]:
    """RoBERTa-base, or something small to try the script."""
    return SMALL if options.small else BASE


def workload(part: str, options: argparse.Namespace) -> Workload:
    """The sequences of `"answering"` or `"training"`."""
    count = options.sequences if part == "answering" else options.training_sequences
    return Workload.drawn(count, int(str(sizes_of(options)["vocab_size"])), torch.device(options.device))


def ways_of(part: str, work: Workload, models: dict[str, nn.Module]) -> list[Way]:
    """The ways of `"answering"` or `"training"`; the batches of packed tokens are those of our engine."""
    if part == "training":
        return training(work, models)
    return answering(work, models, 1024 if work.device.type == "cpu" else 16_384)


def chosen(ways: list[Way], keys: list[str] | None) -> list[Way]:
    """The ways that `--ways` names; all of a part of which it names none."""
    named = [way for way in ways if keys and way.key in keys]
    return named or ways


def machine(options: argparse.Namespace) -> dict[str, object]:
    """What the figures depend on, as the system reports it."""
    import transformers

    import robertakit

    facts: dict[str, object] = {
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "vector units of PyTorch": torch.backends.cpu.get_cpu_capability(),
        "system": f"{platform.system()} {platform.machine()}",
        "Python": platform.python_version(),
        "PyTorch": torch.__version__,
        "transformers": transformers.__version__,
        "robertakit": robertakit.__version__,
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
    }
    listing = Path("/proc/cpuinfo")
    if listing.is_file():
        fields = dict(
            (part.strip() for part in line.split(":", 1))
            for line in listing.read_text(encoding="utf-8").splitlines()
            if ":" in line
        )
        facts["processor"] = f"{fields.get('vendor_id', '')} {fields.get('model name', '')}".strip()
        wanted = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8")
        facts["instructions"] = [flag for flag in wanted if flag in fields.get("flags", "").split()]
    if options.device == "cuda":
        facts["GPU"] = torch.cuda.get_device_name()
    return facts


def measured(
    part: str, models: dict[str, nn.Module], options: argparse.Namespace, say: Callable[[str], None]
) -> dict[str, object]:
    """Compare and time the ways of one part; return the raw results."""
    device, bound = torch.device(options.device), BOUNDS[options.dtype]
    work = workload(part, options)
    ways = chosen(ways_of(part, work, models), options.ways)
    say(f"{part}: {len(work.lengths)} sequences, {work.tokens} tokens")
    if part == "answering":
        found: dict[str, object] = {"distances": compare_answers(ways, bound, say)}
    else:
        found = {"distances": compare_training(work, ways, models, bound, say)}
        for model in models.values():
            model.train()
        for way in ways:  # the first step makes the optimizer's state
            list(way.run(way.batches[:1]))
    found |= rounds_of(ways, options.rounds, Clock(device), say)
    found |= {
        "tokens": work.tokens,
        "lengths": work.lengths,
        "shown": {way.key: way.shown for way in ways},
        "batches": {way.key: len(way.batches) for way in ways},
        "computed_tokens": {way.key: sum(size_of(way, work.lengths, b) for b in way.batches) for way in ways},
    }
    if part == "answering":
        found["profile"] = profiled(next(way for way in ways if way.key == "ours_packed"))
    return found


def run(options: argparse.Namespace, arguments: list[str], say: Callable[[str], None]) -> dict[str, object]:
    """Compare, measure, and return the raw results."""
    models = matched_models(
        ["ours", "theirs"], sizes_of(options), torch.device(options.device), getattr(torch, options.dtype)
    )
    names = ("small", "sequences", "training_sequences", "rounds", "device", "dtype", "ways")
    results: dict[str, object] = {
        "settings": {name: getattr(options, name) for name in names},
        "machine": machine(options),
        "transformers_attention": models["theirs"].config._attn_implementation,
        "load_before": os.getloadavg(),
    }
    found = {part: measured(part, models, options, say) for part in options.parts}
    models.clear()  # the processes below need the room
    gc.collect()
    for part, results_of_part in found.items():
        if options.memory:
            keys = list(results_of_part["shown"])
            results_of_part["memory"] = peaks(part, keys, arguments, say)
    return results | found | {"load_after": os.getloadavg()}


def main() -> None:
    """Read the command line; measure, print, and save if asked to."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--sequences", type=int, default=256, help="sequences to answer")
    parser.add_argument(
        "--training-sequences", type=int, default=24, help="sequences to train on, eight a step"
    )
    parser.add_argument("--rounds", type=int, default=5, help="counted rounds")
    parser.add_argument("--small", action="store_true", help="a small model, to try the script")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="threads of PyTorch")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"], help="where to compute")
    parser.add_argument("--dtype", default="float32", choices=list(BOUNDS), help="what to compute in")
    parser.add_argument(
        "--parts", nargs="+", default=["answering", "training"], choices=["answering", "training"]
    )
    parser.add_argument("--ways", nargs="+", help="keys of the ways to take (default: all)")
    parser.add_argument("--no-memory", dest="memory", action="store_false", help="leave the memory out")
    parser.add_argument(
        "--save", action="store_true", help="write benchmarks/results/ and docs/benchmarks.md"
    )
    parser.add_argument("--output", type=Path, help="write the raw results to this file")
    parser.add_argument("--peak-of", help=argparse.SUPPRESS)  # PART:WAY, in a process of its own
    arguments = sys.argv[1:]
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    if options.peak_of:
        print(json.dumps(peak_of(*options.peak_of.split(":"), options)))
        return
    results = run(options, arguments, lambda line: print(line, file=sys.stderr, flush=True))
    print(tables(results))
    name = f"torch-{options.device}-{options.dtype}"
    keep(results, name, options.output, write_page if options.save else None)


if __name__ == "__main__":
    main()
