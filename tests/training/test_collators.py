"""The data collators: the reference's surface, batches for every framework, and masks as `masking.py` draws them."""

import pickle
from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import robertakit
from robertakit import (
    BatchEncoding,
    DataCollatorForLanguageModeling,
    DataCollatorForWholeWordMask,
    DataCollatorWithPadding,
    DefaultDataCollator,
    default_data_collator,
)
from robertakit.errors import ArgumentError, BadShape, InputError, RobertakitError, TokenizerError

from .small_tokenizers import ENGLISH, trained

TEXTS = ENGLISH.read_text(encoding="utf-8").splitlines()[:60]
KINDS = {"np": None, "pt": "torch", "tf": "tensorflow", "jax": "jax"}


@pytest.fixture(params=list(KINDS))
def kind(request: pytest.FixtureRequest) -> str:
    if KINDS[request.param] is not None:
        pytest.importorskip(KINDS[request.param])
    return request.param


def collator(kind: str = "bytes", **settings: object) -> DataCollatorForLanguageModeling:
    return DataCollatorForLanguageModeling(trained(kind), **{"return_tensors": "np", "seed": 5} | settings)  # type: ignore[arg-type]


def test_a_batch_in_every_framework(kind: str) -> None:
    tokenizer = trained("bytes")
    rows = [tokenizer(text) for text in TEXTS[:3]]
    batch = collator(return_tensors=kind)(rows)
    there = collator()(rows)
    assert isinstance(batch, BatchEncoding)
    assert set(batch) == {"input_ids", "attention_mask", "labels"}
    for name in batch:
        assert np.array_equal(np.asarray(batch[name]), there[name])
        assert type(batch[name]).__module__.split(".")[0] in (
            {"np": "numpy", "pt": "torch", "tf": "tensorflow", "jax": "jaxlib"}[kind],
            "jax",
        )
    assert np.array_equal(collator()(rows, return_tensors="np")["labels"], there["labels"])


def test_a_model_trains_on_it() -> None:
    torch = pytest.importorskip("torch")
    config = robertakit.RobertaConfig(
        vocab_size=len(trained("bytes")),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
    )
    model = robertakit.RobertaForMaskedLM(config)
    loader = torch.utils.data.DataLoader(
        [trained("bytes")(text, truncation=True, max_length=64) for text in TEXTS[:8]],
        batch_size=4,
        collate_fn=collator(return_tensors="pt", pad_to_multiple_of=8),
    )
    for batch in loader:
        assert batch["input_ids"].shape[1] % 8 == 0
        loss = model(**batch).loss
        loss.backward()
        assert torch.isfinite(loss)


def forms(ids: list[list[int]]) -> Iterator[list[object]]:
    """The same rows as people have them."""
    yield list(ids)
    yield [tuple(row) for row in ids]
    yield [np.array(row) for row in ids]
    yield [{"input_ids": row} for row in ids]
    yield [{"input_ids": row, "attention_mask": [1] * len(row)} for row in ids]
    yield [BatchEncoding({"input_ids": row}) for row in ids]


def test_lists_arrays_dicts_and_encodings_are_one() -> None:
    ids = trained("bytes")(TEXTS[:4])["input_ids"]
    batches = [collator()(examples) for examples in forms(ids)]
    for batch in batches[1:]:
        for name in ("input_ids", "labels", "attention_mask"):
            assert np.array_equal(batch[name], batches[0][name])


def test_tensors_as_examples() -> None:
    torch = pytest.importorskip("torch")
    ids = trained("bytes")(TEXTS[:4])["input_ids"]
    plain = collator()(ids)
    for examples in ([torch.tensor(row) for row in ids], [{"input_ids": torch.tensor(row)} for row in ids]):
        batch = collator(return_tensors="pt")(examples)
        assert batch["labels"].dtype == torch.int64
        assert batch["labels"].tolist() == plain["labels"].tolist()
        assert batch["input_ids"].tolist() == plain["input_ids"].tolist()


IDS = st.lists(
    st.lists(st.integers(5, 300), max_size=20).map(lambda words: [0, *words, 2]), min_size=1, max_size=6
)


