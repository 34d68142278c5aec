r"""How the shipped weights came to be: the runs behind them, one after the other, with the held-out curve of each.

python recipes/embedded_model/history.py --run runs/embedded    # a run of `robertakit pretrain` whose weights are taken
python recipes/embedded_model/history.py --run runs/multilingual --file recipes/embedded_model/languages_history.json

A run that goes on from the shipped weights is added to `history.json`; one that began anew takes the place of all.
"""

import argparse
import json
from pathlib import Path

from left_out import HERE, TEMPLATE, read_choice

from robertakit.training.logs import LOG, read_log
from robertakit.training.recipe import Recipe, read_recipe
from robertakit.training.sources import Source, read_documents

FILE = HERE / "history.json"
Run = dict[str, object]


def read_history(file: Path | None = None) -> list[Run]:
    """The runs behind the shipped weights, the first one first."""
    runs: list[Run] = json.loads((file or FILE).read_text(encoding="utf-8"))["runs"]
    return runs


def reads_template_lines(recipe: Recipe) -> bool:
    """Whether a recipe's fact book still has template lines that the evaluation takes to be left out."""
    chosen = read_choice()[0]
    book = next((one for one in recipe.sources if one.name == "factbook"), None)
    return book is not None and any(
        line["country"] in chosen
        for paragraphs in read_documents(Source(book.files, book.name, book.format, book.field))
        for line in filter(None, map(TEMPLATE.match, paragraphs))
    )


def of_run(folder: Path, recipe: Recipe) -> Run:
    """What a run's recipe and log say of it."""
    lines = read_log(folder / LOG)
    if not any(line["event"] == "end" for line in lines):
        raise SystemExit(f"the run in {folder} has not ended")
    start = next(line for line in lines if line["event"] == "start")
    training, packing, masking = recipe.training, recipe.packing, recipe.masking
    curve = [
        {name: line[name] for name in ("step", "tokens", "seconds", "loss") if name in line}
        for line in lines
        if line["event"] == "evaluate"
    ]
    settings: dict[str, object] = {
        "rows of a batch": training.batch_sequences,
        "tokens of a batch": training.batch_tokens,
        "row lengths": [list(length) for length in packing.lengths],
        "exponent of the languages' shares": packing.smoothing,
        "share of words to predict": masking.rate,
        "learning rate": training.learning_rate,
        "warm-up": training.warm_up,
        "weight decay": training.weight_decay,
        "clipping": training.clip,
        "arithmetic": training.precision,
        "seed": training.seed,
    }
    return {
        "began": "anew" if recipe.model.origin is None else "from the weights before",
        "environment": {
            name: start[name] for name in ("device", "environment", "processes") if name in start
        },
        "reads the template lines of the 20 countries": reads_template_lines(recipe),
        "seconds": lines[-1]["seconds"],
        "updates": lines[-1]["step"],
        "tokens": lines[-1]["tokens"],
        "settings": {name: value for name, value in settings.items() if value is not None},
        "curve": curve,
    }


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, help="folder of the run")
    parser.add_argument("--file", type=Path, default=FILE, help="JSON file (that of the English model)")
    given = parser.parse_args(arguments)
    run = of_run(given.run, read_recipe(given.run / "recipe.toml", files=False))
    before = read_history(given.file) if run["began"] != "anew" and given.file.exists() else []
    about = "The runs behind the shipped weights, in their order; written by history.py."
    text = json.dumps({"about": about, "runs": [*before, run]}, indent=1, ensure_ascii=False)
    given.file.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
