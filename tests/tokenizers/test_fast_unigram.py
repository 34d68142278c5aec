import pickle
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robertakit.errors import InputError
from robertakit.tokenizers.fast_unigram import FastUnigram
from robertakit.tokenizers.lattice import Sampling

# Found while the cores were written, or told of in ../shared/data/tokenizers/README.md.
CASES = [
    "",
    " \t\u200b",
    "\x00\x00",
    "\x01a",
    "\x01",
    "a\x85b",
    "か\u3099 ｶﾞ e\u0323\u0302 e\u0301\u0301 \u09c7\u09be",
    "＜mask＞ <ｍask> ＜s＞",
    "x IIIIIII",  # a tie in float32 that is none in float64
    "the IIIIIIIIIIIIIIIII end",
    "x nnnnnnnnnnnnnnnnnnnnnnnn",
    "the yyyyyyyyyyyyyyyyyyyyyyyy end",
    '=LLC-s nmrcsss mtiaiol!@"ccc technooay @"ccc"@"ccc',
    "x ｶ",
    "▁ a▁▁b ▁",
    "🃏🃏 b🃏",
    "ﷺ½…¨",
    "a " * 200,
]


def agree(pair, text):
    """Slow and fast agree; offsets stand in the text; each piece covers what it spells, where nothing changed."""
    slow, fast = pair.slow.encode(text), pair.fast.encode(text)
    assert slow == fast
    assert pair.slow.encode(text, False).ids == pair.fast.encode(text, False).ids == slow.ids
    assert all(0 <= start <= end <= len(text) for start, end in slow.offsets)
    assert sorted(slow.words) == slow.words
    for number in range(1, len(slow.offsets)):
        assert slow.offsets[number - 1][0] <= slow.offsets[number][0]


@pytest.mark.parametrize("text", CASES)
def test_cases(unigram, text):
    agree(unigram, text)


@settings(max_examples=750)
@given(data=st.data())
def test_slow_and_fast_agree(unigram, texts, data):
    agree(unigram, data.draw(texts))


@pytest.mark.slow
@settings(max_examples=20_000)
@given(data=st.data())
def test_slow_and_fast_agree_on_twenty_thousand_strings(unigram, texts, data):
    agree(unigram, data.draw(texts))


@settings(max_examples=300)
@given(text=st.text("aeinrst ZÄé中はя.,!?1🃏", max_size=40))
def test_trap_08_offsets_cover_the_text_and_show_the_pieces(unigram, text):
    pieces = unigram.fast.encode(text)
    covered = ""
    for id, (start, end) in zip(pieces.ids, pieces.offsets, strict=True):
        piece = unigram.fast.piece_of(id)
        assert piece in ("▁", "<unk>") or text[start:end] == piece.removeprefix("▁")
        covered += "" if piece == "▁" else text[start:end]
    assert covered == text.replace(" ", "")


@pytest.mark.parametrize("kind", ["slow", "fast"])
@pytest.mark.parametrize("name", ["reference", "ties"])
def test_reference_rows(published_unigram, rows_of, kind, name):
    core = getattr(published_unigram, kind)
    rows = rows_of(f"xlm-roberta/{name}.jsonl.xz")
    assert len(rows) > (4400 if name == "reference" else 40)
    for row, pieces in zip(rows, core.encode_batch([row["text"] for row in rows], True), strict=True):
        assert pieces.ids == row["ids"][1:-1], row["text"]
        if "ids_published_json" in row:
            continue  # its offsets belong to other pieces
        flat = [place for offset in pieces.offsets for place in offset]
        assert flat == row.get("offsets_published_json", row["offsets"])[2:-2], row["text"]
        if "word_ids" in row:
            assert pieces.words == row.get("word_ids_published_json", row["word_ids"])[1:-1], row["text"]
            if "<unk>" not in row["decode"]:
                shown = core.decode([core.piece_of(id) for id in pieces.ids])
                assert shown == row["decode_skip"], row["text"]


@pytest.mark.parametrize("kind", ["slow", "fast"])
def test_ids_have_fairseqs_offset(published_unigram, kind):
    core = getattr(published_unigram, kind)
    assert [core.piece_of(id) for id in (0, 1, 2, 3, 4, 250001)] == [
        "<s>",
        "<pad>",
        "</s>",
        "<unk>",
        ",",
        "<mask>",
    ]
    assert len(core.vocabulary) == 250002
    assert all(core.vocabulary[core.piece_of(id)] == id for id in range(0, 250002, 97))
    with pytest.raises(KeyError):
        core.piece_of(250002)
    with pytest.raises(KeyError):
        core.piece_of(-1)


@pytest.mark.parametrize("kind", ["slow", "fast"])
def test_lone_surrogates_are_refused(unigram, kind):
    core = getattr(unigram, kind)
    with pytest.raises(InputError, match=r"lone surrogate U\+D800 at character 1"):
        core.encode("a\ud800")
    with pytest.raises(InputError, match="lone surrogate"):
        core.encode_batch(["fine", "\udfff"])


@pytest.mark.parametrize("kind", ["slow", "fast"])
def test_pickles(unigram, kind):
    core = getattr(unigram, kind)
    copy = pickle.loads(pickle.dumps(core))
    assert copy.encode("Der Fuchs ½") == core.encode("Der Fuchs ½")


@pytest.mark.parametrize("nbest_size", [-1, 4])
def test_samples_are_distributed_as_the_slow_ones(unigram, nbest_size):
    sampling = Sampling(enable_sampling=True, nbest_size=nbest_size, alpha=0.3)
    text, draws = "the fox", 3000
    counts = []
    for core in (unigram.slow, unigram.fast):
        sampler = type(core)(core.model, sampling=sampling)
        counts.append(Counter(tuple(pieces.ids) for pieces in sampler.encode_batch([text] * draws)))
    assert len(counts[0]) > 1
    distance = sum(abs(counts[0][key] - counts[1][key]) for key in {*counts[0], *counts[1]}) / (2 * draws)
    # Two samples of 3,000 from one distribution over n outcomes differ by about sqrt(n / (π · draws)).
    assert distance < 0.05 + (len(counts[0]) / draws) ** 0.5
    assert isinstance(sampler, FastUnigram)
    sampled = sampler.encode(text)
    assert sampled.offsets[-1][1] == len(text)


def test_text_without_sampling_is_always_cut_the_same(unigram):
    best = type(unigram.slow)(unigram.slow.model, sampling=Sampling(enable_sampling=True, nbest_size=1))
    assert best.encode("the fox") == unigram.fast.encode("the fox")
