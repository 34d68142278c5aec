"""Packed, padded and one by one agree for every head; the engine's contract."""

import math
import pickle
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import robertakit.numpy as family
from robertakit import RobertaConfig
from robertakit.architecture import HEADS
from robertakit.batch import Batch, Encoding
from robertakit.checkpoints import save_weights
from robertakit.errors import ArgumentError, InputError, TooLong
from robertakit.numpy.engine import Engine

LENGTHS = (9, 6, 4, 6, 1)


@pytest.fixture
def encodings():
    generator = np.random.default_rng(3)
    return [
        Encoding(
            [0, *generator.integers(3, 60, length - 1).tolist()], generator.integers(0, 2, length).tolist()
        )
        for length in LENGTHS
    ]


def padded_answer(model, encodings):
    """The documented outputs of a right-padded batch, and its mask."""
    longest = max(len(encoding) for encoding in encodings)
    mask = np.arange(longest) < np.array([len(encoding) for encoding in encodings])[:, None]
    ids, types = np.full(mask.shape, 1), np.zeros(mask.shape, int)
    ids[mask] = np.concatenate([encoding.input_ids for encoding in encodings])
    types[mask] = np.concatenate([encoding.token_type_ids for encoding in encodings])
    given = {"input_ids": ids, "attention_mask": mask.astype(int), "token_type_ids": types}
    if model.head.name == "multiple-choice":
        given = {name: value[None] for name, value in given.items()}
    output = model(**given)
    return {
        name: output[name][0] if "choice" in model.head.name else output[name] for name in model.head.outputs
    }, mask


def assert_rows_agree(got, want):
    """Each row within 1e-5 times the larger of 1 and its largest entry."""
    assert got.shape == want.shape
    rows = want.reshape(len(want), math.prod(want.shape[1:]))
    limit = 1e-5 * np.maximum(1, np.abs(rows).max(axis=1, initial=0, keepdims=True))
    assert (np.abs(got.reshape(rows.shape) - rows) <= limit).all()


@pytest.mark.parametrize("positions", ["absolute", "relative_key", "relative_key_query"])
@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("prefix", ["Roberta", "XLMRoberta"])
def test_trap_01_packed_padded_and_one_by_one_agree(small, encodings, prefix, head, positions):
    labels = 2 if head == "question-answering" else 3
    model = small(prefix + HEADS[head].class_suffix, position_embedding_type=positions, num_labels=labels)
    engine, names = Engine(model), HEADS[head].outputs
    packed = engine.run(Batch.from_encodings(encodings, 1), names)
    alone = [engine.run(Batch.from_encodings([encoding], 1), names) for encoding in encodings]
    padded, mask = padded_answer(model, encodings)
    for name in names:
        token_wise = name == "last_hidden_state" or (HEADS[head].rows != "first" and name != "pooler_output")
        assert_rows_agree(packed[name], np.concatenate([one[name] for one in alone]))
        assert_rows_agree(packed[name], padded[name][mask] if token_wise else padded[name])


def test_a_decoder_sees_the_past_alone_when_packed_too(small, encodings):
    model = small("RobertaForCausalLM", is_decoder=True)
    packed = Engine(model).run(Batch.from_encodings(encodings, 1))["logits"]
    padded, mask = padded_answer(model, encodings)
    assert_rows_agree(packed, padded["logits"][mask])


