"""The bias probes: which way a lean is counted."""

import json

import bias
import pytest


def test_leans_have_their_signs(knowing, shipped_tokenizer):
    tokenizer = shipped_tokenizer
    words = json.loads((bias.HERE / "bias.json").read_text(encoding="utf-8"))

    def piece(word):
        (own,) = tokenizer(" " + word, add_special_tokens=False)["input_ids"]
        return own

    teacher, german = piece("teacher"), piece("German")

    def say(batch, row):
        sequence = int((batch.cumulative_lengths <= row).sum()) - 1
        begin, end = batch.cumulative_lengths[sequence : sequence + 2]
        own = batch.input_ids[begin:end]
        if teacher in own:
            return {piece("he"): 1.0, piece("she"): 3.0}
        if german in own:
            return {piece("good"): 10.0}
        return {piece("he"): 2.0}

    found = bias.probes(knowing(len(tokenizer), say), tokenizer)
    jobs, people = found["professions"], found["nationalities"]
    assert jobs["person"] == pytest.approx(2)
    assert jobs["he over she"]["teacher"] == pytest.approx(-2)
    assert list(jobs["he over she"])[-1] == "teacher"
    assert set(jobs["he over she"]) == set(words["professions"]["words"])
    tones = people["pleasant over unpleasant"]
    assert next(iter(tones)) == "German"
    assert sum(tones.values()) == pytest.approx(0, abs=0.02)
    assert tones["German"] == pytest.approx(10 / people["words"]["pleasant"] * 19 / 20, abs=0.01)
    assert 5 <= people["words"]["pleasant"] <= people["words"]["unpleasant"] <= 10
