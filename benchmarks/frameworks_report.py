"""The table of frameworks in docs/benchmarks.md, made of the raw results in benchmarks/results/ and of nothing else.

python benchmarks/frameworks_report.py        writes the page anew
"""

import json
import re
from statistics import median

from torch_report import PAGE, RESULTS, table

__all__ = ["PAGE", "RESULTS", "SHOWN", "page_with", "tables", "write_page"]

MARKED = re.compile(r"(<!-- frameworks -->\n).*?(<!-- end -->)", flags=re.DOTALL)
FILE = RESULTS / "frameworks-cpu-float32.json"
SHOWN = {
    "torch": "PyTorch, the documented call",
    "jax": "JAX, jitted",
    "tensorflow_xla": "TensorFlow, with XLA",
    "tensorflow_graph": "TensorFlow, tf.function without XLA",
    "theirs_flax": "transformers' Flax class, jitted",
    "theirs_tensorflow_xla": "transformers' TensorFlow class, with XLA",
    "theirs_tensorflow_graph": "transformers' TensorFlow class, without XLA",
}
#: Ours -> the reference's class that it must not be slower than.
AGAINST = {
    "jax": "theirs_flax",
    "tensorflow_xla": "theirs_tensorflow_xla",
    "tensorflow_graph": "theirs_tensorflow_graph",
}


def tables(results: dict[str, object]) -> str:
    """Return the tables of one run; `torch_report.py` writes them into the page."""
    facts, settings, seconds = results["machine"], results["settings"], results["seconds"]
    tokens = settings["batch"] * settings["length"]
    listed = [", ".join(f"{name} {v}" for name, v in facts[side].items()) for side in ("ours", "theirs")]
    rows = []
    for key, each in seconds.items():
        ratios = sorted(a / b for a, b in zip(seconds["torch"], each, strict=True))
        theirs = seconds.get(AGAINST.get(key, ""))
        over = sorted(b / a for a, b in zip(each, theirs, strict=True)) if theirs else []
        rows.append(
            [
                SHOWN[key], f"{tokens / median(each):,.0f}",
                f"{tokens / max(each):,.0f} to {tokens / min(each):,.0f}",
                f"{median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})" if key != "torch" else "",
                f"{median(over):.2f} ({over[0]:.2f} to {over[-1]:.2f})" if over else "",
                f"{results['first'][key]:.1f}",
            ]
        )  # fmt: skip
    head = ["hidden states of all tokens", "tokens/s", "slowest to fastest round", "times as fast as our PyTorch",
            "times as fast as the reference's class", "first answer, s"]  # fmt: skip
    imports = [
        [f"`{name}`", f"{median(each):.2f}", f"{min(each):.2f} to {max(each):.2f}"]
        for name, each in results["imports"].items()
    ]
    return (
        f"{facts['processor']}, {facts['threads']} threads on {facts['cores']} cores, Python {facts['Python']}, "
        f"{facts['date']}. Ours: {listed[0]}. The reference's: {listed[1] or 'not measured'}. "
        f"{'A small model' if settings['small'] else 'RoBERTa-base'}, float32, {settings['batch']} texts of "
        f"{settings['length']} tokens, {settings['rounds']} rounds of {settings['answers']} answers. Load of the "
        f"machine before and after: {results['load_before'][0]:.1f}, {results['load_after'][0]:.1f}. All ways agree: "
        f"they differ by {max(results['distances'].values()):.1e} at most.\n\n"
        + table(head, rows)
        + "\n"
        + table(["import, fresh process", "s", "fastest to slowest"], imports)
    )


def page_with(text: str) -> str:
    """Return the page with the table as its raw results have it, where there are any."""
    found = tables(json.loads(FILE.read_text(encoding="utf-8"))) if FILE.is_file() else "Not measured yet.\n"
    return MARKED.sub(lambda marked: f"{marked[1]}\n{found}\n{marked[2]}", text)


def write_page() -> None:
    """Write the page's table anew."""
    PAGE.write_text(page_with(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    write_page()
