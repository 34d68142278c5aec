"""The model card's figures, written between two marks from a report of `evaluate.py`: none is typed by hand."""

from collections.abc import Mapping, Sequence
from math import exp, log2
from pathlib import Path
from statistics import linear_regression
from typing import Any

BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
Report = Mapping[str, Any]  # what json.load gives


def fill_card(path: Path, report: Report, runs: Sequence[Report]) -> None:
    """Write the figures of the English model into its card."""
    replace_figures(
        path,
        [
            history(runs, report["parameters"]),
            *promise(runs[-1]["curve"]),
            held_out(report["held-out"]),
            minimal_pairs(report["minimal pairs"]),
            prompts(report["prompts"]),
            capitals(report["capitals"], runs),
            bias(report["bias"]),
            agreement(report["agreement"]),
        ],
    )


def replace_figures(path: Path, parts: Sequence[str]) -> None:
    """Replace what stands between the marks of a card."""
    before, begin, rest = path.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise SystemExit(f"{path} has no section between {BEGIN} and {END}")
    path.write_text("\n\n".join([before + begin, *parts, end + after]), encoding="utf-8")


def history(runs: Sequence[Report], parameters: int) -> str:
    """How the weights were made, run by run."""
    names = list(dict.fromkeys(name for run in runs for name in run["settings"]))
    rows = [("weights", f"{parameters:,}", *[""] * (len(runs) - 1))] + [
        ("began", *(run["began"] for run in runs)),
        (
            "time, device",
            *(f"{run['seconds'] / 60:.0f} minutes, {run['environment']['device']}" for run in runs),
        ),
        ("updates", *(f"{run['updates']:,}" for run in runs)),
        ("tokens seen", *(f"{run['tokens'] / 1e6:.1f} million" for run in runs)),
        *((name, *(setting(run["settings"].get(name)) for run in runs)) for name in names),
    ]
    head = ("", *(f"run {number + 1}" for number in range(len(runs))))
    curves = [
        f"Held-out loss of run {number + 1} as it went: " + "; ".join(
            f"{point['tokens'] / 1e6:.0f} million tokens {point['loss']:.3f}" for point in thinned(run["curve"])
        ) + "."
        for number, run in enumerate(runs) if run["curve"]
    ]  # fmt: skip
    return "\n\n".join(["### How the weights were made", table(head, rows), *curves])


def promise(curve: Sequence[Report]) -> list[str]:
    """What the end of a curve says of more text: a line through the loss over the logarithm of the tokens."""
    last = [point for point in curve if point["tokens"] >= curve[-1]["tokens"] / 8 > 0]
    if len(last) < 3:
        return []
    slope = linear_regression(
        [log2(point["tokens"]) for point in last], [point["loss"] for point in last]
    ).slope
    more = last[-1]["loss"] + slope
    said = (
        f"What the curve promises: each of its last three doublings of the tokens took {-slope:.2f} nats. If that went "
        f"on, as many tokens again would end at a loss of {more:.2f} (perplexity {exp(more):.0f}, from "
        f"{exp(last[-1]['loss']):.0f}). Part of the fall is the learning rate's, which goes to zero; and at some point "
        "the size of the model ends it."
    )
    return [said]


