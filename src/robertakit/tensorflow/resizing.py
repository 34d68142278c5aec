"""Another vocabulary, fewer heads: `robertakit.resizing` decides, this file changes the variables.

A variable of Keras has one shape for life. Here it stays the same object and gets another value under it, so that
whatever holds the variable sees the new one. What was compiled before holds the old value: compile again, and trace
functions of one's own again.
"""

from collections.abc import Iterable, Mapping

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from robertakit.architecture import kept_heads
from robertakit.checkpoints.dialects import KERAS
from robertakit.configuration import PretrainedConfig
from robertakit.resizing import heads_to_prune, new_rows, vocabulary_size
from robertakit.tensorflow.construction import drawn_seed
from robertakit.tensorflow.contents import Contents

__all__ = ["count_heads", "forget_compiled", "give_value", "prune_heads", "resize_vocabulary"]


def give_value(variable: keras.Variable, value: NDArray[np.generic]) -> None:
    """Give a variable a value of another shape; the only place that reaches into Keras' own attributes for it."""
    values = tf.cast(value, variable.dtype)
    variable._value = tf.Variable(values, trainable=variable.trainable, name=variable.name)
    variable._shape = tuple(values.shape)


def forget_compiled(model: keras.Model) -> None:
    """Drop what `compile`, `fit` and `predict` made for the old shapes; `fit` then asks for `compile`."""
    model.train_function = model.test_function = model.predict_function = None
    if model.compiled:
        model.optimizer = None
        model.compiled = False


def resize_vocabulary(
    contents: Contents, new_num_tokens: int | None, pad_to_multiple_of: int | None, mean_resizing: bool
) -> int:
    """Give all that has a row for each token another number of rows, at the end; return it.

    Args:
        contents: of the model.
        new_num_tokens: see `TFPreTrainedModel.resize_token_embeddings`, as the others.
        pad_to_multiple_of: round up.
        mean_resizing: draw new rows around the mean.
    """
    config = contents.config
    rows = config.vocab_size
    size = vocabulary_size(config, rows, new_num_tokens, pad_to_multiple_of)
    if size == rows:
        return size
    seed = drawn_seed() if size > rows else 0
    for name, variable in contents.variables.items():
        row = contents.table[name]
        if row.axes[0] != "vocab" or row.part == "own":
            continue
        old = KERAS.stored(row.kind, variable.numpy())
        values = old[:size]
        if size > len(old):
            place = "embeddings" if row.kind == "embedding" else "decoder"
            key = f"{place}.{name.rpartition('.')[2]}"  # as in every framework
            added = new_rows(
                old.astype(np.float32), size - len(old), key, seed,
                mean_resizing=mean_resizing, deviation=config.initializer_range,
            )  # fmt: skip
            values = np.concatenate([old, added.astype(old.dtype)])
        give_value(variable, KERAS.layout(row.kind, values))
    return size


def prune_heads(contents: Contents, asked: Mapping[int, Iterable[int]]) -> dict[int, list[int]]:
    """Cut heads out of layers; return all that are gone, by layer."""
    config = contents.config
    now, gone = heads_to_prune(config, asked)
    for layer, heads in now.items():
        kept = _kept_columns(config, layer, heads)
        for name, variable in contents.variables.items():
            row = contents.table[name]
            if f"encoder.layer.{layer}." in name and "heads" in row.axes:
                values = KERAS.stored(row.kind, variable.numpy())
                values = np.take(values, kept, axis=row.axes.index("heads"))
                give_value(variable, KERAS.layout(row.kind, values))
    return gone


def count_heads(config: PretrainedConfig, layer: int, attention: keras.Layer) -> None:
    """Tell the attention of a layer how many heads it has, by a configuration that knows which are gone."""
    own, after = attention.self_attention, attention.dense_output
    own.pruned_heads = tuple(sorted(set(config.pruned_heads.get(layer, ()))))
    own.num_attention_heads = kept_heads(config, layer)
    own.all_head_size = after.inner = own.num_attention_heads * own.attention_head_size
    for dense in (own.query, own.key, own.value):
        dense.units = own.all_head_size
    after.dense.input_spec = keras.layers.InputSpec(min_ndim=2, axes={-1: own.all_head_size})


def _kept_columns(config: PretrainedConfig, layer: int, heads: Iterable[int]) -> NDArray[np.intp]:
    """Columns of a layer's attention that stay when heads go, among those that it has now."""
    before = set(config.pruned_heads.get(layer, ()))
    there = [head for head in range(config.num_attention_heads) if head not in before]
    stay = np.array([place for place, head in enumerate(there) if head not in set(heads)], np.intp)
    width = config.hidden_size // config.num_attention_heads
    return (stay[:, None] * width + np.arange(width)).reshape(-1)
