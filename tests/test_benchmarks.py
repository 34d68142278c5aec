"""The page of benchmarks shows its raw results and nothing else, and the script still runs."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture
def report(root: Path) -> ModuleType:
    """`benchmarks/torch_report.py` as a module."""
    spec = importlib.util.spec_from_file_location("torch_report", root / "benchmarks" / "torch_report.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_shows_its_raw_results(report: ModuleType) -> None:
    """After a change of either: `python benchmarks/torch_report.py`."""
    page = report.PAGE.read_text(encoding="utf-8")
    assert report.page_with(page) == page
    named = {name for _, name, _ in report.MARKED.findall(page)}
    assert {path.stem for path in report.RESULTS.glob("torch-*.json")} <= named


def test_results_are_kept_where_they_were_asked_for(
    report: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "RESULTS", tmp_path / "committed")
    pages: list[str] = []
    report.keep({"a": 1}, "torch-cpu", None, None)
    assert not list(tmp_path.iterdir())
    report.keep({"a": 1}, "torch-cpu", tmp_path / "mine" / "a.json", lambda: pages.append("written"))
    for path in (tmp_path / "mine" / "a.json", tmp_path / "committed" / "torch-cpu.json"):
        assert json.loads(path.read_text(encoding="utf-8")) == {"a": 1}
    assert pages == ["written"]


def test_the_table_of_frameworks_shows_its_raw_results(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a change of either: `python benchmarks/frameworks_report.py`."""
    monkeypatch.syspath_prepend(root / "benchmarks")
    frameworks_report = importlib.import_module("frameworks_report")
    page = frameworks_report.PAGE.read_text(encoding="utf-8")
    assert frameworks_report.page_with(page) == page
    assert "<!-- frameworks -->" in page


