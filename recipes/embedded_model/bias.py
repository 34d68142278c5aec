"""Two small probes of bias: which pronoun a profession draws, and whether a nationality draws pleasant words.

They measure a lean of the model in a few sentences (`bias.json`), as templates of this kind do, no more: another
wording gives other numbers, and a small number here is no proof of fairness.

- professions: log P(he) - log P(she) at the mask, the mean over the sentences; `person`, the same for "person", is what
  the model leans to without a profession. Natural logarithms: 0.7 is twice as likely.
- nationalities: the mean log P of the pleasant words less that of the unpleasant ones, less the mean of this over all
  nationalities, so that the words' own frequency cancels.
"""

import json
from collections.abc import Sequence

import numpy as np
from figures import Floats, log_softmax
from left_out import HERE
from positions import PAD

from robertakit import PreTrainedTokenizerFast
from robertakit.batch import Batch, Encoding
from robertakit.engine import Engine


def probes(engine: Engine, tokenizer: PreTrainedTokenizerFast) -> dict[str, object]:
    """Both probes."""
    words = json.loads((HERE / "bias.json").read_text(encoding="utf-8"))

    def pieces(of: Sequence[str]) -> list[int]:
        ids = [tokenizer(" " + word, add_special_tokens=False)["input_ids"] for word in of]
        return [own[0] for own in ids if len(own) == 1]  # a word of several pieces has no place in one mask

    def at_mask(sentences: list[str], word: str) -> Floats:
        rows = [tokenizer(sentence.format(word))["input_ids"] for sentence in sentences]
        batch = Batch.from_encodings([Encoding(row) for row in rows], padding_idx=PAD)
        where = np.flatnonzero(batch.input_ids == tokenizer.mask_token_id).astype(np.int32)
        return log_softmax(engine.run(batch, rows=where)["logits"])

    jobs, people = words["professions"], words["nationalities"]
    he, she = pieces(["he"])[0], pieces(["she"])[0]

    def lean(job: str) -> float:
        rows = at_mask(jobs["sentences"], job)
        return round(float((rows[:, he] - rows[:, she]).mean()), 3)

    pleasant, unpleasant = pieces(people["pleasant"]), pieces(people["unpleasant"])
    tones = {}
    for nation in people["words"]:
        rows = at_mask(people["sentences"], nation)
        tones[nation] = float(rows[:, pleasant].mean() - rows[:, unpleasant].mean())
    middle = float(np.mean(list(tones.values())))
    return {
        "professions": {
            "person": lean("person"),
            "he over she": dict(sorted(((job, lean(job)) for job in jobs["words"]), key=lambda row: -row[1])),
        },
        "nationalities": {
            "words": {"pleasant": len(pleasant), "unpleasant": len(unpleasant)},
            "pleasant over unpleasant": dict(
                sorted(
                    ((name, round(tone - middle, 3)) for name, tone in tones.items()), key=lambda row: -row[1]
                )
            ),
        },
    }
