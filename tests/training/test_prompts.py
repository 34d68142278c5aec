"""Prompts: the answers are those that the pipeline gives for the same model."""

import numpy as np
import pytest

pytest.importorskip("torch")

from robertakit import AutoModelForMaskedLM, AutoTokenizer, embedded, pipeline
from robertakit.errors import RecipeError
from robertakit.training.masking import Masking
from robertakit.training.packing import Packing
from robertakit.training.prompts import AnsweringStep, AnsweringTask, prompt_rows
from robertakit.training.shards import Corpus, SourceTokens, SpecialIds

PROMPTS = ["The capital of France is <mask>.", "<mask> is made of hydrogen and oxygen.", "A <mask>"]


def test_answers_are_the_pipelines() -> None:
    tokenizer = AutoTokenizer.from_pretrained(embedded.folder())
    model = AutoModelForMaskedLM.from_pretrained(embedded.folder()).eval()
    tokens = np.arange(300, 340, dtype=np.uint16)
    bits = np.packbits(np.ones(40, np.uint8), bitorder="little")
    source = SourceTokens("text", 1.0, "en", tokens, bits, np.array([0, 40]), np.array([0, 1]))
    corpus = Corpus((source,), len(tokenizer), SpecialIds.of(tokenizer))
    task = AnsweringTask(
        corpus, model.config, packing=Packing(lengths=((64, 1.0),)), masking=Masking(), seed=1, batch_rows=1,
        held_out=corpus,
    )  # fmt: skip
    told = []
    task.ask(PROMPTS, tokenizer, lambda: told.append(True))
    figures = task.evaluate(AnsweringStep(model))
    assert told == [True]
    assert figures["targets"] == figures["sources"]["text"]["targets"] > 0
    with pipeline("fill-mask", embedded.folder(), engine="numpy") as fill:
        for sample, prompt, answers in zip(figures["samples"], PROMPTS, fill(PROMPTS, top_k=5), strict=True):
            assert sample["text"] == prompt
            assert [answer["token"] for answer in sample["answers"]] == [a["token_str"] for a in answers]
            np.testing.assert_allclose(
                [answer["score"] for answer in sample["answers"]], [a["score"] for a in answers], rtol=1e-3
            )
    task.ask([], tokenizer)
    assert "samples" not in task.evaluate(AnsweringStep(model))


def test_prompts_that_do_not_fit_are_refused() -> None:
    tokenizer = AutoTokenizer.from_pretrained(embedded.folder())
    with pytest.raises(RecipeError, match="one <mask>"):
        prompt_rows(["<mask> <mask>"], tokenizer, 512, 1)
    with pytest.raises(RecipeError, match="expected at most 4"):
        prompt_rows(["a b c d <mask>"], tokenizer, 4, 1)
