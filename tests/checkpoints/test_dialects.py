"""Names and layouts of Keras and Flax, read off the table; whole files: ``test_hdf5.py``, ``test_msgpack.py``."""

import numpy as np
import pytest

from robertakit.architecture import ROWS
from robertakit.checkpoints.dialects import FLAX, KERAS, Dialect
from robertakit.checkpoints.tensors import StoredTensor


def spelled(dialect: Dialect, name: str, kind: str) -> list[list[str]]:
    """Every path that a dialect may write for a row, in layer 3."""
    stem = name.format(layer=3).rpartition(".")[0].split(".")
    if dialect is KERAS and "layer" in stem:
        stem[stem.index("layer") : stem.index("layer") + 2] = ["layer_._3"]
    ending = ":0" if dialect is KERAS else ""
    return [[*stem, leaf + ending] for leaf in dialect.leaves[kind]]


@pytest.mark.parametrize("dialect", [KERAS, FLAX], ids=["keras", "flax"])
@pytest.mark.parametrize("row", ROWS, ids=[f"{row.name}-{row.group}" for row in ROWS])
def test_each_row_has_its_name_and_layout(dialect: Dialect, row) -> None:  # type: ignore[no-untyped-def]
    values = np.arange(6, dtype=np.float32).reshape((2, 3) if len(row.shape) == 2 else (6,))
    stored = values.T if row.kind == "matrix" else values  # what a kernel (in, out) holds
    prefix = ["tf_some_model", "roberta"] if dialect is KERAS else ["roberta"]
    for path in spelled(dialect, row.name, row.kind):
        name, tensor = dialect.read([*prefix, *path], StoredTensor("F32", stored), own=len(prefix) - 1)
        assert name == f"roberta.{row.name.format(layer=3)}"
        assert np.array_equal(tensor.read(), values)


def test_leading_parts_are_kerass_own_only_where_they_are_said_to_be() -> None:
    path = ["roberta", "tf_roberta_model", "roberta", "embeddings", "word_embeddings", "weight:0"]
    assert KERAS.name(path, own=2) == "roberta.embeddings.word_embeddings.weight"
    assert KERAS.name(path[1:], own=1) == "roberta.embeddings.word_embeddings.weight"
    assert KERAS.name(path[2:]) == "roberta.embeddings.word_embeddings.weight"
    assert KERAS.name(path[3:]) == "embeddings.word_embeddings.weight"
    assert KERAS.name(path) == ".".join([*path[:-1], "weight"])
    bert = ["bert", "tf_bert_model", "bert", "embeddings", "word_embeddings", "weight:0"]
    assert KERAS.name(bert, own=2) == "bert.embeddings.word_embeddings.weight"


def test_a_tied_decoder_may_be_stored_as_the_embedding_that_it_is() -> None:
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    for leaf, stored in (("weight:0", values), ("kernel:0", values.T)):
        name, tensor = KERAS.read(["lm_head", "decoder", leaf], StoredTensor("F32", stored))
        assert name == "lm_head.decoder.weight"
        assert np.array_equal(tensor.read(), values)


def test_what_the_table_has_not_keeps_its_name() -> None:
    assert KERAS.name(["head", "tf_model", "head", "adapter", "kernel:0"], own=2) == "head.adapter.kernel"
    assert KERAS.name(["optimizer", "iterations:0"]) == "optimizer.iterations"
    assert FLAX.name(["encoder", "layer", "0", "adapter", "kernel"]) == "encoder.layer.0.adapter.kernel"
    assert FLAX.name(["embeddings", "LayerNorm", "gamma"]) == "embeddings.LayerNorm.gamma"


@pytest.mark.parametrize("dialect", [KERAS, FLAX], ids=["keras", "flax"])
@pytest.mark.parametrize("row", ROWS, ids=[f"{row.name}-{row.group}" for row in ROWS])
def test_a_path_says_the_name_and_a_layout_the_values(dialect: Dialect, row) -> None:  # type: ignore[no-untyped-def]
    name = row.name.format(layer=3)
    path = dialect.path(name, row.kind)
    assert dialect.name(path) == name
    values = np.arange(6, dtype=np.float32).reshape((2, 3) if len(row.shape) == 2 else (6,))
    laid_out = dialect.layout(row.kind, values)
    assert np.array_equal(dialect.read(path, StoredTensor("F32", laid_out))[1].read(), values)
    back = dialect.stored(row.kind, laid_out)
    assert np.array_equal(back, values)
    assert back.flags.c_contiguous


def test_keras_forbids_some_attributes() -> None:
    layer = "roberta.encoder.layer.11"
    attributes = {
        f"{layer}.attention.self.key.bias": "attention.self_attention.key.bias",
        f"{layer}.attention.output.LayerNorm.bias": "attention.dense_output.LayerNorm.bias",
        f"{layer}.crossattention.self.key.bias": "crossattention.self_attention.key.bias",
        f"{layer}.crossattention.output.dense.bias": "crossattention.dense_output.dense.bias",
        f"{layer}.output.dense.bias": "bert_output.dense.bias",
        f"{layer}.intermediate.dense.bias": "intermediate.dense.bias",
    }
    for name, theirs in attributes.items():
        assert KERAS.attributes(name, "bias") == (*layer.split("."), *theirs.split("."))
        assert FLAX.attributes(name, "bias") == FLAX.path(name, "bias")
    assert KERAS.attributes("classifier.out_proj.weight", "matrix") == ("classifier", "out_proj", "kernel")
