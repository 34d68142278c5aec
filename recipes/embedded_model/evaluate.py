r"""Measure the embedded model: everything that its card says, by one command, from the top of the checkout.

python recipes/embedded_model/left_out.py --text ../shared/data/pretrain --to runs/embedded-text
python recipes/embedded_model/evaluate.py --card src/robertakit/embedded/english/README.md

The second measures `--model` (the shipped one) and writes `--report`; `--card` writes the same figures into a model
card, between its two marks. `--recipe` (`recipes/embedded.toml`) says where the text lies; the first command makes the
one file of it that is no plain copy.

- held-out: top-1, top-5 and perplexity of hidden words, by kind of text, beside a unigram and two bigrams counted on
  the training text (`positions.py`, `baselines.py`, `figures.py`);
- minimal pairs: how often the right sentence is preferred, and how often a bigram prefers it (`minimal_pairs.py`);
- prompts and capitals, and how much of them the training text tells (`questions.py`);
- bias: two small probes (`bias.py`);
- agreement: the largest difference between the logits of NumPy and of each other engine that is installed, at hidden
  positions, in units of max(1, largest logit of the row).
"""

import argparse
import importlib
import importlib.util
import json
from pathlib import Path

import bias
import left_out
import minimal_pairs
import numpy as np
import questions
from baselines import Bigrams, baselines
from card import fill_card
from figures import of_model, score
from history import read_history
from left_out import HERE
from positions import HeldOut, begins_word, known_kinds

from robertakit import AutoTokenizer, PreTrainedTokenizerFast
from robertakit.architecture import count_parameters
from robertakit.engine import Engine, ModelEngine
from robertakit.training.preparation import training_sources
from robertakit.training.recipe import Recipe, read_recipe
from robertakit.training.sources import read_documents
from robertakit.training.tokenization import tokenize

TOP = HERE.parent.parent
SHIPPED = TOP / "src" / "robertakit" / "embedded" / "english"
#: Package of the engine, and what it needs.
ENGINES = {"numpy": "numpy", "torch": "torch", "tensorflow": "tensorflow", "jax": "flax"}


def engine(name: str, folder: Path) -> ModelEngine:
    """An engine on a masked LM."""
    package = importlib.import_module(f"robertakit.{name}")
    made: ModelEngine = package.Engine.from_pretrained(folder, "masked-lm")
    return made


def agreement(folder: Path, held_out: HeldOut) -> dict[str, float]:
    """The largest difference between NumPy's logits and each other engine's, at hidden positions of eight rows."""
    batch, rows = next(held_out.batches(8))
    logits = {}
    for name, needed in ENGINES.items():
        if importlib.util.find_spec(needed) is not None:
            with engine(name, folder) as run:
                logits[name] = run.run(batch, rows=rows)["logits"]
    ours = logits.pop("numpy")
    scale = np.maximum(1, np.abs(ours).max(axis=1, keepdims=True))
    return {name: float((np.abs(ours - theirs) / scale).max()) for name, theirs in logits.items()}


def pairs(run: Engine, tokenizer: PreTrainedTokenizerFast, counts: Bigrams) -> dict[str, object]:
    """The minimal pairs: the model's figures, and a bigram's."""

    def of_model_(sentences: list[list[int]]) -> list[float]:
        return minimal_pairs.pseudo_log_likelihoods(run, sentences, tokenizer.mask_token_id)

    def of_bigram(sentences: list[list[int]]) -> list[float]:
        return [counts.sentence(ids[1:-1]) for ids in sentences]

    return {
        "model": minimal_pairs.report(of_model_, tokenizer),
        "bigram": minimal_pairs.report(of_bigram, tokenizer),
    }


def told(recipe: Recipe) -> questions.Told:
    """What the training text tells of the prompts, and of the capitals that its template lines leave out."""
    prompts = json.loads((HERE / "prompts.json").read_text(encoding="utf-8"))["prompts"]
    text = questions.Told([prompt["text"] for prompt in prompts], left_out.read_choice()[0])
    for source in training_sources(recipe):
        for paragraphs in read_documents(source):
            text.read(paragraphs)
    return text


def evaluate(model: Path, recipe: Recipe, work: Path, workers: int = 0) -> dict[str, object]:
    """The whole report."""
    tokenizer = AutoTokenizer.from_pretrained(model)
    held_out = HeldOut.read(Path(recipe.held_out.files[0]), tokenizer, known_kinds())
    hidden = held_out.hidden(begins_word(tokenizer.get_vocab()))
    counts = Bigrams(tokenize(training_sources(recipe), model, work / "shards", workers=workers))
    reading = told(recipe)
    overlap = reading.overlap()
    with engine("torch" if importlib.util.find_spec("torch") else "numpy", model) as run:
        return {
            "parameters": count_parameters(run.config, "masked-lm"),
            "held-out": {
                "model": score(of_model(run, held_out), hidden, held_out.kinds),
                **baselines(counts, hidden, held_out.kinds),
            },
            "minimal pairs": pairs(run, tokenizer, counts),
            "capitals": questions.known_capitals(run, tokenizer, reading.sentences),
            "prompts": [{**row, "overlap": overlap[str(row["text"])]} for row in questions.answers(model)],
            "bias": bias.probes(run, tokenizer),
            "agreement": agreement(model, held_out),
        }


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", type=Path, default=SHIPPED, help="folder of the model (the shipped one)")
    parser.add_argument(
        "--recipe", type=Path, default=HERE.parent / "embedded.toml", help="says where the text is"
    )
    parser.add_argument("--work", type=Path, default=Path("runs/embedded-text"), help="folder for the shards")
    parser.add_argument("--workers", type=int, default=0, help="processes that tokenize (all cores)")
    parser.add_argument("--report", type=Path, default=HERE / "report.json", help="JSON file to write")
    parser.add_argument("--card", type=Path, help="model card to fill")
    given = parser.parse_args(arguments)
    report = evaluate(given.model, read_recipe(given.recipe), given.work, given.workers)
    given.report.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    if given.card is not None:
        fill_card(given.card, report, read_history())
    held_out = {name: parts["all tokens"] for name, parts in report["held-out"].items()}
    print(json.dumps({"held-out": held_out, "agreement": report["agreement"]}, indent=1))


if __name__ == "__main__":
    main()