@given(
    rows=IDS,
    whole=st.booleans(),
    side=st.sampled_from(["left", "right"]),
    kind=st.sampled_from(["bytes", "unigram"]),
)
def test_laws_of_every_batch(rows: list[list[int]], whole: bool, side: str, kind: str) -> None:
    tokenizer = trained(kind)
    usual, tokenizer.padding_side = tokenizer.padding_side, side
    try:
        plain = tokenizer.pad([{"input_ids": row} for row in rows], return_tensors="np")
        batch = collator(kind, mlm_probability=0.4, whole_word_mask=whole)(rows)
    finally:
        tokenizer.padding_side = usual
    chosen = batch["labels"] != -100
    assert np.array_equal(batch["attention_mask"], plain["attention_mask"])
    assert np.array_equal(batch["labels"][chosen], plain["input_ids"][chosen])
    assert np.array_equal(batch["input_ids"][~chosen], plain["input_ids"][~chosen])
    assert not np.isin(plain["input_ids"][chosen], tokenizer.all_special_ids).any()
    random = (
        chosen & (batch["input_ids"] != plain["input_ids"]) & (batch["input_ids"] != tokenizer.mask_token_id)
    )
    assert not np.isin(batch["input_ids"][random], tokenizer.all_special_ids).any()
    if not whole:
        for row, own in zip(rows, chosen, strict=True):
            words = sum(id not in tokenizer.all_special_ids for id in row)
            assert np.floor(0.4 * words) <= own.sum() <= np.ceil(0.4 * words)


def test_shares_in_the_long_run() -> None:
    rows = [[0, *range(10, 10 + length), 2] for length in (3, 7, 12) * 40]
    collate = collator(mlm_probability=0.2, mask_replace_prob=0.6, random_replace_prob=0.3)
    batches = [collate(rows) for _ in range(60)]
    real = sum(length - 2 for length in map(len, rows)) * 60
    labels = np.concatenate([batch["labels"][batch["labels"] != -100] for batch in batches])
    inputs = np.concatenate([batch["input_ids"][batch["labels"] != -100] for batch in batches])
    n = len(labels)
    assert abs(n / real - 0.2) < 4 * (0.16 / real) ** 0.5
    mask = trained("bytes").mask_token_id
    words = len(trained("bytes")) - len(trained("bytes").all_special_ids)
    assert abs((inputs == mask).mean() - 0.6) < 4 * (0.24 / n) ** 0.5
    changed = ((inputs != mask) & (inputs != labels)).mean()
    assert abs(changed - 0.3 * (1 - 1 / words)) < 4 * (0.21 / n) ** 0.5


@pytest.mark.parametrize("kind_of", ["bytes", "unigram"])
def test_whole_words_of_both_kinds(kind_of: str) -> None:
    """By encoding, by column, and by the ids alone: the same words, and each is masked whole."""
    tokenizer = trained(kind_of)
    encoded = [tokenizer(text) for text in TEXTS[:20]]
    words = [each.word_ids() for each in encoded]
    by_column = [
        {"input_ids": each["input_ids"], "word_ids": own} for each, own in zip(encoded, words, strict=True)
    ]
    batches = [
        DataCollatorForWholeWordMask(tokenizer, mlm_probability=0.3, return_tensors="np", seed=1)(examples)
        for examples in (encoded, by_column, [each["input_ids"] for each in encoded])
    ]
    for batch in batches[1:]:
        assert np.array_equal(batch["labels"], batches[0]["labels"])
        assert np.array_equal(batch["input_ids"], batches[0]["input_ids"])
    seen = set()
    for own, ids, labels in zip(
        words, [each["input_ids"] for each in encoded], batches[0]["labels"], strict=True
    ):
        for word in set(own) - {None}:
            chosen = {
                bool(labels[place] != -100)
                for place, each in enumerate(own)
                if each == word and ids[place] not in tokenizer.all_special_ids
            }
            assert len(chosen) <= 1
            seen |= chosen
    assert seen == {True, False}


