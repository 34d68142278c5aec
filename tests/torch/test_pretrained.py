"""The first part of the PyTorch models: the reference's numbers, the table's weights, packed against padded."""

import json
from pathlib import Path

import pytest
from safetensors.numpy import load_file

import numpy as np
import torch
from robertakit.architecture import initial_weights, parameters
from robertakit.batch import Batch
from robertakit.configuration import RobertaConfig
from robertakit.errors import ArgumentError, BadShape, ConfigError, InputError, TooLong
from robertakit.torch import RobertaForMaskedLM, RobertaModel

CASES = [
    "mlm_inputs_embeds", "mlm_logits", "mlm_loss_f64", "mlm_loss_grad", "mlm_no_label_left",
    "mlm_tuple_loss_all", "mlm_tuple_no_loss", "mlm_untied", "model_act_gelu_new", "model_act_relu",
    "model_act_silu", "model_batch1_length1", "model_chunked_feed_forward", "model_head_mask_1d",
    "model_head_mask_2d", "model_inputs_embeds", "model_inputs_embeds_mask", "model_longest", "model_mask_3d",
    "model_mask_all_zero_row", "model_mask_float", "model_mask_left", "model_mask_right", "model_no_pooler",
    "model_no_pooler_tuple", "model_output_attentions", "model_output_hidden_states", "model_outputs_by_config",
    "model_outputs_config_overridden", "model_pad_token_5", "model_pads_no_mask", "model_plain", "model_plain_f64",
    "model_position_ids", "model_position_ids_row", "model_right_pad_f64", "model_token_type_ids", "model_tuple",
    "model_tuple_all", "model_tuple_by_config", "model_type_vocab_1", "train_adamw_mlm", "train_adamw_mlm_f64",
]  # fmt: skip


class Replay:
    """A case of the reference numbers (format: fixtures/README.md)."""

    def __init__(self, root: Path, name: str, way: str) -> None:
        folder = root / "cases" / name
        self.case = json.loads((folder / "case.json").read_text())
        inputs = folder / "inputs.safetensors"
        self.inputs = load_file(inputs) if inputs.exists() else {}
        self.expected = load_file(folder / "expected.safetensors")
        self.dtype = getattr(torch, self.case["dtype"])
        self.packed = self.case.get("packed", {}) if way == "packed" else {}
        weights = {}
        for file in self.case["weights"]:
            weights |= load_file(root / file)
        if self.case["strip_prefix"]:
            weights = {key.removeprefix(self.case["strip_prefix"]): value for key, value in weights.items()}
        config = RobertaConfig.from_json_file(folder / "config.json")
        config.attn_implementation = way
        model_class = {"RobertaModel": RobertaModel, "RobertaForMaskedLM": RobertaForMaskedLM}[
            self.case["class"]
        ]
        self.model = model_class(config, **self.case["constructor"]).eval()
        tensors = {name: torch.from_numpy(value) for name, value in weights.items()}
        missing, unexpected = self.model.load_state_dict(tensors, strict=False)
        assert not unexpected
        assert all(name.startswith("lm_head.decoder.") for name in missing)
        self.model.to(self.dtype)
        self.got: dict[str, np.ndarray] = {}

    def argument(self, value):
        if isinstance(value, str) and value.startswith("@"):
            tensor = torch.from_numpy(self.inputs[value[1:]])
            return tensor.to(self.dtype) if tensor.is_floating_point() else tensor
        return value

    def flat(self, value, path):
        if value is None:
            return
        if torch.is_tensor(value):
            self.got[path] = value.detach().numpy()
        else:
            pairs = value.items() if hasattr(value, "items") else enumerate(value)
            for key, item in pairs:
                self.flat(item, f"{path}.{key}")

    def run(self):
        results = {}
        for step in self.case["steps"]:
            if step["op"] == "call":
                out = self.model(**{key: self.argument(value) for key, value in step["kwargs"].items()})
                results[step["id"]] = out
                self.flat(out, step["id"])
            elif step["op"] == "grad":
                name, field = step["of"].lstrip("%").split(".")
                getattr(results[name], field).backward()
                for key, parameter in self.model.named_parameters():
                    if parameter.grad is not None:
                        self.got[f"grad.{key}"] = parameter.grad.numpy()
            else:
                self.adamw(step)

    def adamw(self, step):
        options = {key: step[key] for key in ("lr", "eps", "weight_decay") if key in step}
        optimiser = torch.optim.AdamW(self.model.parameters(), betas=tuple(step["betas"]), **options)
        losses = []
        for batch in step["batches"]:
            optimiser.zero_grad()
            loss = self.model(**{key: self.argument(value) for key, value in batch.items()}).loss
            loss.backward()
            optimiser.step()
            losses.append(loss.detach())
        self.got["train.loss"] = torch.stack(losses).numpy()
        self.got |= {f"after.{key}": value.detach().numpy() for key, value in self.model.named_parameters()}

    def compare(self):
        tolerance = self.case["tolerance"]
        ignored = tuple(self.case.get("ignore", ())) or ("\0",)
        compared = 0
        for key, want in self.expected.items():
            if key.endswith(ignored) or key.startswith(tuple(self.packed.get("ignore", ())) or "\0"):
                continue
            have = self.got[key]
            if "last" in self.case.get("compare", {}).get(key, {}):
                have = have[..., : self.case["compare"][key]["last"]]
                want = want[..., : self.case["compare"][key]["last"]]
            limit = tolerance["atol"] + tolerance.get("rtol", 0) * np.nanmax(np.abs(want))
            if key.startswith("grad."):
                limit = tolerance["grad_atol"] * max(1, np.abs(want).max())
            elif key.startswith("after."):
                limit = tolerance["after_atol"]
            positions = self.packed.get("positions", self.case.get("positions"))
            if (
                isinstance(positions, str)
                and want.shape[:2] == self.inputs[positions].shape
                and want.ndim > 1
            ):
                kept = self.inputs[positions] == 1
                have, want = have[kept], want[kept]
            elif self.packed and key == "out.pooler_output":  # rows that begin with padding may differ
                kept = self.inputs[positions][:, 0] == 1
                have, want = have[kept], want[kept]
            assert have.shape == want.shape, key
            np.testing.assert_allclose(have, want, rtol=0, atol=limit, err_msg=key)
            compared += 1
        assert compared


