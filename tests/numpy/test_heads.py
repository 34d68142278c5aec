"""Every recorded forward pass and loss of the reference, and the documented arguments of the seven heads."""

import inspect
import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

import robertakit.numpy as family
from robertakit import RobertaConfig
from robertakit.errors import ArgumentError, BadShape, ConfigError, InputError, TooLong

GOLDEN = Path(__file__).resolve().parent.parent / "golden"
CALLS = {"call", "grad", "check_config", "check_attrs"}
CASES = [
    name
    for name, entry in json.loads((GOLDEN / "roberta" / "cases.json").read_text()).items()
    if {step["op"] for step in entry["case"]["steps"]} <= CALLS
]
CLASSES = [name for name in family.__all__ if "Roberta" in name]


@pytest.mark.parametrize("name", CASES)
def test_a_recorded_case_is_reproduced(name, replay, build, golden):
    case = replay.golden_cases(golden / "roberta")[name]
    model, _ = replay.replay(case, build)
    for step in case.spec["steps"]:
        if step["op"] in ("check_config", "check_attrs"):
            holder = model.config if step["op"] == "check_config" else model
            assert {key: getattr(holder, key) for key in step["expect"]} == step["expect"]


@pytest.mark.parametrize("name", CASES)
def test_a_recorded_case_is_reproduced_from_a_folder(name, replay, golden, tmp_path):
    def build(kind, config, weights, constructor, dtype):
        (tmp_path / "config.json").write_text(json.dumps(config))
        save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
        return family.load(tmp_path, head=kind, dtype=dtype, **constructor)

    replay.replay(replay.golden_cases(golden / "roberta")[name], build)


def test_the_golden_cases_are_the_shared_ones(replay, shared, golden):
    everything = replay.shared_cases(shared / "fixtures" / "roberta")
    kept = replay.golden_cases(golden / "roberta")
    assert kept.keys() == everything.keys()
    for name in sorted(everything):
        ours, theirs = kept[name], everything[name]
        assert ours.config == theirs.config
        for read in ("read_inputs", "read_weights"):
            mine, other = getattr(ours, read)(), getattr(theirs, read)()
            assert mine.keys() == other.keys()
            assert all(np.array_equal(mine[key], other[key], equal_nan=True) for key in mine)
        recorded = theirs.read_expected()
        for key, value in ours.read_expected().items():
            np.testing.assert_array_equal(value, recorded[key])


def test_the_harness_notices_a_wrong_number_a_spare_key_and_a_missing_one(replay, build, golden):
    case = replay.golden_cases(golden / "roberta")["mlm_loss_grad"]
    _, found = replay.replay(case, build)
    inputs = case.read_inputs()
    replay.compare(case, found, inputs)
    with pytest.raises(AssertionError, match=r"out\.logits"):
        replay.compare(case, found | {"out.logits": found["out.logits"] + 1e-3}, inputs)
    with pytest.raises(AssertionError, match="was not recorded"):
        replay.compare(case, found | {"out.hidden_states.0": found["out.logits"]}, inputs)
    with pytest.raises(AssertionError, match="lacks"):
        replay.compare(case, {"out.loss": found["out.loss"]}, inputs)


@pytest.mark.parametrize("name", CLASSES)
def test_forward_has_the_documented_arguments(name):
    documented = json.loads((GOLDEN / "signatures.json").read_text())[name]["forward"]["parameters"]
    ours = inspect.signature(getattr(family, name).forward).parameters
    assert [key for key in ours if key != "self"] == [key for key, _ in documented]
    assert all(ours[key].default is None for key, _ in documented)


def test_an_unknown_argument_is_refused(small, padded):
    with pytest.raises(TypeError, match="attention_masks"):
        small("RobertaModel")(padded[0], attention_masks=padded[1])


@pytest.mark.parametrize("values", ["both", "neither"])
def test_both_or_none_of_ids_and_embeddings(small, padded, values):
    given = {"input_ids": padded[0], "inputs_embeds": np.zeros((3, 9, 24))} if values == "both" else {}
    with pytest.raises(InputError, match=f"{values} .*expected one of input_ids and inputs_embeds") as caught:
        small("RobertaModel")(**given)
    assert isinstance(caught.value, ValueError)


def test_trap_01_positions_start_after_padding_idx(small):
    """The first token has position padding_idx + 1; a padding id has padding_idx, wherever it stands."""
    model = small("RobertaModel")
    table = model.weights["embeddings.position_embeddings.weight"].read(np.float32)
    found = model.trace([[0, 7, 1, 9]])["embeddings.position_embeddings"]
    np.testing.assert_array_equal(found[0], table[[2, 3, 1, 4]])
    embedded = model.trace(inputs_embeds=np.zeros((1, 3, 24)))["embeddings.position_embeddings"]
    np.testing.assert_array_equal(embedded[0], table[[2, 3, 4]])


def test_trap_01_513_tokens_do_not_fit_a_table_of_514_rows():
    config = RobertaConfig(
        vocab_size=9, hidden_size=4, num_attention_heads=1, num_hidden_layers=1, intermediate_size=4,
        max_position_embeddings=514, type_vocab_size=1,
    )  # fmt: skip
    model = family.RobertaModel(config)
    assert model(np.full((1, 512), 5)).last_hidden_state.shape == (1, 512, 4)
    for inputs in ({"input_ids": np.full((1, 513), 5)}, {"inputs_embeds": np.zeros((1, 513, 4))}):
        with pytest.raises(TooLong, match=r"513 tokens.*expected at most 512.*514"):
            model(**inputs)