def test_tokens_of_a_word_that_the_example_joins() -> None:
    """`chinese_ref`, as the reference's whole-word collator takes it: these tokens go on with the word before."""
    collate = DataCollatorForWholeWordMask(trained("bytes"), mlm_probability=0.5, return_tensors="np", seed=3)
    ids = [0, *range(200, 212), 2]
    for _ in range(20):
        labels = collate(
            [{"input_ids": ids, "word_ids": [None, *range(12), None], "chinese_ref": [2, 4, 6, 8, 10, 12]}]
        )
        chosen = labels["labels"][0] != -100
        assert (chosen[1:13:2] == chosen[2:13:2]).all()


def test_what_the_example_says_is_special_is_not_chosen() -> None:
    ids = [0, *range(100, 130), 2]
    barred = [1, *([0, 1] * 15), 1]
    batch = collator(mlm_probability=1.0)(
        [
            {"input_ids": ids, "special_tokens_mask": barred},
            {"input_ids": ids[:10], "special_tokens_mask": barred[:10]},
        ]
    )
    assert "special_tokens_mask" not in batch
    chosen = batch["labels"] != -100
    assert chosen[0].tolist() == [not each for each in barred]
    assert chosen[1].tolist() == [not each for each in barred[:10]] + [False] * 22


def test_other_columns_stay_and_offsets_go() -> None:
    tokenizer = trained("bytes")
    rows = [
        {**tokenizer(text, return_offsets_mapping=True), "weight": number}
        for number, text in enumerate(TEXTS[:2])
    ]
    batch = collator(whole_word_mask=True)(rows)
    assert set(batch) == {"input_ids", "attention_mask", "labels", "weight"}
    assert batch["weight"].tolist() == [0, 1]


def test_causal_labels_are_the_ids() -> None:
    batch = collator(mlm=False)([[0, 9, 8, 2], [0, 2]])
    assert batch["labels"].tolist() == [[0, 9, 8, 2], [0, 2, -100, -100]]
    assert batch["input_ids"].tolist() == [[0, 9, 8, 2], [0, 2, 1, 1]]


def test_seeds() -> None:
    rows = [[0, *range(100, 160), 2]]
    one, other, third = collator(seed=0), collator(seed=0), collator(seed=1)
    first = [one(rows)["labels"].tolist() for _ in range(3)]
    assert first == [other(rows)["labels"].tolist() for _ in range(3)]
    assert first[0] != first[1]
    assert third(rows)["labels"].tolist() != first[0]
    again = pickle.loads(pickle.dumps(one))
    assert again(rows)["labels"].tolist() == one(rows)["labels"].tolist()


def test_without_a_seed_set_seed_decides(kind: str) -> None:
    rows = [[0, *range(100, 160), 2]]
    collate = collator(return_tensors=kind, seed=None)
    drawn = []
    for seed in (1, 1, 2):
        robertakit.set_seed(seed)
        drawn += [np.asarray(collate(rows)["labels"]).tolist() for _ in range(2)]
    assert drawn[:2] == drawn[2:4]
    assert drawn[0] != drawn[1]
    assert drawn[4] != drawn[0]


def test_workers_of_a_loader_draw_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    drawn = []
    for worker in (None, 0, 1):
        info = None if worker is None else SimpleNamespace(id=worker)
        monkeypatch.setattr(torch.utils.data, "get_worker_info", lambda info=info: info)
        drawn += [collator()([[0, *range(100, 160), 2]])["labels"].tolist() for _ in range(2)]
    assert drawn[::2] == drawn[1::2]
    assert len({str(labels) for labels in drawn}) == 3


@pytest.mark.slow
def test_workers_of_a_real_loader() -> None:
    torch = pytest.importorskip("torch")
    row = [0, *range(100, 160), 2]
    loader = torch.utils.data.DataLoader(
        [row] * 4,
        batch_size=1,
        num_workers=2,
        collate_fn=collator(return_tensors="pt"),
        multiprocessing_context="spawn",
    )
    first = [batch["labels"].tolist() for batch in loader]
    assert len({str(labels) for labels in first}) == 4
    assert first == [batch["labels"].tolist() for batch in loader]


