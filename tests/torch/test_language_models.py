"""The reference's numbers, and the loss of the masked-LM class."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from robertakit.configuration import RobertaConfig
from robertakit.errors import InputError
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


def test_loss_at_rows_is_the_documented_loss(tiny, ragged):
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


def test_a_batch_without_a_label_has_loss_zero(tiny, ragged):
    model = RobertaForMaskedLM(tiny())
    ids, mask = ragged(model.config)
    loss = model(ids, attention_mask=mask, labels=torch.full_like(ids, -100)).loss
    loss.backward()
    assert loss == 0
    assert not any(parameter.grad.any() for parameter in model.parameters() if parameter.grad is not None)


def test_labels_on_hidden_positions_raise_or_warn(tiny, ragged):
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