@pytest.mark.parametrize("way", ["eager", "sdpa", "packed"])
@pytest.mark.parametrize("name", CASES)
def test_reference_numbers(shared, name, way):
    replay = Replay(shared / "fixtures" / "roberta", name, way)
    replay.run()
    replay.compare()
    if not replay.packed:
        unknown = set(replay.got) - set(replay.expected)
        optional = tuple(replay.case.get("optional", ())) or ("\0",)
        assert not [key for key in unknown if not key.startswith(optional)]


def tiny(**fields):
    sizes = {
        "vocab_size": 50,
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 24,
        "max_position_embeddings": 20,
        "type_vocab_size": 1,
        "layer_norm_eps": 1e-5,
        "initializer_range": 0.3,
    }
    return RobertaConfig(**(sizes | fields))


@pytest.mark.parametrize("tie", [True, False])
def test_state_dict_is_the_table(tie):
    config = tiny(tie_word_embeddings=tie)
    model = RobertaForMaskedLM(config)
    table = parameters(config, "masked-lm")
    state = model.state_dict()
    assert set(state) == set(table)
    assert {name: tuple(value.shape) for name, value in state.items()} == {
        name: row.shape for name, row in table.items()
    }
    assert (model.get_output_embeddings().weight is model.get_input_embeddings().weight) == tie
    assert set(RobertaModel(config).state_dict()) == set(parameters(config, "model"))
    assert set(RobertaModel(config, add_pooling_layer=False).state_dict()) == set(
        parameters(config, "model", add_pooling_layer=False)
    )


