"""Fairseq's spellings of the tensors. Whole checkpoints, bit for bit: ``numpy/test_loading.py``."""

import argparse
from pathlib import Path

import numpy as np
import pytest

from robertakit.architecture import ROWS
from robertakit.checkpoints.fairseq import MODULES, in_our_names
from robertakit.checkpoints.loading import load_weights
from robertakit.checkpoints.tensors import StoredTensor
from robertakit.checkpoints.weight_files import read_weight_file
from robertakit.configuration import AutoConfig
from robertakit.errors import CorruptFile, TensorMismatch, UnsupportedFormat

torch = pytest.importorskip("torch")

PATH = Path("model.pt")
SPELLINGS = ["fairseq_decoder_args", "fairseq_encoder_cfg", "fairseq_in_proj"]


def numbered(*names: str, shape: tuple[int, ...] = (3, 2)) -> dict[str, StoredTensor]:
    return {name: StoredTensor("F32", np.full(shape, i, np.float32)) for i, name in enumerate(names)}


def test_every_module_of_the_backbone_has_a_name() -> None:
    stems = {row.name.rpartition(".")[0] for row in ROWS if row.group in ("embeddings", "layer")}
    assert set(MODULES) == stems


def test_the_three_spellings_are_one_model(checkpoints: Path) -> None:
    first, *others = (read_weight_file(checkpoints / name / "model.pt")[0] for name in SPELLINGS)
    heads = {
        f"classifier.{name}" for name in ("dense.weight", "dense.bias", "out_proj.weight", "out_proj.bias")
    }
    for other in others:
        assert set(other) - set(first) <= heads
        assert all(np.array_equal(first[name].read(), other[name].read()) for name in first)
    assert not first["roberta.embeddings.token_type_embeddings.weight"].read().any()
    assert not first["lm_head.decoder.weight"].read().flags.owndata


def test_stacked_matrices_are_cut_in_their_order_without_a_copy() -> None:
    whole = np.arange(18, dtype=np.float32).reshape(9, 2)
    name = "decoder.sentence_encoder.layers.11.self_attn.in_proj_weight"
    found = in_our_names({name: StoredTensor("F32", whole)}, PATH)
    for number, part in enumerate(("query", "key", "value")):
        tensor = found[f"roberta.encoder.layer.11.attention.self.{part}.weight"]
        assert np.array_equal(tensor.bits, whole[3 * number : 3 * number + 3])
        assert np.shares_memory(tensor.bits, whole)
    with pytest.raises(CorruptFile, match=r"in_proj_weight of shape \(8, 2\)"):
        in_our_names({name: StoredTensor("F32", whole[:8])}, PATH)


def test_segments_are_kept_where_there_are_any_and_zeros_else() -> None:
    words = "encoder.sentence_encoder.embed_tokens.weight"
    segments = "encoder.sentence_encoder.segment_embeddings.weight"
    name = "roberta.embeddings.token_type_embeddings.weight"
    assert in_our_names(numbered(words), PATH)[name].read().tolist() == [[0, 0]]
    assert in_our_names(numbered(words, segments), PATH)[name].read().tolist() == [[1, 1]] * 3
    assert name not in in_our_names({words: StoredTensor("F32", np.float32(1))}, PATH)


def test_one_classification_head_is_ours_and_of_two_none_is() -> None:
    head = "classification_heads.{}.out_proj.weight"
    assert list(in_our_names(numbered(head.format("mnli")), PATH)) == ["classifier.out_proj.weight"]
    both = numbered(head.format("mnli"), head.format("a.b"))
    assert list(in_our_names(both, PATH)) == list(both)


def test_buffers_go_and_the_unknown_stays() -> None:
    names = (
        "decoder.sentence_encoder.version",
        "decoder.sentence_encoder.embed_positions._float_tensor",
        "x.weight",
    )
    assert list(in_our_names(numbered(*names), PATH)) == ["x.weight"]


def test_one_tensor_twice_and_another_architecture() -> None:
    twice = numbered(*(f"{side}.sentence_encoder.layers.0.fc1.bias" for side in ("decoder", "encoder")))
    with pytest.raises(CorruptFile, match=r"roberta\.encoder\.layer\.0\.intermediate\.dense\.bias twice"):
        in_our_names(twice, PATH)
    with pytest.raises(UnsupportedFormat, match=r"normalise first, as XLM-R XL's do"):
        in_our_names(numbered("encoder.sentence_encoder.layer_norm.weight"), PATH)


def test_two_heads_are_an_error_that_names_them(checkpoints: Path, tmp_path: Path) -> None:
    """None of the two may be taken, or drawn anew, in silence."""
    torch.serialization.add_safe_globals([argparse.Namespace])
    state = torch.load(checkpoints / "fairseq_encoder_cfg" / "model.pt", weights_only=True)
    for name in [name for name in state["model"] if "mnli" in name]:
        state["model"][name.replace("mnli", "rte")] = state["model"][name]
    torch.save(state, tmp_path / "model.pt")
    config = AutoConfig.from_pretrained(tmp_path)
    assert config.num_labels == 2  # the default: the file does not say which head is meant
    with pytest.raises(TensorMismatch, match=r"8 unexpected: classification_heads\.mnli\.dense\.bias"):
        load_weights(tmp_path, config, "sequence-classification")
    weights, info = load_weights(tmp_path, config, "model", add_pooling_layer=False, strict=False)
    assert len(info.suspicious) == 8
    assert len(weights) == 5 + 2 * 16
