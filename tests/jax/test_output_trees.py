"""The documented outputs go through JAX's transformations and stay what they are."""

import jax
import jax.numpy as jnp
import pytest

import robertakit.jax  # noqa: F401 (registers them)
from robertakit.jax.output_trees import register_outputs
from robertakit.outputs import MaskedLMOutput, ModelOutput

KINDS = [kind for kind in ModelOutput.registry if kind.__module__ == "robertakit.outputs"]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_container_goes_through_jit_and_tree_map(kind):
    output = kind(**{name: jnp.full(2, float(place)) for place, name in enumerate(kind.field_names)})
    for back in (jax.jit(lambda tree: tree)(output), jax.tree.map(lambda leaf: leaf * 1, output)):
        assert type(back) is kind
        assert list(back) == list(kind.field_names)
        assert [float(value[0]) for value in back.to_tuple()] == list(range(len(kind.field_names)))
        assert float(getattr(back, kind.field_names[-1])[0]) == len(kind.field_names) - 1


def test_fields_that_are_none_are_no_leaves_and_paths_name_fields():
    output = MaskedLMOutput(logits=jnp.zeros((1, 3)), hidden_states=(jnp.ones(1), jnp.ones(2)))
    leaves = jax.tree_util.tree_leaves_with_path(output)
    assert [jax.tree_util.keystr(path) for path, _ in leaves] == [
        "['logits']",
        "['hidden_states'][0]",
        "['hidden_states'][1]",
    ]
    assert jax.vmap(lambda row: MaskedLMOutput(loss=row))(jnp.arange(3.0)).loss.shape == (3,)


def test_registering_twice_does_nothing():
    register_outputs()
    assert jax.tree.leaves(MaskedLMOutput(loss=1)) == [1]
