"""Every recorded case of the reference: calls, losses, gradients, generation, training, resizing, pruning."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from safetensors.numpy import save_file

import robertakit
from robertakit.checkpoints.dialects import KERAS
from robertakit.tensorflow.contents import contents_of

CASES = json.loads((Path(__file__).parents[1] / "golden" / "roberta" / "cases.json").read_text())


def as_tensors(argument):
    """``argument`` with arrays as tensors."""

    def convert(value):
        value = argument(value)
        return tf.constant(value) if isinstance(value, np.ndarray) else value

    return convert


def call(model, step, argument, results):
    given = as_tensors(argument)
    with tf.GradientTape(persistent=True) as tape:
        out = model(**{name: given(value) for name, value in step["kwargs"].items()})
    results |= {step["id"]: out, "tape": tape}
    return dict(sys.modules["replay"].flatten(out, step["id"]))


def of_every_variable(model, values):
    """Dense arrays in the checkpoint's layout, by name."""
    contents = contents_of(model)
    return {
        name: KERAS.stored(contents.table[name].kind, tf.convert_to_tensor(value).numpy())
        for name, value in zip(contents.variables, values, strict=True)
        if value is not None
    }


def grad(model, step, argument, results):
    name, field = step["of"].lstrip("%").split(".")
    variables = [variable.value for variable in contents_of(model).variables.values()]
    found = results["tape"].gradient(getattr(results[name], field), variables)
    return {f"grad.{name}": value for name, value in of_every_variable(model, found).items()}


def generate(model, step, argument, results):
    given = as_tensors(argument)
    ids = model.generate(**{name: given(value) for name, value in step["kwargs"].items()})
    return {f"{step['id']}.sequences": np.asarray(ids)}


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
    contents = contents_of(model)
    known = {
        name: KERAS.stored(contents.table[name].kind, v.numpy()) for name, v in contents.variables.items()
    }
    assert {name: list(known[name].shape) for name in step["expect"]} == step["expect"]
    return {}


def adamw(model, step, argument, results):
    given = as_tensors(argument)
    variables = list(contents_of(model).variables.values())
    moments = [[np.zeros(v.shape), np.zeros(v.shape)] for v in variables]
    losses = []
    for number, batch in enumerate(step["batches"], 1):
        with tf.GradientTape() as tape:
            loss = model(**{name: given(value) for name, value in batch.items()}).loss
        gradients = tape.gradient(loss, [variable.value for variable in variables])
        for variable, gradient, moment in zip(variables, gradients, moments, strict=True):
            if gradient is not None:
                dense = tf.convert_to_tensor(gradient).numpy()
                variable.assign(adamw_step(variable.numpy(), dense, moment, number, step))
        losses.append(loss.numpy())
    after = of_every_variable(model, [variable.value for variable in variables])
    return {"train.loss": np.stack(losses), **{f"after.{name}": value for name, value in after.items()}}


def adamw_step(value, gradient, moment, number, options):
    """One step of AdamW (Loshchilov and Hutter 2019) as PyTorch takes it; Keras' own has another epsilon."""
    for power, (place, beta) in enumerate(enumerate(options["betas"]), 1):
        moment[place] = beta * moment[place] + (1 - beta) * gradient**power
    first, second = (m / (1 - beta**number) for m, beta in zip(moment, options["betas"], strict=True))
    decayed = value * (1 - options["lr"] * options["weight_decay"])
    return decayed - options["lr"] * first / (np.sqrt(second) + options["eps"])


OPERATIONS = {
    "call": call, "grad": grad, "generate": generate, "resize_token_embeddings": resize, "prune_heads": prune,
    "check_config": check, "check_attrs": check, "param_shapes": shapes, "adamw": adamw,
}  # fmt: skip


#: After these a model has other weights.
CHANGES = {"resize_token_embeddings", "prune_heads", "adamw"}


@pytest.fixture(scope="module")
def shared():
    """Models that cases share, with what they have compiled: all that one was made of, the model, its configuration."""
    return {}


@pytest.mark.parametrize("name", CASES)
def test_a_recorded_case_is_reproduced(name, replay, golden, shared, tmp_path):
    case = replay.golden_cases(golden / "roberta")[name]
    changes = not CHANGES.isdisjoint(step["op"] for step in case.spec["steps"])

    def build(kind, config, weights, constructor, dtype):
        held = {tensor: (value.shape, hash(value.tobytes())) for tensor, value in weights.items()}
        key = json.dumps([kind, config, held, constructor, dtype], sort_keys=True)
        model, before = shared.get(key, (None, None))
        # a loss writes the kind of its labels into the configuration
        if model is None or changes or model.config.to_json_string() != before:
            (tmp_path / "config.json").write_text(json.dumps(config))
            save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
            model = getattr(robertakit, f"TF{kind}").from_pretrained(tmp_path, dtype=dtype, **constructor)
        if not changes:
            shared[key] = model, model.config.to_json_string()
        return model

    replay.replay(case, build, operations=OPERATIONS)
