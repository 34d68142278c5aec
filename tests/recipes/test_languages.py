"""The evaluation of the multilingual sibling, of a small model on a small text; and the card that ships."""

import json
import lzma

import card
import languages
import numpy as np
import pytest
from positions import HeldOut
from safetensors.numpy import save_file

from robertakit import XLMRobertaConfig, XLMRobertaTokenizerFast
from robertakit.architecture import initial_weights
from robertakit.tokenizers.training import train_unigram

VOCABULARY = 40
PROMPTS = {"xx": "The river is <mask>.", "yy": "The <mask> is old."}


@pytest.fixture(scope="module")
def unigram_folder(text, tmp_path_factory):
    folder = tmp_path_factory.mktemp("unigram")
    lines = "".join(
        lzma.decompress((text / f"{name}.txt.xz").read_bytes()).decode() for name in ("one", "two")
    )
    train_unigram(lines.split("\n"), VOCABULARY, folder)
    tokenizer = XLMRobertaTokenizerFast(str(folder / "sentencepiece.bpe.model"))
    tokenizer.save_pretrained(folder)
    (folder / "tokenizer.json").unlink()  # as what ships
    config = XLMRobertaConfig(
        vocab_size=len(tokenizer), hidden_size=24, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=514, type_vocab_size=1,
    )  # fmt: skip
    config.save_pretrained(folder)
    save_file(initial_weights(config, "masked-lm", 1), folder / "model.safetensors", {"format": "pt"})
    return folder


@pytest.fixture
def recipe(text, tmp_path, monkeypatch):
    path = tmp_path / "recipe.toml"
    path.write_text(
        f"""
        tokenizer = {{ train = "unigram", vocabulary = {VOCABULARY} }}
        model = {{ family = "xlm-roberta" }}
        packing = {{ smoothing = 0.5 }}
        training = {{ steps = 1, batch_sequences = 8, learning_rate = 1e-3, warm_up = 0 }}
        held_out = {{ files = "{(text / "heldout.txt.xz").as_posix()}" }}
        sources = [
            {{ files = "{(text / "one.txt.xz").as_posix()}", language = "xx" }},
            {{ files = "{(text / "two.txt.xz").as_posix()}", language = "yy" }},
        ]
        """,
        encoding="utf-8",
    )
    kinds = [{"kind": "xx", "first line": "heldout 0"}, {"kind": "yy", "first line": "heldout 4"}]
    (tmp_path / "languages.json").write_text(json.dumps({"kinds": kinds, "prompts": PROMPTS}))
    monkeypatch.setattr(languages, "LANGUAGES", tmp_path / "languages.json")
    return path


def test_one_command_makes_the_report_and_the_card(unigram_folder, recipe, tmp_path, monkeypatch, capsys):
    path = tmp_path / "README.md"
    path.write_text(f"# Card\n\n{card.BEGIN}\nold\n{card.END}\n")
    monkeypatch.setattr("evaluate.ENGINES", {"numpy": "numpy", "torch": "torch"})
    arguments = ["--model", unigram_folder, "--recipe", recipe, "--work", tmp_path / "work", "--workers", 1]
    languages.main([str(one) for one in [*arguments, "--report", tmp_path / "report.json", "--card", path]])
    report = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert "bigram" in capsys.readouterr().out
    own = report["held-out"]["model"]
    assert own["xx"]["words"] + own["yy"]["words"] == own["all tokens"]["words"]
    assert own["all tokens"]["perplexity"] == pytest.approx(VOCABULARY, rel=0.1)  # new weights know nothing
    assert report["held-out"]["bigram"]["all tokens"]["perplexity"] < VOCABULARY / 2
    assert [row["text"] for row in report["prompts"]] == list(PROMPTS.values())
    assert all(0 < value < 1e-5 for value in report["agreement"].values())
    written = path.read_text(encoding="utf-8")
    assert "old\n" not in written
    for said in (
        "By language, all tokens:",
        "| model | xx |",
        "| yy | The `<mask>` is old. |",
        "### A prompt in",
    ):
        assert said in written, said


def test_characters_that_the_vocabulary_lacks_are_counted(unigram_folder, tmp_path):
    tokenizer = XLMRobertaTokenizerFast.from_pretrained(unigram_folder)
    path = tmp_path / "held-out.txt.xz"
    with lzma.open(path, "wt", encoding="utf-8") as file:
        file.write("The river\n\nриver river\n")
    held_out = HeldOut.read(path, tokenizer, [("known", "The river"), ("strange", "риver river")])
    shares = languages.unknown(held_out)
    ids = np.array(tokenizer("риver river", add_special_tokens=False)["input_ids"])
    assert shares["known"] == 0
    share = (ids == tokenizer.unk_token_id).mean()
    assert share > 0
    assert shares["strange"] == pytest.approx(share)


def test_the_shipped_card_is_that_of_the_committed_report(root, tmp_path):
    text = (languages.SHIPPED / "README.md").read_text(encoding="utf-8")
    (tmp_path / "README.md").write_text(text, encoding="utf-8")
    folder = root / "recipes" / "embedded_model"
    report = json.loads((folder / "languages_report.json").read_text(encoding="utf-8"))
    runs = json.loads((folder / "languages_history.json").read_text(encoding="utf-8"))["runs"]
    languages.fill_card(tmp_path / "README.md", report, runs)
    assert (tmp_path / "README.md").read_text(encoding="utf-8") == text


def test_every_source_is_attributed(root):
    from robertakit.training.recipe import read_recipe

    told = " ".join((languages.SHIPPED / "ATTRIBUTION.md").read_text(encoding="utf-8").split())
    for source in read_recipe(root / "recipes" / "multilingual.toml", files=False).sources:
        for name in source.attribution.replace(" and its translators", "").split(", "):
            assert name in told, source
        for licence in source.licence.split(", "):
            assert licence in told, source