def test_the_tables_of_pretraining_show_their_raw_results(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a change of either: `python benchmarks/pretraining_report.py`."""
    monkeypatch.syspath_prepend(root / "benchmarks")
    pretraining_report = importlib.import_module("pretraining_report")
    page = pretraining_report.PAGE.read_text(encoding="utf-8")
    assert pretraining_report.page_with(page) == page
    named = {name for _, name, _ in pretraining_report.MARKED.findall(page)}
    assert {path.stem for path in pretraining_report.RESULTS.glob("pretraining-*.json")} <= named


def test_tables_of_pretraining(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(root / "benchmarks")
    pretraining_report = importlib.import_module("pretraining_report")
    part = {
        "tokens": 1000, "lengths": [600, 400], "distances": {"loss of batch 0": 1e-7}, "flops_per_token": 2e9,
        "shown": {"ours": "ours", "theirs_32": "theirs"}, "computed_tokens": {"ours": 1000, "theirs_32": 1200},
        "seconds": {"ours": [1.0, 2.0, 4.0], "theirs_32": [8.0, 10.0, 24.0]},
    }  # fmt: skip
    loss = {
        "words": 9, "width": 4, "distances": {"loss": 0.0, "gradient": 1e-7},
        "measured": [{"rows": 64, "seconds": {"plain": [3.0, 4.0], "chunked": [1.0, 2.0]},
                      "memory": {"plain": 2**22, "chunked": 2**21}}],
    }  # fmt: skip
    processes = {"seconds": {"1": [10.0], "2": [5.0]}, "tokens": 100, "distance": 0.0}
    made = results() | {"steps": part, "loss": loss, "processes": processes}
    made["machine"] = dict(made["machine"], peak_flops=1e13)  # type: ignore[call-overload]
    rows = pretraining_report.tables(made).splitlines()
    assert "| ours | 500 | 250 to 1,000 | 0% |  |  | 10.0% |" in rows
    assert "| theirs | 100 | 42 to 125 | 20% |  | 6.00 (5.00 to 8.00) | 2.0% |" in rows
    assert "| 64 | 3.50 | 1.50 | 2.50 (2.00 to 3.00) | 4 | 2 |" in rows
    assert "| 2 | 20 | 20 to 20 | 2.00 |" in rows


def results() -> dict[str, object]:
    part = {
        "tokens": 1000,
        "lengths": [600, 400],
        "distances": {"ours_packed": 2e-6, "theirs_sorted_8": 0.0},
        "shown": {"ceiling": "ceiling", "ours_packed": "ours", "theirs_sorted_8": "theirs"},
        "computed_tokens": {"ceiling": 1000, "ours_packed": 1000, "theirs_sorted_8": 1500},
        "seconds": {
            "ceiling": [1.0, 1.0, 1.0],
            "ours_packed": [2.0, 1.0, 4.0],
            "theirs_sorted_8": [5.0, 4.0, 10.0],
        },
        "memory": {"ours_packed": {"model": 0, "added": 2**21}},
        "profile": {"products": 0.75, "attention": 0.25},
    }
    facts = {"processor": "a", "cores": 2, "threads": 2, "vector units of PyTorch": "b", "PyTorch": "c",
             "transformers": "d", "robertakit": "e", "Python": "f", "date": "g"}  # fmt: skip
    return {
        "settings": {"dtype": "float32", "small": False, "rounds": 3},
        "machine": facts,
        "transformers_attention": "sdpa",
        "load_before": [0.0],
        "load_after": [0.0],
        "answering": part,
    }


def test_medians_extremes_and_ratios_inside_a_round(report: ModuleType) -> None:
    rows = [line for line in report.tables(results()).splitlines() if line.startswith("| ")]
    assert rows[2] == "| ceiling | 1,000 | 1,000 to 1,000 | 0% |  |  |  |"
    assert rows[3] == "| ours | 500 | 250 to 1,000 | 0% | 2 | 0.50 (0.25 to 1.00) |  |"
    assert rows[4] == "| theirs | 200 | 100 to 250 | 50% |  | 0.20 (0.10 to 0.25) | 2.50 (2.50 to 4.00) |"


@pytest.mark.peers
def test_the_script_compares_and_measures(root: Path, tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    command = [
        sys.executable, str(root / "benchmarks" / "torch_speed.py"), "--small", "--sequences", "5",
        "--training-sequences", "3", "--rounds", "2", "--no-memory", "--output", str(file),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(file.read_text(encoding="utf-8"))
    for part in ("answering", "training"):
        assert all(len(each) == 2 and min(each) > 0 for each in found[part]["seconds"].values())
        assert 0 < max(found[part]["distances"].values()) < 1e-5
    assert sum(found["answering"]["profile"].values()) == pytest.approx(1)
    assert "| robertakit, packed" in done.stdout
    way = [*command, "--peak-of", "answering:ours_packed"]
    assert json.loads(subprocess.run(way, capture_output=True, text=True).stdout)["added"] > 0


@pytest.mark.peers
def test_pretraining_is_compared_and_measured(root: Path, tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    command = [
        sys.executable, str(root / "benchmarks" / "pretraining_speed.py"), "--small", "--sequences", "32",
        "--rounds", "2", "--no-memory", "--processes", "1", "2", "--ways", "ours", "theirs_grouped_8",
        "--output", str(file),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(file.read_text(encoding="utf-8"))
    assert list(found["steps"]["seconds"]) == ["ours", "theirs_grouped_8"]
    assert all(len(each) == 2 and min(each) > 0 for each in found["steps"]["seconds"].values())
    for part in ("steps", "loss"):
        assert 0 < max(found[part]["distances"].values()) < 1e-5
    assert list(found["processes"]["seconds"]) == ["1", "2"]
    assert "| robertakit, packed" in done.stdout


@pytest.mark.slow
def test_frameworks_are_compared_and_measured(root: Path, tmp_path: Path) -> None:
    """The reference's classes have an environment of their own; ours alone are tried here."""
    for framework in ("torch", "jax", "tensorflow"):
        pytest.importorskip(framework)
    file = tmp_path / "results.json"
    command = [
        sys.executable, str(root / "benchmarks" / "frameworks_speed.py"), "--small", "--length", "16", "--rounds", "2",
        "--answers", "1", "--output", str(file),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(file.read_text(encoding="utf-8"))
    assert list(found["seconds"]) == ["torch", "jax", "tensorflow_xla", "tensorflow_graph"]
    assert all(len(each) == 2 and min(each) > 0 for each in found["seconds"].values())
    assert 0 < max(found["distances"].values()) < 1e-5
    assert "| JAX, jitted |" in done.stdout
