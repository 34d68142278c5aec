"""The report: everything of the log is on the page, nothing of it is markup, and the page asks for nothing."""

import re
from html.parser import HTMLParser
from pathlib import Path

from robertakit.training.report import render_report, write_report

NASTY = '<script>alert("x")</script>&<b>'
ROWS: list[dict[str, object]] = [
    {"event": "start", "step": 0, "device": NASTY, "processes": 2, "torch": "2.13", "reproducible": True},
    {"event": "evaluate", "step": 0, "tokens": 0, "seconds": 0.1, "loss": 9.2, "top1": 0.01, "top5": 0.02,
     "samples": [{"text": f"A <mask> {NASTY}.", "answers": [{"token": NASTY, "score": 0.5}]}]},
    {"event": "step", "step": 10, "tokens": 900, "seconds": 60.0, "loss": 8.1, "learning_rate": 1e-4,
     "tokens_per_second": 1234.5, "gradient_norm": 2.0},
    {"event": "rollback", "step": 12, "from_step": 13, "reason": "the loss is nan", "batches": [[0, 3]]},
    {"event": "step", "step": 20, "tokens": 1800, "seconds": 120.0, "loss": "nan", "learning_rate": 2e-4,
     "tokens_per_second": 1300.5, "gradient_norm": 1.0},
    {"event": "evaluate", "step": 20, "tokens": 1800, "seconds": 121.0, "loss": 7.5, "top1": 0.25, "top5": 0.5,
     "sources": {"news": {"loss": 7.25, "tokens": 512}, NASTY: {"loss": 7.75, "tokens": 256}},
     "samples": [{"text": f"A <mask> {NASTY}.", "answers": [{"token": " word", "score": 0.75}]}]},
    {"event": "end", "step": 20, "tokens": 1800, "seconds": 122.0, "stopped": None},
]  # fmt: skip


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in ("meta", "line", "circle", "polyline"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_whole_and_asks_for_nothing() -> None:
    page = render_report(ROWS, f'name = "{NASTY}"', title=f"run {NASTY}", facts={"name": NASTY})
    tags = Tags()
    tags.feed(page.replace("/>", ">"))
    tags.close()
    assert not [tag for tag in tags.open if tag not in ("html",)]
    names = {tag for tag, _ in tags.seen}
    assert not names & {"script", "link", "img", "iframe", "object", "b2"}
    for _, attributes in tags.seen:
        assert not {"src", "href", "onclick", "onload", "style"} & set(attributes)
    assert not re.search(r"url\(|@import", page)
    assert re.findall(r"https?://[^\"]*", page) == ["http://www.w3.org/2000/svg"] * page.count("<svg")
    assert NASTY not in page
    assert page.count("alert(&quot;x&quot;)") >= 6  # but told, wherever it stood


def test_the_page_tells_what_the_log_has() -> None:
    page = render_report(ROWS, "[training]\nsteps = 20", title="A run")
    for words in (
        "7.5000 (perplexity 1,808.0)", "25.0%", "50.0%", "2.0 min", "1,800", "ended", "steps = 20",
        "Held-out text by sources", "the loss is nan", "word 75%", "Learning rate", "Norm of the gradient",
    ):  # fmt: skip
        assert words in page, words
    assert page.count("<polyline") == 2 + 2 + 1 + 1 + 1
    stopped = render_report([*ROWS[:-1], {**ROWS[-1], "stopped": "SIGTERM"}], "", title="A run")
    assert "stopped by SIGTERM" in stopped


def test_a_run_that_has_only_begun_has_a_page(tmp_path: Path) -> None:
    assert "going on, or cut off" in render_report([], "", title="A run")
    write_report(tmp_path / "report.html", ROWS[:1], "", title="A run")
    assert (tmp_path / "report.html").read_text(encoding="utf-8").startswith("<!doctype html>")
