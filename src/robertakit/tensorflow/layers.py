"""What the layers have in common: a configuration that Keras saves with them, and the way their parts are made."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Self

import keras
import tensorflow as tf

from robertakit.configuration import PretrainedConfig, RobertaConfig

__all__ = ["ConfiguredLayer", "InitialNormal", "PaddedEmbedding", "sizes", "values_follow"]

#: Whether new weights stay zeros, because their values come at once.
_VALUES_FOLLOW: ContextVar[bool] = ContextVar("_VALUES_FOLLOW", default=False)


@contextmanager
def values_follow() -> Iterator[None]:
    """Within, new weights are zeros: whoever builds gives them values at once, and drawing numbers takes time.

    Example:
        >>> layer = keras.layers.Dense(2, kernel_initializer=InitialNormal(0.02))
        >>> with values_follow():
        ...     layer.build((None, 3))
        >>> float(tf.reduce_max(tf.abs(layer.kernel)))
        0.0
    """
    token = _VALUES_FOLLOW.set(True)
    try:
        yield
    finally:
        _VALUES_FOLLOW.reset(token)


@keras.saving.register_keras_serializable("robertakit")
class InitialNormal(keras.initializers.RandomNormal):
    """Keras' normal initializer with mean 0, which draws nothing within `values_follow`."""

    def __init__(self, stddev: float = 0.02, seed: int | None = None) -> None:
        super().__init__(0.0, stddev, seed)

    def __call__(self, shape: tuple[int, ...], dtype: str | None = None) -> tf.Tensor:
        """New values of a shape."""
        return tf.zeros(shape, dtype) if _VALUES_FOLLOW.get() else super().__call__(shape, dtype)

    def get_config(self) -> dict[str, object]:
        """What the constructor takes."""
        return {"stddev": self.stddev, "seed": self._init_seed}


class ConfiguredLayer(keras.layers.Layer):
    """A layer that is made of a configuration.

    Args:
        config: of the model.
        **kwargs: Keras' own: `name`, `dtype` (a dtype or a policy), `trainable`.
    """

    def __init__(self, config: RobertaConfig, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.config = config

    def get_config(self) -> dict[str, object]:
        """What the constructor takes, as Keras saves it."""
        return {**super().get_config(), "config": json.loads(self.config.to_json_string(use_diff=False))}

    @classmethod
    def from_config(cls, config: Mapping[str, object]) -> Self:
        """The layer that `get_config` describes."""
        fields = config["config"]
        assert isinstance(fields, dict)
        kind = PretrainedConfig.families[str(fields["model_type"])]
        layer: Self = super().from_config({**config, "config": kind.from_dict(fields)})
        return layer

    def _dense(self, units: int, name: str, *, use_bias: bool = True) -> keras.layers.Dense:
        initial = InitialNormal(self.config.initializer_range)
        return keras.layers.Dense(
            units, use_bias=use_bias, kernel_initializer=initial, dtype=self.dtype_policy, name=name
        )

    def _embedding(
        self, rows: int, width: int, name: str, padding_idx: int | None = None
    ) -> "PaddedEmbedding":
        return PaddedEmbedding(
            rows,
            width,
            padding_idx,
            embeddings_initializer=InitialNormal(self.config.initializer_range),
            dtype=self.dtype_policy,
            name=name,
        )

    def _layer_norm(self, name: str) -> keras.layers.LayerNormalization:
        return keras.layers.LayerNormalization(
            epsilon=self.config.layer_norm_eps, dtype=self.dtype_policy, name=name
        )

    def _dropout(self, rate: float, name: str = "dropout") -> keras.layers.Dropout:
        return keras.layers.Dropout(rate, dtype=self.dtype_policy, name=name)


@keras.saving.register_keras_serializable("robertakit")
class PaddedEmbedding(keras.layers.Embedding):
    """A table whose row for padding learns nothing from being looked up, as PyTorch's with `padding_idx`.

    Args:
        input_dim: rows.
        output_dim: width.
        padding_idx: the row; None: all rows learn.
        **kwargs: of `keras.layers.Embedding`.

    Example:
        >>> table = PaddedEmbedding(3, 2, padding_idx=1)
        >>> with tf.GradientTape() as tape:
        ...     total = tf.reduce_sum(table(tf.constant([0, 1, 2])))
        >>> tf.convert_to_tensor(tape.gradient(total, table.embeddings.value)).numpy()[:, 0].tolist()
        [1.0, 0.0, 1.0]
    """

    def __init__(
        self, input_dim: int, output_dim: int, padding_idx: int | None = None, **kwargs: object
    ) -> None:
        super().__init__(input_dim, output_dim, **kwargs)
        self.padding_idx = padding_idx

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """(...) integers to (..., width)."""
        rows = super().call(inputs)
        if self.padding_idx is None:
            return rows
        padding = tf.equal(inputs, tf.cast(self.padding_idx, inputs.dtype))[..., None]
        return tf.where(padding, tf.stop_gradient(rows), rows)

    def get_config(self) -> dict[str, object]:
        """What the constructor takes."""
        return {**super().get_config(), "padding_idx": self.padding_idx}


def sizes(x: tf.Tensor) -> list[int | tf.Tensor]:
    """The sizes of a tensor: numbers where a graph knows them, else scalar tensors.

    Example:
        >>> sizes(tf.ones((2, 3)))
        [2, 3]
    """
    found: tf.Tensor = None if x.shape.is_fully_defined() else tf.shape(x)
    return [found[axis] if size is None else size for axis, size in enumerate(x.shape)]
