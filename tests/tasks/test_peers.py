"""Fill-mask beside transformers' own, on texts put together at random; run by `make test-peers`."""

import random
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from robertakit.tasks import FillMaskPipeline

pytestmark = pytest.mark.peers

PIECES = [
    "The", "capital", " of", "<mask>", " <mask>", "<mask> ", " ", "  ", "</s>", "<s>", "<pad>", "<unk>", "é", "今日",
    "\n", "\t", "n't", "'s", " I love", " pizza", "123", "\u00a0", "...", "ﬁ", "<MASK>", "<mask", "e\u0301",
]  # fmt: skip


def texts(count: int) -> list[str]:
    draw = random.Random(5)
    made = ("".join(draw.choices(PIECES, k=draw.randint(1, 14))) for _ in iter(int, 1))
    return [text for _, text in zip(range(count), (t for t in made if "<mask>" in t), strict=False)]


def lists(answer: list[object]) -> list[list[dict[str, object]]]:
    """The answer of one mask as that of several."""
    return answer if isinstance(answer[0], list) else [answer]  # type: ignore[list-item,return-value]


def test_random_texts_have_the_same_answers(
    family: str, fill_of: Callable[[str], FillMaskPipeline], folder_of: Callable[[str], Path]
) -> None:
    transformers = pytest.importorskip("transformers")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = transformers.pipeline("fill-mask", model=str(folder_of(family)), device=-1)
        compared = 0
        for text in texts(200):
            ids = theirs.tokenizer(text)["input_ids"]
            if transformers.__version__ >= "5" and ids != fill_of(family).tokenizer(text)["input_ids"]:
                continue  # 5's RoBERTa keeps the space before <mask>, which 4.57 and the original take away
            compared += 1
            ours, expected = lists(fill_of(family)(text, top_k=3)), lists(theirs(text, top_k=3))
            for a, b in zip(ours, expected, strict=True):
                assert [(r["token"], r["token_str"]) for r in a] == [
                    (r["token"], r["token_str"]) for r in b
                ], text
                assert [r["score"] for r in a] == pytest.approx([r["score"] for r in b], abs=1e-5), text
                # Beside unknown characters transformers' two XLM-R classes differ by spaces; ours follow the slow.
                shown = [[str(r["sequence"]) for r in answer] for answer in (a, b)]
                if family == "xlm-roberta":
                    shown = [["".join(sequence.split()) for sequence in answer] for answer in shown]
                assert shown[0] == shown[1], text
    assert compared == 200 or (compared > 50 and transformers.__version__ >= "5")
