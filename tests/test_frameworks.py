"""What is built in each framework, for each family and head, against the table: names, shapes, initial values, ties."""

from types import ModuleType

import numpy as np
import pytest

from robertakit.architecture import HEADS, count_parameters, initial_weights, parameters

for _module in ("torch", "tensorflow", "keras", "jax", "flax"):
    pytest.importorskip(_module)

FRAMEWORKS = ("torch", "tensorflow", "jax")
FAMILIES = ("Roberta", "XLMRoberta")
VARIANTS = {
    "plain": {},
    "untied": {"tie_word_embeddings": False},
    "relative decoder": {
        "position_embedding_type": "relative_key",
        "is_decoder": True,
        "add_cross_attention": True,
    },
    "pruned": {"pruned_heads": {0: [1, 3], 1: [0]}},
}


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_names_shapes_and_initial_values_are_the_tables(
    frameworks: ModuleType, framework: str, family: str, head: str
) -> None:
    kind, config = frameworks.ALL[framework], frameworks.config_of(head, family)
    model, seed = kind.build(head, family, config, seed=7)
    assert type(model).__name__ == f"{kind.prefix}{family}{HEADS[head].class_suffix}"
    assert model.config.model_type == config.model_type
    want, got = initial_weights(config, head, seed), kind.named(model)
    assert got.keys() == want.keys()
    for name, value in want.items():
        assert got[name].dtype == np.float32
        np.testing.assert_array_equal(got[name], value, err_msg=name)
    assert sum(value.size for value in got.values()) == count_parameters(config, head)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_variants_are_built_by_the_table(frameworks: ModuleType, framework: str, variant: str) -> None:
    kind, config = frameworks.ALL[framework], frameworks.config_of("causal-lm", **VARIANTS[variant])
    model, seed = kind.build("causal-lm", "Roberta", config, seed=3)
    want, got = initial_weights(config, "causal-lm", seed), kind.named(model)
    assert got.keys() == want.keys()
    for name, value in want.items():
        np.testing.assert_array_equal(got[name], value, err_msg=name)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_tied_decoders_share_and_untied_ones_do_not(frameworks: ModuleType, framework: str) -> None:
    """The word that no input has changes its own score alone, where the decoder is the embedding."""
    kind, given = frameworks.ALL[framework], frameworks.call_of("masked-lm", labels=False)
    for tied in (True, False):
        config = frameworks.config_of("masked-lm", tie_word_embeddings=tied)
        model, _ = kind.build("masked-lm", "Roberta", config)
        before, values = kind.call(model, given)["logits"], kind.named(model)
        word = "roberta.embeddings.word_embeddings.weight"
        assert 60 not in given["input_ids"]
        values[word] = values[word].copy()
        values[word][60, 0] += 1
        kind.assign(model, values)
        moved = kind.call(model, given)["logits"] - before
        assert (np.abs(moved[..., 60]).max() > 0.1) == tied
        assert np.abs(moved[..., :60]).max() == 0
        assert {n: p.tied_to for n, p in parameters(config, "masked-lm").items() if p.tied_to} == (
            {"lm_head.decoder.bias": "lm_head.bias"} | ({"lm_head.decoder.weight": word} if tied else {})
        )


@pytest.mark.parametrize("head", HEADS)
def test_a_linen_module_makes_the_tree_that_the_table_names(frameworks: ModuleType, head: str) -> None:
    import jax

    decoder = {"is_decoder": True, "add_cross_attention": True}
    for fields in (
        {},
        VARIANTS["untied"],
        VARIANTS["pruned"],
        *([decoder] if head in ("model", "causal-lm") else []),
    ):
        model, _ = frameworks.ALL["jax"].build(head, "Roberta", frameworks.config_of(head, **fields))
        given = frameworks.call_of(head, labels=False)
        if fields is decoder:
            given["encoder_hidden_states"] = np.zeros((4, 3, 24), np.float32)
        made = jax.eval_shape(lambda m=model, g=given: m.module.init(jax.random.key(0), **g))["params"]
        assert jax.tree.map(lambda leaf: leaf.shape, made) == jax.tree.map(
            lambda leaf: leaf.shape, model.params
        )


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_xlm_roberta_is_roberta_with_another_configuration(
    frameworks: ModuleType, framework: str, head: str
) -> None:
    kind = frameworks.ALL[framework]
    ours, theirs = kind.model_class(head, "Roberta"), kind.model_class(head, "XLMRoberta")
    assert issubclass(theirs, ours)
    assert theirs.config_class.model_type == "xlm-roberta"
    written = {name for name in vars(theirs) if not name.startswith("__")}
    assert written <= {"config_class", "_abc_impl"}


@pytest.mark.parametrize("head", HEADS)
def test_the_same_seed_of_the_table_gives_the_same_answers(frameworks: ModuleType, head: str) -> None:
    """The documented outputs of all three, from weights that are wide enough for mistakes to show."""
    config, given = frameworks.config_of(head), frameworks.call_of(head)
    generator = np.random.default_rng(5)
    weights = {
        name: ((10 if value.ndim > 1 else 1) * value + 0.2 * generator.standard_normal(value.shape)).astype(
            "f4"
        )
        for name, value in initial_weights(config, head, 5).items()
    }
    answers = {}
    for name, kind in frameworks.ALL.items():
        model, _ = kind.build(head, "Roberta", config)
        kind.assign(model, weights)
        answers[name] = kind.call(model, given)
    want = answers.pop("torch")
    padded = (
        {"last_hidden_state", "logits", "start_logits", "end_logits"}
        if HEADS[head].rows != "first"
        else set()
    )
    real = given["attention_mask"].astype(bool)
    for name, found in answers.items():
        assert found.keys() == want.keys()
        for field, value in want.items():
            got = found[field]
            assert got.shape == value.shape
            if field in padded:  # PyTorch packs: its rows of padding are zeros
                got, value = got[real], value[real]
            limit = 2e-5 * max(1.0, float(np.abs(value).max(initial=0)))
            if head == "question-answering" and field == "loss":
                continue  # over real tokens in packed attention; the training test compares it under "eager"
            np.testing.assert_allclose(got, value, rtol=0, atol=limit, err_msg=f"{name} {field}")
