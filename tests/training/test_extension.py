"""Vocabularies that grow: plain tokenizers still, old text cut as before, new rows the means of their spellings."""

from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robertakit import RobertaTokenizer, RobertaTokenizerFast, XLMRobertaTokenizer, XLMRobertaTokenizerFast
from robertakit.errors import ArgumentError, TokenizerError
from robertakit.tokenizers.training import train_byte_level_bpe, train_unigram
from robertakit.training.extension import (
    continued_merges,
    extend_embeddings,
    extend_vocabulary,
    spellings,
)

GENERAL = [
    "The cat sat on the mat, and the dog sat by the door.",
    "She sells what she has, and he buys what he needs.",
    "A small town by the sea has a small market in the morning.",
] * 4
DOMAIN = [
    "The myelin sheath insulates the axon; demyelination slows conduction along axons.",
    "Myelinated axons conduct faster than unmyelinated axons of the same diameter.",
] * 5


@pytest.fixture(scope="module")
def byte_level(tmp_path_factory: pytest.TempPathFactory) -> RobertaTokenizerFast:
    folder = train_byte_level_bpe(GENERAL, 320, tmp_path_factory.mktemp("bpe"))
    return RobertaTokenizerFast.from_pretrained(folder)


@pytest.fixture(scope="module")
def unigram(tmp_path_factory: pytest.TempPathFactory) -> XLMRobertaTokenizerFast:
    folder = train_unigram([*GENERAL, *DOMAIN[:1]], 55, tmp_path_factory.mktemp("unigram"))
    return XLMRobertaTokenizerFast.from_pretrained(folder)


def test_byte_level_bpe_stays_a_plain_one(byte_level: RobertaTokenizerFast, tmp_path: Path) -> None:
    new = extend_vocabulary(byte_level, DOMAIN, 30)
    assert len(new) == len(byte_level) + 30
    assert {**byte_level.get_vocab()}.items() <= new.get_vocab().items()  # every old id is as it was
    for text in (*GENERAL, "nothing of the new pieces, he says"):
        if not set(new.tokenize(text)) - set(byte_level.get_vocab()):
            assert new(text)["input_ids"] == byte_level(text)["input_ids"]
    assert sum(len(new.tokenize(t)) for t in DOMAIN) < sum(len(byte_level.tokenize(t)) for t in DOMAIN)
    new.save_pretrained(tmp_path)
    slow, fast = RobertaTokenizer.from_pretrained(tmp_path), RobertaTokenizerFast.from_pretrained(tmp_path)
    for text in (*GENERAL, *DOMAIN, "Ünmyelinated 髄鞘 🧠\n axons"):
        assert slow(text)["input_ids"] == fast(text)["input_ids"] == new(text)["input_ids"]
        assert fast.decode(fast(text)["input_ids"], skip_special_tokens=True) == text


@settings(deadline=None, max_examples=25)
@given(st.lists(st.text("abc ", min_size=1, max_size=20), min_size=1, max_size=6))
def test_what_is_merged_is_how_text_is_cut_afterwards(
    byte_level: RobertaTokenizerFast, texts: list[str]
) -> None:
    """The law of the extension: the counted pieces of the last state are those that the new tokenizer gives."""
    try:
        new = extend_vocabulary(byte_level, texts * 3, 10)
    except ArgumentError:
        return
    added = [piece for piece in new.get_vocab() if piece not in byte_level.get_vocab()]
    used = Counter(piece for text in texts for piece in new.tokenize(text))
    last = max(added, key=lambda piece: new.get_vocab()[piece])
    assert used[last] > 0  # nothing is merged behind the last one, so it stands in the text as it was counted


def test_merges_are_those_of_plain_training_on_words_of_letters() -> None:
    """Against the algorithm as the paper states it, a full count for each merge."""
    words = {tuple("lower"): 2, tuple("lowest"): 3, tuple("newer"): 6, tuple("wider"): 3, tuple("aaaa"): 4}
    sequences, known, expected = {word: list(word) for word in words}, set("lowerstnidа"), []
    for _ in range(8):
        counts: Counter[tuple[str, str]] = Counter()
        for word, pieces in sequences.items():
            for pair in pairwise(pieces):
                counts[pair] += words[word]
        fresh = {pair: number for pair, number in counts.items() if "".join(pair) not in known}
        best = min(fresh, key=lambda pair: (-fresh[pair], pair))
        if fresh[best] < 2:
            break
        expected.append(best)
        known.add("".join(best))
        for pieces in sequences.values():
            at = 0
            while at < len(pieces) - 1:
                if (pieces[at], pieces[at + 1]) == best:
                    pieces[at : at + 2] = ["".join(best)]
                at += 1
    assert continued_merges(words, set("lowerstnidа"), 8) == expected
    assert len(expected) == 8


