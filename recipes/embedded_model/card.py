"""The model card's figures, written between two marks from a report of `evaluate.py`: none is typed by hand."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
Report = Mapping[str, Any]  # what json.load gives


def fill_card(path: Path, report: Report) -> None:
    """Replace what stands between the marks of a card."""
    before, begin, rest = path.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise SystemExit(f"{path} has no section between {BEGIN} and {END}")
    parts = [training(report["training"]), held_out(report["held-out"]), prompts(report["prompts"])]
    agreement = (
        f"PyTorch and NumPy agree on these weights: logits at hidden positions differ by at most "
        f"{report['agreement']:.1e} of max(1, largest logit of the row)."
    )
    text = "\n\n".join([before + begin, *parts, agreement, end + after])
    path.write_text(text, encoding="utf-8")


def training(run: Report) -> str:
    """How the run was made."""
    settings = run["settings"]
    mix = ", ".join(f"{share:.0%} of the documents in rows of {size}" for size, share in settings["mix"])
    rows = {
        "parameters": f"{run['parameters']:,}",
        "layers, width, heads, feed-forward": (
            f"{settings['layers']}, {settings['hidden_size']}, {settings['heads']}, {settings['intermediate_size']}"
        ),
        "time, device": f"{run['seconds'] / 60:.0f} minutes, {run['device']}, PyTorch {run['torch']}",
        "arithmetic": "bfloat16 with float32 weights" if settings["bf16"] else "float32",
        "updates, tokens seen": f"{run['step']:,}, {run['tokens'] / 1e6:.1f} million",
        "tokens of a batch": f"{settings['batch_tokens']:,}",
        "rows": mix,
        "share of words to predict": f"{settings['rate']:.0%}",
        "learning rate": (
            f"{settings['learning_rate']:g}, up over {settings['warm_up']:.0%} of the run, then linearly down"
        ),
        "weight decay, clipping, dropout": (
            f"{settings['weight_decay']:g}, {settings['clip']:g}, {settings['dropout']:g}"
        ),
        "start": (
            "normal, standard deviation "
            f"{settings.get('initializer_range', 0.02):g}" + (
                "; positions as sines and a first layer that looks at the neighbours (`start.py`)"
                if settings.get("neighbours") else ""
            )
        ),
        "seed": str(settings["seed"]),
    }  # fmt: skip
    return "### The run\n\n" + table(("", ""), list(rows.items()))


def held_out(figures: Report) -> str:
    """Figures on held-out text, beside the baselines."""
    rows = [
        (
            name,
            part,
            f"{row['top1']:.1%}",
            f"{row['top5']:.1%}",
            f"{row['perplexity']:,.1f}",
            f"{row['words']:,}",
        )
        for part in ("all tokens", "one-piece words", "pieces")
        for name, parts in figures.items()
        for row in [parts[part]]
    ]
    return "### Held-out text\n\n" + table(("", "positions", "top-1", "top-5", "perplexity", "number"), rows)


def prompts(answers: list[Report]) -> str:
    """What the model says to the prompts, good and bad."""
    rows = [
        (
            answer["text"].replace("<mask>", "`<mask>`"),
            ", ".join(f"{shown(word)} {score:.1%}" for word, score in answer["answers"]),
            "first" if answer["sensible"] else "in five" if answer["sensible in five"] else "no",
        )
        for answer in answers
    ]
    first, five = (sum(answer[name] for answer in answers) for name in ("sensible", "sensible in five"))
    return (
        f"### The {len(answers)} prompts\n\nA sensible word comes first for {first} of {len(answers)}, and "
        f"is among the first five for {five}.\n\n" + table(("prompt", "first five words", "sensible"), rows)
    )


def shown(word: str) -> str:
    """A word that a table can hold."""
    return "`" + word.replace("|", "\\|").replace("`", "'").replace("\n", "\\n") + "`"


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
