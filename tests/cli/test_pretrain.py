"""``robertakit pretrain``: what it prints, and how it ends."""

from pathlib import Path

import pytest

from robertakit.cli.main import FAILED, OK, main

RECIPE = """
[tokenizer]
train = "byte-level-bpe"
vocabulary = 280
[[sources]]
files = "{folder}/text.txt"
[held_out]
files = "{folder}/text.txt"
[model]
hidden_size = 8
num_hidden_layers = 1
num_attention_heads = 2
intermediate_size = 8
[training]
steps = 2
batch_sequences = 4
learning_rate = 1e-3
warm_up = 1
device = "cpu"
workers = 1
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    (tmp_path / "text.txt").write_text("The cat sat on the mat. The dog sat by the door.\n\n" * 20)
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE.replace("{folder}", tmp_path.as_posix()))
    return path


def test_check_prints_the_whole_recipe_and_makes_nothing(
    recipe: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = recipe.parent / "run"
    assert main(["pretrain", str(recipe), "--folder", str(run), "--set", "training.steps=7", "--check"]) == OK
    printed = capsys.readouterr().out
    assert "steps = 7" in printed
    assert "betas = [0.9, 0.98]" in printed
    assert not run.exists()


def test_a_wrong_recipe_is_told_whole(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pretrain", str(recipe), "--set", "training.stepps=7", "--set", "masking.rate=2"]) == FAILED
    told = capsys.readouterr().err
    assert "2 problems" in told
    assert "did you mean 'steps'?" in told


def test_a_run_is_told_and_quiet_where_that_is_wanted(
    recipe: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch")
    run = recipe.parent / "run"
    assert main(["pretrain", str(recipe), "--folder", str(run)]) == OK
    printed = capsys.readouterr()
    assert str(run / "report.html") in printed.out
    assert "held-out loss" in printed.out
    assert "tokenized" in printed.err
    assert main(["pretrain", str(recipe), "--folder", str(run), "--quiet"]) == OK
    assert capsys.readouterr().err == ""
