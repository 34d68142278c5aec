"""The held-out positions: packed as ever, drawn as ever, told by kind."""

import json

import numpy as np
import positions
import pytest
from left_out import documents
from positions import BOS, EOS, FIRST_WORD, LENGTH, PAD


def test_draws_are_those_of_the_first_report():
    """Of rows like these, computed by the script that made the first report."""
    ids = np.tile(np.arange(4, 64), (3, 1))
    ids[:, 0], ids[:, -1], ids[1, 30] = BOS, EOS, EOS
    ids[2, 41:], ids[2, 40] = PAD, EOS
    assert np.flatnonzero(positions.draw(ids)).tolist() == [
        4, 8, 9, 12, 13, 19, 34, 57, 69, 70, 71, 85, 86, 93, 104, 108, 109, 126, 129, 148, 149, 158
    ]  # fmt: skip


def test_fifteen_per_cent_of_the_words_are_drawn_alike_everywhere():
    generator = np.random.default_rng(0)
    ids = generator.integers(0, 50, (300, 200))
    hidden = positions.draw(ids)
    words = ids >= FIRST_WORD
    assert not hidden[~words].any()
    assert abs(hidden.sum() - 0.15 * words.sum()) < len(ids)
    assert np.abs(hidden.sum(1) - 0.15 * words.sum(1)).max() < 1
    assert abs(hidden[:, :100].sum() / hidden.sum() - 0.5) < 0.02
    assert (positions.draw(ids[:10]) == hidden[:10]).all()
    assert (positions.draw(ids, seed=1) != hidden).any()


@pytest.fixture(scope="module")
def held_out(text, tokenizer):
    return positions.HeldOut.read(
        text / "heldout.txt.xz", tokenizer, [("first", "heldout 0"), ("rest", "heldout 5")]
    )


@pytest.mark.parametrize("file", ["one", "heldout"])
def test_rows_hold_the_text_in_order(text, tokenizer, file):
    read = positions.HeldOut.read(text / f"{file}.txt.xz", tokenizer)
    kept = []
    for row in read.ids:
        real = row[row != PAD].tolist()
        assert (real[0], real[-1]) == (BOS, EOS)
        assert real[1] != EOS
        kept += real[1:-1] + [EOS] * bool(row[-1] == PAD)
    decoded = [tokenizer.decode([token for token in kept if token >= FIRST_WORD])]
    assert decoded == [
        "".join(paragraph for text_ in documents(text / f"{file}.txt.xz") for paragraph in text_)
    ]
    owners = read.documents[read.ids >= FIRST_WORD]
    assert (np.diff(owners) >= 0).all()
    assert owners[-1] == sum(1 for _ in documents(text / f"{file}.txt.xz")) - 1
    assert (read.documents[read.ids < FIRST_WORD] == -1).all()


def test_rows_take_sentences_while_they_fit_and_cut_what_is_longer():
    room = LENGTH - 2
    rows = list(positions._packed([[[9] * 300, [8] * 209], [[7] * 2], [[6] * (room + 3)]]))
    assert [len(own) for own, _ in rows] == [509, 2, room, 3]  # 509 + a separator + 2 are too many
    rows = list(positions._packed([[[9] * 300, [8] * 200], [[7] * 9]]))
    assert [own[-11:] for own, _ in rows] == [[8, EOS, *[7] * 9]]
    assert [of[-11:] for _, of in rows] == [[0, *[1] * 10]]


def test_what_is_hidden_and_what_its_neighbours_tell(held_out, tokenizer):
    begins = positions.begins_word(tokenizer.get_vocab())
    hidden = held_out.hidden(begins)
    row, column = np.nonzero(held_out.is_hidden)
    inputs = held_out.inputs
    assert len(row) > 20
    assert set(inputs[row, column].tolist()) == {tokenizer.mask_token_id}
    np.testing.assert_array_equal(inputs[~held_out.is_hidden], held_out.ids[~held_out.is_hidden])
    np.testing.assert_array_equal(hidden.right_answer, held_out.ids[row, column])
    for side, step in ((hidden.left, -1), (hidden.right, 1)):
        told = side >= 0
        np.testing.assert_array_equal(side[told], inputs[row, column + step][told])
        assert set(inputs[row, column + step][~told].tolist()) <= {BOS, EOS, tokenizer.mask_token_id}
    np.testing.assert_array_equal(
        hidden.one_piece, begins[held_out.ids[row, column]] & begins[held_out.ids[row, column + 1]]
    )
    assert held_out.kinds == ("first", "rest")
    np.testing.assert_array_equal(hidden.kind, held_out.documents[row, column] >= 5)


def test_batches_are_the_rows_without_padding(held_out):
    begun = 0
    for batch, rows in held_out.batches(1):
        assert (batch.input_ids[rows] == held_out.mask).all()
        assert (batch.input_ids == held_out.mask).sum() == len(rows)
        assert PAD not in batch.input_ids
        begun += len(rows)
    assert begun == held_out.is_hidden.sum()


def test_a_kind_that_is_not_there_is_told(text, tokenizer):
    with pytest.raises(SystemExit, match="nowhere"):
        positions.HeldOut.read(text / "heldout.txt.xz", tokenizer, [("kind", "nowhere")])


def test_pieces_that_begin_words():
    vocabulary = {
        "<s>": 0,
        "<pad>": 1,
        "</s>": 2,
        "<unk>": 3,
        "Ġold": 4,
        "er": 5,
        ".": 6,
        "Ċ": 7,
        "<mask>": 8,
    }
    begins = positions.begins_word(vocabulary)
    assert begins[4]
    assert not begins[5]
    assert begins[[0, 2, 6, 8]].all()
    unigram = {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "▁old": 4, "er": 5, "▁": 6, "<mask>": 7}
    assert positions.begins_word(unigram).tolist() == [True] * 5 + [False, True, True]


def test_the_shipped_positions(shared, shipped_tokenizer):
    read = positions.HeldOut.read(
        shared / "data" / "pretrain" / "heldout.txt.xz", shipped_tokenizer, positions.known_kinds()
    )
    assert read.ids.shape == (338, 512)
    assert int(read.is_hidden.sum()) == 24_830  # as in the first report
    first = json.loads((positions.HERE / "held_out.json").read_text(encoding="utf-8"))["kinds"]
    assert set(read.kinds) == {row["kind"] for row in first}
    counts = dict(zip(read.kinds, np.bincount(read.kind_of_document).tolist(), strict=True))
    assert counts["definitions"] == 107
    texts = list(documents(shared / "data" / "pretrain" / "heldout.txt.xz"))
    of = [read.kinds[kind] for kind in read.kind_of_document]
    for paragraphs, kind in zip(texts, of, strict=True):  # what each kind looks like
        assert (kind == "fact book") == paragraphs[0].endswith("country profile")
        if kind == "definitions":
            assert all(": " in paragraph for paragraph in paragraphs)
        if kind == "quiz questions":
            assert all("?" in paragraph for paragraph in paragraphs)
        if kind == "books":
            assert ", by " in paragraphs[0]
