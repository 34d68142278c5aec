"""The runs behind the shipped weights: read off a run's recipe and log."""

import json

import history
import pytest

RECIPE = """
tokenizer = { from = "model" }
sources = [{ files = "no/such/file.txt" }]
training = { steps = 30, batch_sequences = 8, learning_rate = 1e-3, warm_up = 2 }
"""
CONTINUED = RECIPE.replace("tokenizer = { from", "model = { from")
LOG = [
    {"event": "start", "step": 0, "device": "cpu", "processes": 1, "identity": "x"},
    {"event": "evaluate", "step": 10, "tokens": 5120, "seconds": 6.0, "loss": 5.5, "top1": 0.1},
    {"event": "step", "step": 20, "tokens": 9000, "seconds": 12.0, "loss": 5.0},
    {"event": "evaluate", "step": 30, "tokens": 10240, "seconds": 20.0, "loss": 5.25},
    {"event": "end", "step": 30, "tokens": 10240, "seconds": 21.5, "stopped": None},
]


def test_template_lines_that_are_still_there_are_seen(tmp_path):
    (name, capital), *_ = history.read_choice()[0].items()
    book = tmp_path / "book.txt"
    recipe = RECIPE.replace("sources = [{", 'sources = [{ name = "factbook",').replace(
        "no/such/file.txt", book.as_posix()
    )
    (tmp_path / "recipe.toml").write_text(recipe, encoding="utf-8")
    for line, told in (
        (f"The capital of {name} is {capital}. {capital} is the capital of {name}. It", True),
        ("A", False),
    ):
        book.write_text(f"{name}\n{line} is old.\n", encoding="utf-8")
        assert history.reads_template_lines(history.read_recipe(tmp_path / "recipe.toml")) is told


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setattr(history, "FILE", tmp_path / "history.json")

    def make(recipe=RECIPE, log=LOG):
        (tmp_path / "recipe.toml").write_text(recipe, encoding="utf-8")
        (tmp_path / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in log), encoding="utf-8")
        history.main(["--run", str(tmp_path)])
        return history.read_history()

    return make


def test_a_run_is_what_its_log_and_recipe_say(run):
    (made,) = run()
    assert made["began"] == "anew"
    assert made["environment"] == {"device": "cpu", "processes": 1}
    assert (made["updates"], made["tokens"], made["seconds"]) == (30, 10240, 21.5)
    assert made["settings"]["learning rate"] == 1e-3
    assert made["curve"] == [
        {"step": 10, "tokens": 5120, "seconds": 6.0, "loss": 5.5},
        {"step": 30, "tokens": 10240, "seconds": 20.0, "loss": 5.25},
    ]


def test_a_run_that_went_on_is_added_and_a_new_one_begins_the_list_again(run):
    run()
    both = run(CONTINUED)
    assert [made["began"] for made in both] == ["anew", "from the weights before"]
    assert len(run()) == 1


def test_another_models_runs_have_a_file_of_their_own(run, tmp_path):
    run()
    other = tmp_path / "other.json"
    (tmp_path / "recipe.toml").write_text(CONTINUED, encoding="utf-8")
    history.main(["--run", str(tmp_path), "--file", str(other)])
    assert [made["began"] for made in history.read_history(other)] == ["from the weights before"]
    assert [made["began"] for made in history.read_history()] == ["anew"]


def test_a_run_that_has_not_ended_is_told(run):
    with pytest.raises(SystemExit, match="not ended"):
        run(log=LOG[:-1])