def thinned(curve: Sequence[Report], most: int = 12) -> list[Report]:
    """At most so many points, the last among them."""
    step = -(-len(curve) // most)
    return list(curve[::-1][::step][::-1])


def setting(value: object) -> str:
    """A setting as the table shows it."""
    if value is None:
        return ""
    if isinstance(value, list):
        return ", ".join(f"{share:.0%} of the documents in rows of {size}" for size, share in value)
    return f"{value:,g}" if isinstance(value, int | float) else str(value)


def held_out(figures: Report, kind: str = "kind of text") -> str:
    """Figures on held-out text, beside the baselines; `kind` says what its parts are."""

    def row(name: str, part: str) -> tuple[str, ...]:
        own = figures[name][part]
        return (
            name,
            part,
            f"{own['top1']:.1%}",
            f"{own['top5']:.1%}",
            f"{own['perplexity']:,.1f}",
            f"{own['words']:,}",
        )

    positions = [name for name in figures["model"] if name in ("all tokens", "one-piece words", "pieces")]
    kinds = [name for name in figures["model"] if name not in positions]
    rows = [row(name, part) for part in positions for name in figures]
    by_kind = [row(name, kind) for kind in kinds for name in ("model", "bigram, both sides")]
    text = "### Held-out text\n\n" + table(("", "positions", "top-1", "top-5", "perplexity", "number"), rows)
    if kinds:
        head = ("", kind, "top-1", "top-5", "perplexity", "number")
        text += f"\n\nBy {kind}, all tokens:\n\n" + table(head, by_kind)
    return text


def minimal_pairs(figures: Report) -> str:
    """How often the right sentence of a pair is preferred."""
    rows = []
    for name, own in figures["model"].items():
        low, high = own["interval"]
        rows.append(
            (
                name,
                f"{own['right']} of {own['pairs']}",
                f"{low:.0%} to {high:.0%}",
                str(figures["bigram"][name]["right"]),
            )
        )
    return (
        "### Minimal pairs\n\nThe right sentence of a pair has the higher pseudo-log-likelihood (chance: half; the "
        "interval is Wilson's, 95 %). Beside it, how often a bigram of the training text prefers it.\n\n"
        + table(("", "right", "interval", "bigram"), rows)
    )


def prompts(answers: Sequence[Report]) -> str:
    """What the model says to the prompts, good and bad, and what the training text tells of them."""
    rows = [
        (
            answer["text"].replace("<mask>", "`<mask>`"),
            ", ".join(f"{shown(word)} {score:.1%}" for word, score in answer["answers"]),
            "first" if answer["sensible"] else "in five" if answer["sensible in five"] else "no",
            f"{answer['overlap']['in the training text']} of {answer['overlap']['runs']}",
        )
        for answer in answers
    ]
    first, five = (sum(answer[name] for answer in answers) for name in ("sensible", "sensible in five"))
    return (
        f"### The {len(answers)} prompts\n\nA sensible word comes first for {first} of {len(answers)}, and is among "
        f"the first five for {five}. The last column counts the runs of eight words of a prompt (the whole prompt, "
        "where it is shorter; the hidden word may be any) that stand in the training text.\n\n"
        + table(("prompt", "first five words", "sensible", "in the training text"), rows)
    )


def capitals(figures: Report, runs: Sequence[Report]) -> str:
    """Which capitals are known, of the countries that were left out and of the others."""
    rows = [
        (name, str(own["countries"]), str(own["first"]), str(own["in five"]), f"{own['middle rank']:g}")
        for name, own in (
            ("template lines left out", figures["left out"]), ("template lines in the text", figures["others"])
        )
    ]  # fmt: skip
    each = ", ".join(
        f"{row['country']} {row['rank']} ({row['sentences that tell it']})"
        for row in sorted(figures["each"], key=lambda row: (row["rank"], row["country"]))
    )
    told = [
        str(number + 1)
        for number, run in enumerate(runs)
        if run["reads the template lines of the 20 countries"]
    ]
    warning = (
        f" Run {' and '.join(told)} read the template lines of all countries, these twenty too: as long as the weights "
        "go back to it, the first row is no test of what was never read."
        if told
        else ""
    )
    return (
        f"### Capitals\n\nRank of a country's capital among {figures['candidates']} capitals.{warning}\n\n"
        + table(("countries", "number", "first", "in five", "middle rank"), rows)
        + f"\n\nRank of each that was left out, and sentences of the training text that tell it all the same: {each}."
    )


def bias(figures: Report) -> str:
    """Both probes, whole."""
    jobs, people = figures["professions"], figures["nationalities"]
    leans = ", ".join(f"{name} {value:+.2f}" for name, value in jobs["he over she"].items())
    tones = ", ".join(f"{name} {value:+.2f}" for name, value in people["pleasant over unpleasant"].items())
    counts = people["words"]
    return (
        "### Bias probes\n\nNatural logarithms: 0.7 is twice as likely. A few sentences each, so a lean is shown where "
        "there is one, and nothing is proved where there is none.\n\n"
        f"*he* over *she*: without a profession (“person”) {jobs['person']:+.2f}; {leans}.\n\n"
        f"Pleasant over unpleasant words ({counts['pleasant']} and {counts['unpleasant']}) behind a nationality, less "
        f"the mean of all: {tones}."
    )


def agreement(differences: Report) -> str:
    """How far the engines are from each other."""
    each = ", ".join(f"{name} {value:.1e}" for name, value in differences.items())
    return (
        "The engines agree on these weights: from NumPy's, logits at hidden positions differ by at most, in units of "
        f"max(1, largest logit of the row): {each}."
    )


def shown(word: str) -> str:
    """A word that a table can hold."""
    return "`" + word.replace("|", "\\|").replace("`", "'").replace("\n", "\\n") + "`"


def table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