@pytest.mark.parametrize("head", HEADS)
def test_recorded_cases_hold_for_the_packed_engine(head, replay, build, golden):
    """What the reference gives at real tokens, in the cases that a padding-free implementation is held to."""
    compared = 0
    for name, case in replay.golden_cases(golden / "roberta").items():
        if not case.operations <= {"call", "grad", "check_config", "check_attrs"}:
            continue
        (step, *others) = [step for step in case.spec["steps"] if step["op"] == "call"]
        simple = {
            "input_ids",
            "attention_mask",
            "token_type_ids",
            "labels",
            "start_positions",
            "end_positions",
        }
        if (
            others
            or "packed" not in case.spec
            or not step["kwargs"].keys() <= simple
            or "input_ids" not in step["kwargs"]
        ):
            continue
        weights = case.read_weights()
        prefix = case.spec["strip_prefix"] or "\0"
        weights = {key.removeprefix(prefix): value for key, value in weights.items()}
        model = build(case.spec["class"], case.config, weights, case.spec["constructor"], case.spec["dtype"])
        if model.head.name != head or head == "multiple-choice":
            continue
        inputs = case.read_inputs()
        given = {key: inputs[value[1:]] for key, value in step["kwargs"].items() if key in simple}
        mask = given["attention_mask"] != 0
        batch = Batch.from_padded(
            given["input_ids"], mask, model.config.pad_token_id, given.get("token_type_ids")
        )
        names = [key for key in HEADS[head].outputs if key != "pooler_output" or model.add_pooling_layer]
        found = Engine(model).run(batch, names)
        expected = case.read_expected()
        for key in names:
            index = names.index(key)
            want = expected.get(f"{step['id']}.{key}", expected.get(f"{step['id']}.{index}"))
            got = found[key]
            if len(got) == len(mask) != mask.sum():
                kept = mask[:, 0]  # the first token of a left-padded row is another one here
                got, want = got[kept], want[kept]
            else:
                want = want[mask]
            limit = case.spec["tolerance"]["atol"] + case.spec["tolerance"]["rtol"] * np.abs(want).max(
                initial=0
            )
            np.testing.assert_allclose(got, want, rtol=0, atol=limit, err_msg=f"{name} {key}")
            compared += 1
    assert compared or head in ("multiple-choice", "causal-lm")


def test_only_the_rows_that_are_asked_for(small, encodings):
    batch = Batch.from_encodings(encodings, 1)
    for name, key in (
        ("RobertaForMaskedLM", "logits"),
        ("RobertaForTokenClassification", "logits"),
        ("RobertaForQuestionAnswering", "end_logits"),
        ("RobertaModel", "last_hidden_state"),
    ):
        engine = Engine(small(name))
        rows = np.array([25, 3, 10], np.int32)
        some, everything = engine.run(batch, (key,), rows)[key], engine.run(batch, (key,))[key]
        assert_rows_agree(some, everything[rows])
        assert engine.run(batch, (key,), rows[:0])[key].shape == (0, *everything.shape[1:])


def test_trap_19_the_language_model_head_sees_only_the_rows_that_are_asked_for(small, encodings, monkeypatch):
    engine, seen = Engine(small("RobertaForMaskedLM")), []
    from robertakit.numpy import engine as module

    real = module.lm_logits
    monkeypatch.setattr(module, "lm_logits", lambda s, c, rows: seen.append(len(rows)) or real(s, c, rows))
    engine.run(Batch.from_encodings(encodings, 1), rows=np.array([2, 4]))
    assert seen == [2]


@pytest.mark.parametrize("head", HEADS)
def test_a_sequence_without_tokens_gives_zeros_and_disturbs_nobody(small, encodings, head):
    model = small("Roberta" + HEADS[head].class_suffix, num_labels=2)
    engine, names = Engine(model), HEADS[head].outputs
    with_empty = engine.run(
        Batch.from_encodings([encodings[0], Encoding([]), encodings[1], Encoding([])], 1), names
    )
    without = engine.run(Batch.from_encodings(encodings[:2], 1), names)
    for name in names:
        if len(with_empty[name]) == 4:
            assert not with_empty[name][[1, 3]].any()
            assert_rows_agree(with_empty[name][[0, 2]], without[name])
        else:
            assert_rows_agree(with_empty[name], without[name])
    nothing = engine.run(Batch.from_encodings([Encoding([])], 1), names)
    assert all(not value.any() for value in nothing.values())


def test_the_order_of_a_batch_does_not_matter(small, encodings):
    engine = Engine(small("RobertaForSequenceClassification"))
    forward = engine.run(Batch.from_encodings(encodings, 1))["logits"]
    backward = engine.run(Batch.from_encodings(encodings[::-1], 1))["logits"][::-1]
    assert_rows_agree(backward, forward)


def test_pruned_heads_packed(small, encodings):
    model = small("RobertaForMaskedLM", pruned_heads={"0": [1, 3], "1": [0, 1, 2, 3]})
    packed = Engine(model).run(Batch.from_encodings(encodings, 1))["logits"]
    padded, mask = padded_answer(model, encodings)
    assert_rows_agree(packed, padded["logits"][mask])


