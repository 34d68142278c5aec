"""Every recorded case of the reference, in the three ways of attention: calls, losses, gradients, generation, training,
resizing, pruning."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

import robertakit

CASES = json.loads((Path(__file__).parents[1] / "golden" / "roberta" / "cases.json").read_text())
WAYS = ["eager", "sdpa", "packed"]


def as_tensors(model, argument):
    """``argument`` with arrays as tensors."""

    def convert(value):
        value = argument(value)
        return torch.from_numpy(value) if isinstance(value, np.ndarray) else value

    return convert


def call(model, step, argument, results):
    given = as_tensors(model, argument)
    out = model(**{name: given(value) for name, value in step["kwargs"].items()})
    results[step["id"]] = out
    return dict(sys.modules["replay"].flatten(out, step["id"]))


def grad(model, step, argument, results):
    name, field = step["of"].lstrip("%").split(".")
    getattr(results[name], field).backward()
    return {
        f"grad.{name}": parameter.grad.numpy()
        for name, parameter in model.named_parameters()
        if parameter.grad is not None
    }


def generate(model, step, argument, results):
    given = as_tensors(model, argument)
    ids = model.generate(**{name: given(value) for name, value in step["kwargs"].items()})
    return {f"{step['id']}.sequences": ids.numpy()}


def resize(model, step, argument, results):
    model.resize_token_embeddings(*step["args"], **step.get("kwargs", {}))
    return {}


def prune(model, step, argument, results):
    model.prune_heads({int(layer): heads for layer, heads in step["heads"].items()})
    return {}


def check(model, step, argument, results):
    holder = model.config if step["op"] == "check_config" else model
    found = {name: getattr(holder, name) for name in step["expect"]}
    assert json.loads(json.dumps(found)) == step["expect"]
    return {}


def shapes(model, step, argument, results):
    known = dict(model.named_parameters())
    assert {name: list(known[name].shape) for name in step["expect"]} == step["expect"]
    return {}


def adamw(model, step, argument, results):
    given = as_tensors(model, argument)
    options = {name: step[name] for name in ("lr", "eps", "weight_decay")}
    optimizer = torch.optim.AdamW(model.parameters(), betas=tuple(step["betas"]), **options)
    losses = []
    for batch in step["batches"]:
        optimizer.zero_grad()
        loss = model(**{name: given(value) for name, value in batch.items()}).loss
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    after = {f"after.{name}": value.detach().numpy() for name, value in model.named_parameters()}
    return {"train.loss": torch.stack(losses).numpy(), **after}


OPERATIONS = {
    "call": call, "grad": grad, "generate": generate, "resize_token_embeddings": resize, "prune_heads": prune,
    "check_config": check, "check_attrs": check, "param_shapes": shapes, "adamw": adamw,
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", CASES)
def test_a_recorded_case_is_reproduced(name, way, replay, golden, tmp_path):
    case = replay.golden_cases(golden / "roberta")[name]

    def build(kind, config, weights, constructor, dtype):
        (tmp_path / "config.json").write_text(json.dumps(config))
        save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
        made = getattr(robertakit, kind).from_pretrained(tmp_path, attn_implementation=way, **constructor)
        return made.to(getattr(torch, dtype)).eval()

    if way == "packed" and name == "mlm_resize_down":  # its labels stand on hidden positions
        with pytest.raises(robertakit.errors.InputError, match="labels on positions"):
            replay.replay(case, build, operations=OPERATIONS)
        return
    packed = way == "packed" and "packed" in case.spec
    replay.replay(case, build, packed=packed, operations=OPERATIONS)
