"""``robertakit run``: answers lines of text with a model, in their order, as they come."""

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from robertakit.errors import ArgumentError, InputError, NotFound, SaveFailed

if TYPE_CHECKING:
    from robertakit.tasks.frame import Answer, AnyPipeline

__all__ = ["Line", "add_arguments", "as_text", "blocks", "run"]

_STDIN = 0
_LONGEST_LINE = 1 << 24  # bytes; what never ends is no text
_AT_ONCE = 1 << 16  # bytes read at once; from a pipe or a terminal, less where less is there

_EXAMPLES = """examples:
  robertakit run "The capital of France is <mask>."
  echo "Plants create <mask> through photosynthesis." | robertakit run --task fill-mask --top-k 3
  robertakit run --model ./my-roberta --input lines.txt --output answers.jsonl --on-error skip

Blank lines are passed over. The exit status is 0 if all lines were answered, 1 if one was not."""


@dataclass(frozen=True, slots=True)
class Line:
    """A text and where it stands, or why it cannot be read."""

    place: str
    text: str
    error: InputError | None = None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.formatter_class, parser.epilog = argparse.RawDescriptionHelpFormatter, _EXAMPLES
    add = parser.add_argument
    add("texts", nargs="*", metavar="TEXT", help="texts; without any, lines of --input or of standard input")
    model = parser.add_argument_group("model")
    model.add_argument("--task", help="fill-mask; by default the task of the model's head")
    model.add_argument("--model", help="folder or name on the Hub; by default the model in the package")
    model.add_argument("--config", help="folder or name of another configuration")
    model.add_argument("--tokenizer", help="folder or name of another tokenizer")
    model.add_argument("--revision", help="branch, tag or commit on the Hub")
    model.add_argument(
        "--device",
        default="-1",
        help="-1 or cpu, an index of a GPU, a name, or auto (default: -1, the processor)",
    )
    model.add_argument(
        "--engine",
        help="numpy, torch, jax or tensorflow (default: a framework that is installed on a GPU, in half precision and "
        "for larger models; else numpy)",
    )
    model.add_argument("--framework", help="another word for --engine: np, pt, jax or tf")
    model.add_argument(
        "--dtype",
        help="of the computation: float32 (default), float64, with a framework bfloat16 or float16; auto: as stored",
    )
    model.add_argument("--batch-tokens", type=int, metavar="N", help="most tokens of a batch")
    model.add_argument("--batch-size", type=int, metavar="N", help="most texts of a batch")
    task = parser.add_argument_group("task")
    task.add_argument("--top-k", type=int, metavar="K", help="most answers for a mask (default: 5)")
    task.add_argument(
        "--targets", action="append", metavar="WORD[,WORD…]", help="score these words; may be repeated"
    )
    task.add_argument("--truncation", action="store_true", help="cut texts that are longer than the model")
    files = parser.add_argument_group("input and output")
    files.add_argument(
        "--input", nargs="+", metavar="FILE", help="read lines from files, - for standard input"
    )
    files.add_argument("--column", metavar="NAME", help="each line is a JSON object; the text is this field")
    files.add_argument("--output", metavar="FILE", help="write to a file in place of standard output")
    files.add_argument("--overwrite", action="store_true", help="replace that file if it is there")
    files.add_argument(
        "--format",
        choices=("infer", "text", "json", "pipe"),
        default="infer",
        help="text, or one JSON object a line; infer: JSON for an --output that ends in .json or .jsonl; "
        "pipe is text (default: infer)",
    )
    files.add_argument(
        "--on-error",
        choices=("stop", "skip"),
        default="stop",
        help="what to do after a bad line (default: stop)",
    )
    files.add_argument(
        "--progress",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="show progress on standard error (default: if that is a terminal and the answers go elsewhere)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Answer, and return the exit status."""
    if arguments.texts and arguments.input:
        raise ArgumentError(given="texts and --input", expected="one of them")
    with ExitStack() as stack:
        inputs = [] if arguments.texts else [_open_input(name, stack) for name in arguments.input or ["-"]]
        pipe = stack.enter_context(_pipeline(arguments))
        output = _open_output(arguments, stack)
        form, options = _form(arguments), _options(arguments)
        progress, skipped = Progress(arguments.progress, output), 0
        if any(file == _STDIN and os.isatty(file) for _, file in inputs):
            print("Type a text with <mask>, then Enter; Ctrl-D ends.", file=sys.stderr)
        for lines in _blocks(arguments, inputs):
            outcomes = pipe.outcomes([line.text for line in lines if line.error is None], options)
            written: list[str] = []
            try:
                for line in lines:
                    outcome = line.error or next(outcomes)
                    if isinstance(outcome, InputError):
                        _refuse(line, outcome, arguments)
                        skipped += 1
                    written.append(_written(line, outcome, form, bold=output.isatty()))
                    progress.add()
            finally:  # what was answered before a bad line, or before Ctrl-C, is not lost
                _write(output, written)
        progress.end()
    if not progress.lines:
        print("robertakit run: no text: all of the input is empty or blank", file=sys.stderr)
    if skipped:
        print(f"robertakit run: skipped {skipped} of {progress.lines} lines", file=sys.stderr)
    return 1 if skipped else 0


def _pipeline(arguments: argparse.Namespace) -> "AnyPipeline":
    from robertakit.tasks import pipeline

    return pipeline(
        arguments.task or (None if arguments.model else "fill-mask"),
        arguments.model,
        config=arguments.config,
        tokenizer=arguments.tokenizer,
        revision=arguments.revision,
        device=arguments.device,
        dtype=arguments.dtype,
        engine=arguments.engine,
        framework=arguments.framework,
        batch_size=arguments.batch_size,
        batch_tokens=arguments.batch_tokens,
    )


def _options(arguments: argparse.Namespace) -> dict[str, object]:
    """Return the task's own arguments, those that were given."""
    options: dict[str, object] = {}
    if arguments.top_k is not None:
        options["top_k"] = arguments.top_k
    if arguments.targets:
        options["targets"] = [word for words in arguments.targets for word in words.split(",")]
    if arguments.truncation:
        options["tokenizer_kwargs"] = {"truncation": True}
    return options


def _refuse(line: Line, error: InputError, arguments: argparse.Namespace) -> None:
    """Stop at a bad line, or tell of it and go on."""
    placed = type(error)(given=f"{line.place}: {error.given}", expected=error.expected, hint=error.hint)
    if arguments.on_error == "stop":
        raise placed
    print(f"robertakit run: {placed}", file=sys.stderr)


# Reading.


def _open_input(name: str, stack: ExitStack) -> tuple[str, int]:
    try:
        if name == "-":
            os.fstat(_STDIN)
            return "standard input", _STDIN
        file = os.open(name, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        stack.callback(os.close, file)
        os.read(file, 0)  # a folder opens, and says only here what it is
    except OSError as error:
        shown = "standard input" if name == "-" else name
        raise NotFound(
            given=f"{shown} cannot be read: {error.strerror}", expected="texts, a line each"
        ) from None
    return name, file


def _blocks(arguments: argparse.Namespace, inputs: Sequence[tuple[str, int]]) -> Iterator[list[Line]]:
    if arguments.texts:
        yield [_text(f"text {i}", text) for i, text in enumerate(arguments.texts, 1)]
    for name, file in inputs:
        for lines in blocks(name, file):
            yield [_field(line, arguments.column) for line in lines] if arguments.column else lines


def blocks(name: str, file: int) -> Iterator[list[Line]]:
    """Read lines as they come: what a pipe or a terminal has now is answered before the next read.

    Args:
        name: what messages call the file.
        file: its descriptor.

    Yields:
        The lines that one read completed, without blank ones; at least one.

    Raises:
        InputError: a line that does not end.
    """
    number, rest, ended = 0, bytearray(), False
    while not ended:
        data = os.read(file, _AT_ONCE)
        ended = not data
        newline = data.rfind(b"\n") + 1
        cut = len(rest) if ended else newline and len(rest) + newline
        rest += data
        if not cut:
            if len(rest) > _LONGEST_LINE:
                raise InputError(
                    given=f"{name}, line {number + 1}: more than {_LONGEST_LINE >> 20} MiB without a line break",
                    expected="texts, a line each",
                )
            continue
        whole = bytes(rest[:cut])
        del rest[:cut]
        lines = []
        for raw in whole.removesuffix(b"\n").split(b"\n"):
            number += 1
            line = _line(f"{name}, line {number}", raw.removeprefix(b"\xef\xbb\xbf") if number == 1 else raw)
            if line.error or line.text.strip():
                lines.append(line)
        if lines:
            yield lines


def _line(place: str, raw: bytes) -> Line:
    try:
        return Line(place, raw.removesuffix(b"\r").decode("utf-8"))
    except UnicodeDecodeError as error:
        wrong = f"byte 0x{raw[error.start]:02x} at {error.start}"
        return Line(
            place,
            raw.decode("utf-8", "replace"),
            InputError(given=wrong, expected="UTF-8", hint="convert the file, or pass --on-error skip"),
        )


def _text(place: str, text: str) -> Line:
    """Return a text that may hold half a character: a JSON escape, or bytes of the command line that are not UTF-8."""
    whole = text.encode("utf-8", "replace").decode("utf-8")
    if whole == text:
        return Line(place, text)
    return Line(place, whole, InputError(given=f"half a character in {whole!r}", expected="text in UTF-8"))


def _field(line: Line, column: str) -> Line:
    if line.error:
        return line
    try:
        value = json.loads(line.text)[column]
    except (ValueError, KeyError, TypeError, IndexError):
        value = None
    if isinstance(value, str):
        return _text(line.place, value)
    expected = f"a JSON object with a string {column!r}"
    return Line(line.place, line.text, InputError(given="another kind of line", expected=expected))


# Writing.


def _open_output(arguments: argparse.Namespace, stack: ExitStack) -> IO[str]:
    if not arguments.output:
        if sys.stdout is None:
            raise SaveFailed(given="standard output is closed", hint="pass --output FILE")
        if hasattr(sys.stdout, "reconfigure"):
            sys.stdout.reconfigure(errors="backslashreplace")  # a terminal that cannot show a character
        return sys.stdout
    try:
        mode = "w" if arguments.overwrite else "x"
        file = Path(arguments.output).open(mode, encoding="utf-8", newline="\n")  # noqa: SIM115  closed below
    except FileExistsError:
        raise SaveFailed(
            given=f"{arguments.output} is there already", hint="pass --overwrite to replace it"
        ) from None
    except OSError as error:
        raise SaveFailed(given=f"{arguments.output} cannot be written: {error.strerror}") from None
    stack.callback(_close, file)
    return file


def _close(file: IO[str]) -> None:
    with suppress(OSError):  # every block was flushed, or its failure told
        file.close()


def _form(arguments: argparse.Namespace) -> str:
    if arguments.format == "infer":
        return "json" if Path(arguments.output or "").suffix in (".json", ".jsonl") else "text"
    return "json" if arguments.format == "json" else "text"


def _written(line: Line, outcome: "Answer | InputError", form: str, *, bold: bool) -> str:
    if form == "json":
        answer = {"error": str(outcome)} if isinstance(outcome, InputError) else {"output": outcome}
        return json.dumps({"input": line.text, **answer}, ensure_ascii=False) + "\n"
    if isinstance(outcome, InputError):
        return ""
    return as_text(line.text, outcome, bold=bold and not os.environ.get("NO_COLOR"))


def _write(output: IO[str], texts: Sequence[str]) -> None:
    try:
        output.write("".join(texts))
        output.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise SaveFailed(given=f"the answers cannot be written: {error.strerror}") from None


def as_text(text: str, answer: "Answer", *, bold: bool = False) -> str:
    """Return a text and its ranked words with probabilities, for people.

    Example:
        >>> print(as_text("I <mask>.", [{"score": 0.25, "token_str": " am"}]), end="")
        I <mask>.
           25.0 %  am
    """
    rows = [f"\033[1m{text}\033[0m" if bold else text]
    for number, ranked in enumerate(several := _masks(answer), 1):
        if len(several) > 1:
            rows.append(f"  mask {number}")
        rows += [f"  {_percent(score)} %  {word}" for score, word in ranked]
    return "\n".join(rows) + "\n"


def _percent(score: float) -> str:
    """One decimal; where that would be 0.0, the first digit that is none: asked-for words are often unlikely."""
    percent = 100 * score
    return f"{percent:5.1f}" if percent >= 0.05 else f"{percent:5.0g}"


def _masks(answer: "Answer") -> list[list[tuple[float, str]]]:
    """Return (probability, word) of each mask's ranked words."""
    items: list[object] = list(answer) if isinstance(answer, list) else [answer]
    groups = [item for item in items if isinstance(item, list)] or [items]
    ranked = [[result for result in group if isinstance(result, dict)] for group in groups]
    return [[(float(r["score"]), _word(str(r["token_str"]))) for r in results] for results in ranked]


def _word(piece: str) -> str:
    word = piece.strip()
    return word if word and word.isprintable() else repr(piece)


class Progress:
    """Counts lines, and shows the count on standard error twice a second."""

    def __init__(self, wanted: bool | None, output: IO[str]) -> None:
        on_terminal = sys.stderr.isatty()
        self.shown = on_terminal and not output.isatty() if wanted is None else wanted
        self.ending = "\r" if on_terminal else "\n"
        self.lines, self.start = 0, time.monotonic()
        self.last = self.start

    def add(self) -> None:
        """Count a line that is answered."""
        self.lines += 1
        if self.shown and time.monotonic() - self.last > 0.5:
            self.last = time.monotonic()
            self._show()

    def end(self) -> None:
        """Show the last count."""
        if self.shown:
            self.ending = "\n"
            self._show()

    def _show(self) -> None:
        seconds = max(time.monotonic() - self.start, 1e-9)
        print(
            f"{self.lines:,} lines, {self.lines / seconds:,.0f} a second",
            end=self.ending,
            file=sys.stderr,
            flush=True,
        )
