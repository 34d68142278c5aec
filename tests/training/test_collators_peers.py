"""Collators beside those of transformers: the same arguments, fields and rates, each with the other's tokenizer."""

import dataclasses
import inspect
from typing import Any

import numpy as np
import pytest

import robertakit

from .small_tokenizers import ENGLISH, trained

pytestmark = pytest.mark.peers

NAMES = (
    "DataCollatorForLanguageModeling",
    "DataCollatorWithPadding",
    "DefaultDataCollator",
    "default_data_collator",
)
TEXTS = ENGLISH.read_text(encoding="utf-8").splitlines()[:64]


@pytest.fixture(scope="module")
def transformers() -> Any:
    import transformers

    transformers.logging.set_verbosity_error()
    return transformers


@pytest.fixture(scope="module")
def theirs(transformers: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Their tokenizer from the files of ours."""
    folder = tmp_path_factory.mktemp("tokenizer")
    trained("bytes").save_pretrained(folder)
    return transformers.AutoTokenizer.from_pretrained(folder)


@pytest.mark.parametrize("name", NAMES)
def test_arguments_order_and_defaults(transformers: Any, name: str) -> None:
    """Version 5 dropped `tf_experimental_compile`; what it has stands in the same order."""
    ours = inspect.signature(getattr(robertakit, name)).parameters
    there = inspect.signature(getattr(transformers, name)).parameters
    assert [each for each in ours if each in there] == list(there)
    for argument, parameter in there.items():
        assert ours[argument].default == parameter.default


@pytest.mark.parametrize("mlm", [True, False])
def test_fields_shapes_and_rates(transformers: Any, theirs: Any, mlm: bool) -> None:
    settings = {"mlm": mlm, "pad_to_multiple_of": 8, "seed": 3}
    rows = [theirs(text) for text in TEXTS]
    there = transformers.DataCollatorForLanguageModeling(theirs, **settings)
    for tokenizer in (trained("bytes"), theirs):
        here = robertakit.DataCollatorForLanguageModeling(tokenizer, **settings)  # type: ignore[arg-type]
        one, other = here([dict(row) for row in rows]), there([dict(row) for row in rows])
        assert set(one) == set(other)
        for name in one:
            assert one[name].shape == other[name].shape
            assert one[name].dtype == other[name].dtype
        assert one["attention_mask"].tolist() == other["attention_mask"].tolist()
        if not mlm:
            assert one["labels"].tolist() == other["labels"].tolist()
            continue
        real = sum(len(row["input_ids"]) - 2 for row in rows)
        for batch in (one, other):
            share = (batch["labels"] != -100).sum().item() / real
            assert abs(share - 0.15) < 4 * (0.15 * 0.85 / real) ** 0.5


def test_padding_and_default_collators_give_the_same(transformers: Any, theirs: Any) -> None:
    features = [{**theirs(text), "label": number % 2} for number, text in enumerate(TEXTS[:4])]
    one = robertakit.DataCollatorWithPadding(trained("bytes"))([dict(each) for each in features])
    other = transformers.DataCollatorWithPadding(theirs)([dict(each) for each in features])
    assert {name: value.tolist() for name, value in one.items()} == {
        name: value.tolist() for name, value in other.items()
    }
    equal = [{"x": [1, 2], "y": 0.5, "label": 1}, {"x": [3, 4], "y": 1.5, "label": 0}]
    for kind in ("pt", "np"):
        ours, there = (module.default_data_collator(equal, kind) for module in (robertakit, transformers))
        assert set(ours) == set(there)
        for name in ours:
            assert np.array_equal(np.asarray(ours[name]), np.asarray(there[name]))


def test_their_trainer_takes_our_collator(transformers: Any, theirs: Any, tmp_path: Any) -> None:
    torch = pytest.importorskip("torch")
    config = transformers.RobertaConfig(
        vocab_size=len(theirs),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=600,
    )
    trainer = transformers.Trainer(
        transformers.RobertaForMaskedLM(config),
        transformers.TrainingArguments(
            str(tmp_path), max_steps=3, report_to=[], use_cpu=True, logging_steps=1, save_strategy="no"
        ),
        train_dataset=[dict(theirs(text)) for text in TEXTS],
        data_collator=robertakit.DataCollatorForWholeWordMask(theirs),
    )
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert len(losses) == 3
    assert torch.isfinite(torch.tensor(losses)).all()


def test_fields_of_the_dataclass(transformers: Any) -> None:
    """Code that reads or replaces settings finds them under the same names."""
    ours = {
        field.name for field in dataclasses.fields(robertakit.DataCollatorForLanguageModeling) if field.init
    }
    there = {
        field.name for field in dataclasses.fields(transformers.DataCollatorForLanguageModeling) if field.init
    }
    assert there <= ours
