"""The whole evaluation, of a small model on a small text."""

import json
import math

import card
import evaluate
import history
import left_out
import pytest
from positions import HeldOut

from robertakit import numpy as specification


@pytest.fixture
def recipe(text, tmp_path, monkeypatch):
    path = tmp_path / "recipe.toml"
    path.write_text(
        f"""
        tokenizer = {{ train = "byte-level-bpe", vocabulary = 400 }}
        training = {{ steps = 1, batch_sequences = 8, learning_rate = 1e-3, warm_up = 0 }}
        held_out = {{ files = "{(text / "heldout.txt.xz").as_posix()}" }}
        sources = [
            {{ files = "{(text / "one.txt.xz").as_posix()}", weight = 1.5 }},
            {{ files = "{(text / "two.txt.xz").as_posix()}", weight = 3 }},
        ]
        """,
        encoding="utf-8",
    )
    monkeypatch.setattr(
        evaluate, "known_kinds", lambda: [("one kind", "heldout 0"), ("another", "heldout 4")]
    )
    return path


def test_one_command_makes_the_report_and_the_card(
    model_folder, tokenizer, recipe, tmp_path, monkeypatch, capsys
):
    path = tmp_path / "README.md"
    path.write_text(f"# Card\n\n{card.BEGIN}\nold\n{card.END}\n")
    monkeypatch.setattr(evaluate, "ENGINES", {"numpy": "numpy", "torch": "torch"})
    few = evaluate.minimal_pairs.read()[::20]
    monkeypatch.setattr(evaluate.minimal_pairs, "read", lambda: few)
    arguments = ["--model", model_folder, "--recipe", recipe, "--work", tmp_path / "work", "--workers", 1]
    evaluate.main([str(one) for one in [*arguments, "--report", tmp_path / "report.json", "--card", path]])
    report = json.loads((tmp_path / "report.json").read_text())
    assert "bigram" in capsys.readouterr().out
    assert list(report["held-out"]) == ["model", "unigram", "bigram", "bigram, both sides"]
    figures = {name: parts["all tokens"] for name, parts in report["held-out"].items()}
    assert len({row["words"] for row in figures.values()}) == 1  # the same positions
    kinds = report["held-out"]["model"]
    assert kinds["one kind"]["words"] + kinds["another"]["words"] == figures["model"]["words"]
    # new weights know nothing; the text is a dozen words in sentences of one form, so neighbours tell much
    assert figures["model"]["perplexity"] == pytest.approx(len(tokenizer), rel=0.1)
    assert figures["bigram, both sides"]["perplexity"] < figures["bigram"]["perplexity"]
    assert figures["bigram"]["perplexity"] < figures["unigram"]["perplexity"] < len(tokenizer)
    assert report["minimal pairs"]["model"]["all"]["pairs"] == 10
    assert len(report["prompts"]) == 20
    assert all(len(prompt["answers"]) == 5 for prompt in report["prompts"])
    assert report["capitals"]["left out"]["countries"] == 20
    assert set(report["bias"]) == {"professions", "nationalities"}
    assert all(0 < value < 1e-5 for value in report["agreement"].values())
    assert f"{figures['bigram']['perplexity']:,.1f}" in path.read_text()
    assert len(history.read_history()) >= 1


def test_agreement_notices_other_numbers(text, model_folder, tokenizer, monkeypatch):
    pytest.importorskip("torch")
    held_out = HeldOut.read(text / "heldout.txt.xz", tokenizer)
    monkeypatch.setattr(evaluate, "ENGINES", {"numpy": "numpy", "torch": "torch"})
    exact = evaluate.agreement(model_folder, held_out)
    run = specification.Engine.run

    def other(*given, **named):
        return {"logits": run(*given, **named)["logits"] + 0.01}

    monkeypatch.setattr(specification.Engine, "run", other)
    assert list(exact) == ["torch"]
    assert exact["torch"] < 1e-5 < 0.005 < evaluate.agreement(model_folder, held_out)["torch"] <= 0.011


def test_an_engine_that_answers_no_numbers_is_seen(text, model_folder, tokenizer, monkeypatch):
    pytest.importorskip("torch")
    held_out = HeldOut.read(text / "heldout.txt.xz", tokenizer)
    monkeypatch.setattr(evaluate, "ENGINES", {"numpy": "numpy", "torch": "torch"})
    run = specification.Engine.run
    monkeypatch.setattr(
        specification.Engine,
        "run",
        lambda *given, **named: {"logits": run(*given, **named)["logits"] * math.nan},
    )
    assert math.isnan(evaluate.agreement(model_folder, held_out)["torch"])


def test_what_the_text_tells_is_of_the_text_that_was_trained_on(recipe, text):
    from robertakit.training.recipe import read_recipe

    told = evaluate.told(read_recipe(recipe))
    assert set(told.sentences) == set(left_out.read_choice()[0])
    assert all(own["in the training text"] == 0 for own in told.overlap().values())
