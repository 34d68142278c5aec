"""Fill-mask against the answers of transformers 4.57, and where it must do better."""

import json
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from robertakit.errors import ArgumentError, InputError, NoMask, TooLong
from robertakit.tasks import FillMaskPipeline, PipelineException
from robertakit.tasks.fill_mask import FillMaskOptions, best, softmax, target_ids

TEXTS = [
    "The capital of France is <mask>.",
    "I love <mask> and I like pasta.",
    "The <mask> of <mask> is Paris.",
    "<mask>",
    "The cat sat on the <mask>, and the dog ran away. " * 2 + "The cat <mask> on the mat.",
    "今日は<mask>良い天気です。",
    "Elle a déjà vu la façade du <mask>.",
]


def close(given: object, expected: object, at: str = "answer") -> None:
    """Compare answers field by field, floats to 1e-6."""
    assert type(given) is type(expected), at
    if isinstance(expected, list):
        assert isinstance(given, list)
        assert len(given) == len(expected), at
        for i, (a, b) in enumerate(zip(given, expected, strict=True)):
            close(a, b, f"{at}[{i}]")
    elif isinstance(expected, dict):
        assert isinstance(given, dict)
        assert list(given) == list(expected), at
        for key, value in expected.items():
            close(given[key], value, f"{at}.{key}")
    elif isinstance(expected, float):
        assert given == pytest.approx(expected, rel=1e-4, abs=1e-6), at
    else:
        assert given == expected, at


@pytest.mark.parametrize("number", range(12))
def test_answers_are_those_of_the_reference(
    number: int, family: str, fill_of: Callable[[str], FillMaskPipeline], folder_of: Callable[[str], Path]
) -> None:
    case = json.loads((folder_of(family) / "answers.json").read_text(encoding="utf-8"))[number]
    close(fill_of(family)(case["text"], **case["arguments"]), case["answer"], case["text"][:40])


def test_trap_11_a_batch_does_not_change_the_result(
    family: str, fill_of: Callable[[str], FillMaskPipeline]
) -> None:
    fill = fill_of(family)
    alone = [fill(text) for text in TEXTS]
    close(fill(TEXTS), alone)
    close(fill(TEXTS, batch_size=2), alone)
    close(list(fill(iter(TEXTS), num_workers=2)), alone)


def test_law_order_of_a_batch_does_not_matter(fill: FillMaskPipeline) -> None:
    draw = random.Random(0)
    texts = TEXTS * 3
    order = draw.sample(range(len(texts)), len(texts))
    straight = fill(texts, targets=["pizza", "Paris Rome"])
    close(fill([texts[i] for i in order], targets=["pizza", "Paris Rome"]), [straight[i] for i in order])


def test_scores_are_probabilities_over_the_whole_vocabulary(fill: FillMaskPipeline) -> None:
    everything = fill(TEXTS[0], top_k=100_000)
    assert len(everything) == fill.engine.config.vocab_size
    assert sum(result["score"] for result in everything) == pytest.approx(1, abs=1e-5)
    assert [r["score"] for r in everything] == sorted((r["score"] for r in everything), reverse=True)
    scores = {result["token"]: result["score"] for result in everything}
    targeted = fill(TEXTS[0], targets=["Paris", "Rome", "pizza"])
    assert len(targeted) == 3
    for result in targeted:
        assert result["score"] == pytest.approx(scores[result["token"]], rel=1e-5)


def test_trap_03_target_is_the_word_with_its_leading_space_and_never_its_first_piece(
    fill: FillMaskPipeline,
) -> None:
    tokenizer = fill.tokenizer
    bare, spaced = (
        [r["token_str"] for r in fill("I love <mask> and I like pasta.", targets=[word])]
        for word in ("pizza", " pizza")
    )
    assert bare == spaced == [" pizza"]
    assert [target_ids(tokenizer, word) for word in ("pizza", " pizza", "Ġpizza")] == [
        target_ids(tokenizer, " pizza")
    ] * 3
    # one piece only without the space: "sis" of photosynthesis; several: none is dropped
    several = target_ids(tokenizer, "zebra")
    assert len(several) > 1
    assert tokenizer.decode(list(several)) == " zebra"
    single = next(
        piece
        for piece, index in sorted(tokenizer.get_vocab().items())
        if piece.isascii() and piece.isalpha() and len(piece) > 2 and f"Ġ{piece}" not in tokenizer.get_vocab()
    )
    assert target_ids(tokenizer, single) == (tokenizer.get_vocab()[single],)


