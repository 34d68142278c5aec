"""``robertakit inspect``: what a checkpoint holds, and any trouble in it."""

import argparse
import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from robertakit.errors import RobertakitError

if TYPE_CHECKING:
    from robertakit.checkpoints import CheckpointReport

__all__ = ["add_arguments", "as_text", "run"]

_NOTE = "The exit status is 0 if the checkpoint is good, 1 if there is trouble."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.epilog = _NOTE
    parser.add_argument("path", metavar="PATH", help="folder, file of weights, or name on the Hub")
    parser.add_argument("--json", action="store_true", help="one JSON object in place of text")
    parser.add_argument("--revision", help="branch, tag or commit on the Hub")
    parser.add_argument(
        "--values",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="read every value, to find NaN and infinity (default: yes)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Look, print, and return the exit status."""
    from robertakit.checkpoints import inspect_checkpoint
    from robertakit.files import locate

    location = locate(arguments.path, revision=arguments.revision)
    report = inspect_checkpoint(location, check_values=arguments.values)
    tokenizer = _tokenizer(arguments.path, arguments.revision, report) if report.tokenizer_files else {}
    if arguments.json:
        print(json.dumps({**asdict(report), "tokenizer": tokenizer}, ensure_ascii=False, indent=2))
    else:
        print(as_text(report, tokenizer))
    return 1 if report.trouble else 0


def _tokenizer(path: str, revision: str | None, report: "CheckpointReport") -> dict[str, str | int | None]:
    """Load the tokenizer and tell of it; what is wrong with it joins the report's trouble."""
    from robertakit.tokenizers.auto import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(path, revision=revision or "main")
    except RobertakitError as error:
        report.trouble.append(f"the tokenizer: {error}")
        return {}
    rows = report.sizes.get("vocab_size")
    if rows is not None and len(tokenizer) > rows:
        report.trouble.append(f"the tokenizer has {len(tokenizer)} tokens, the model {rows} (vocab_size)")
    return {
        "class": type(tokenizer).__name__,
        "tokens": len(tokenizer),
        "mask_token": None if tokenizer.mask_token is None else str(tokenizer.mask_token),
        "model_max_length": tokenizer.model_max_length,
    }


def as_text(report: "CheckpointReport", tokenizer: dict[str, str | int | None]) -> str:
    """Return a report as lines for people."""
    rows = [("checkpoint", report.path)]
    rows += [("architecture", f"{report.architecture} ({report.model_type})")] * bool(report.architecture)
    rows += [("sizes", ", ".join(f"{name} {size}" for name, size in report.sizes.items()))] * bool(
        report.sizes
    )
    rows += [("longest input", f"{report.usable_length} tokens")] * bool(report.usable_length)
    rows += [("parameters", f"{report.parameters or 0:,}")] * bool(report.parameters)
    rows += [("labels", ", ".join(f"{i} {name}" for i, name in report.labels.items()))] * bool(report.labels)
    if tokenizer:
        named = dict(tokenizer)
        kind = named.pop("class")
        rows.append(
            ("tokenizer", f"{kind}, " + ", ".join(f"{name} {value}" for name, value in named.items()))
        )
    rows += [("tokenizer files", ", ".join(report.tokenizer_files))] * bool(report.tokenizer_files)
    for file in report.weight_files:
        dtypes = ", ".join(f"{count} {dtype}" for dtype, count in file.dtypes.items())
        rows.append(("weights", f"{file.name}, {_size(file.nbytes)}, {file.tensors} tensors ({dtypes})"))
    rows += [("left out", ", ".join(report.harmless))] * bool(report.harmless)
    rows += [("note", sentence) for sentence in report.notes]
    rows += [("trouble", sentence) for sentence in report.trouble or ["none"]]
    return "\n".join(f"{name:<16}{value}" for name, value in rows)


def _size(nbytes: int) -> str:
    return f"{nbytes / 1e6:,.1f} MB" if nbytes >= 1e6 else f"{nbytes / 1e3:,.1f} kB"
