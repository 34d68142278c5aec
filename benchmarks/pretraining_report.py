"""The tables of pre-training in docs/benchmarks.md, made of the raw results in benchmarks/results/ and of nothing else.

python benchmarks/pretraining_report.py        writes the page anew
"""

import re
from collections.abc import Mapping
from statistics import median

from torch_report import PAGE, RESULTS, filled, machine, ours_over, speeds, table

__all__ = ["PAGE", "RESULTS", "page_with", "tables", "write_page"]

MARKED = re.compile(r"(<!-- pretraining: (\S+) -->\n).*?(<!-- end -->)", flags=re.DOTALL)


def tables(results: Mapping[str, dict[str, object]]) -> str:
    """Return the tables of one run."""
    parts = [machine(results)]
    if "steps" in results:
        steps = results["steps"]
        columns = {"ours is so many times as fast": ours_over("ours")}
        if results["machine"].get("peak_flops"):
            columns["MFU"] = lambda part, key: utilisation(results, part["tokens"], part["seconds"][key])
        parts.append(speeds(steps, "steps of masked language modelling", columns))
    if "loss" in results:
        parts.append(loss_table(results["loss"]))
    if "processes" in results:
        parts.append(processes_table(results["processes"]))
    return "\n".join(parts)


def utilisation(results: Mapping[str, dict[str, object]], tokens: int, seconds: list[float]) -> str:
    """Model FLOPs of the real tokens, of the device's peak: what padding costs is not counted as use."""
    rate = tokens / median(seconds)
    return f"{rate * results['steps']['flops_per_token'] / results['machine']['peak_flops']:.1%}"


def loss_table(part: Mapping[str, object]) -> str:
    """Time and memory of the chunked loss and of the plain one."""
    rows = []
    for each in part["measured"]:
        plain, ours = each["seconds"]["plain"], each["seconds"]["chunked"]
        ratios = sorted(a / b for a, b in zip(plain, ours, strict=True))
        rows.append(
            [
                str(each["rows"]),
                f"{median(plain):.2f}", f"{median(ours):.2f}",
                f"{median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})",
                f"{each['memory']['plain'] / 2**20:,.0f}", f"{each['memory']['chunked'] / 2**20:,.0f}",
            ]
        )  # fmt: skip
    head = ["labelled tokens", "plain, s", "chunked, s", "times as fast", "plain, MiB", "chunked, MiB"]
    said = (
        f"Linear layer, cross-entropy and all three gradients, {part['words']:,} words of width {part['width']}: "
        f"losses differ by {part['distances']['loss']:.1e} at most, gradients by "
        f"{part['distances']['gradient']:.1e}, relatively.\n\n"
    )
    return said + table(head, rows)


def processes_table(part: Mapping[str, object]) -> str:
    """Tokens per second of several processes at the same batch."""
    rows, alone = [], part["seconds"].get("1")
    for count, each in part["seconds"].items():
        over = "" if alone is None or count == "1" else f"{median(alone) / median(each):.2f}"
        slowest, fastest = (f"{part['tokens'] / seconds:,.0f}" for seconds in (max(each), min(each)))
        rows.append([count, f"{part['tokens'] / median(each):,.0f}", f"{slowest} to {fastest}", over])
    head = ["processes (DDP), one thread each", "tokens/s", "slowest to fastest step", "times one process"]
    said = (
        f"{part['tokens']:,} tokens a batch, one update each, AdamW in it; first losses differ by "
        f"{part['distance']:.1e}, relatively.\n\n"
    )
    return said + table(head, rows)


def page_with(text: str) -> str:
    """Return the page with this benchmark's tables."""
    return filled(text, MARKED, tables)


def write_page() -> None:
    """Write the page's tables anew."""
    PAGE.write_text(page_with(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    write_page()
