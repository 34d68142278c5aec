"""Every recorded case of the reference: calls, losses, gradients, generation, training, resizing, pruning."""

import json
import sys
from contextlib import nullcontext
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from safetensors.numpy import save_file

import robertakit.jax
from robertakit.architecture import HEADS
from robertakit.checkpoints.dialects import FLAX
from robertakit.jax.cache import cache_length, tokens_so_far

CASES = json.loads((Path(__file__).parents[1] / "golden" / "roberta" / "cases.json").read_text())


def arguments(model, step, argument):
    """The arguments of a recorded call. Flax makes a cache where it is asked to, PyTorch where it can."""
    given = {name: argument(value) for name, value in step["kwargs"].items()}
    labelled = any(name in given for name in ("labels", "start_positions"))
    if model.config.is_decoder and not labelled and HEADS[model.head].name in ("model", "causal-lm"):
        given.setdefault("use_cache", model.config.use_cache)
    return given


def as_tuples(model, cache):
    """A collection as the tuples of PyTorch's `past_key_values`: the tokens that it holds, (B, H, K, D)."""
    backbone = cache if HEADS[model.head].group is None else cache["roberta"]
    held = tokens_so_far(backbone)
    layers = backbone["encoder"]["layer"]

    def of(attention, length):
        return tuple(
            np.asarray(attention["self"][name])[:, :length].swapaxes(1, 2)
            for name in ("cached_key", "cached_value")
        )

    return tuple(
        of(layer["attention"], held)
        + (of(layer["crossattention"], None) if "crossattention" in layer else ())
        for layer in (layers[str(number)] for number in range(len(layers)))
    )


def collections(value):
    """The caches in an output."""
    values = value.values() if hasattr(value, "field_names") else value if isinstance(value, tuple) else ()
    return [item for item in values if isinstance(item, dict)]


def as_recorded(model, value, held, slots):
    """An output in PyTorch's form: caches as tuples, and maps over the tokens that they hold."""
    if isinstance(value, dict) and not hasattr(value, "field_names"):
        return as_tuples(model, value)
    if isinstance(value, tuple):
        return tuple(as_recorded(model, item, held, slots) for item in value)
    if hasattr(value, "field_names"):
        return {name: as_recorded(model, item, held, slots) for name, item in value.items()}
    if getattr(value, "ndim", 0) == 4 and value.shape[-1] == slots:  # maps
        assert not value[..., held:].any()
        return value[..., :held]
    return value


def call(model, step, argument, results):
    given = arguments(model, step, argument)
    out = model(**given)
    results[step["id"]], results[step["id"], "arguments"] = out, given
    held, slots = 0, 0
    for cache in collections(out):
        backbone = cache if HEADS[model.head].group is None else cache["roberta"]
        held, slots = tokens_so_far(backbone), cache_length(backbone)
    return dict(sys.modules["replay"].flatten(as_recorded(model, out, held, slots), step["id"]))


def stored(model, tree):
    """A tree of the parameters' form as tensors by checkpoint name, laid out as in a file."""
    table = model.contents.table
    return {
        name: FLAX.stored(table[name].kind, np.asarray(value))
        for name, value in model.contents.named(tree).items()
    }


def grad(model, step, argument, results):
    name, field = step["of"].lstrip("%").split(".")
    given = results[name, "arguments"]
    gradient = jax.jit(jax.grad(lambda params: model(**given, params=params)[field]))(model.params)
    return {f"grad.{name}": value for name, value in stored(model, gradient).items()}


def generate(model, step, argument, results):
    given = {name: argument(value) for name, value in step["kwargs"].items()}
    return {f"{step['id']}.sequences": np.asarray(model.generate(**given).sequences)}


def resize(model, step, argument, results):
    model.resize_token_embeddings(*step["args"], **step.get("kwargs", {}))
    return {}


def prune(model, step, argument, results):
    model.prune_heads({int(layer): heads for layer, heads in step["heads"].items()})
    return {}


def check(model, step, argument, results):
    holder = model.config if step["op"] == "check_config" else model
    # The first labels settle `problem_type` in PyTorch; a function of JAX's changes nothing.
    wanted = {name: value for name, value in step["expect"].items() if name != "problem_type"}
    assert json.loads(json.dumps({name: getattr(holder, name) for name in wanted})) == wanted
    return {}


def shapes(model, step, argument, results):
    known = stored(model, model.params)
    assert {name: list(known[name].shape) for name in step["expect"]} == step["expect"]
    return {}


def adamw(model, step, argument, results):
    first, second = step["betas"]
    optimizer = optax.adamw(step["lr"], first, second, step["eps"], weight_decay=step["weight_decay"])

    @jax.jit
    def train(params, state, given):
        loss, gradient = jax.value_and_grad(lambda tree: model(**given, params=tree).loss)(params)
        updates, state = optimizer.update(gradient, state, params)
        return optax.apply_updates(params, updates), state, loss

    params = model.params
    state, losses = optimizer.init(params), []
    for batch in step["batches"]:
        params, state, loss = train(params, state, {name: argument(value) for name, value in batch.items()})
        losses.append(loss)
    after = {f"after.{name}": value for name, value in stored(model, params).items()}
    return {"train.loss": np.stack(losses), **after}


OPERATIONS = {
    "call": call, "grad": grad, "generate": generate, "resize_token_embeddings": resize, "prune_heads": prune,
    "check_config": check, "check_attrs": check, "param_shapes": shapes, "adamw": adamw,
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_recorded_case_is_reproduced(name, replay, golden, tmp_path):
    case = replay.golden_cases(golden / "roberta")[name]

    def build(kind, config, weights, constructor, dtype):
        (tmp_path / "config.json").write_text(json.dumps(config))
        save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
        load = getattr(robertakit.jax, f"Flax{kind}").from_pretrained
        return load(tmp_path, dtype=getattr(jnp, dtype), **constructor)

    with jax.enable_x64(True) if case.spec["dtype"] == "float64" else nullcontext():
        replay.replay(case, build, operations=OPERATIONS)
