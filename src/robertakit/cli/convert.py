"""``robertakit convert``: a checkpoint of any format that is read, as safetensors that agree with it."""

import argparse
import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from robertakit.architecture import HEADS

if TYPE_CHECKING:
    from robertakit.conversion import Conversion

__all__ = ["add_arguments", "as_text", "run"]

_NOTE = """examples:
  robertakit convert ./tensorflow-roberta ./roberta
  robertakit convert ./roberta.base ./roberta --tokenizer FacebookAI/roberta-base
  robertakit convert FacebookAI/roberta-large ./half --dtype float16 --max-shard-size 500MB

Nothing is left in TARGET unless every value and the outputs agree with SOURCE."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _NOTE
    parser.add_argument("source", metavar="SOURCE", help="folder, file of weights, or name on the Hub")
    parser.add_argument("target", metavar="TARGET", help="folder to write, made if it is not there")
    parser.add_argument(
        "--head",
        metavar="HEAD",
        help=f"keep this head alone: a class name, or {', '.join(HEADS)} (default: as the configuration says, "
        "and whatever else was trained)",
    )
    parser.add_argument(
        "--dtype",
        choices=("keep", "float32", "float16", "bfloat16"),
        default="keep",
        help="dtype of the tensors (default: each its own)",
    )
    parser.add_argument(
        "--max-shard-size", metavar="SIZE", default="5GB", help="split larger weights (default: 5GB)"
    )
    tokenizer = parser.add_mutually_exclusive_group()
    tokenizer.add_argument(
        "--tokenizer", metavar="PLACE", help="folder or name on the Hub to take the tokenizer from"
    )
    tokenizer.add_argument("--no-tokenizer", action="store_true", help="leave the tokenizer out")
    parser.add_argument("--revision", help="branch, tag or commit of SOURCE on the Hub")
    parser.add_argument("--subfolder", default="", metavar="FOLDER", help="folder of the model below SOURCE")
    parser.add_argument("--variant", help="variant of SOURCE's files, for example fp16")
    parser.add_argument(
        "--container",
        choices=("safetensors", "bin", "h5", "msgpack", "fairseq"),
        help="which weights to read where SOURCE has several (default: the first of these)",
    )
    parser.add_argument(
        "--strict",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="refuse tensors that belong to nothing known (default: yes)",
    )
    parser.add_argument("--force", action="store_true", help="replace files that TARGET holds already")
    parser.add_argument("--json", action="store_true", help="one JSON object in place of text")


def run(arguments: argparse.Namespace) -> int:
    """Convert, print what was found, and return the exit status."""
    from robertakit.conversion import convert_checkpoint

    done = convert_checkpoint(
        arguments.source,
        arguments.target,
        head=arguments.head,
        dtype=arguments.dtype,
        max_shard_size=arguments.max_shard_size,
        tokenizer=False if arguments.no_tokenizer else arguments.tokenizer,
        force=arguments.force,
        strict=arguments.strict,
        variant=arguments.variant,
        container=arguments.container,
        revision=arguments.revision,
        subfolder=arguments.subfolder,
    )
    print(json.dumps(asdict(done), ensure_ascii=False, indent=2) if arguments.json else as_text(done))
    return 0


def as_text(done: "Conversion") -> str:
    """Return what was done as lines for people."""
    found = done.agreement
    values = "all equal" if not found.values else f"at most {found.values:.2f} of a rounding off"
    dtypes = ", ".join(f"{count} {dtype}" for dtype, count in done.dtypes.items())
    tokens = f"{sum(found.lengths)} tokens in {len(found.lengths)} sequences"
    rows = [
        ("read", f"{done.source}: {', '.join(done.read)}"),
        ("architecture", done.architecture),
        ("values", f"{found.tensors} tensors compared, {values}"),
    ]
    for name, change in found.outputs.items():
        rows.append(("outputs", f"{name}: {_change(change, found.bounds[name])} ({tokens})"))
    rows += [("left out", ", ".join(done.left_out))] * bool(done.left_out)
    rows += [("note", sentence) for sentence in done.notes]
    rows.append(("written", f"{done.target}: {', '.join(done.written)}"))
    rows.append(("tensors", f"{dtypes}, {done.parameters:,} parameters"))
    return "\n".join(f"{name:<16}{value}" for name, value in rows)


def _change(change: float, bound: float) -> str:
    return "equal" if not change else f"relative difference {change:.2g}, at most {bound:.2g} allowed"
