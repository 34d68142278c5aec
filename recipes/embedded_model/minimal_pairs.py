r"""200 minimal pairs, made by rule: a sentence and the same with one fault, as BLiMP has them (Warstadt et al. 2020).

python recipes/embedded_model/minimal_pairs.py        # writes minimal_pairs.json again, the same each time

Ten phenomena of twenty pairs: agreement of verb, and of reflexives, with their subject, also across other nouns;
determiners that fit their noun; the order of words. The two sentences of a pair have equally many tokens of the shipped
vocabulary: all words here are single tokens in it. A model prefers the sentence with the higher pseudo-log-likelihood,
the sum over its tokens of log P(token | all others) (Salazar et al. 2020); a tie is a fault.
"""

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

import numpy as np
from figures import interval, log_softmax
from left_out import HERE
from positions import PAD

from robertakit import PreTrainedTokenizerFast
from robertakit.batch import Batch, Encoding
from robertakit.engine import Engine

FILE = HERE / "minimal_pairs.json"
SEED, EACH = 11, 20
PEOPLE = [
    "boy",
    "girl",
    "king",
    "teacher",
    "student",
    "soldier",
    "writer",
    "artist",
    "author",
    "lawyer",
    "scientist",
]
THINGS = [
    "book",
    "house",
    "door",
    "table",
    "ship",
    "road",
    "picture",
    "letter",
    "window",
    "garden",
    "bridge",
    "wall",
]
PLACES = [
    "garden",
    "house",
    "river",
    "village",
    "church",
    "school",
    "mountain",
    "forest",
    "hospital",
    "temple",
]
CONSONANT = ["new", "small", "large", "beautiful", "white", "black", "dark", "great", "good"]
VOWEL = [
    "old",
    "open",
    "empty",
    "important",
    "early",
    "independent",
    "ancient",
    "active",
    "official",
    "unusual",
]
OF_PEOPLE = ["old", "young", "happy", "poor", "rich", "famous", "strong", "good", "great", "tall"]
MASSES = ["water", "money", "food", "gold", "rain", "sugar", "heat", "oil", "blood", "work"]
VERBS = ["saw", "found", "wanted", "took", "built", "bought", "opened", "left"]
PLAIN_VERBS = [
    "took",
    "bought",
    "saw",
    "opened",
]  # that no adjective can follow: "found the door open" is no fault
REFLEXIVE = ["saw", "killed", "found", "called", "described", "considered"]
MEN = ["king", "man", "boy", "brother", "son", "emperor"]
WOMEN = ["woman", "girl", "mother", "sister"]
PLURALS = {"church": "churches", "man": "men", "woman": "women"}
PREPOSITIONS = {
    "came": ["to", "from", "into"], "walked": ["to", "into", "through"], "ran": ["to", "into", "from"],
    "lived": ["in", "near", "behind"],
}  # fmt: skip


@dataclass(frozen=True)
class Pair:
    """A sentence and the same with a fault."""

    group: str
    phenomenon: str
    good: str
    bad: str


Draw = random.Random
Rule = Callable[[Draw], tuple[str, str]]


def plural(noun: str) -> str:
    return PLURALS.get(noun, noun + "s")


def _number(draw: Draw, noun: str, many: bool | None = None) -> tuple[str, bool]:
    many = draw.random() < 0.5 if many is None else many
    return (plural(noun) if many else noun), many


def _be(draw: Draw, many: bool) -> tuple[str, str]:
    forms = draw.choice([("is", "are"), ("was", "were"), ("has been", "have been")])
    return forms[many], forms[not many]


def _both(sentence: str, good: str, bad: str) -> tuple[str, str]:
    return sentence.format(good), sentence.format(bad)


def verb(draw: Draw) -> tuple[str, str]:
    subject, many = _number(draw, draw.choice(PEOPLE))
    (good, bad), adjective = _be(draw, many), draw.choice(OF_PEOPLE)
    return _both(f"The {subject} {{}} very {adjective}.", good, bad)


def verb_across_phrase(draw: Draw) -> tuple[str, str]:
    subject, many = _number(draw, draw.choice(THINGS))
    place, _ = _number(draw, draw.choice(PLACES), not many)
    (good, bad), where, adjective = _be(draw, many), draw.choice(["near", "behind"]), draw.choice(CONSONANT)
    return _both(f"The {subject} {where} the {place} {{}} {adjective}.", good, bad)


def verb_across_clause(draw: Draw) -> tuple[str, str]:
    subject, many = _number(draw, draw.choice(PEOPLE))
    thing, _ = _number(draw, draw.choice(THINGS), not many)
    (good, bad), seen, adjective = _be(draw, many), draw.choice(VERBS), draw.choice(OF_PEOPLE)
    return _both(f"The {subject} who {seen} the {thing} {{}} {adjective}.", good, bad)


def reflexive(draw: Draw) -> tuple[str, str]:
    man, many = draw.random() < 0.5, draw.random() < 0.5
    subject = draw.choice(MEN if man else WOMEN)
    good, other = ("himself", "herself") if man else ("herself", "himself")
    bad = draw.choice([other, "themselves"])
    if many:
        subject, good, bad = plural(subject), "themselves", good
    done = draw.choice(REFLEXIVE)
    place = draw.choice(PLACES)
    return _both(f"The {subject} {done} {{}} in the {place}.", good, bad)


def demonstrative(draw: Draw) -> tuple[str, str]:
    thing, many = _number(draw, draw.choice(THINGS))
    adjective, seen = draw.choice(CONSONANT), draw.choice(VERBS)
    one, more = draw.choice([("this", "these"), ("that", "those")])
    good, bad = (more, one) if many else (one, more)
    return _both(f"He {seen} {{}} {adjective} {thing}.", good, bad)


