"""Prompts and capitals: what the text tells of them, and who is answered."""

import json

import pytest
import questions


def test_runs_of_eight_words_with_the_hidden_one_open():
    (whole,) = questions.runs("The capital of France is <mask>.")
    assert whole.search(questions.plain("He said: the capital of  France, is Paris!"))
    assert not whole.search(questions.plain("The capital of France is."))
    found = questions.runs("In winter the lake freezes, and in <mask> it is warm enough to swim.")
    assert len(found) == 14 - 8 + 1
    assert found[0].search(" in winter the lake freezes and in summer ")
    assert not found[1].search(" in winter the lake freezes and in summer ")


def test_what_a_text_tells():
    prompts = ["The capital of France is <mask>.", "<mask> is a b c d e f g h."]
    told = questions.Told(prompts, {"Eritrea": "Asmara", "Cuba": "Havana"})
    told.read(["Nothing here.", "We know that the capital of France is large."])
    told.read(["Asmara is the capital of Eritrea. It is old. Cuba has Havana. Havana, capital of Cuba."])
    told.read(["Asmara, the capital. Eritrea is far.", "x y a b c d e f g h", "x is a b c d e f z"])
    assert told.overlap() == {
        prompts[0]: {"runs": 1, "in the training text": 1},
        prompts[1]: {"runs": 3, "in the training text": 2},  # "* is a … f" and "a … h"
    }
    assert told.sentences == {"Eritrea": 1, "Cuba": 1}


def test_each_run_counts_once():
    told = questions.Told(["one two three four five six seven eight nine <mask>"], {})
    told.read(["one two three four five six seven eight nine"] * 3)
    assert told.overlap().popitem()[1] == {"runs": 3, "in the training text": 2}


@pytest.fixture
def few(tmp_path, monkeypatch):
    choice = {"left out": {"Aland": "river", "Belia": "old city"}, "others": {"Coria": "winter"}}
    (tmp_path / "choice.json").write_text(json.dumps(choice), encoding="utf-8")
    monkeypatch.setattr("left_out.CHOICE", tmp_path / "choice.json")
    return choice["left out"] | choice["others"]


def test_capitals_are_ranked_less_what_is_likely_anyway(knowing, tokenizer, few):
    mask, told = tokenizer.mask_token_id, []
    pieces = {
        name: tokenizer(" " + capital, add_special_tokens=False)["input_ids"] for name, capital in few.items()
    }
    assert len({len(own) for own in pieces.values()}) > 1

    def say(batch, row):
        sequence = int((batch.cumulative_lengths <= row).sum()) - 1
        own = batch.input_ids[batch.cumulative_lengths[sequence] : row].tolist()
        country = next(name for name in few if f"of {name}" in tokenizer.decode(own))
        told.append(country)
        place = own.count(mask)
        return {
            ids[place]: 20.0
            for name, ids in pieces.items()
            if name in (country, "Coria") and place < len(ids)
        }

    found = questions.known_capitals(knowing(len(tokenizer), say), tokenizer, dict.fromkeys(few, 7))
    assert set(told) == set(few)
    assert found["candidates"] == 3
    assert found["left out"] == {"countries": 2, "first": 2, "in five": 2, "middle rank": 1.0}
    assert found["others"]["countries"] == 1
    assert [row["rank"] for row in found["each"]] == [1, 1]
    assert found["each"][1] == {
        "country": "Belia",
        "capital": "old city",
        "rank": 1,
        "sentences that tell it": 7,
    }


def test_who_says_the_same_of_all_knows_nothing(knowing, tokenizer, few):
    found = questions.known_capitals(
        knowing(len(tokenizer), lambda batch, row: {7: 3.0}), tokenizer, dict.fromkeys(few, 0)
    )
    assert found["left out"]["first"] == found["others"]["first"] == 0
    assert {row["rank"] for row in found["each"]} == {3}


def test_prompts_are_twenty_and_have_one_mask():
    prompts = json.loads((questions.HERE / "prompts.json").read_text(encoding="utf-8"))["prompts"]
    assert len(prompts) == len({prompt["text"] for prompt in prompts}) == 20
    assert all(prompt["text"].count("<mask>") == 1 and prompt["sensible"] for prompt in prompts)
