"""The evaluation: baselines by hand, what counts as hidden, and a whole report of a small model."""

import json

import batches
import card
import corpus
import evaluate
import numpy as np
import pretrain
import pytest
import torch

from robertakit.torch import RobertaForMaskedLM

SOURCES = [corpus.Source("one", 1.5, "", ""), corpus.Source("two", 3, "", "")]


def counted(documents, passes=(1.0,)):
    """Bigrams of documents of ids, the first of them in the first source and so on."""
    shards = [
        corpus.Shard(
            np.array(document, np.uint16), np.array([len(document)], np.uint16), np.array([1], np.int32)
        )
        for document in documents
    ]
    made = [corpus.Source(str(index), share, "", "") for index, share in enumerate(passes)]
    return evaluate.Bigrams(batches.Corpus.of(shards, made), 10)


def test_bigrams_are_counted_inside_documents_and_weighted_as_in_training():
    counts = counted([[4, 5, 4, 6], [6, 5]], passes=(1.0, 3.0))
    np.testing.assert_allclose(counts.unigram[[4, 5, 6]], np.array([2, 4, 4]) / 10, atol=1e-3)
    after = counts.after(4, kept=1.0)
    np.testing.assert_allclose(after, np.eye(10)[5] / 2 + np.eye(10)[6] / 2)
    np.testing.assert_allclose(
        counts.after(6, kept=1.0), np.eye(10)[5]
    )  # not 4 | 6 over the documents' border
    np.testing.assert_allclose(counts.after(9, kept=1.0), counts.unigram)  # never seen
    mixed = counts.after(4, kept=0.75)
    np.testing.assert_allclose(mixed, 0.75 * after + 0.25 * counts.unigram)


def test_both_neighbours_are_bayes_rule():
    counts = counted([[4, 5, 6, 4, 7, 6, 4, 5, 8]])
    left, right = np.array([4, 4, -1]), np.array([6, -1, -1])
    rows = counts.predict(left, right, 1.0)
    np.testing.assert_allclose(rows.sum(1), 1)
    # P(5 | 4) P(6 | 5) : P(7 | 4) P(6 | 7) = 2/3 * 1/2 : 1/3 * 1
    np.testing.assert_allclose(rows[0, [5, 7]], [0.5, 0.5])
    np.testing.assert_allclose(rows[1], counts.after(4, 1.0))
    np.testing.assert_allclose(rows[2], counts.unigram)


def test_scores_are_ranks_and_perplexity():
    hidden = evaluate.Hidden(np.array([1, 2, 0]), *[np.zeros(3, np.int64)] * 3, np.array([True, False, True]))
    log = np.log([[0.1, 0.6, 0.3], [0.5, 0.3, 0.2], [0.25, 0.5, 0.25]])
    figures = evaluate.score(lambda part: log[part], hidden)
    assert figures["all tokens"]["top1"] == pytest.approx(1 / 3)
    assert figures["all tokens"]["top5"] == 1
    assert figures["all tokens"]["perplexity"] == pytest.approx((0.6 * 0.2 * 0.25) ** (-1 / 3))
    assert figures["one-piece words"]["words"] == 2
    assert figures["pieces"]["perplexity"] == pytest.approx(5)


@pytest.fixture(scope="module")
def held_out(shards):
    shard = corpus.Shard.load(shards / "heldout.npz.xz")
    return pretrain.HeldOut(shard, 320, torch.device("cpu"))


def test_hidden_positions_know_only_what_is_seen(shards, held_out):
    begins = evaluate.begins_word(shards / "tokenizer")
    hidden = evaluate.Hidden.of(held_out, begins)
    kept = held_out.labels != batches.IGNORED
    rows = held_out.rows[kept].numpy()
    seen, true = held_out.inputs.numpy().ravel(), held_out.ids.numpy().ravel()
    assert len(hidden.right_answer) == int(kept.sum()) > 20
    np.testing.assert_array_equal(seen[rows], 319)  # each is hidden
    np.testing.assert_array_equal(hidden.right_answer, true[rows])
    for side, step in ((hidden.left, -1), (hidden.right, 1)):
        told = side >= 0
        np.testing.assert_array_equal(side[told], seen[rows + step][told])
        assert set(seen[rows + step][~told].tolist()) <= {batches.BOS, batches.EOS, 319}
    np.testing.assert_array_equal(hidden.one_piece, begins[true[rows]] & begins[true[rows + 1]])


@pytest.fixture(scope="module")
def model_folder(shards, tmp_path_factory):
    """A model with new weights, as a run saves it."""
    folder = tmp_path_factory.mktemp("model")
    settings = pretrain.Settings("", steps=1, hidden_size=24, layers=2, heads=2, intermediate_size=32)
    torch.manual_seed(1)
    pretrain.save_model(folder, RobertaForMaskedLM(settings.config(320)), shards / "tokenizer")
    return folder


