"""Another vocabulary, fewer heads: `robertakit.resizing` decides, this file cuts and extends the parameters."""

import re
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from robertakit.architecture import Parameter
from robertakit.configuration import PretrainedConfig
from robertakit.jax.contents import Contents, Params
from robertakit.resizing import new_rows

__all__ = ["pruned_params", "resized_params"]

_LAYER = re.compile(r"encoder\.layer\.(\d+)\.")


def resized_params(
    before: Contents,
    after: Contents,
    params: Params,
    config: PretrainedConfig,
    seed: int,
    mean_resizing: bool,
) -> Params:
    """Return parameters whose vocabulary has another number of rows, cut or added at its end.

    Args:
        before: what the model consists of.
        after: what it is to consist of.
        params: of the model.
        config: for the deviation of new rows.
        seed: of new rows.
        mean_resizing: draw them around the mean of the old ones.
    """
    resized: dict[str, object] = {}
    for name, value in before.named(params).items():
        row, array = before.table[name], _array(value)
        if "vocab" in row.axes:
            axis = before.axes(name).index("vocab")
            rows = jnp.moveaxis(array, axis, 0)
            array = jnp.moveaxis(_with_rows(rows, after.table[name], config, seed, mean_resizing), 0, axis)
        resized[name] = array
    return after.tree(resized)


def _with_rows(
    old: jax.Array, row: Parameter, config: PretrainedConfig, seed: int, mean_resizing: bool
) -> jax.Array:
    size = row.shape[row.axes.index("vocab")]
    if size <= len(old):
        return old[:size]
    # the seed's rows are those that PyTorch's modules of these names get
    module = "embeddings" if row.kind == "embedding" else "decoder"
    added = new_rows(
        np.asarray(old.astype(jnp.promote_types(old.dtype, jnp.float32))),
        size - len(old),
        f"{module}.{row.name.rpartition('.')[2]}",
        seed,
        mean_resizing=mean_resizing,
        deviation=config.initializer_range,
    )
    return jnp.concatenate([old, jnp.array(added, old.dtype)])


def pruned_params(
    before: Contents,
    after: Contents,
    params: Params,
    kept: Mapping[int, list[int]],
    head_width: int,
) -> Params:
    """Return parameters without the heads that are gone.

    Args:
        before: what the model consists of.
        after: what it is to consist of.
        params: of the model.
        kept: layer -> which of the heads that it has stay.
        head_width: columns of a head.
    """
    pruned: dict[str, object] = {}
    for name, value in before.named(params).items():
        array, layer = _array(value), _LAYER.search(name)
        if layer is not None and "heads" in before.axes(name) and int(layer[1]) in kept:
            firsts = np.array(kept[int(layer[1])], np.int32)[:, None] * head_width
            columns = (firsts + np.arange(head_width, dtype=np.int32)).reshape(-1)
            array = jnp.take(array, columns, before.axes(name).index("heads"))
        pruned[name] = array
    return after.tree(pruned)


def _array(value: object) -> jax.Array:
    assert isinstance(value, jax.Array | np.ndarray)
    return jnp.asarray(value)
