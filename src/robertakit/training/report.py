"""A run on one page: curves, figures by source and language, answers to prompts, settings, the machine.

The page is one HTML file that asks for nothing: styles and curves stand in it, and no script. What it shows comes from
the run's log and its recipe, so that it can be made at any time, during the run too.
"""

import math
import platform
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path

from robertakit import __version__
from robertakit.files import text_writer, write_atomically
from robertakit.training.curves import Points, chart

__all__ = ["REPORT", "render_report", "write_report"]

REPORT = "report.html"
Row = Mapping[str, object]

_STYLE = """
:root { color-scheme: light dark }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.5rem } h2 { font-size: 1.15rem; margin-top: 2rem }
figure { margin: 1rem 0 } svg { width: 100%; height: auto } svg text { font-size: 11px; fill: currentColor }
svg .grid { stroke: currentColor; opacity: .15 } polyline { fill: none; stroke-width: 1.6 } svg line { stroke-width: 2 }
table { border-collapse: collapse; margin: .5rem 0 } td, th { padding: .15rem .8rem .15rem 0; text-align: left }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums } th { border-bottom: 1px solid; font-weight: 600 }
pre { overflow-x: auto; padding: .8rem; border: 1px solid; border-radius: .3rem; font-size: 12px }
"""
#: Chart -> (unit, lines: name -> (event, field)).
_CHARTS: dict[str, tuple[str, dict[str, tuple[str, str]]]] = {
    "Loss": ("nats a masked token", {"training": ("step", "loss"), "held-out": ("evaluate", "loss")}),
    "Masked accuracy on held-out text": (
        "share of masked tokens",
        {"first answer": ("evaluate", "top1"), "among five": ("evaluate", "top5")},
    ),
    "Learning rate": ("", {"learning rate": ("step", "learning_rate")}),
    "Rate": ("tokens/s", {"rate": ("step", "tokens_per_second")}),
    "Norm of the gradient": ("", {"norm": ("step", "gradient_norm")}),
    "Model FLOPs utilisation": ("share of the device's peak", {"MFU": ("step", "mfu")}),
}


def write_report(
    path: Path, rows: Sequence[Row], recipe: str, *, title: str, facts: Row | None = None
) -> None:
    """Write the page; whole, or not at all.

    Args:
        path: of the file.
        rows: the run's log (``logs.read_log``).
        recipe: the resolved recipe, as TOML.
        title: of the page.
        facts: more to tell at its head: name -> value.

    Raises:
        SaveFailed: the disk refused.
    """
    page = render_report(rows, recipe, title=title, facts=facts)
    write_atomically(path.parent, {path.name: text_writer(page)})


def render_report(rows: Sequence[Row], recipe: str, *, title: str, facts: Row | None = None) -> str:
    """Return the page; arguments as of ``write_report``.

    Example:
        >>> rows = [{"event": "step", "step": 10, "loss": 9.5}, {"event": "evaluate", "step": 10, "loss": 9.1}]
        >>> page = render_report(rows, "[training]", title="My <run>")
        >>> "My &lt;run&gt;" in page, "<script" in page, page.count("<svg")
        (True, False, 1)
    """
    start = _last(rows, "start")
    parts = [
        '<!doctype html>\n<html lang="en"><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width">',
        f"<title>{escape(title)}</title><style>{_STYLE}</style>",
        f"<h1>{escape(title)}</h1>",
        _table([], [[name, value] for name, value in _head(rows, facts or {}).items()]),
        *_figures(rows),
        *_groups(_last(rows, "evaluate")),
        *_samples(rows),
        *_incidents(rows),
        f"<h2>Recipe</h2><pre>{escape(recipe)}</pre>",
        "<h2>Environment</h2>",
        _table([], [[name, value] for name, value in _environment(start).items()]),
        "</html>",
    ]
    return "\n".join(part for part in parts if part) + "\n"


