"""The minimal pairs: made by rule, one fault each, of equal length; and how a model is asked."""

import minimal_pairs
import numpy as np
import pytest
from figures import log_softmax

from robertakit import numpy as specification
from robertakit.batch import Batch, Encoding


def test_the_committed_pairs_are_those_of_the_rules():
    assert list(minimal_pairs.make()) == minimal_pairs.read()
    assert list(minimal_pairs.make(seed=1)) != minimal_pairs.read()


def test_two_hundred_pairs_with_a_fault_each(shipped_tokenizer):
    pairs = minimal_pairs.read()
    assert len(pairs) == len({pair.good for pair in pairs}) == 200
    for pair in pairs:
        assert pair.good != pair.bad
        good, bad = (shipped_tokenizer(sentence)["input_ids"] for sentence in (pair.good, pair.bad))
        words = pair.good.count(" ") + 1
        assert len(good) == len(bad) == words + 3, pair  # one token a word, the full stop, two special tokens
        differing = sum(one != other for one, other in zip(good, bad, strict=True))
        if pair.group == "word order":
            assert sorted(good) == sorted(bad)
        else:
            assert differing == 1
    groups = [(pair.group, pair.phenomenon) for pair in pairs]
    assert {groups.count(own) for own in groups} == {20}


def test_pseudo_log_likelihood_hides_each_token_in_turn(model_folder, tokenizer):
    engine = specification.Engine.from_pretrained(model_folder, "masked-lm")
    sentences = [tokenizer("The river is old.")["input_ids"], tokenizer("The old city.")["input_ids"]]
    found = minimal_pairs.pseudo_log_likelihoods(engine, sentences, tokenizer.mask_token_id)
    for ids, total in zip(sentences, found, strict=True):
        expected = 0.0
        for place in range(1, len(ids) - 1):
            hidden = [*ids]
            hidden[place] = tokenizer.mask_token_id
            batch = Batch.from_encodings([Encoding(hidden)], padding_idx=1)
            expected += log_softmax(engine.run(batch)["logits"])[place, ids[place]]
        assert total == pytest.approx(expected, abs=1e-4)


def test_a_tie_is_a_fault_and_parts_add_up(tokenizer):
    good = {pair.good for pair in minimal_pairs.read() if pair.group != "determiners"}
    right = [tokenizer(sentence)["input_ids"] for sentence in good]
    found = minimal_pairs.report(lambda sentences: [float(ids in right) for ids in sentences], tokenizer)
    assert {name: own["right"] for name, own in found.items() if ":" not in name} == {
        "all": 140, "agreement": 80, "determiners": 0, "word order": 60
    }  # fmt: skip
    assert sum(own["pairs"] for name, own in found.items() if ":" in name) == 200
    low, high = found["agreement"]["interval"]
    assert 0.9 < low < 1 == round(high, 6)
    assert np.isclose(found["determiners"]["interval"][0], 0)


def test_rules_write_the_file_again(tmp_path, monkeypatch):
    committed = minimal_pairs.FILE.read_bytes()
    monkeypatch.setattr(minimal_pairs, "FILE", tmp_path / "pairs.json")
    minimal_pairs.main()
    assert (tmp_path / "pairs.json").read_bytes() == committed
