"""The recipe of the embedded model: packing, masking, exact resumption, the saved model."""

import json
import math

import batches
import corpus
import numpy as np
import pretrain
import pytest
import torch

MASK = 319


SOURCES = [corpus.Source("one", 1.5, "", ""), corpus.Source("two", 3, "", "")]


@pytest.fixture(scope="module")
def loaded(shards):
    return batches.Corpus.load(shards, SOURCES)


def test_sentences_join_to_the_paragraph_and_their_ids_to_its_ids(text, shards):
    tokenizer = corpus.load_tokenizer(shards / "tokenizer")
    hard = 'He said "No." Then (in 1999) 4 left! “Why?” Nobody knew. e.g. this\u00a0one... And\u2009that.'
    paragraphs = [p for d in corpus.documents(text / "one.txt.xz") for p in d]
    for paragraph in [*paragraphs, hard]:
        pieces = corpus.sentences(paragraph)
        assert "".join(pieces) == paragraph
        assert [i for piece in pieces for i in tokenizer.encode(piece).ids] == tokenizer.encode(paragraph).ids
    assert corpus.sentences("One. Two! Three?") == ["One.", " Two!", " Three?"]


def test_shards_hold_the_text(text, shards, loaded):
    tokenizer = corpus.load_tokenizer(shards / "tokenizer")
    documents = ["".join(d) for name in ("one", "two") for d in corpus.documents(text / f"{name}.txt.xz")]
    assert len(documents) == len(loaded.source)
    for index, document in enumerate(documents):
        tokens = loaded.tokens[loaded.token_offsets[index] : loaded.token_offsets[index + 1]]
        assert tokens[0] == batches.EOS
        assert tokenizer.decode(tokens[1:].tolist()) == document
    assert loaded.sentence_lengths.sum() == len(loaded.tokens)


def test_an_epoch_reads_each_source_as_often_as_asked(loaded):
    drawn = loaded.draw(np.random.default_rng(3))
    counts = np.bincount(drawn, minlength=len(loaded.source))
    assert sorted(counts[loaded.source == 0]) == [1] * 15 + [2] * 15
    assert set(counts[loaded.source == 1]) == {3}


@pytest.mark.parametrize("size", [16, 32, 128])
def test_rows_are_full_sentences_in_order(loaded, size):
    documents = np.arange(len(loaded.source))[::-1]
    rows = batches.pack_rows(loaded, documents, size)
    ids, lengths, _ = rows.batch(0, len(rows.starts))
    assert int(lengths.max()) <= size
    kept = []
    for row, length in zip(ids.tolist(), lengths.tolist(), strict=True):
        assert row[0] == batches.BOS
        assert row[length - 1] == batches.EOS
        assert set(row[length:]) <= {batches.PAD}
        assert row[1] != batches.EOS  # no separator in front
        kept += [token for token in row[1 : length - 1] if token != batches.EOS]
    expected = [
        loaded.tokens[loaded.token_offsets[d] + 1 : loaded.token_offsets[d + 1]].tolist() for d in documents
    ]
    assert kept == [token for document in expected for token in document]
    # a row ends where the next sentence would not fit: no boundary inside a sentence that fits a row
    ends = set(np.cumsum([len(document) for document in expected]).tolist())
    plain = loaded.sentence_lengths.copy()
    plain[loaded.sentence_offsets[:-1]] -= 1
    at = 0
    for d in documents:
        for length in plain[loaded.sentence_offsets[d] : loaded.sentence_offsets[d + 1]].tolist():
            ends |= {at + cut for cut in range(size - 2, length, size - 2)}
            at += length
            ends.add(at)
    at = 0
    for row, length in zip(ids.tolist(), lengths.tolist(), strict=True):
        at += sum(token != batches.EOS for token in row[1 : length - 1])
        assert at in ends


def test_documents_in_a_row_are_separated(loaded):
    rows = batches.pack_rows(loaded, np.arange(6), 128)
    ids, lengths, _ = rows.batch(0, len(rows.starts))
    inner = sum((row[1 : length - 1] == batches.EOS).sum() for row, length in zip(ids, lengths, strict=True))
    assert 0 < int(inner) < 6


