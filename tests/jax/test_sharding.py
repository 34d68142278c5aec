"""Parameters on a mesh: specs from the table, and the documented example on eight simulated devices."""

import os
import re
import subprocess
import sys
from pathlib import Path

import jax
import pytest
from jax.sharding import Mesh, PartitionSpec

from robertakit import jax as family
from robertakit.errors import ArgumentError
from robertakit.jax.sharding import RULES, logical_axes, params_shardings, params_specs

ROOT = Path(__file__).resolve().parent.parent.parent


def test_every_axis_of_the_table_has_a_rule(tiny):
    model = family.FlaxRobertaForMaskedLM(
        tiny(is_decoder=True, add_cross_attention=True, tie_word_embeddings=False), _do_init=False
    )
    axes = jax.tree.leaves(logical_axes(model), is_leaf=lambda item: isinstance(item, tuple))
    assert {name for names in axes for name in names if name} <= set(RULES)
    specs = params_specs(model)
    layer = specs["roberta"]["encoder"]["layer"]["0"]
    assert layer["attention"]["self"]["key"]["kernel"] == PartitionSpec(None, "model")
    assert layer["attention"]["output"]["dense"]["kernel"] == PartitionSpec("model", None)
    assert layer["output"]["dense"]["kernel"] == PartitionSpec("model", None)
    assert layer["output"]["LayerNorm"]["scale"] == PartitionSpec(None)
    assert specs["lm_head"]["bias"] == PartitionSpec("model")
    assert jax.tree.structure(model.params_shape_tree) == jax.tree.structure(
        specs, is_leaf=lambda item: isinstance(item, PartitionSpec)
    )


def test_rules_may_be_others(tiny):
    model = family.FlaxRobertaModel(tiny(), _do_init=False)
    specs = params_specs(model, rules={"embed": "data", "mlp": "model"})
    layer = specs["encoder"]["layer"]["0"]
    assert layer["intermediate"]["dense"]["kernel"] == PartitionSpec("data", "model")
    assert layer["attention"]["self"]["key"]["kernel"] == PartitionSpec("data", None)
    assert specs["pooler"]["dense"]["kernel"] == PartitionSpec("data", None)  # no axis of the mesh twice
    with pytest.raises(ArgumentError, match="rules for width"):
        params_specs(model, rules={"width": "model"})


def test_what_a_mesh_does_not_divide_stays_whole_and_is_told(tiny, caplog):
    model = family.FlaxRobertaForMaskedLM(tiny())
    one = Mesh([[jax.devices()[0]]], ("data", "model"))
    params = jax.device_put(model.params, params_shardings(model, one))
    assert params["lm_head"]["bias"].sharding.spec == PartitionSpec("model")
    assert not caplog.text
    other = Mesh([jax.devices()[0]], ("rows",))
    assert params_specs(model, other)["lm_head"]["bias"] == PartitionSpec(None)
    assert "vocab (61)" in caplog.text


def on_eight_devices(code, tmp_path):
    """Run code in a process of its own that sees eight devices; what it printed."""
    environment = os.environ | {
        "XLA_FLAGS": os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8",
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": str(ROOT / "src"),
    }
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    return run.stdout


def test_the_documented_mesh_example(tmp_path):
    """The block of docs/jax.md as it stands: eight devices, two rows of the batch a group, four parts of the model."""
    page = (ROOT / "docs" / "jax.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python not-run: needs eight devices[^\n]*\n(.*?)^```$", page, re.M | re.S)
    assert len(blocks) == 1
    lines = on_eight_devices(blocks[0], tmp_path).splitlines()
    assert lines[0] == "8 devices, (64, 64) of (64, 256) on each"
    assert float(lines[1].split()[-1]) < 1e-5
    first, last = map(float, lines[2].split()[1:])
    assert last < first


MATRIX = """
import jax, jax.numpy as jnp, numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P
from robertakit import RobertaConfig
from robertakit import jax as family
from robertakit.architecture import HEADS
from robertakit.jax.sharding import params_shardings

mesh = Mesh(np.array(jax.devices()).reshape(2, 4), ("data", "model"))
sizes = dict(vocab_size=64, hidden_size=24, num_hidden_layers=2, num_attention_heads=4, intermediate_size=32,
             max_position_embeddings=40, type_vocab_size=1)
for head in HEADS:
    model = getattr(family, "FlaxRoberta" + HEADS[head].class_suffix)(RobertaConfig(**sizes))
    ids = np.random.default_rng(0).integers(3, 64, (4, 2, 6) if head == "multiple-choice" else (4, 6))
    call = jax.jit(lambda params, ids, model=model: model(ids, params=params).to_tuple()[0])
    alone = call(model.params, ids)
    params = jax.device_put(model.params, params_shardings(model, mesh))
    there = call(params, jax.device_put(ids, NamedSharding(mesh, P("data"))))
    parts = {leaf.addressable_shards[0].data.size / leaf.size for leaf in jax.tree.leaves(params)}
    print(head, float(jnp.abs(alone - np.asarray(there)).max()), min(parts))
    model.params = params
    names = model.save_pretrained(head)  # a sharded model is saved as a whole one
    back = type(model).from_pretrained(head)
    assert jax.tree.all(jax.tree.map(lambda a, b: np.array_equal(a, b), back.params, params))
"""


def test_every_head_on_eight_devices(tmp_path):
    lines = on_eight_devices(MATRIX, tmp_path).splitlines()
    assert len(lines) == 7
    for line in lines:
        _, difference, smallest_part = line.split()
        assert float(difference) < 1e-5, line
        assert float(smallest_part) == 0.25, line