def test_the_rate_may_be_scheduled() -> None:
    collate = collator(mlm_probability=0.0)
    row = [[0, *range(100, 140), 2]]
    assert (collate(row)["labels"] == -100).all()
    collate.mlm_probability = 1.0
    assert (collate(row)["labels"] != -100).sum() == 40


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mlm_probability": 1.2}, "rate=1.2; expected a share from 0 to 1"),
        ({"mlm_probability": None}, "mlm_probability=None"),
        ({"mask_replace_prob": 0.9, "random_replace_prob": 0.2}, "expected a sum of 1 at most"),
        ({"mask_replace_prob": -0.1}, "three shares"),
        ({"whole_word_mask": True, "mlm": False}, "whole_word_mask=True with mlm=False"),
        ({"tf_experimental_compile": True}, "there is nothing to compile"),
        ({"return_tensors": "numpy"}, "return_tensors='numpy'"),
    ],
)
def test_settings_that_contradict_themselves(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        collator(**settings)


def test_examples_that_are_none() -> None:
    for examples in ([], {"input_ids": [[0, 2]]}, [{"labels": [1]}]):
        with pytest.raises(InputError):
            collator()(examples)  # type: ignore[arg-type]
    for collate in (
        DefaultDataCollator("np"),
        DataCollatorWithPadding(trained("bytes"), return_tensors="np"),
    ):
        with pytest.raises(RobertakitError):
            collate([])  # type: ignore[operator]
    with pytest.raises(BadShape, match="'extra'"):
        collator()([{"input_ids": [0, 2], "extra": [1]}, {"input_ids": [0, 2], "extra": [1, 2]}])


def test_a_tokenizer_without_a_mask_token() -> None:
    class Maskless:
        mask_token_id = None

    with pytest.raises(TokenizerError, match=r"without a mask token.*mlm=False"):
        DataCollatorForLanguageModeling(Maskless())  # type: ignore[arg-type]
    DataCollatorForLanguageModeling(Maskless(), mlm=False)  # type: ignore[arg-type]


def test_padding_collator(kind: str) -> None:
    tokenizer = trained("bytes")
    features = [{**tokenizer(text), "label": number} for number, text in enumerate(TEXTS[:3])]
    batch = DataCollatorWithPadding(tokenizer, pad_to_multiple_of=16, return_tensors=kind)(features)
    expected = tokenizer.pad(features, pad_to_multiple_of=16, return_tensors="np")
    assert set(batch) == {"input_ids", "attention_mask", "labels"}
    assert np.array_equal(np.asarray(batch["input_ids"]), expected["input_ids"])
    assert np.asarray(batch["labels"]).tolist() == [0, 1, 2]
    assert all("label" in each for each in features)
    fixed = DataCollatorWithPadding(tokenizer, "max_length", 300, return_tensors="np")(features)
    assert fixed["input_ids"].shape == (3, 300)


def test_default_collator(kind: str) -> None:
    features = [
        {"x": [1, 2], "y": np.array([0.5, 1.0]), "label": 1, "text": "a", "none": None},
        {"x": [3, 4], "y": np.array([2.0, 0.0]), "label": 0, "text": "b", "none": None},
    ]
    batch = default_data_collator(features, kind)
    assert set(batch) == {"x", "y", "labels"}
    assert np.asarray(batch["x"]).tolist() == [[1, 2], [3, 4]]
    assert np.asarray(batch["labels"]).tolist() == [1, 0]
    assert np.asarray(batch["y"]).dtype == np.float32
    again = DefaultDataCollator("np")(features, return_tensors=kind)
    assert np.asarray(again["y"]).tolist() == [[0.5, 1.0], [2.0, 0.0]]


def test_default_collator_of_label_ids_and_of_objects() -> None:
    class Feature:
        def __init__(self, x: int) -> None:
            self.x, self.label_ids, self.label = x, [x, x], None

    batch = default_data_collator([Feature(1), Feature(2)], "np")
    assert {name: value.tolist() for name, value in batch.items()} == {
        "x": [1, 2],
        "labels": [[1, 1], [2, 2]],
    }
    floats = default_data_collator([{"label": 0.5}, {"label": 1.5}], "np")
    assert floats["labels"].dtype == np.float32


def test_the_reference_s_paths() -> None:
    from robertakit.data.data_collator import DataCollatorForLanguageModeling as there

    assert there is DataCollatorForLanguageModeling
