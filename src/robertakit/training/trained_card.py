"""The card of a model that was trained here: what it learned from, how, how well it does, and what it is for.

Everything is taken from the recipe, the shards' manifest and the log; nothing is claimed that was not measured.
"""

from collections.abc import Mapping, Sequence

from robertakit.architecture import HEADS
from robertakit.configuration import PretrainedConfig
from robertakit.model_card import TO_BE_WRITTEN, model_card
from robertakit.training.recipe import Recipe
from robertakit.training.shards import Corpus

__all__ = ["trained_card"]

Row = Mapping[str, object]


def trained_card(
    recipe: Recipe, corpus: Corpus, config: PretrainedConfig, class_name: str, rows: Sequence[Row], name: str
) -> str:
    """Return the text of a card.

    Args:
        recipe: of the run.
        corpus: what the model was trained on.
        config: the model's.
        class_name: the model's, for example ``"RobertaForMaskedLM"``.
        rows: the run's log.
        name: of the model.
    """
    card = model_card(config, HEADS["masked-lm"], name, class_name, licence=recipe.output.licence)
    evaluation = next((row for row in reversed(rows) if row.get("event") == "evaluate"), {})
    ended = rows[-1] if rows else {}
    parts = [_purpose(recipe), _data(recipe, corpus), _training(recipe, ended), _figures(evaluation)]
    return card.replace(TO_BE_WRITTEN, "\n\n".join(parts))


def _purpose(recipe: Recipe) -> str:
    before = (
        f"training of `{recipe.model.origin}` was gone on with"
        if recipe.model.origin
        else "trained from nothing"
    )
    return (
        f"A masked language model, {before} (Liu et al. 2019). It fills in masked words and gives vectors to fine-tune "
        "for other tasks. It repeats what its text says, errors, prejudices and outdated facts among it, and is no "
        "source of facts; what it does outside the kinds of text below has not been measured."
    )


def _data(recipe: Recipe, corpus: Corpus) -> str:
    told = {source.name: section for source, section in zip(corpus.sources, recipe.sources, strict=True)}
    lines = [
        "## Text", "", "| source | language | tokens | passes an epoch | licence | attribution |",
        "|---|---|---|---|---|---|",
    ]  # fmt: skip
    for source in corpus.sources:
        section = told[source.name]
        cells = [
            source.name, source.language or "–", f"{len(source.tokens):,}", f"{source.weight:g}",
            section.licence or "not stated", section.attribution or "–",
        ]  # fmt: skip
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    smoothing = recipe.packing.smoothing
    if smoothing is not None:
        lines += [
            "",
            f"Languages were drawn with shares smoothed by the exponent {smoothing:g} (Conneau et al. 2020).",
        ]
    return "\n".join(lines)


def _training(recipe: Recipe, ended: Row) -> str:
    training, masking = recipe.training, recipe.masking
    batch = (
        f"{training.batch_sequences:,} rows"
        if training.batch_sequences
        else f"at most {training.batch_tokens:,} tokens"
    )
    betas = ", ".join(f"{beta:g}" for beta in training.betas)
    rows = {
        "updates, tokens read": f"{ended.get('step', 0):,}, {ended.get('tokens', 0):,}",
        "batch": batch,
        "rows": f"{recipe.packing.form}, at most {max(length for length, _ in recipe.packing.lengths)} tokens",
        "masked": f"{masking.rate:.0%} of the {'words' if masking.whole_words else 'tokens'}",
        "learning rate": f"{training.learning_rate:g}, warm-up {training.warm_up:g}, then {training.decay}",
        "AdamW": f"β {betas}; ε {training.epsilon:g}; decay {training.weight_decay:g}; clipping {training.clip:g}",
        "precision": f"{training.precision}; saved as {recipe.output.weights}",
        "seed": str(training.seed),
    }
    return "## Training\n\n| | |\n|---|---|\n" + "\n".join(
        f"| {name} | {value} |" for name, value in rows.items()
    )


def _figures(evaluation: Row) -> str:
    if not isinstance(evaluation.get("loss"), float):
        return "## Figures\n\nNo text was held out: how well the model does was not measured."
    parts = ["## Figures", "", "At masked tokens of held-out text, each replaced by the mask:", ""]
    tables: dict[str, Mapping[str, object]] = {"all": evaluation}
    for kind in ("sources", "languages"):
        groups = evaluation.get(kind)
        if isinstance(groups, Mapping):
            tables |= {f"{name} ({kind[:-1]})": row for name, row in groups.items()}
    parts += ["| held-out text | loss | top-1 | top-5 | tokens |", "|---|---|---|---|---|"]
    for name, row in tables.items():
        if isinstance(loss := row.get("loss"), float):
            shares = [f"{row[top]:.1%}" for top in ("top1", "top5")]
            parts.append(f"| {name} | {loss:.3f} | {' | '.join(shares)} | {row['targets']:,} |")
    return "\n".join(parts)