def _head(rows: Sequence[Row], facts: Row) -> dict[str, object]:
    """What a reader wants to know first."""
    last = rows[-1] if rows else {}
    ended = _last(rows, "end")
    state = "going on, or cut off" if not ended else "ended"
    if ended and ended.get("stopped"):
        state = f"stopped by {ended['stopped']}; started again, it goes on"
    evaluation = _last(rows, "evaluate")
    told: dict[str, object] = {
        **facts,
        "state": state,
        "updates": last.get("step", 0),
        "tokens": last.get("tokens", 0),
    }
    if isinstance(seconds := last.get("seconds"), int | float):
        told["time"] = f"{seconds / 3600:.1f} h" if seconds >= 7200 else f"{seconds / 60:.1f} min"
    if isinstance(loss := evaluation.get("loss"), float):
        told["held-out loss"] = f"{loss:.4f} (perplexity {math.exp(min(loss, 700)):,.1f})"
    for name, label in (("top1", "held-out masked accuracy"), ("top5", "right word among five")):
        if isinstance(share := evaluation.get(name), float):
            told[label] = f"{share:.1%}"
    return told


def _figures(rows: Sequence[Row]) -> list[str]:
    figures = []
    for title, (unit, lines) in _CHARTS.items():
        drawn = chart(title, {name: _points(rows, *of) for name, of in lines.items()}, y=unit)
        if drawn:
            figures.append(f"<figure><h2>{escape(title)}</h2>{drawn}</figure>")
    return figures


def _points(rows: Sequence[Row], event: str, field: str) -> Points:
    points = []
    for row in rows:
        step, value = row.get("step"), row.get(field)
        if row.get("event") == event and isinstance(step, int) and isinstance(value, int | float):
            points.append((float(step), float(value)))
    return points


def _groups(evaluation: Row) -> list[str]:
    """A table for each set of figures by source, by language, or by whatever the task tells apart."""
    parts = []
    for name, groups in evaluation.items():
        if not isinstance(groups, Mapping) or not all(isinstance(one, Mapping) for one in groups.values()):
            continue
        columns = list(dict.fromkeys(column for one in groups.values() for column in one))
        body = [[group, *(one.get(column, "") for column in columns)] for group, one in groups.items()]
        parts += [f"<h2>Held-out text by {escape(name)}</h2>", _table([name, *columns], body)]
    return parts


def _samples(rows: Sequence[Row]) -> list[str]:
    """Answers to the prompts at each evaluation, a table for each prompt."""
    of_prompt: dict[str, list[list[object]]] = {}
    for row in rows:
        samples = row.get("samples")
        for sample in samples if row.get("event") == "evaluate" and isinstance(samples, list) else ():
            answers = ", ".join(f"{answer['token']} {answer['score']:.0%}" for answer in sample["answers"])
            of_prompt.setdefault(str(sample["text"]), []).append([row.get("step", ""), answers])
    if not of_prompt:
        return []
    parts = ["<h2>Answers to prompts</h2>"]
    for prompt, told in of_prompt.items():
        parts += [
            f"<p><b>{escape(prompt)}</b></p>",
            _table(["updates", "answers, with their probability"], told),
        ]
    return parts


def _incidents(rows: Sequence[Row]) -> list[str]:
    told = [
        [row.get("step", ""), row.get("from_step", ""), row.get("reason", "")]
        for row in rows
        if row.get("event") == "rollback"
    ]
    return ["<h2>Refused batches</h2>", _table(["updates", "from", "reason"], told)] if told else []


def _environment(start: Row) -> dict[str, object]:
    names = ("device", "processes", "torch", "reproducible", "peak_flops")
    told = {name.replace("_", " "): start[name] for name in names if start.get(name) is not None}
    return {
        **told,
        "robertakit": __version__,
        "Python": platform.python_version(),
        "system": platform.platform(),
        "processor": platform.processor() or platform.machine(),
    }


def _last(rows: Sequence[Row], event: str) -> Row:
    return next((row for row in reversed(rows) if row.get("event") == event), {})


def _table(head: Sequence[str], body: Iterable[Sequence[object]]) -> str:
    lines = ["<table>"]
    if head:
        lines.append(
            "<tr>" + "".join(f"<th>{escape(name.replace('_', ' '))}</th>" for name in head) + "</tr>"
        )
    for row in body:
        lines.append("<tr>" + "".join(_cell(value) for value in row) + "</tr>")
    return "".join([*lines, "</table>"])


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return f"<td>{'yes' if value else 'no'}</td>"
    if isinstance(value, int):
        return f'<td class="n">{value:,}</td>'
    if isinstance(value, float):
        return f'<td class="n">{value:,.4g}</td>'
    return f"<td>{escape(str(value))}</td>"