def test_trap_03_target_of_a_sentencepiece_vocabulary(fill_of: Callable[[str], FillMaskPipeline]) -> None:
    tokenizer = fill_of("xlm-roberta").tokenizer
    vocabulary = tokenizer.get_vocab()
    assert target_ids(tokenizer, "pizza") == target_ids(tokenizer, "▁pizza") == (vocabulary["▁pizza"],)
    inner = next(
        piece
        for piece in sorted(vocabulary)
        if len(piece) == 1 and f"▁{piece}" not in vocabulary and piece > "ぁ"
    )
    assert target_ids(tokenizer, inner) == (vocabulary[inner],)
    with pytest.raises(InputError, match="'pizza☃'"):
        target_ids(tokenizer, "pizza☃")


def test_trap_03_several_pieces_are_scored_by_the_chain_rule(fill: FillMaskPipeline) -> None:
    text = "The capital of <mask> is Paris."
    pieces = target_ids(fill.tokenizer, "Italy France")
    assert len(pieces) == 2
    [result] = fill(text, targets=["Italy France"])
    first = {r["token"]: r["score"] for r in fill(text.replace("<mask>", "<mask><mask>"), top_k=10**6)[0]}
    second = {r["token"]: r["score"] for r in fill(text.replace("<mask>", "Italy<mask>"), top_k=10**6)}
    assert result["score"] == pytest.approx(first[pieces[0]] * second[pieces[1]], rel=1e-4)
    assert result["token"] == list(pieces)
    assert result["token_str"] == " Italy France"
    assert result["sequence"] == "The capital of Italy France is Paris."


def test_targets_of_several_lengths_are_ranked_together(fill: FillMaskPipeline) -> None:
    together = fill(TEXTS[1], targets=["zebra", "pizza", "a cat", "pizza"])
    apart = [fill(TEXTS[1], targets=word)[0] for word in ("zebra", "pizza", "a cat")]
    close(together, sorted(apart, key=lambda result: -result["score"]))
    assert len(fill(TEXTS[1], targets=["zebra", "pizza", "a cat"], top_k=np.int64(2))) == 2


def test_targets_at_several_masks(fill: FillMaskPipeline) -> None:
    answer = fill(TEXTS[2], targets=["capital", "zebra"])
    assert [len(ranked) for ranked in answer] == [2, 2]
    assert answer[0][0]["token_str"] == " capital"
    assert answer[1][0]["sequence"].startswith("<s>The<mask> of")


def test_shared_steps_are_run_once(fill: FillMaskPipeline) -> None:
    [prepared] = fill.prepare([TEXTS[1]], FillMaskOptions(targets=["a cat", "a dog", "a", "pizza"]))
    # the text itself; two masks, once for both words of two pieces; "a" and a mask, once for both
    assert len(prepared.encodings) == 3
    assert {encoding.text_index for encoding in prepared.encodings} == {0}


def test_no_mask_names_the_text(fill: FillMaskPipeline) -> None:
    with pytest.raises(NoMask, match=r"no <mask> in 'The capital of France\.'; expected"):
        fill("The capital of France.")
    with pytest.raises(PipelineException, match=r"''"):
        fill("")
    with pytest.raises(NoMask, match="'bad'"):
        fill([TEXTS[0], "bad"])


def test_stream_gives_the_answers_before_the_bad_text(fill: FillMaskPipeline) -> None:
    answers = fill(text for text in [TEXTS[0], "bad", TEXTS[1]])
    close(next(answers), fill(TEXTS[0]))
    with pytest.raises(NoMask):
        next(answers)


