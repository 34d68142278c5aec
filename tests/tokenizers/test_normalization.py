import pytest
import sentencepiece
from hypothesis import given, settings
from hypothesis import strategies as st

from robertakit.tokenizers.normalization import Normalizer, align
from robertakit.tokenizers.sentencepiece_model import SentencePieceModel


@pytest.fixture(scope="module")
def model(trained):
    return SentencePieceModel.from_file(trained / "sentencepiece.bpe.model")


@pytest.fixture(scope="module")
def normalizer(model):
    return Normalizer(model.charsmap)


@pytest.fixture(scope="module")
def original(model):
    return sentencepiece.SentencePieceProcessor(model_proto=model.to_bytes())


@pytest.mark.parametrize(
    ("text", "normalized"),
    [
        ("", ""),
        (" \t\u3000\u200b\ufeff", ""),
        ("a", "▁a"),
        ("  two \n words ", "▁two▁words"),
        ("zero\u200bwidth", "▁zero▁width"),
        ("½ № ﷺ", "▁1⁄2▁No▁صلى▁الله▁عليه▁وسلم"),
        ("か\u3099ｶﾞ", "▁がガ"),  # the longest entry, not whole graphemes
        ("e\u0301\u0301", "▁é\u0301"),
        ("e\u0323\u0302", "▁ệ"),
        ("e\u0302\u0323", "▁ê\u0323"),  # no canonical reordering
        ("a\x85b\xad", "▁a\x85b\xad"),
        ("\x01a\x7fb\x0b", "▁ab"),
        ("～ ｍ", "▁～▁m"),
        ("▁a▁▁b▁", "▁a▁b"),
        ("¨a", "▁\u0308a"),
        ("\x00", "▁\x00"),
    ],
)
def test_what_nmt_nfkc_does(normalizer, original, text, normalized):
    assert normalizer.normalize(text).text == normalized
    assert original.normalize(text) == normalized


@settings(max_examples=1500)
@given(data=st.data())
def test_text_is_that_of_sentencepiece(normalizer, original, texts, data):
    text = data.draw(texts)
    found = normalizer.normalize(text)
    assert found.text == original.normalize(text) == normalizer.normalize(text, False).text
    assert len(found.starts) == len(found.ends) == len(found.text)
    assert all(0 <= start <= end <= len(text) for start, end in zip(found.starts, found.ends, strict=True))
    assert sorted(found.starts) == found.starts
    assert sorted(found.ends) == found.ends


@settings(max_examples=300)
@given(st.text("ab  \u0301é中", max_size=20))
def test_without_a_map_only_spaces_change(text):
    found = Normalizer(b"").normalize(text)
    assert found.text == "".join("▁" + word for word in text.split(" ") if word)
    for character, start, end in zip(found.text, found.starts, found.ends, strict=True):
        assert end == start + 1
        assert character == "▁" or text[start] == character


def spans(length, replaced):
    return list(zip(*align(length, replaced), strict=True))


def test_replaced_characters_stand_one_for_one():
    assert spans(3, []) == [(0, 1), (1, 2), (2, 3)]
    assert spans(3, [(1, 1, 3)]) == [(0, 1), (1, 2), (1, 2), (1, 2), (2, 3)]  # a½b
    assert spans(4, [(1, 2, 1)]) == [(0, 1), (1, 2), (3, 4)]  # the mark of a composed letter is taken by it
    assert spans(3, [(1, 1, 0)]) == [(0, 1), (2, 3)]
    assert spans(3, [(0, 1, 0)]) == [(0, 1), (1, 2)]  # as the published offsets have it: too far left
    assert spans(3, [(0, 1, 3), (1, 1, 0)]) == [(0, 1), (0, 1), (1, 2), (2, 3)]


def published_spans(charsmap, text):
    """What `tokenizers` makes of the map's alignment, character by character."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

    backend = Tokenizer(models.Unigram([("<unk>", 0.0)], 0, False))
    backend.normalizer = normalizers.Precompiled(charsmap)
    backend.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    return backend.encode(text).offsets


@pytest.mark.parametrize(
    "text",
    ["a½b", "a\x01b", "\x01ab", "½\x01\x02b", "ﷺ x", "a…\x7f…b", "\x01\x02½ab", "e\u0301x", "가가"],
)
def test_alignment_is_that_of_tokenizers(model, normalizer, text):
    _, aligned = normalizer._map(text, True)
    aligned = aligned or ([*range(len(text))], [*range(1, len(text) + 1)])
    expected = published_spans(model.charsmap, text)
    merged = [(aligned[0][0], aligned[1][-1])]  # one unknown piece for the whole of it
    assert expected in (list(zip(*aligned, strict=True)), merged)
