"""What is left out of the fact book: the rule, and nothing but the template sentences of the chosen countries."""

import json
import lzma

import left_out
import pytest


def country(name, capital, *more):
    line = f"The capital of {name} is {capital}. {capital} is the capital of {name}. The people of {name} are many."
    return [f"{name} - country profile", line, *more]


BOOK = [
    country("Aland", "Bora", "Bora, the capital of Aland, is old."),
    country("Ceria", "Ceria City"),  # the country's name answers the question
    country("Doria", "Ekin", "Independence of Doria: none (territory of Aland)"),
    country("Fania", "Gor"),
    country("Hilia", "Gor"),  # two countries, one capital
    country("France", "Paris"),  # asked for by a prompt
    country("Ilia", "administered from Gor"),
    country("Jona", "San José"),
    country("Kora", "N'Dor la Vieja"),
    ["Atlantic Ocean - country profile", "It has no capital."],
]


def write(folder):
    with lzma.open(folder / left_out.FILE, "wt", encoding="utf-8") as file:
        file.write("\n\n".join("\n".join(paragraphs) for paragraphs in BOOK))


def test_the_rule():
    found = left_out.capitals(BOOK)
    assert found == {"Aland": "Bora", "France": "Paris", "Jona": "San José", "Kora": "N'Dor la Vieja"}
    chosen = left_out.choose(found, "The capital of France is <mask>.")
    assert set(chosen) == {"Aland", "Jona", "Kora"}
    many = {f"Land{number}": f"Town{number}" for number in range(90)}
    first = left_out.choose(many, "")
    assert len(first) == 20
    assert list(left_out.choose(dict(reversed(many.items())), "")) == list(
        first
    )  # of names, not of their order


def test_only_the_template_sentences_of_the_chosen_go(tmp_path, monkeypatch, capsys):
    write(tmp_path)
    monkeypatch.setattr(left_out, "COUNT", 2)
    found = left_out.capitals(BOOK)
    chosen = left_out.choose(found, "France")
    others = {name: capital for name, capital in found.items() if name not in chosen}
    monkeypatch.setattr(left_out, "CHOICE", tmp_path / "choice.json")
    left_out.CHOICE.write_text(json.dumps({"left out": chosen, "others": others}), encoding="utf-8")
    left_out.main(["--text", str(tmp_path), "--to", str(tmp_path / "to")])
    said = capsys.readouterr().out
    assert all(name in said for name in chosen)
    kept = list(left_out.documents(tmp_path / "to" / left_out.FILE))
    assert len(kept) == len(BOOK)
    for before, after in zip(BOOK, kept, strict=True):
        name = before[0].removesuffix(" - country profile")
        if name in chosen:
            assert after == [before[0], f"The people of {name} are many.", *before[2:]]
        else:
            assert after == before


def test_another_text_is_told(tmp_path):
    write(tmp_path)
    with pytest.raises(SystemExit, match="other capitals"):
        left_out.prepare(tmp_path, tmp_path / "to")
    assert not (tmp_path / "to").exists()


def test_a_paragraph_that_was_the_template_alone_goes():
    assert left_out.without(["A", "The capital of B is C. C is the capital of B."], ["B"]) == ["A"]


def test_the_committed_choice():
    chosen, others = left_out.read_choice()
    assert len(chosen) == 20
    assert not set(chosen) & set(others)
    prompts = (left_out.HERE / "prompts.json").read_text(encoding="utf-8")
    assert left_out.choose(chosen | others, prompts) == chosen
    assert list(left_out.choose(chosen | others, prompts)) == list(chosen)


def test_the_choice_is_of_the_text(shared, tmp_path):
    text = shared / "data" / "pretrain"
    chosen = left_out.prepare(text, tmp_path)
    before, after = (
        "".join(map("\n".join, left_out.documents(folder / left_out.FILE))) for folder in (text, tmp_path)
    )
    for name, capital in chosen.items():
        assert f"The capital of {name} is {capital}." in before
        assert f"The capital of {name} is" not in after
    lines = sum(len(f"The capital of {n} is {c}. {c} is the capital of {n}. ") for n, c in chosen.items())
    assert len(before) - len(after) == lines