def test_unigram_gets_pieces_and_its_mask_stays_last(
    unigram: XLMRobertaTokenizerFast, tmp_path: Path
) -> None:
    new = extend_vocabulary(unigram, DOMAIN, 8)
    assert len(new) == len(unigram) + 8
    assert new.mask_token_id == len(new) - 1
    assert sum(len(new.tokenize(t)) for t in DOMAIN) < sum(len(unigram.tokenize(t)) for t in DOMAIN)
    new.save_pretrained(tmp_path)
    slow = XLMRobertaTokenizer.from_pretrained(tmp_path)
    for text in (*GENERAL, *DOMAIN):
        assert slow(text)["input_ids"] == new(text)["input_ids"]


@pytest.mark.parametrize("kind", ["byte_level", "unigram"])
def test_spellings_keep_old_pieces_and_spell_new_ones(kind: str, request: pytest.FixtureRequest) -> None:
    old = request.getfixturevalue(kind)
    new = extend_vocabulary(old, DOMAIN, 12)
    rows = spellings(old, new)
    names = {id: piece for piece, id in old.get_vocab().items()}
    letters = set(
        "".join(names.values())
    )  # a unigram vocabulary lacks some: what has them begins as the rest of it
    for piece, id in new.get_vocab().items():
        assert rows[id], piece
        spelled = "".join(names[one] for one in rows[id])
        assert spelled == piece or not set(piece) <= letters, piece
        assert (len(rows[id]) == 1) or piece not in old.get_vocab()
    assert rows[new.mask_token_id] == [old.mask_token_id]


def test_what_cannot_be_extended_is_refused(byte_level: RobertaTokenizerFast, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="1 or more"):
        extend_vocabulary(byte_level, DOMAIN, 0)
    with pytest.raises(ArgumentError, match="no new piece"):
        extend_vocabulary(byte_level, ["x"], 5)
    byte_level.save_pretrained(tmp_path)
    with_tokens = RobertaTokenizerFast.from_pretrained(tmp_path)
    with_tokens.add_tokens(["<extra>"])
    with pytest.raises(TokenizerError, match="<extra>"):
        extend_vocabulary(with_tokens, DOMAIN, 5)


@pytest.mark.parametrize("tied", [True, False])
def test_rows_begin_as_means_and_old_text_scores_as_before(
    byte_level: RobertaTokenizerFast, tied: bool
) -> None:
    torch = pytest.importorskip("torch")
    from robertakit import RobertaConfig, RobertaForMaskedLM

    torch.manual_seed(1)
    config = RobertaConfig(
        vocab_size=len(byte_level), hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=16, tie_word_embeddings=tied,
    )  # fmt: skip
    model = RobertaForMaskedLM(config).eval()
    with torch.no_grad():
        model.lm_head.decoder.bias.normal_()
    new = extend_vocabulary(byte_level, DOMAIN, 12)
    rows = spellings(byte_level, new)
    ids = torch.tensor([byte_level("She sells what she has")["input_ids"]])
    with torch.no_grad():
        before = model(ids).logits
        old = [model.roberta.embeddings.word_embeddings.weight.clone(), model.lm_head.decoder.bias.clone()]
        extend_embeddings(model, rows)
        after = model(ids).logits
    kept = len(byte_level)
    assert torch.equal(after[..., :kept], before)
    now = [model.roberta.embeddings.word_embeddings.weight, model.lm_head.decoder.bias]
    for values, was in zip(now, old, strict=True):
        for id in range(kept, len(rows)):
            torch.testing.assert_close(values[id], was[rows[id]].mean(0))
    assert (model.lm_head.decoder.weight is now[0]) == tied
    assert model.config.vocab_size == len(new)