def long_rows(count=400, size=128):
    ids = torch.randint(batches.FIRST_WORD, MASK, (count, size), generator=torch.Generator().manual_seed(0))
    lengths = torch.randint(size // 2, size + 1, (count,), generator=torch.Generator().manual_seed(1))
    column = torch.arange(size)
    ids[:, 0] = batches.BOS
    ids[:, 20] = batches.EOS
    ids = torch.where(column < lengths[:, None], ids, batches.PAD)
    return ids.scatter(1, lengths[:, None] - 1, batches.EOS), lengths


def test_trap_12_masks_have_the_published_shares_and_spare_special_tokens():
    ids, lengths = long_rows()
    inputs, rows, labels = batches.draw_masks(ids, lengths, torch.arange(len(ids)), 7, MASK + 1)
    real = labels != batches.IGNORED
    chosen = rows[real]
    assert len(chosen.unique()) == len(chosen)
    originals, hidden = ids.flatten()[chosen], inputs.flatten()[chosen]
    assert torch.equal(originals, labels[real])
    assert int(originals.min()) >= batches.FIRST_WORD
    words = int((ids >= batches.FIRST_WORD).sum())
    assert abs(len(chosen) / words - 0.15) < 0.003
    assert abs(float((hidden == MASK).float().mean()) - 0.8) < 0.02
    assert abs(float((hidden == originals).float().mean()) - 0.1) < 0.02
    others = inputs.flatten().clone()
    others[chosen] = originals
    assert torch.equal(others.view_as(ids), ids)  # nothing else was touched
    # positions are uniform: first and second half of the sentences are chosen alike
    early = float((chosen % 128 < 32).float().mean())
    assert abs(early - float((ids[:, :32] >= batches.FIRST_WORD).sum() / words)) < 0.02


def test_masks_are_keyed_by_seed_epoch_sequence_and_by_nothing_else():
    ids, lengths = long_rows(8)
    sequences = torch.arange(8)
    key = batches.mask_key(1, 0)
    whole = batches.draw_masks(ids, lengths, sequences, key, MASK + 1)[0]
    part = batches.draw_masks(ids[3:5], lengths[3:5], sequences[3:5], key, MASK + 1)[0]
    assert torch.equal(part, whole[3:5])
    for other in (batches.mask_key(1, 1), batches.mask_key(2, 0)):
        assert not torch.equal(batches.draw_masks(ids, lengths, sequences, other, MASK + 1)[0], whole)
    assert not torch.equal(batches.draw_masks(ids, lengths, sequences + 1, key, MASK + 1)[0], whole)


def test_epochs_differ_and_repeat(loaded):
    def plan(epoch):
        return batches.plan_epoch(loaded, ((32, 0.5), (64, 0.5)), 256, seed=5, epoch=epoch)

    one, again, two = plan(0), plan(0), plan(1)
    assert one.order == again.order
    assert torch.equal(one.rows[1].starts, again.rows[1].starts)
    assert not torch.equal(one.rows[0].stream, two.rows[0].stream)
    sizes = {rows.size * (stop - start) for which, start, stop in one.order for rows in [one.rows[which]]}
    assert sizes == {256}


def test_learning_rate_is_a_triangle():
    settings = pretrain.Settings("", steps=10, warm_up=0.2, learning_rate=1.0)
    rates = [pretrain.learning_rate(share, settings) for share in (0, 0.1, 0.2, 0.6, 1.0)]
    np.testing.assert_allclose(rates, [0, 0.5, 1, 0.5, 0], atol=1e-12)


def run(shards, folder, monkeypatch, steps=6, stop=None, explode=None):
    monkeypatch.setattr(pretrain, "sources", lambda: SOURCES)
    arguments = [
        "--shards", shards, "--tokenizer", shards / "tokenizer", "--run", folder, "--device", "cpu",
        "--steps", steps, "--batch-tokens", 512, "--mix", "32:0.5,64:0.5", "--dropout", 0.1, "--layers", 2,
        "--hidden-size", 32, "--heads", 2, "--intermediate-size", 48, "--save-every", 2, "--log-every", 1,
        "--evaluate-every", 100, "--learning-rate", 0.01,
    ]  # fmt: skip
    made = pretrain.parse([str(argument) for argument in arguments])
    if stop is not None:
        original = made.step

        def step(*given):
            if made.progress.step == stop:
                raise KeyboardInterrupt
            return original(*given)

        made.step = step
    if explode is not None:
        train = made.step
        made.step = lambda *given: train(*given) * (math.nan if made.progress.step == explode else 1)
    made.train()
    return made


def test_trap_16_a_run_that_was_cut_off_ends_with_the_same_weights(shards, tmp_path, monkeypatch, capsys):
    whole = run(shards, tmp_path / "whole", monkeypatch, steps=24)
    assert whole.progress.epoch >= 1  # the cut lies in a later epoch than the first
    with pytest.raises(KeyboardInterrupt):
        run(shards, tmp_path / "cut", monkeypatch, steps=24, stop=21)
    resumed = run(shards, tmp_path / "cut", monkeypatch, steps=24)
    for (name, value), other in zip(
        whole.model.state_dict().items(), resumed.model.state_dict().values(), strict=True
    ):
        assert torch.equal(value, other), name
    assert "held-out" in capsys.readouterr().out
    losses = [json.loads(line) for line in (tmp_path / "whole" / "log.jsonl").read_text().splitlines()]
    trained = [row["train_loss"] for row in losses if row["event"] == "step"]
    assert trained[-1] < trained[0] - 0.2


def test_trap_25_a_loss_that_is_no_number_ends_the_run_before_it_is_saved(shards, tmp_path, monkeypatch):
    with pytest.raises(SystemExit, match="not finite"):
        run(shards, tmp_path / "exploded", monkeypatch, steps=6, explode=3)
    kept = run(shards, tmp_path / "exploded", monkeypatch, steps=6)  # goes on from step 2
    whole = run(shards, tmp_path / "whole", monkeypatch, steps=6)
    for value, other in zip(kept.model.state_dict().values(), whole.model.state_dict().values(), strict=True):
        assert torch.equal(value, other)


def test_another_setting_does_not_resume(shards, tmp_path, monkeypatch):
    run(shards, tmp_path, monkeypatch, steps=2)
    with pytest.raises(SystemExit, match="other settings: steps"):
        run(shards, tmp_path, monkeypatch, steps=4)


def test_what_decays_is_what_the_table_says(shards, tmp_path, monkeypatch):
    made = run(shards, tmp_path, monkeypatch, steps=1)
    names = {id(parameter): name for name, parameter in made.model.named_parameters()}
    decaying, plain = ([names[id(p)] for p in group["params"]] for group in made.adam.param_groups)
    assert made.adam.param_groups[0]["weight_decay"] == 0.01
    assert made.adam.param_groups[1]["weight_decay"] == 0
    assert all(name.endswith("weight") and "orm" not in name for name in decaying)
    assert all(name.endswith("bias") or "orm" in name for name in plain)
    assert made.adam.param_groups[0]["betas"] == (0.9, 0.98)
    assert made.adam.param_groups[0]["eps"] == 1e-6
