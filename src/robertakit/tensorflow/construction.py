"""How a model comes into being: its parts first; then every value, in one place and from one seed.

What the architecture describes is drawn by its table, so that a seed means the same weights in every framework.
Layers that somebody adds keep what their own initialisers gave. A checkpoint's values are never drawn first.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import tensorflow as tf

from robertakit.architecture import initial_value
from robertakit.checkpoints.dialects import KERAS
from robertakit.tensorflow.contents import Contents

__all__ = ["draw", "drawn_seed", "is_loading", "loading"]

_loading: ContextVar[bool] = ContextVar("loading", default=False)


@contextmanager
def loading() -> Iterator[None]:
    """Build models whose values come later: from a checkpoint, and what it lacks from one seed."""
    token = _loading.set(True)
    try:
        yield
    finally:
        _loading.reset(token)


def is_loading() -> bool:
    """Whether a checkpoint will give the values of the model that is being built."""
    return _loading.get()


def drawn_seed() -> int:
    """One draw from TensorFlow's generator, which `tf.random.set_seed` and `keras.utils.set_random_seed` set."""
    with tf.init_scope():
        return int(tf.random.uniform((), maxval=2**31 - 1, dtype=tf.int32))


def draw(contents: Contents, names: Iterable[str], seed: int) -> None:
    """Give variables their initial values, by the table; layers of one's own are left as they are."""
    for name in names:
        row = contents.table[name]
        if row.part != "own" and row.tied_to is None:
            value = KERAS.layout(row.kind, initial_value(row, contents.config, seed))
            variable = contents.variables[name]
            variable.assign(tf.cast(value, variable.dtype))