@pytest.mark.parametrize("position", ["front", "back"])
def test_trap_06_long_text_is_refused_with_both_numbers(fill: FillMaskPipeline, position: str) -> None:
    long = "a process known as " * 30
    text = "<mask> " + long if position == "front" else long + "<mask>"
    length = len(fill.tokenizer(text, verbose=False)["input_ids"])
    with pytest.raises(TooLong, match=rf"{length} tokens in '.*at most 62 \(max_position_embeddings 64"):
        fill(text)
    if position == "front":
        assert len(fill(text, tokenizer_kwargs={"truncation": True})) == 5
    else:
        with pytest.raises(NoMask, match="after truncation"):
            fill(text, tokenizer_kwargs={"truncation": True})


def test_longest_text_is_answered_and_one_more_token_is_not(fill: FillMaskPipeline) -> None:
    text = "<mask>" + " cat" * 59
    assert len(fill.tokenizer(text)["input_ids"]) == 62
    assert len(fill(text)) == 5
    with pytest.raises(TooLong, match="63 tokens"):
        fill(text + " cat")
    with pytest.raises(TooLong, match="63 tokens"):  # a target of two pieces needs one more
        fill(text, targets="Italy France")


@pytest.mark.parametrize(
    ("arguments", "kind", "words"),
    [
        ({"top_k": 0}, InputError, "top_k=0"),
        ({"top_k": "3"}, InputError, "top_k='3'"),
        ({"top_k": True}, InputError, "top_k=True"),
        ({"targets": []}, InputError, "one or more words"),
        ({"targets": 5}, InputError, "targets=5"),
        ({"targets": ""}, InputError, "targets=''"),
        ({"targets": ["pizza", "  "]}, InputError, "one or more words"),
        ({"targets": [3]}, InputError, "one or more words"),
        ({"tokenizer_kwargs": {"return_tensors": "np"}}, ArgumentError, "return_tensors"),
        ({"topk": 3}, ArgumentError, "did you mean top_k"),
        ({"batch_size": 0}, InputError, "batch_size=0"),
        ({"num_workers": -1}, InputError, "num_workers=-1"),
    ],
)
def test_bad_arguments(
    fill: FillMaskPipeline, arguments: dict[str, object], kind: type[Exception], words: str
) -> None:
    with pytest.raises(kind, match=words):
        fill(TEXTS[0], **arguments)


def test_padding_written_into_the_text_is_left_out_of_the_sequence(fill: FillMaskPipeline) -> None:
    answer = fill("A<pad> <mask> cat</s> <mask>", top_k=1)  # as in transformers 4.57
    assert answer[0][0]["sequence"].startswith("<s>A")
    assert "<pad>" not in answer[0][0]["sequence"]
    assert "</s><mask>" in answer[0][0]["sequence"]


def test_padding_asked_of_the_tokenizer_changes_nothing(fill: FillMaskPipeline) -> None:
    close(fill(TEXTS, tokenizer_kwargs={"padding": True}), fill(TEXTS))


def test_trap_10_softmax_of_half_precision_is_in_float32() -> None:
    logits = np.array([[10.0, 10.5, -60.0]], np.float16)
    scores = softmax(logits)
    assert scores.dtype == np.float32
    assert scores.sum() == pytest.approx(1, abs=1e-6)
    assert scores[0, 2] > 0
    assert softmax(np.zeros((1, 2))).dtype == np.float64


def test_logits_that_are_not_finite_raise() -> None:
    with pytest.raises(InputError, match="not finite"):
        softmax(np.array([[0.0, np.nan]], np.float32))


def test_best_breaks_ties_by_id() -> None:
    scores = np.array([[0.1, 0.3, 0.3, 0.3], [0.4, 0.1, 0.4, 0.1]], np.float32)
    assert best(scores, 2).ids.tolist() == [[1, 2], [0, 2]]
    assert best(scores, 9).ids.tolist() == [[1, 2, 3, 0], [0, 2, 1, 3]]
