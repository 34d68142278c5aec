"""The layers' settings: LayerNorm far from zero, what is drawn, and the dtype that losses are computed in."""

import jax
import jax.numpy as jnp
import numpy as np

from robertakit.jax.layers import dense, embed, layer_norm, wide


def test_layer_norm_keeps_its_digits_far_from_zero(tiny):
    rows = np.random.default_rng(0).standard_normal((3, 24)).astype(np.float32) + 1000
    exact = rows.astype(np.float64)
    exact = (exact - exact.mean(-1, keepdims=True)) / np.sqrt(exact.var(-1, keepdims=True) + 1e-12)
    module = layer_norm(tiny(layer_norm_eps=1e-12), jnp.float32)
    found = module.apply(module.init(jax.random.key(0), rows), rows)
    np.testing.assert_allclose(found, exact, rtol=0, atol=3e-4)  # Flax's default is off by 0.3


def test_modules_draw_what_the_table_says(tiny):
    config = tiny(initializer_range=0.5)
    table = embed(config, 4000, 6, jnp.float32, padding_idx=1)
    drawn = np.asarray(table.init(jax.random.key(0), jnp.array([1]))["params"]["embedding"])
    assert not drawn[1].any()
    assert abs(drawn[2:].std() - 0.5) < 0.02
    params = dense(config, 4000, jnp.float32).init(jax.random.key(0), jnp.ones((1, 6)))["params"]
    assert abs(np.asarray(params["kernel"]).std() - 0.5) < 0.02
    assert not np.asarray(params["bias"]).any()


def test_wide_is_float32_at_least():
    assert wide(jnp.ones(1, jnp.bfloat16)).dtype == jnp.float32
    with jax.enable_x64(True):
        assert wide(jnp.ones(1, jnp.float64)).dtype == jnp.float64
