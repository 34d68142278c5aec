"""What is wrong in a call is told in the same sentence by every framework, before anything is computed."""

from collections.abc import Callable
from types import ModuleType

import numpy as np
import pytest

from robertakit.errors import BadShape, InputError, RobertakitError, TooLong

for _module in ("torch", "tensorflow", "keras", "jax", "flax"):
    pytest.importorskip(_module)

Arrays = dict[str, np.ndarray]


def ids(shape: tuple[int, ...] = (2, 5), value: int = 7) -> np.ndarray:
    return np.full(shape, value, np.int64)


def with_one(value: int, shape: tuple[int, ...] = (2, 5)) -> np.ndarray:
    array = ids(shape)
    array.flat[3] = value
    return array


CASES: dict[str, tuple[str, Arrays, type[RobertakitError]]] = {
    "id past the vocabulary": ("masked-lm", {"input_ids": with_one(61)}, InputError),
    "negative id": ("masked-lm", {"input_ids": with_one(-1)}, InputError),
    "token type without a row": ("model", {"input_ids": ids(), "token_type_ids": with_one(2) * 1}, InputError),
    "position past the table": ("model", {"input_ids": ids(), "position_ids": with_one(40)}, TooLong),
    "too long": ("model", {"input_ids": ids((1, 39))}, TooLong),
    "mask of twos": ("model", {"input_ids": ids(), "attention_mask": with_one(2)}, InputError),
    "ids of one axis": ("model", {"input_ids": ids((5,))}, BadShape),
    "ids that are no integers": ("model", {"input_ids": ids().astype("f4")}, InputError),
    "mask of another length": ("model", {"input_ids": ids(), "attention_mask": ids((2, 4), 1)}, BadShape),
    "types of another batch": ("model", {"input_ids": ids(), "token_type_ids": ids((3, 5), 0)}, BadShape),
    "ids and embeddings": ("model", {"input_ids": ids(), "inputs_embeds": np.zeros((2, 5, 24), "f4")}, InputError),
    "embeddings of another width": ("model", {"inputs_embeds": np.zeros((2, 5, 23), "f4")}, BadShape),
    "head mask of another width": ("model", {"input_ids": ids(), "head_mask": np.ones(3, "f4")}, BadShape),
    "label without a class": (
        "sequence-classification", {"input_ids": ids(), "labels": np.array([0, 3])}, InputError),
    "label without a token class": (
        "token-classification", {"input_ids": ids(), "labels": with_one(5) % 5 + with_one(5) // 7 * 9}, InputError),
    "label without a word": ("masked-lm", {"input_ids": ids(), "labels": with_one(61)}, InputError),
    "label of a negative word": ("masked-lm", {"input_ids": ids(), "labels": with_one(-7)}, InputError),
    "labels of another shape": ("masked-lm", {"input_ids": ids(), "labels": ids((2, 4))}, BadShape),
    "labels of another batch": (
        "sequence-classification", {"input_ids": ids(), "labels": np.array([0, 1, 2])}, BadShape),
    "labels that are no integers": (
        "token-classification", {"input_ids": ids(), "labels": np.zeros((2, 5), "f4")}, InputError),
    "choices without their axis": ("multiple-choice", {"input_ids": ids()}, BadShape),
    "choice that is none": (
        "multiple-choice", {"input_ids": ids((2, 3, 5)), "labels": np.array([0, 3])}, InputError),
    "positions of an answer for another batch": (
        "question-answering",
        {"input_ids": ids(), "start_positions": np.array([0]), "end_positions": np.array([1])},
        BadShape,
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def model_of(frameworks: ModuleType) -> Callable[[str, str], object]:
    made: dict[tuple[str, str], object] = {}

    def get(framework: str, head: str) -> object:
        if (framework, head) not in made:
            config = frameworks.config_of(head)
            made[framework, head] = frameworks.ALL[framework].build(head, "Roberta", config)[0]
        return made[framework, head]

    return get


@pytest.mark.parametrize("case", CASES)
def test_one_sentence_for_one_mistake(
    frameworks: ModuleType, model_of: Callable[[str, str], object], case: str
) -> None:
    head, given, kind_of_error = CASES[case]
    told = {}
    for name, kind in frameworks.ALL.items():
        with pytest.raises(RobertakitError) as error:
            kind.call(model_of(name, head), given)
        assert isinstance(error.value, kind_of_error), f"{name}: {error.value!r}"
        told[name] = str(error.value).replace(f"{kind.prefix}Roberta", "Roberta")
    assert len(set(told.values())) == 1, told


@pytest.mark.parametrize("framework", ["torch", "tensorflow", "jax"])
def test_no_argument_at_all(
    frameworks: ModuleType, model_of: Callable[[str, str], object], framework: str
) -> None:
    with pytest.raises(InputError, match="neither input_ids nor inputs_embeds; expected one of"):
        frameworks.ALL[framework].call(model_of(framework, "model"), {})
