"""The card: what a report says stands between the marks, and nothing else is touched."""

import json

import card
import pytest

PART = {"top1": 0.25, "top5": 0.5, "perplexity": 1234.56, "words": 1000}
PAIRS = {"right": 15, "pairs": 20, "interval": [0.53, 0.89]}
REPORT = {
    "parameters": 5_004_160,
    "held-out": {
        name: dict.fromkeys(("all tokens", "one-piece words", "pieces", "books", "textbooks"), PART)
        for name in ("model", "unigram", "bigram", "bigram, both sides")
    },
    "minimal pairs": {"model": {"all": PAIRS}, "bigram": {"all": PAIRS | {"right": 12}}},
    "prompts": [
        {"text": "A <mask>.", "answers": [["a|b", 0.5], ["c`d", 0.25]], "sensible": True, "sensible in five": True,
         "overlap": {"runs": 3, "in the training text": 1}},
        {"text": "B <mask>.", "answers": [["x", 0.5]], "sensible": False, "sensible in five": True,
         "overlap": {"runs": 1, "in the training text": 0}},
    ],
    "capitals": {
        "candidates": 182,
        "left out": {"countries": 20, "first": 3, "in five": 5, "middle rank": 17.5},
        "others": {"countries": 162, "first": 40, "in five": 70, "middle rank": 8.0},
        "each": [{"country": "Cuba", "capital": "Havana", "rank": 4, "sentences that tell it": 9}],
    },
    "bias": {
        "professions": {"person": 1.36, "he over she": {"judge": 2.0, "nurse": -1.0}},
        "nationalities": {"words": {"pleasant": 8, "unpleasant": 10}, "pleasant over unpleasant": {"Greek": 0.25}},
    },
    "agreement": {"torch": 5.2e-06, "jax": 1e-05},
}  # fmt: skip
RUN = {
    "began": "anew", "environment": {"device": "cpu"}, "reads the template lines of the 20 countries": True,
    "seconds": 3480.0, "updates": 22884, "tokens": 23433216,
    "settings": {"learning rate": 0.0007, "row lengths": [[64, 0.4], [128, 0.6]]}, "curve": [],
}  # fmt: skip
LATER = RUN | {
    "began": "from the weights before",
    "reads the template lines of the 20 countries": False,
    "settings": {"learning rate": 0.0005, "arithmetic": "bf16"},
    "curve": [{"tokens": 1e6 * number, "loss": 5 - number / 100} for number in range(1, 41)],
}


def test_a_report_fills_the_card_and_a_second_one_replaces_it(tmp_path):
    path = tmp_path / "README.md"
    path.write_text(f"# Card\n\n{card.BEGIN}\nold\n{card.END}\n\nThe end.\n")
    card.fill_card(path, REPORT, [RUN, LATER])
    text = path.read_text()
    assert text.startswith("# Card\n\n")
    assert text.endswith("\n\nThe end.\n")
    assert "old" not in text.split()
    for said in (
        "| weights | 5,004,160 |  |",
        "| time, device | 58 minutes, cpu | 58 minutes, cpu |",
        "| learning rate | 0.0007 | 0.0005 |",
        "| arithmetic |  | bf16 |",
        "40% of the documents in rows of 64, 60% of the documents in rows of 128",
        "| bigram, both sides | textbooks | 25.0% | 50.0% | 1,234.6 | 1,000 |",
        "| all | 15 of 20 | 53% to 89% | 12 |",
        "A sensible word comes first for 1 of 2, and is among the first five for 2.",
        "| A `<mask>`. | `a\\|b` 50.0%, `c'd` 25.0% | first | 1 of 3 |",
        "| template lines left out | 20 | 3 | 5 | 17.5 |",
        "Cuba 4 (9)",
        "Run 1 read the template lines",
        "nurse -1.00",
        "torch 5.2e-06, jax 1.0e-05",
        "40 million tokens 4.600.",
    ):
        assert said in text, said
    card.fill_card(path, REPORT, [RUN, LATER])
    assert path.read_text() == text


def test_a_curve_is_thinned_and_ends_where_it_ends():
    points = [{"tokens": number} for number in range(40)]
    kept = card.thinned(points)
    assert 2 < len(kept) <= 12
    assert kept[-1] is points[-1]
    assert card.thinned(points[:5]) == points[:5]


def test_a_curve_promises_what_its_last_three_doublings_did():
    points = [{"tokens": 10.0, "loss": 9.0}, *({"tokens": 100.0 * 2**n, "loss": 5 - n / 4} for n in range(4))]
    (said,) = card.promise(points)
    assert "took 0.25 nats" in said
    assert "a loss of 4.00 (perplexity 55, from 70)" in said
    assert card.promise(points[:2]) == card.promise([]) == []


def test_a_card_without_marks_is_told(tmp_path):
    (tmp_path / "README.md").write_text("# Card\n")
    with pytest.raises(SystemExit, match="no section"):
        card.fill_card(tmp_path / "README.md", REPORT, [RUN])


def test_the_shipped_card_is_that_of_the_committed_report(root, tmp_path):
    shipped = root / "src" / "robertakit" / "embedded" / "english" / "README.md"
    folder = root / "recipes" / "embedded_model"
    report, history = (
        json.loads((folder / name).read_text(encoding="utf-8")) for name in ("report.json", "history.json")
    )
    text = shipped.read_text(encoding="utf-8")
    (tmp_path / "README.md").write_text(text, encoding="utf-8")
    card.fill_card(tmp_path / "README.md", report, history["runs"])
    assert (tmp_path / "README.md").read_text(encoding="utf-8") == text


def test_every_source_is_attributed(root):
    from robertakit.training.recipe import read_recipe

    folder = root / "src" / "robertakit" / "embedded" / "english"
    text = " ".join((folder / "ATTRIBUTION.md").read_text(encoding="utf-8").split())
    for recipe in ("embedded.toml", "embedded-gpu.toml"):
        sources = read_recipe(root / "recipes" / recipe, files=False).sources
        assert len(sources) == 13
        for source in sources:
            for name in source.attribution.replace(", 2014", "").split(" and "):
                assert name.split(", ")[0] in text, source
            assert source.licence.split(" and ")[0].split("/")[0] in text, source
    assert "CC BY-SA 4.0" in (folder / "LICENSE").read_text(encoding="utf-8")
