"""The tables of docs/benchmarks.md, made of the raw results in benchmarks/results/ and of nothing else.

python benchmarks/torch_report.py        writes the page anew
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median

__all__ = ["PAGE", "RESULTS", "keep", "page_with", "tables", "write_page"]

RESULTS = Path(__file__).resolve().parent / "results"
PAGE = RESULTS.parent.parent / "docs" / "benchmarks.md"
MARKED = re.compile(r"(<!-- tables: (\S+) -->\n).*?(<!-- end -->)", flags=re.DOTALL)

Part = Mapping[str, dict[str, list[float]]]
MIB = 2**20


def tables(results: Mapping[str, dict[str, object]]) -> str:
    """Return the tables of one run."""
    parts = [machine(results)]
    if "answering" in results:
        answering = results["answering"]
        columns = {
            "of the ceiling": ratios_to("ceiling"),
            **(
                {"of oneDNN's": ratios_to("ceiling_onednn")} if "ceiling_onednn" in answering["shown"] else {}
            ),
            "ours, packed, is so many times as fast": ours_over("ours_packed"),
        }
        parts += [speeds(answering, "hidden states of all tokens", columns), shares(answering["profile"])]
    if "training" in results:
        columns = {
            "ours, as documented, is so many times as fast": ours_over("ours"),
            "ours, labelled tokens only": ours_over("ours_labelled"),
        }
        parts.append(speeds(results["training"], "steps of masked language modelling", columns))
    return "\n".join(parts)


def machine(results: Mapping[str, dict[str, object]]) -> str:
    """Return a paragraph on what was measured where."""
    facts, settings = results["machine"], results["settings"]
    where = facts.get("GPU") or facts["processor"]
    model = "a small model" if settings["small"] else "RoBERTa-base"
    return (
        f"{where}, {facts['threads']} threads on {facts['cores']} cores, {' '.join(facts.get('instructions', []))}; "
        f"PyTorch {facts['PyTorch']} ({facts['vector units of PyTorch']}), transformers {facts['transformers']} "
        f"(attention: {results['transformers_attention']}), "
        f"robertakit {facts['robertakit']}, Python {facts['Python']}; "
        f"{model} in {settings['dtype']}; {settings['rounds']} rounds, {facts['date']}. "
        f"Load of the machine before and after: {results['load_before'][0]:.1f}, {results['load_after'][0]:.1f}.\n"
    )


def speeds(part: Part, what: str, columns: Mapping[str, Callable[[Part, str], str]]) -> str:
    """Useful tokens per second of each way, what it pads, what memory its largest batch takes, and some ratios."""
    rows = []
    for key, shown in part["shown"].items():
        each = [part["tokens"] / seconds for seconds in part["seconds"][key]]
        padding = part["computed_tokens"][key] / part["tokens"] - 1
        memory = part.get("memory", {}).get(key)
        rows.append(
            [
                str(shown),
                f"{median(each):,.0f}",
                f"{min(each):,.0f} to {max(each):,.0f}",
                f"{padding:.0%}",
                "" if memory is None else f"{memory['added'] / MIB:,.0f}",
                *(column(part, key) for column in columns.values()),
            ]
        )
    head = [what, "tokens/s", "slowest to fastest round", "padding given", "memory, MiB", *columns]
    return f"{part['tokens']:,} tokens in {len(part['lengths'])} sequences. {farthest(part)}\n\n" + table(
        head, rows
    )


def farthest(part: Part) -> str:
    """Return a sentence on how well the outputs agree."""
    return f"All ways give the same: they differ from transformers by {max(part['distances'].values()):.1e} at most."


def ratios_to(reference: str) -> Callable[[Part, str], str]:
    """Return a column: how many times as fast as the reference a way is."""
    return lambda part, key: "" if key == reference else ratio(part, key, reference)


def ours_over(ours: str) -> Callable[[Part, str], str]:
    """Return a column: how many times as fast as transformers' ways one of ours is."""
    return lambda part, key: ratio(part, ours, key) if key.startswith("theirs") else ""


def ratio(part: Part, way: str, other: str) -> str:
    """How many times as fast one way is as another: the median over the rounds, and the extremes."""
    each = sorted(b / a for a, b in zip(part["seconds"][way], part["seconds"][other], strict=True))
    return f"{median(each):.2f} ({each[0]:.2f} to {each[-1]:.2f})"


def shares(profile: Mapping[str, float]) -> str:
    """Return where the time of the packed way goes, by operators."""
    return table(list(profile), [[f"{share:.1%}" for share in profile.values()]])


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table of Markdown; all columns but the first hold numbers."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def filled(text: str, marked: re.Pattern[str], made: Callable[[dict[str, object]], str]) -> str:
    """Return a page with each table as its raw results have it, where there are any.

    Args:
        text: of the page.
        marked: a table's opening mark, the name of its results in it, and its closing mark.
        made: makes the table of results.
    """

    def anew(found: re.Match[str]) -> str:
        file = RESULTS / f"{found[2]}.json"
        shown = (
            made(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else "Not measured yet.\n"
        )
        return f"{found[1]}\n{shown}\n{found[3]}"

    return marked.sub(anew, text)


def page_with(text: str) -> str:
    """Return the page with this benchmark's tables."""
    return filled(text, MARKED, tables)


def write_page() -> None:
    """Write the page's tables anew."""
    PAGE.write_text(page_with(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    write_page()


def keep(
    results: Mapping[str, object], name: str, output: Path | None, save: Callable[[], None] | None
) -> None:
    """Write raw results where they were asked for.

    Args:
        results: what was measured.
        name: of the file among the committed results.
        output: file to write beside that, or None.
        save: writes the page anew from the committed results; None leaves both as they are.
    """
    for path in filter(None, (output, RESULTS / f"{name}.json" if save else None)):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    if save:
        save()