def test_initial_weights_are_the_tables_and_follow_the_seed():
    config = tiny()
    torch.manual_seed(7)
    seed = int(torch.randint(2**31 - 1, ()))
    torch.manual_seed(7)
    model = RobertaForMaskedLM(config)
    after = torch.rand(())
    for name, value in initial_weights(config, "masked-lm", seed).items():
        np.testing.assert_array_equal(model.state_dict()[name].numpy(), value, err_msg=name)
    torch.manual_seed(7)
    bare = RobertaModel(config, add_pooling_layer=False)
    assert torch.rand(()) == after  # one draw from the generator, whatever the class
    for name, value in bare.state_dict().items():
        assert torch.equal(value, model.state_dict()[f"roberta.{name}"]), name


def ragged(config, lengths=(3, 7, 3, 1, 5)):
    generator = np.random.default_rng(0)
    ids = np.full((len(lengths), max(lengths)), config.pad_token_id)
    for row, length in enumerate(lengths):
        ids[row, :length] = generator.integers(3, config.vocab_size, length)
    return torch.from_numpy(ids), torch.from_numpy((ids != config.pad_token_id).astype(np.int64))


def test_packed_padded_and_one_by_one_agree():
    config = tiny()
    model = RobertaModel(config).eval()
    ids, mask = ragged(config)
    packed = Batch.from_padded(ids.numpy(), mask.numpy(), config.pad_token_id)
    tensors = [
        torch.from_numpy(array)
        for array in (packed.input_ids, packed.position_ids, packed.cumulative_lengths)
    ]
    rows = model.encode_packed(*tensors)
    out = model(ids, attention_mask=mask)
    assert torch.equal(out.last_hidden_state[mask == 0], torch.zeros(int((mask == 0).sum()), 16))
    config.attn_implementation = "sdpa"
    padded = model(ids, attention_mask=mask)
    start = 0
    for row, length in enumerate(mask.sum(1).tolist()):
        alone = model(ids[row : row + 1, :length])
        for other in (
            out.last_hidden_state[row, :length],
            padded.last_hidden_state[row, :length],
            rows[start : start + length],
        ):
            torch.testing.assert_close(other, alone.last_hidden_state[0], rtol=0, atol=1e-5)
        torch.testing.assert_close(out.pooler_output[row], alone.pooler_output[0], rtol=0, atol=1e-5)
        start += length


def test_rows_that_reach_the_feed_forward_are_the_real_tokens():
    config = tiny()
    model = RobertaModel(config).eval()
    ids, mask = ragged(config)
    counted = []
    model.encoder.layer[0].intermediate.dense.register_forward_hook(
        lambda module, inputs, output: counted.append(inputs[0].shape[:-1].numel())
    )
    model(ids, attention_mask=mask)
    assert counted == [int(mask.sum())]


def test_packing_does_not_change_the_gradient():
    config = tiny()
    ids, mask = ragged(config)
    labels = torch.where(mask.bool() & (torch.arange(ids.shape[1]) % 2 == 0), ids, -100)
    gradients = []
    for way in ("packed", "sdpa"):
        torch.manual_seed(1)
        model = RobertaForMaskedLM(config).double().eval()
        config.attn_implementation = way
        model(ids, attention_mask=mask, labels=labels).loss.backward()
        gradients.append([parameter.grad for parameter in model.parameters()])
    for packed, padded in zip(*gradients, strict=True):
        torch.testing.assert_close(packed, padded, rtol=0, atol=1e-12)


def test_loss_at_rows_is_the_documented_loss():
    config = tiny()
    model = RobertaForMaskedLM(config).eval()
    ids, mask = ragged(config)
    labels = torch.where(mask.bool() & (torch.arange(ids.shape[1]) % 2 == 1), ids, -100)
    out = model(ids, attention_mask=mask, labels=labels)
    hidden = model.roberta(ids, attention_mask=mask).last_hidden_state
    rows = labels.flatten().ne(-100).nonzero().flatten()
    spare = torch.cat([rows, rows[:1]])  # a row without a label takes no part
    loss, logits = model.loss_at(hidden, spare, torch.cat([labels.flatten()[rows], torch.tensor([-100])]))
    torch.testing.assert_close(loss, out.loss)
    torch.testing.assert_close(logits[:-1], out.logits.flatten(0, 1)[rows])


