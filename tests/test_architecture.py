"""The table: names, shapes, counts, initial values."""

import re

import numpy as np
import pytest

from robertakit import RobertaConfig
from robertakit.architecture import (
    HEADS,
    ROWS,
    canonical_name,
    count_parameters,
    head_named,
    heads_with,
    initial_weights,
    is_known_leftover,
    kept_heads,
    model_class_name,
    parameters,
    problem_type,
)
from robertakit.errors import ArgumentError, InputError


def small(**changes: object) -> RobertaConfig:
    sizes = {
        "vocab_size": 99,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 37,
        "max_position_embeddings": 40,
    }
    return RobertaConfig(**{**sizes, **changes})


@pytest.mark.parametrize(
    ("sizes", "count"),
    [  # the published models, without pooler (keras-hub's counts are three rows smaller)
        ({"vocab_size": 50265}, 124_055_040),
        ({"vocab_size": 250002}, 277_453_056),
        (
            {
                "vocab_size": 50265,
                "hidden_size": 1024,
                "num_hidden_layers": 24,
                "num_attention_heads": 16,
                "intermediate_size": 4096,
            },
            354_310_144,
        ),
    ],
)
def test_published_parameter_counts(sizes: dict[str, int], count: int) -> None:
    config = RobertaConfig(max_position_embeddings=514, type_vocab_size=1, **sizes)
    assert count_parameters(config, "model", add_pooling_layer=False) == count
    width = config.hidden_size
    assert count_parameters(config, "model") == count + width * width + width


@pytest.mark.parametrize("head", HEADS)
def test_names_are_the_checkpoints(head: str) -> None:
    table = parameters(small(), head)
    prefix = "" if head == "model" else "roberta."
    assert table[f"{prefix}encoder.layer.1.attention.self.query.weight"].shape == (32, 32)
    assert table[f"{prefix}embeddings.position_embeddings.weight"].shape == (40, 32)
    assert (f"{prefix}pooler.dense.weight" in table) == (head in ("model", "multiple-choice"))
    assert [p.name for p in table.values()] == list(table)
    assert len({p.part for p in table.values()} & {"head"}) == (head != "model")


def test_switches_add_and_remove_rows() -> None:
    plain = set(parameters(small(), "masked-lm"))
    crossed = set(parameters(small(is_decoder=True, add_cross_attention=True), "masked-lm"))
    assert {re.sub(r"\d+", "N", name) for name in crossed - plain} == {
        f"roberta.encoder.layer.N.crossattention.{name}"
        for part in ("self.query", "self.key", "self.value", "output.dense", "output.LayerNorm")
        for name in (f"{part}.weight", f"{part}.bias")
    }
    relative = parameters(small(position_embedding_type="relative_key"), "masked-lm")
    assert relative["roberta.encoder.layer.0.attention.self.distance_embedding.weight"].shape == (79, 8)
    assert "pooler.dense.weight" not in parameters(small(), "model", add_pooling_layer=False)


def test_pruned_heads_narrow_their_layer_only() -> None:
    config = small(pruned_heads={0: [1, 3]})
    assert [kept_heads(config, layer) for layer in (0, 1)] == [2, 4]
    table = parameters(config, "model")
    assert table["encoder.layer.0.attention.self.key.weight"].shape == (16, 32)
    assert table["encoder.layer.0.attention.output.dense.weight"].shape == (32, 16)
    assert table["encoder.layer.1.attention.self.key.weight"].shape == (32, 32)


def test_trap_17_tied_tensors_are_copies_unless_untied() -> None:
    tied = parameters(small(), "masked-lm")
    assert tied["lm_head.decoder.weight"].tied_to == "roberta.embeddings.word_embeddings.weight"
    assert tied["lm_head.decoder.bias"].tied_to == "lm_head.bias"
    untied = parameters(small(tie_word_embeddings=False), "masked-lm")
    assert untied["lm_head.decoder.weight"].tied_to is None
    assert untied["lm_head.decoder.bias"].tied_to == "lm_head.bias"