def article(draw: Draw) -> tuple[str, str]:
    vowel = draw.random() < 0.5
    adjective, thing = draw.choice(VOWEL if vowel else CONSONANT), draw.choice(THINGS)
    good, bad = ("an", "a") if vowel else ("a", "an")
    seen = draw.choice(VERBS)
    return _both(f"She {seen} {{}} {adjective} {thing}.", good, bad)


def quantifier(draw: Draw) -> tuple[str, str]:
    mass = draw.random() < 0.5
    noun = draw.choice(MASSES) if mass else plural(draw.choice(THINGS))
    good, bad = ("much", "many") if mass else ("many", "much")
    start = draw.choice(["There was not", "They did not have", "We did not see"])
    start = start if mass or "was" not in start else "There were not"
    return _both(f"{start} {{}} {noun} in the {draw.choice(PLACES)}.", good, bad)


def order_in_noun_phrase(draw: Draw) -> tuple[str, str]:
    adjective, thing, seen = draw.choice(CONSONANT), draw.choice(THINGS), draw.choice(PLAIN_VERBS)
    bad = draw.choice([f"{adjective} {thing} the", f"{adjective} the {thing}"])
    subject = draw.choice(PEOPLE)
    return f"The {subject} {seen} the {adjective} {thing}.", f"The {subject} {seen} {bad}."


def order_of_verb_and_object(draw: Draw) -> tuple[str, str]:
    subject, seen, thing = draw.choice(PEOPLE), draw.choice(VERBS), draw.choice(THINGS)
    return f"The {subject} {seen} the {thing}.", f"The {subject} the {thing} {seen}."


def order_of_preposition(draw: Draw) -> tuple[str, str]:
    subject, came, place = draw.choice(PEOPLE), draw.choice(list(PREPOSITIONS)), draw.choice(PLACES)
    to = draw.choice(PREPOSITIONS[came])
    return f"The {subject} {came} {to} the {place}.", f"The {subject} {came} the {place} {to}."


#: (group, phenomenon, rule)
RULES: tuple[tuple[str, str, Rule], ...] = (
    ("agreement", "verb", verb),
    ("agreement", "verb across a phrase", verb_across_phrase),
    ("agreement", "verb across a clause", verb_across_clause),
    ("agreement", "reflexive", reflexive),
    ("determiners", "this and these", demonstrative),
    ("determiners", "a and an", article),
    ("determiners", "many and much", quantifier),
    ("word order", "noun phrase", order_in_noun_phrase),
    ("word order", "verb and object", order_of_verb_and_object),
    ("word order", "preposition", order_of_preposition),
)


def make(seed: int = SEED) -> Iterator[Pair]:
    """The pairs, no sentence twice."""
    draw, seen = random.Random(seed), set[str]()
    for group, phenomenon, rule in RULES:
        count = 0
        while count < EACH:
            good, bad = rule(draw)
            if good not in seen:
                seen.add(good)
                count += 1
                yield Pair(group, phenomenon, good, bad)


def read() -> list[Pair]:
    """The committed pairs."""
    return [Pair(**row) for row in json.loads(FILE.read_text(encoding="utf-8"))["pairs"]]


def pseudo_log_likelihoods(engine: Engine, sentences: list[list[int]], mask: int) -> list[float]:
    """The sum over the tokens of log P(token | all others) of sentences with their special tokens."""
    masked, sentence, answers = list[Encoding](), list[int](), list[int]()
    for index, ids in enumerate(sentences):
        for place in range(1, len(ids) - 1):
            masked.append(Encoding([*ids[:place], mask, *ids[place + 1 :]], text_index=place))
            sentence.append(index)
            answers.append(ids[place])
    totals = np.zeros(len(sentences))
    for at in range(0, len(masked), 256):
        rows = masked[at : at + 256]
        batch = Batch.from_encodings(rows, padding_idx=PAD)
        where = batch.first_rows + np.array([row.text_index for row in rows], np.int32)
        scores = log_softmax(engine.run(batch, rows=where)["logits"])
        right = scores[np.arange(len(rows)), answers[at : at + 256]]
        np.add.at(totals, sentence[at : at + 256], right)
    return [float(total) for total in totals]


def report(
    score: Callable[[list[list[int]]], list[float]], tokenizer: PreTrainedTokenizerFast
) -> dict[str, object]:
    """How often `score` prefers the right sentence, by group and phenomenon."""
    pairs = read()
    good = score([tokenizer(pair.good)["input_ids"] for pair in pairs])
    bad = score([tokenizer(pair.bad)["input_ids"] for pair in pairs])
    right = [one > other for one, other in zip(good, bad, strict=True)]
    parts = {"all": [True] * len(pairs)}
    parts |= {
        group: [pair.group == group for pair in pairs] for group in dict.fromkeys(p.group for p in pairs)
    }
    parts |= {
        f"{group}: {name}": [(pair.group, pair.phenomenon) == (group, name) for pair in pairs]
        for group, name, _ in RULES
    }
    figures = {}
    for name, which in parts.items():
        kept = [hit for hit, wanted in zip(right, which, strict=True) if wanted]
        low, high = interval(sum(kept), len(kept))
        figures[name] = {
            "right": sum(kept),
            "pairs": len(kept),
            "share": sum(kept) / len(kept),
            "interval": [low, high],
        }
    return figures


def main() -> None:
    about = f"Made by minimal_pairs.py with seed {SEED}: the good sentence, and the same with one fault."
    rows = ",\n".join("  " + json.dumps(asdict(pair), ensure_ascii=False) for pair in make())
    FILE.write_text(f'{{\n "about": {json.dumps(about)},\n "pairs": [\n{rows}\n ]\n}}\n', encoding="utf-8")


if __name__ == "__main__":
    main()
