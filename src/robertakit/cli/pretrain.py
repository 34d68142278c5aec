"""``robertakit pretrain``: from a recipe and a folder of text to a model."""

import argparse
import os
import sys
from pathlib import Path

__all__ = ["add_arguments", "run"]

_NOTE = """examples:
  robertakit pretrain recipes/demo.toml
  robertakit pretrain recipes/roberta-base.toml --folder runs/mine --set 'sources=[{files="text/*.txt.zst"}]'
  robertakit pretrain recipes/small-english.toml --set training.steps=2000 --set training.precision=bf16 --check
  torchrun --nproc-per-node 8 -m robertakit pretrain recipes/roberta-base.toml --set training.parallel=fsdp

Stopped or killed, the same command goes on. The model stands in FOLDER/model, the curves in FOLDER/report.html."""
_INTERRUPTED = 130


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _NOTE
    parser.add_argument("recipe", metavar="RECIPE", help="a TOML file; docs/pretraining.md has all settings")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        dest="overrides",
        help="replace a setting, such as training.steps=100; may be repeated",
    )
    parser.add_argument(
        "--folder", metavar="FOLDER", help="folder of the run (default: runs/ and the recipe's name)"
    )
    parser.add_argument(
        "--check", action="store_true", help="judge the recipe, print it with all its settings, and stop"
    )
    parser.add_argument("--quiet", action="store_true", help="no progress on the standard error")


def run(arguments: argparse.Namespace) -> int:
    """Pre-train, print what there is, and return the exit status."""
    from robertakit.training.preparation import have_tokens
    from robertakit.training.recipe import read_recipe

    folder = Path(arguments.folder or Path("runs") / Path(arguments.recipe).stem)
    recipe = read_recipe(arguments.recipe, arguments.overrides, files=not have_tokens(folder))
    if arguments.check:
        print(recipe.toml(), end="")
        return 0
    from robertakit.training.pretraining import pretrain

    first = os.environ.get("RANK", "0") == "0"
    progress = None if arguments.quiet else _tell
    done = pretrain(recipe, folder, progress=progress, shown=not arguments.quiet)
    if first:
        print(f"{'report':<16}{done.report}")
        if done.model is not None:
            print(f"{'model':<16}{done.model}")
        print(f"{'updates':<16}{done.step:,}")
        for name in ("loss", "perplexity", "top1", "top5"):
            if isinstance(figure := done.figures.get(name), float):
                print(f"{'held-out ' + name:<20}{figure:.4g}")
    return 0 if done.stopped is None else _INTERRUPTED


def _tell(what: str, done: int, of: int) -> None:
    ending = "\n" if done >= of else "\r"
    print(
        f"{what}: {done / max(of, 1):.0%} of {of / 1e6:,.1f} MB tokenized",
        end=ending,
        file=sys.stderr,
        flush=True,
    )