def test_initial_weights_depend_on_seed_and_name_alone() -> None:
    config = small(initializer_range=0.5)
    bare, masked = initial_weights(config, "model", seed=3), initial_weights(config, "masked-lm", seed=3)
    name = "encoder.layer.1.output.dense.weight"
    np.testing.assert_array_equal(bare[name], masked[f"roberta.{name}"])
    assert (initial_weights(config, "model", seed=4)[name] != bare[name]).any()
    assert (bare["encoder.layer.0.output.dense.weight"] != bare[name]).any()
    assert abs(bare["embeddings.word_embeddings.weight"].std() - 0.5) < 0.03
    assert not bare["embeddings.word_embeddings.weight"][config.pad_token_id].any()
    assert (bare["embeddings.LayerNorm.weight"] == 1).all()
    assert not bare["encoder.layer.0.output.dense.bias"].any()
    assert "lm_head.decoder.weight" not in masked
    assert {value.dtype for value in masked.values()} == {np.dtype("float32")}


def test_what_decays_and_what_may_be_quantised() -> None:
    table = parameters(small(), "masked-lm")
    assert {p.kind for p in table.values() if p.decays} == {"matrix", "embedding"}
    assert table["lm_head.decoder.weight"].quantisable
    assert not table["lm_head.dense.bias"].quantisable
    assert not any(p.quantisable for p in table.values() if len(p.shape) < 2)


@pytest.mark.parametrize("prefix", ["Roberta", "XLMRoberta", "TFRoberta", "FlaxXLMRoberta", "Camembert"])
@pytest.mark.parametrize("head", HEADS.values(), ids=lambda head: head.name)
def test_heads_by_class_name(prefix: str, head: object) -> None:
    assert head_named(f"{prefix}{head.class_suffix}") is head  # type: ignore[attr-defined]


@pytest.mark.parametrize("head", HEADS)
def test_class_names_of_model_types(head: str) -> None:
    suffix = HEADS[head].class_suffix
    assert (
        model_class_name("roberta", head) == model_class_name("roberta", head, "numpy") == f"Roberta{suffix}"
    )
    assert model_class_name("xlm-roberta", HEADS[head], "tensorflow") == f"TFXLMRoberta{suffix}"
    assert model_class_name("camembert", f"Camembert{suffix}", "jax") == f"FlaxRoberta{suffix}"
    with pytest.raises(
        InputError, match=r"model_type 'bert'; expected one of camembert, roberta, xlm-roberta"
    ):
        model_class_name("bert", head)


def test_an_unknown_head_is_named() -> None:
    with pytest.raises(
        ArgumentError, match=r"head 'RobertaForSinging'; expected one of causal-lm, masked-lm"
    ):
        head_named("RobertaForSinging")


def test_names_of_old_releases_and_leftovers() -> None:
    assert canonical_name("lm_head.layer_norm.beta") == "lm_head.layer_norm.bias"
    assert canonical_name("classifier.gamma") == "classifier.gamma"  # not LayerNorm's: nothing to translate
    assert canonical_name("weight") == "weight"
    assert is_known_leftover("embeddings.position_ids")
    assert not is_known_leftover("roberta.embeddings.position_embeddings.weight")
    assert heads_with("classifier.weight") == ("multiple-choice", "token-classification")
    assert heads_with("qa_outputs.bias") == ("question-answering",)
    assert heads_with("roberta.encoder.layer.11.output.dense.weight") == ()
    assert len({row.name for row in ROWS}) < len(ROWS)  # classifier.weight is two rows: one class or C


@pytest.mark.parametrize(
    ("fields", "integers", "expected"),
    [
        ({"num_labels": 1}, True, "regression"),
        ({"num_labels": 3}, True, "single_label_classification"),
        ({"num_labels": 3}, False, "multi_label_classification"),
        ({"num_labels": 3, "problem_type": "regression"}, True, "regression"),
    ],
)
def test_problem_type(fields: dict[str, object], integers: bool, expected: str) -> None:
    assert problem_type(small(**fields), labels_are_integers=integers) == expected