def test_a_row_without_a_real_token_gives_zeros_and_no_nan():
    config = tiny()
    model = RobertaForMaskedLM(config)
    ids, mask = ragged(config)
    mask[1] = 0
    labels = torch.where(mask.bool(), ids, -100)
    out = model(ids, attention_mask=mask, labels=labels)
    out.loss.backward()
    assert torch.isfinite(out.loss)
    assert all(torch.isfinite(parameter.grad).all() for parameter in model.parameters())
    encoded = RobertaModel(config)(ids, attention_mask=mask)
    assert not encoded.last_hidden_state[1].any()
    assert not encoded.pooler_output[1].any()


def test_a_batch_without_a_label_has_loss_zero():
    model = RobertaForMaskedLM(tiny())
    ids, mask = ragged(model.config)
    loss = model(ids, attention_mask=mask, labels=torch.full_like(ids, -100)).loss
    loss.backward()
    assert loss == 0
    assert not any(parameter.grad.any() for parameter in model.parameters() if parameter.grad is not None)


def test_labels_on_hidden_positions_raise_or_warn():
    config = tiny()
    model = RobertaForMaskedLM(config).eval()
    ids, mask = ragged(config)
    with pytest.warns(UserWarning, match="hides"):
        automatic = model(ids, attention_mask=mask, labels=ids).loss
    config.attn_implementation = "sdpa"
    torch.testing.assert_close(automatic, model(ids, attention_mask=mask, labels=ids).loss)
    config.attn_implementation = "packed"
    with pytest.raises(InputError, match="labels on positions"):
        model(ids, attention_mask=mask, labels=ids)


def test_dropout_is_drawn_in_training_only():
    model = RobertaModel(tiny(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.5))
    ids = torch.tensor([[0, 5, 6, 7, 2]])
    assert not torch.equal(model(ids).last_hidden_state, model(ids).last_hidden_state)
    model.eval()
    assert torch.equal(model(ids).last_hidden_state, model(ids).last_hidden_state)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"input_ids": torch.full((1, 19), 5)}, TooLong, "19 tokens"),
        ({"input_ids": torch.tensor([[0, 50]])}, InputError, "input_ids 50"),
        ({"input_ids": torch.tensor([[0, -1]])}, InputError, "input_ids -1"),
        (
            {"input_ids": torch.tensor([[0, 2]]), "token_type_ids": torch.tensor([[0, 1]])},
            InputError,
            "token_type_ids 1",
        ),
        ({}, ArgumentError, "no input"),
        (
            {"input_ids": torch.tensor([[0, 2]]), "inputs_embeds": torch.zeros(1, 2, 16)},
            ArgumentError,
            "both input_ids",
        ),
        (
            {"input_ids": torch.tensor([[0, 2]]), "attention_mask": torch.ones(1, 3)},
            BadShape,
            "attention_mask",
        ),
        ({"input_ids": torch.tensor([[0, 2]]), "head_mask": torch.ones(3)}, BadShape, "head_mask"),
    ],
)
def test_wrong_inputs_raise_one_sentence(arguments, error, words):
    for model in (RobertaModel(tiny()), RobertaForMaskedLM(tiny())):
        with pytest.raises(error, match=words):
            model(**arguments)


def test_eighteen_tokens_fit_twenty_positions():
    assert RobertaModel(tiny())(torch.full((1, 18), 5)).last_hidden_state.shape == (1, 18, 16)


def test_packed_lengths_must_cover_the_tokens():
    model = RobertaModel(tiny())
    ids = torch.tensor([0, 5, 2])
    with pytest.raises(BadShape, match="cumulative_lengths"):
        model.encode_packed(ids, torch.tensor([2, 3, 4]), torch.tensor([0, 2]))


@pytest.mark.parametrize(
    "fields",
    [{"is_decoder": True}, {"position_embedding_type": "relative_key"}, {"add_cross_attention": True}],
)
def test_what_is_not_built_yet_raises(fields):
    with pytest.raises(ConfigError, match=next(iter(fields))):
        RobertaModel(tiny(**fields))


def test_unknown_arguments_raise():
    with pytest.raises(TypeError, match="past_key_values"):
        RobertaModel(tiny())(torch.tensor([[0, 2]]), past_key_values=())
