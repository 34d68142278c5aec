"""What the model says to the 20 prompts, which capitals it knows, and how much of both the training text tells it.

Prompts: `pipeline("fill-mask")` as a user calls it; an answer is sensible if it stands in the list that was committed
before any training (`prompts.json`).

Overlap: the runs of eight words of a prompt (its hidden word may be any; a prompt of fewer words is one run) that stand
in the training text, letters and digits alone compared, in lower case.

Capitals: "The capital of Kenya is <mask>.", with as many masks as the capital has tokens. Each capital of the fact book
is scored by log P of its tokens at the masks, less the mean of the same over all countries (what is likely anyway tells
nothing about a country); a country is answered when its own capital scores highest of all. The template lines of 20
countries were left out of training (`left_out.py`); the others stand beside them.
"""

import json
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from figures import Floats, log_softmax
from left_out import HERE, read_choice
from positions import PAD, SENTENCE_START

from robertakit import PreTrainedTokenizerFast, pipeline
from robertakit.batch import Batch, Encoding
from robertakit.engine import Engine

RUN = 8
WORD = re.compile(r"[^\W_]+")
ANY = "<mask>"
QUESTION = "The capital of {country} is{capital}."


def answers(folder: Path) -> list[dict[str, object]]:
    """The first five words for each of the prompts."""
    prompts = json.loads((HERE / "prompts.json").read_text(encoding="utf-8"))["prompts"]
    with pipeline("fill-mask", folder, top_k=5) as fill:
        found = fill([prompt["text"] for prompt in prompts])
    given = []
    for prompt, best in zip(prompts, found, strict=True):
        words = [answer["token_str"].strip() for answer in best]
        scores = [round(float(answer["score"]), 4) for answer in best]
        given.append(
            {
                "text": prompt["text"],
                "answers": [[word, score] for word, score in zip(words, scores, strict=True)],
                "sensible": words[0] in prompt["sensible"],
                "sensible in five": any(word in prompt["sensible"] for word in words),
            }
        )
    return given


def plain(text: str) -> str:
    """Letters and digits in lower case, one space between words, and one at each end."""
    return " " + " ".join(WORD.findall(text.lower())) + " "


def runs(prompt: str) -> list[re.Pattern[str]]:
    """The runs of eight words of a prompt, as what finds them in plain text."""
    before, _, after = prompt.partition(ANY)
    words = [*plain(before).split(), ANY, *plain(after).split()]
    size = min(RUN, len(words))
    parts = [words[at : at + size] for at in range(len(words) - size + 1)]
    return [
        re.compile(" " + " ".join(r"[^ ]+" if word == ANY else word for word in part) + " ") for part in parts
    ]


class Told:
    """What a text tells of the prompts and of the capitals, gathered document by document."""

    def __init__(self, prompts: Iterable[str], capitals: dict[str, str]) -> None:
        self._runs = {prompt: runs(prompt) for prompt in prompts}
        # a run is looked for where its longest known part stands
        self._known = [
            (max(re.split(r" \[\^ \]\+ ", run.pattern), key=len).strip(), prompt, run)
            for prompt, found in self._runs.items()
            for run in found
        ]
        self.found: dict[str, set[str]] = {prompt: set() for prompt in self._runs}
        self._capitals = capitals
        self.sentences = dict.fromkeys(capitals, 0)

    def read(self, paragraphs: Iterable[str]) -> None:
        """Take in the paragraphs of some documents."""
        for paragraph in paragraphs:
            text = plain(paragraph)
            for known, prompt, run in self._known:
                if known in text and run.search(text):
                    self.found[prompt].add(run.pattern)
            if "capital" in text:
                for sentence in SENTENCE_START.split(paragraph):
                    for country, capital in self._capitals.items():
                        if "capital" in sentence and capital in sentence and country in sentence:
                            self.sentences[country] += 1

    def overlap(self) -> dict[str, dict[str, int]]:
        """For each prompt: its runs, and how many of them stand in the text."""
        return {
            prompt: {"runs": len(found), "in the training text": len(self.found[prompt])}
            for prompt, found in self._runs.items()
        }


def known_capitals(
    engine: Engine, tokenizer: PreTrainedTokenizerFast, sentences: dict[str, int]
) -> dict[str, object]:
    """How many of the countries that were left out are answered, how many of the others, and each of the former.

    Args:
        engine: of a masked LM.
        tokenizer: its tokenizer.
        sentences: for the countries that were left out, sentences of the training text that still tell the capital.
    """
    left_out, others = read_choice()
    capitals = left_out | others
    pieces = [
        tokenizer(" " + capital, add_special_tokens=False)["input_ids"] for capital in capitals.values()
    ]
    scores = np.stack([_of_country(engine, tokenizer, country, pieces) for country in capitals])
    scores -= scores.mean(0)
    ranks = (scores > np.diag(scores)[:, None] - 1e-9).sum(1) - 1  # a tie is no answer
    rank_of = dict(zip(capitals, ranks.tolist(), strict=True))

    def shares(countries: list[str]) -> dict[str, object]:
        own = np.array([rank_of[country] for country in countries])
        return {"countries": len(own), "first": int((own < 1).sum()), "in five": int((own < 5).sum()),
                "middle rank": float(np.median(own)) + 1}  # fmt: skip

    return {
        "candidates": len(capitals),
        "left out": shares(list(left_out)),
        "others": shares(list(others)),
        "each": [
            {"country": country, "capital": capital, "rank": rank_of[country] + 1,
             "sentences that tell it": sentences[country]}
            for country, capital in left_out.items()
        ],
    }  # fmt: skip


def _of_country(
    engine: Engine, tokenizer: PreTrainedTokenizerFast, country: str, pieces: list[list[int]]
) -> Floats:
    """log P of each capital's tokens in the question about a country."""
    counts = sorted({len(own) for own in pieces})
    questions = [tokenizer(QUESTION.format(country=country, capital=ANY * n))["input_ids"] for n in counts]
    batch = Batch.from_encodings([Encoding(ids) for ids in questions], padding_idx=PAD)
    where = np.flatnonzero(batch.input_ids == tokenizer.mask_token_id).astype(np.int32)
    rows = log_softmax(engine.run(batch, rows=where)["logits"])
    starts = dict(zip(counts, np.cumsum([0, *counts[:-1]]).tolist(), strict=True))
    return np.array([rows[starts[len(own)] + np.arange(len(own)), own].sum() for own in pieces])