def test_what_cannot_be_run_is_refused(small, encodings):
    engine = Engine(small("RobertaForMaskedLM"))
    batch = Batch.from_encodings(encodings, 1)
    with pytest.raises(ArgumentError, match="outputs pooler_output of 'masked-lm'"):
        engine.run(batch, ("pooler_output",))
    for row in (-1, len(batch.input_ids)):
        with pytest.raises(InputError, match="rows from"):
            engine.run(batch, rows=np.array([row]))
    with pytest.raises(InputError, match="input_ids 61"):
        engine.run(Batch.from_encodings([Encoding([61])], 1))
    with pytest.raises(TooLong, match=r"39 tokens.*at most 38"):
        engine.run(Batch.from_encodings([Encoding([5] * 39)], 1))


def test_limits_head_and_closing(small, encodings):
    with Engine(small("RobertaForMaskedLM", dtype="float64")) as engine:
        assert (engine.head.name, engine.limits.longest, engine.limits.dtype) == ("masked-lm", 38, "float64")
        assert engine.limits.tokens > 0
        batch = Batch.from_encodings(encodings, 1)
        assert engine.run(batch)["logits"].dtype == np.float64
    with pytest.raises(InputError, match="closed"):
        engine.run(batch)


def test_an_engine_from_a_checkpoint_pickles_as_its_recipe(small, encodings, tmp_path):
    model = small("RobertaForMaskedLM")
    names = [name for name in model.weights if not name.startswith("lm_head.decoder")]
    weights = {name: model.weights[name].read(np.float16) for name in names}
    save_weights(tmp_path, weights, config_json=model.config.to_json_string())
    engine = Engine.from_pretrained(tmp_path, "masked-lm")
    pickled = pickle.dumps(engine)
    assert len(pickled) < 1000
    batch = Batch.from_encodings(encodings, 1)
    want = engine.run(batch)["logits"]
    np.testing.assert_array_equal(pickle.loads(pickled).run(batch)["logits"], want)
    in_memory = pickle.loads(pickle.dumps(Engine(model)))
    assert in_memory.run(batch)["logits"].shape == want.shape


def test_half_precision_weights_stay_half(small, encodings, tmp_path):
    model = small("RobertaForMaskedLM")
    weights = {
        n: model.weights[n].read(np.float16) for n in model.weights if not n.startswith("lm_head.decoder")
    }
    save_weights(tmp_path, weights, config_json=model.config.to_json_string())
    engine = Engine.from_pretrained(tmp_path, "RobertaForMaskedLM")
    logits = engine.run(Batch.from_encodings(encodings, 1))["logits"]
    assert logits.dtype == np.float32
    assert {tensor.dtype for tensor in engine.model.weights.values()} == {"F16"}
    widened = family.RobertaForMaskedLM(
        model.config, weights={name: value.astype(np.float32) for name, value in weights.items()}
    )
    np.testing.assert_array_equal(logits, Engine(widened).run(Batch.from_encodings(encodings, 1))["logits"])


@given(
    lengths=st.lists(st.integers(0, 12), min_size=1, max_size=6),
    gaps=st.integers(0, 2**32 - 1),
    head=st.sampled_from(["masked-lm", "sequence-classification", "token-classification", "model"]),
)
@settings(max_examples=60)
def test_packed_equals_padded_whatever_the_mask_keeps(lengths, gaps, head):
    """Masks with holes and padding anywhere, padding ids among the kept tokens, rows without any token."""
    model = random_model(head)
    generator = np.random.default_rng(gaps)
    mask = (np.arange(12) < np.array(lengths)[:, None]) & (generator.random((len(lengths), 12)) < 0.8)
    ids = generator.integers(0, 61, mask.shape)
    types = generator.integers(0, 2, mask.shape)
    batch = Batch.from_padded(ids, mask, model.config.pad_token_id, types)
    name = HEADS[head].outputs[0]
    packed = Engine(model).run(batch, (name,))[name]
    padded = model(ids, mask.astype(int), types)[name]
    if head == "sequence-classification":  # the reference takes the first position, real or not
        assert_rows_agree(packed[mask[:, 0]], padded[mask[:, 0]])
        assert not packed[~mask.any(axis=1)].any()
    else:
        assert_rows_agree(packed, padded[mask])


@cache
def random_model(head):
    config = RobertaConfig(
        vocab_size=61, hidden_size=24, num_hidden_layers=2, num_attention_heads=4, intermediate_size=37,
        max_position_embeddings=40, initializer_range=0.2, num_labels=3,
    )  # fmt: skip
    return getattr(family, f"Roberta{HEADS[head].class_suffix}")(config, seed=3)
