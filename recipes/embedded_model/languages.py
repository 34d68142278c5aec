r"""Measure the multilingual sibling: the figures of its card, by one command, from the top of the checkout.

python recipes/embedded_model/languages.py --card src/robertakit/embedded/multilingual/README.md

Positions, baselines and agreement of the engines are those of `evaluate.py`, by language in place of kind of text, and
the bigrams are counted with the shares that the languages had in training. Beside them: how much of the held-out text
the vocabulary does not know, and what the model says to a prompt in each of some languages (`languages.json`).
"""

import argparse
import importlib.util
import json
from pathlib import Path
from typing import Any

from baselines import Bigrams, baselines
from card import agreement as agreement_part
from card import held_out as held_out_part
from card import history, replace_figures, shown, table
from evaluate import TOP, agreement, engine
from figures import of_model, score
from history import read_history
from left_out import HERE
from positions import FIRST_WORD, HeldOut, begins_word, known_kinds

from robertakit import AutoTokenizer, pipeline
from robertakit.architecture import count_parameters
from robertakit.training.preparation import training_sources
from robertakit.training.recipe import Recipe, read_recipe
from robertakit.training.tokenization import tokenize

LANGUAGES = HERE / "languages.json"
SHIPPED = TOP / "src" / "robertakit" / "embedded" / "multilingual"
_UNKNOWN = 3


def evaluate(model: Path, recipe: Recipe, work: Path, workers: int = 0) -> dict[str, Any]:
    """The whole report."""
    tokenizer = AutoTokenizer.from_pretrained(model)
    held_out = HeldOut.read(Path(recipe.held_out.files[0]), tokenizer, known_kinds(LANGUAGES))
    hidden = held_out.hidden(begins_word(tokenizer.get_vocab()))
    corpus = tokenize(training_sources(recipe), model, work / "shards", workers=workers)
    with engine("torch" if importlib.util.find_spec("torch") else "numpy", model) as run:
        return {
            "parameters": count_parameters(run.config, "masked-lm"),
            "held-out": {
                "model": score(of_model(run, held_out), hidden, held_out.kinds),
                **baselines(Bigrams(corpus, recipe.packing.smoothing), hidden, held_out.kinds),
            },
            "unknown": unknown(held_out),
            "prompts": answers(model),
            "agreement": agreement(model, held_out),
        }


def unknown(held_out: HeldOut) -> dict[str, float]:
    """The share of `<unk>` among the tokens of each language."""
    words = (held_out.ids >= FIRST_WORD) | (held_out.ids == _UNKNOWN)
    shares = {}
    for index, name in enumerate(held_out.kinds):
        own = words & (held_out.documents >= 0) & (held_out.kind_of_document[held_out.documents] == index)
        shares[name] = float((held_out.ids[own] == _UNKNOWN).mean())
    return shares


def answers(model: Path) -> list[dict[str, Any]]:
    """The first five words for each prompt, with their probabilities."""
    prompts = json.loads(LANGUAGES.read_text(encoding="utf-8"))["prompts"]
    with pipeline("fill-mask", model) as fill:
        return [
            {
                "language": language,
                "text": text,
                "answers": [[answer["token_str"], answer["score"]] for answer in fill(text)],
            }
            for language, text in prompts.items()
        ]


def fill_card(path: Path, report: dict[str, Any], runs: list[dict[str, Any]]) -> None:
    """Write the figures of the report into the card."""
    unknown_in = [(name, share) for name, share in report["unknown"].items() if share >= 0.0005]
    said = ", ".join(f"{name} {share:.1%}" for name, share in unknown_in)
    rows = [
        (
            row["language"],
            row["text"].replace("<mask>", "`<mask>`"),
            ", ".join(f"{shown(word)} {score:.1%}" for word, score in row["answers"]),
        )
        for row in report["prompts"]
    ]
    replace_figures(path, [
        history(runs, report["parameters"]),
        held_out_part(report["held-out"], "language"),
        f"Tokens that the vocabulary does not know (`<unk>`), where they are one in 2,000 or more: {said or 'none'}.",
        "### A prompt in each of some languages\n\n" + table(("language", "prompt", "first five words"), rows),
        agreement_part(report["agreement"]),
    ])  # fmt: skip


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", type=Path, default=SHIPPED, help="folder of the model (the shipped one)")
    parser.add_argument(
        "--recipe", type=Path, default=HERE.parent / "multilingual.toml", help="says where the text is"
    )
    parser.add_argument("--work", type=Path, default=Path("runs/multilingual-text"), help="folder for shards")
    parser.add_argument("--workers", type=int, default=0, help="processes that tokenize (all cores)")
    parser.add_argument("--report", type=Path, default=HERE / "languages_report.json", help="JSON to write")
    parser.add_argument("--card", type=Path, help="model card to fill")
    given = parser.parse_args(arguments)
    report = evaluate(given.model, read_recipe(given.recipe), given.work, given.workers)
    given.report.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    if given.card is not None:
        fill_card(given.card, report, read_history(HERE / "languages_history.json"))
    held_out = {name: parts["all tokens"] for name, parts in report["held-out"].items()}
    print(json.dumps({"held-out": held_out, "agreement": report["agreement"]}, indent=1))


if __name__ == "__main__":
    main()