def test_trap_10_scores_and_losses_are_float32_with_half_precision_weights(small, padded):
    full = small("RobertaForSequenceClassification", num_labels=3)
    halves = {
        name: full.weights[name].read(np.float32).astype(np.float16)
        for name in full.weights
    }  # fmt: skip
    half = family.RobertaForSequenceClassification(full.config, weights=halves)
    output = half(*padded, labels=[0, 1, 2])
    assert output.logits.dtype == output.loss.dtype == np.float32
    exact = family.RobertaForSequenceClassification(
        full.config, weights={name: value.astype(np.float32) for name, value in halves.items()}
    )
    np.testing.assert_array_equal(output.logits, exact(*padded).logits)


@pytest.mark.parametrize("batch", [1, 2, 3])
def test_trap_11_a_row_does_not_depend_on_its_batch(small, padded, batch):
    model = small("RobertaForMaskedLM")
    ids, mask = padded
    whole = model(ids, mask).logits
    part = model(ids[:batch], mask[:batch]).logits
    limit = 1e-5 * np.maximum(1, np.abs(whole[:batch]).max(axis=-1, keepdims=True))
    assert (np.abs(part - whole[:batch]) <= limit).all()


def test_trap_13_a_token_type_of_one_with_a_single_row(small, padded):
    model = small("RobertaModel", type_vocab_size=1)
    model(padded[0], token_type_ids=np.zeros_like(padded[0]))
    with pytest.raises(
        InputError, match=r"token_type_ids 1 .*type_vocab_size is 1.*leave token_type_ids out"
    ):
        model(padded[0], token_type_ids=np.ones_like(padded[0]))


@pytest.mark.parametrize("wrong", [61, -1])
def test_an_id_outside_the_vocabulary(small, padded, wrong):
    ids = padded[0].copy()
    ids[1, 2] = wrong
    with pytest.raises(InputError, match=rf"input_ids {wrong} at \(1, 2\); expected 0 to 60"):
        small("RobertaForMaskedLM")(ids)


def test_a_row_that_is_all_padding_is_computed_like_the_reference(small, padded):
    ids, mask = padded
    mask = mask.copy()
    mask[1] = 0
    output = small("RobertaModel")(ids, mask, output_attentions=True)
    assert np.isfinite(output.last_hidden_state).all()
    np.testing.assert_allclose(output.attentions[0][1], 1 / 9, rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("RobertaForMaskedLM", {"labels": np.full((3, 9), -100)}),
        ("RobertaForCausalLM", {"labels": np.full((3, 9), -100)}),
        ("RobertaForTokenClassification", {"labels": np.full((3, 9), -100)}),
        ("RobertaForSequenceClassification", {"labels": np.full(3, -100)}),
        ("RobertaForQuestionAnswering", {"start_positions": np.full(3, 9), "end_positions": np.full(3, 99)}),
    ],
)
def test_a_batch_without_a_label_has_loss_zero(small, padded, name, labels):
    output = small(name, num_labels=2)(*padded, **labels)
    assert output.loss == 0
    assert output.loss.shape == ()


def test_labels_one_shorter_than_the_ids_are_named_with_both_lengths(small, padded):
    """The documented example of XLM-R's masked LM makes such labels: ``reference/README.md``."""
    for name in ("RobertaForMaskedLM", "XLMRobertaForMaskedLM", "RobertaForTokenClassification"):
        with pytest.raises(BadShape, match="labels of length 8 with inputs of length 9"):
            small(name)(*padded, labels=padded[0][:, :-1])


@pytest.mark.parametrize("label", [61, -1, -99])
def test_a_label_without_a_class(small, padded, label):
    labels = np.full((3, 9), -100)
    labels[0, 3] = label
    with pytest.raises(InputError, match=f"label {label}; expected 0 to 60, or -100"):
        small("RobertaForMaskedLM")(*padded, labels=labels)


def test_encoder_states_need_cross_attention(small, padded):
    states = np.zeros((3, 5, 24))
    with pytest.raises(ValueError, match="add_cross_attention=True"):
        small("RobertaModel", is_decoder=True)(padded[0], encoder_hidden_states=states)
    with pytest.raises(ConfigError, match="add_cross_attention=True and is_decoder=False"):
        small("RobertaModel", add_cross_attention=True)
    alone = small("RobertaModel")
    np.testing.assert_array_equal(
        alone(padded[0], encoder_hidden_states=states)[0], alone(padded[0])[0]
    )  # an encoder leaves them aside


def test_a_cache_needs_a_decoder(small, padded):
    cache = small("RobertaModel", is_decoder=True)(padded[0]).past_key_values
    with pytest.raises(ArgumentError, match="past_key_values with is_decoder=False"):
        small("RobertaModel")(padded[0], past_key_values=cache)


def test_only_the_bare_model_can_leave_its_pooler_out():
    with pytest.raises(ArgumentError, match="add_pooling_layer=False to RobertaForMaskedLM"):
        family.RobertaForMaskedLM(RobertaConfig(num_hidden_layers=0), add_pooling_layer=False)


def test_multiple_choice_wants_three_axes(small, padded):
    with pytest.raises(BadShape, match=r"input_ids of shape \(3, 9\).*choices"):
        small("RobertaForMultipleChoice")(padded[0])


def test_chunks_of_the_feed_forward_change_nothing(small, padded):
    whole, chunked = small("RobertaModel"), small("RobertaModel", chunk_size_feed_forward=4)
    np.testing.assert_allclose(chunked(*padded)[0], whole(*padded)[0], rtol=0, atol=2e-5)
