"""The card of a trained model: all that is known, nothing that is not."""

from pathlib import Path

import numpy as np

from robertakit import RobertaConfig
from robertakit.training.recipe import read_recipe
from robertakit.training.shards import Corpus, SourceTokens, SpecialIds
from robertakit.training.trained_card import trained_card

RECIPE = """
tokenizer = { train = "byte-level-bpe", vocabulary = 300 }
training = { steps = 5, batch_tokens = 4096, learning_rate = 6e-4, warm_up = 2 }
sources = [{ files = "x", name = "a|b", licence = "cc0-1.0", attribution = "Somebody", language = "de" }]
packing = { smoothing = 0.3 }
output = { licence = "cc-by-sa-4.0" }
"""


def card(folder: Path, rows: list[dict[str, object]], *overrides: str) -> str:
    (folder / "recipe.toml").write_text(RECIPE)
    recipe = read_recipe(folder / "recipe.toml", overrides, files=False)
    none = np.zeros(1, np.int64)
    source = SourceTokens("a|b", 2.0, "de", np.zeros(1234, np.uint16), np.zeros(155, np.uint8), none, none)
    corpus = Corpus((source,), 300, SpecialIds(0, 2, 1, 299, 3, (0, 1, 2, 3, 299)))
    config = RobertaConfig(vocab_size=300, hidden_size=8, num_hidden_layers=1, num_attention_heads=2)
    return trained_card(recipe, corpus, config, "RobertaForMaskedLM", rows, "my-model")


def test_text_settings_and_figures_stand_on_it(tmp_path: Path) -> None:
    figures = {"loss": 2.5, "top1": 0.5, "top5": 0.75, "targets": 1000}
    rows: list[dict[str, object]] = [
        {
            "event": "evaluate",
            "step": 5,
            **figures,
            "languages": {"de": figures},
            "sources": {"a|b": {"targets": 0}},
        },
        {"event": "end", "step": 5, "tokens": 20480},
    ]
    text = card(tmp_path, rows)
    for words in (
        "license: cc-by-sa-4.0", "# my-model", "| a\\|b | de | 1,234 | 2 | cc0-1.0 | Somebody |", "exponent 0.3",
        "| 5, 20,480 |", "at most 4,096 tokens", "| all | 2.500 | 50.0% | 75.0% | 1,000 |", "| de (language) |",
    ):  # fmt: skip
        assert words in text, words
    assert "to be written here" not in text
    assert "a|b (source)" not in text  # nothing was measured there


def test_what_was_not_measured_is_said(tmp_path: Path) -> None:
    text = card(tmp_path, [], "output={}", "packing={}")
    assert "how well the model does was not measured" in text
    assert "license" not in text
    assert "exponent" not in text
    assert text.count("## Loading") == 1