LOG = [
    {"event": "start", "parameters": 12345, "device": "cpu", "torch": "9.9", "settings": {
        "batch_tokens": 512, "mix": [[64, 0.25], [128, 0.75]], "rate": 0.15, "learning_rate": 0.001,
        "warm_up": 0.05, "weight_decay": 0.01, "clip": 1.0, "dropout": 0.0, "bf16": True, "hidden_size": 24,
        "layers": 2, "heads": 2, "intermediate_size": 32, "seed": 7}},
    {"event": "step", "step": 10, "tokens": 5120, "seconds": 60.0, "epoch": 0},
    {"event": "end", "step": 20, "tokens": 10240, "seconds": 123.0, "epoch": 1},
]  # fmt: skip


def test_a_report_fills_the_card_and_a_second_one_replaces_it(
    shards, model_folder, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(evaluate, "sources", lambda: SOURCES)
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in LOG))
    path = tmp_path / "README.md"
    path.write_text(f"# Card\n\n{card.BEGIN}\nold\n{card.END}\n\nThe end.\n")
    arguments = ["--model", model_folder, "--shards", shards, "--log", tmp_path / "log.jsonl"]
    arguments += ["--report", tmp_path / "report.json", "--card", path]
    evaluate.main([str(argument) for argument in arguments])
    report = json.loads((tmp_path / "report.json").read_text())
    assert "unigram" in capsys.readouterr().out
    assert list(report["held-out"]) == ["model", "unigram", "bigram", "bigram, both sides"]
    figures = {name: parts["all tokens"] for name, parts in report["held-out"].items()}
    assert len({row["words"] for row in figures.values()}) == 1  # the same positions
    # new weights know nothing; the text is a dozen words in sentences of one form, so neighbours tell much
    assert figures["model"]["perplexity"] == pytest.approx(320, rel=0.1)
    assert figures["bigram, both sides"]["perplexity"] < figures["bigram"]["perplexity"]
    assert figures["bigram"]["perplexity"] < figures["unigram"]["perplexity"] < 320
    assert 0 < report["agreement"] < 1e-5
    assert len(report["prompts"]) == 20
    assert all(len(prompt["answers"]) == 5 for prompt in report["prompts"])
    text = path.read_text()
    assert text.startswith("# Card\n\n")
    assert text.endswith("\n\nThe end.\n")
    assert "old" not in text.split()
    for said in (
        "12,345",
        "2 minutes, cpu, PyTorch 9.9",
        "25% of the documents in rows of 64",
        "The capital of France",
    ):
        assert said in text
    assert f"{figures['bigram']['perplexity']:,.1f}" in text
    card.fill_card(path, report)
    assert path.read_text() == text


def test_agreement_notices_other_numbers(model_folder, held_out, monkeypatch):
    exact = evaluate.agreement(model_folder, held_out)
    run = evaluate.pytorch.Engine.run
    monkeypatch.setattr(
        evaluate.pytorch.Engine,
        "run",
        lambda *given, **named: {"logits": run(*given, **named)["logits"] + 0.01},
    )
    assert exact < 1e-5 < 0.005 < evaluate.agreement(model_folder, held_out) <= 0.011


def test_a_card_without_marks_is_told(tmp_path):
    (tmp_path / "README.md").write_text("# Card\n")
    with pytest.raises(SystemExit, match="no section"):
        card.fill_card(tmp_path / "README.md", {})


def test_the_shipped_card_has_its_marks_and_words_survive_the_table(root):
    text = (root / "src" / "robertakit" / "embedded" / "english" / "README.md").read_text(encoding="utf-8")
    assert text.count(card.BEGIN) == text.count(card.END) == 1
    assert card.shown("a|b`c\nd") == "`a\\|b'c\\nd`"


def test_every_source_is_attributed(root):
    folder = root / "src" / "robertakit" / "embedded" / "english"
    text = " ".join((folder / "ATTRIBUTION.md").read_text(encoding="utf-8").split())
    for source in corpus.sources():
        for name in source.attribution.replace(", 2014", "").split(" and "):
            assert name.split(", ")[0] in text, source
        assert source.licence.split(" and ")[0].split("/")[0] in text, source
    assert "CC BY-SA 4.0" in (folder / "LICENSE").read_text(encoding="utf-8")


def test_prompts_are_twenty_and_have_one_mask():
    prompts = json.loads((corpus.HERE / "prompts.json").read_text(encoding="utf-8"))["prompts"]
    assert len(prompts) == len({prompt["text"] for prompt in prompts}) == 20
    assert all(prompt["text"].count("<mask>") == 1 and prompt["sensible"] for prompt in prompts)
