"""What a conversion takes over: the head that is meant, what comes along, and nothing that was not trained."""

import numpy as np
import pytest

from robertakit import RobertaConfig
from robertakit.architecture import HEADS, Head, initial_weights, parameters
from robertakit.checkpoints.tensors import StoredTensor, as_stored
from robertakit.conversion.content import Content
from robertakit.errors import TensorMismatch

SIZES = {
    "vocab_size": 20,
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_labels": 3,
}


def stored(config: RobertaConfig, head: str) -> dict[str, StoredTensor]:
    return {name: as_stored(value) for name, value in initial_weights(config, head, 1).items()}


def taken(
    config: RobertaConfig, tensors: dict[str, StoredTensor], head: str | None = None, strict: bool = True
) -> Content:
    return Content.of(config, tensors, head, strict=strict, what="a test")


@pytest.mark.parametrize("head", HEADS.values(), ids=lambda head: head.name)
def test_a_head_is_whole_and_computes(head: Head) -> None:
    config = RobertaConfig(**SIZES)
    content = taken(config, stored(config, head.name), head.name)
    table = parameters(config, head)
    assert set(content.tensors) == {name for name, row in table.items() if row.tied_to is None}
    assert content.left_out == []
    shape = (1, 2, 3) if head.name == "multiple-choice" else (1, 3)
    answer = content.model()(np.full(shape, 5))
    assert all(np.isfinite(getattr(answer, name)).all() for name in head.outputs)


def test_the_head_is_the_configurations_or_the_tensors() -> None:
    config = RobertaConfig(**SIZES)
    tensors = stored(config, "question-answering")
    assert taken(config, tensors).head.name == "question-answering"
    config.architectures = ["RobertaModel"]
    content = taken(config, stored(config, "model"))
    assert (content.head.name, content.has_pooler) == ("model", True)


def test_what_else_was_trained_comes_along_unless_a_head_is_asked_for() -> None:
    config = RobertaConfig(**SIZES, architectures=["RobertaForMaskedLM"])
    tensors = stored(config, "masked-lm")
    classes = {
        name: value
        for name, value in stored(config, "sequence-classification").items()
        if "classifier" in name
    }
    pooler = {name: value for name, value in stored(config, "multiple-choice").items() if "pooler" in name}
    buffer = {"roberta.embeddings.position_ids": StoredTensor("I64", np.arange(5)[None])}
    copy = {"lm_head.decoder.weight": tensors["roberta.embeddings.word_embeddings.weight"].bits.copy()}
    copies = {name: as_stored(value) for name, value in copy.items()}
    everything = tensors | classes | pooler | buffer | copies
    content = taken(config, everything)
    assert set(content.tensors) == {*tensors, *classes, *pooler}
    assert content.left_out == ["lm_head.decoder.weight", "roberta.embeddings.position_ids"]
    only = taken(config, everything, "masked-lm")
    assert set(only.tensors) == set(tensors)
    assert only.left_out == sorted({*classes, *pooler, *buffer, *copies})


def test_a_pooler_without_the_prefix_gets_it() -> None:
    config = RobertaConfig(**SIZES, architectures=["RobertaForMaskedLM"])
    tensors = stored(config, "masked-lm")
    bare = {name: value for name, value in stored(config, "model").items() if "pooler" in name}
    assert "roberta.pooler.dense.weight" in taken(config, tensors | bare).tensors


def test_nothing_is_drawn_anew() -> None:
    config = RobertaConfig(**SIZES)
    with pytest.raises(
        TensorMismatch, match=r"lacks lm_head.bias, .* of RobertaForMaskedLM; .* head='model'"
    ):
        taken(config, stored(config, "model"), "masked-lm")
    tensors = stored(config, "masked-lm")
    del tensors["roberta.encoder.layer.0.output.dense.bias"]
    for strict in (True, False):
        with pytest.raises(TensorMismatch, match=r"encoder\.layer\.0\.output\.dense\.bias"):
            taken(config, tensors, strict=strict)


def test_wrappers_and_strangers_need_strict_to_be_off() -> None:
    config = RobertaConfig(**SIZES)
    tensors = {f"module.{name}": value for name, value in stored(config, "masked-lm").items()}
    tensors["stranger"] = as_stored(np.ones(3, np.float32))
    with pytest.raises(TensorMismatch, match="strict=False"):
        taken(config, tensors, "masked-lm")
    content = taken(config, tensors, "masked-lm", strict=False)
    assert set(content.tensors) == set(stored(config, "masked-lm"))
    assert content.left_out == ["stranger"]


def test_a_copy_that_was_trained_apart_is_told() -> None:
    config = RobertaConfig(**SIZES)
    tensors = stored(config, "masked-lm")
    tensors["lm_head.decoder.weight"] = as_stored(np.ones((20, 8), np.float32))
    (note,) = taken(config, tensors).notes
    assert "lm_head.decoder.weight is stored with other values" in note
