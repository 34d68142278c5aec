"""One seed for every generator that a script draws from."""

import importlib.util
import os
import random
import sys

from robertakit.errors import ArgumentError, require

__all__ = ["seed_tensorflow", "set_seed"]

_LARGEST = 2**32 - 1  # NumPy's
#: What `set_seed` was called with before TensorFlow was imported.
_waiting: tuple[int, bool] | None = None


def set_seed(seed: int, deterministic: bool = False) -> None:
    """Seed the generators of Python, NumPy, PyTorch on all its devices, and TensorFlow with Keras.

    PyTorch is imported where it is installed: a seed that does not reach the framework of the next line would be
    no seed. TensorFlow, which takes seconds more, is seeded where it is imported, or else when our models first are.
    JAX has no generator of its own; its models take ``seed=``.

    Args:
        seed: 0 to 2**32 - 1.
        deterministic: have PyTorch and TensorFlow use algorithms that give the same bits each time, and refuse to run
            where they have none; slower. False leaves that as it is.

    Raises:
        ArgumentError: a seed that NumPy does not take.

    Example:
        >>> import numpy
        >>> set_seed(1)
        >>> first = numpy.random.rand()
        >>> set_seed(1)
        >>> first == numpy.random.rand()
        True
    """
    import numpy as np

    given: object = seed
    if not isinstance(given, int | np.integer) or isinstance(given, bool) or not 0 <= given <= _LARGEST:
        raise ArgumentError(given=f"seed={seed!r}", expected=f"an integer from 0 to {_LARGEST}")
    seed = int(seed)
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 (the generator that other people's code draws from)
    global _waiting
    _waiting = (seed, deterministic)
    if sys.modules.get("tensorflow") is not None:
        _seed_tensorflow(*_waiting)
        _waiting = None
    if importlib.util.find_spec("torch") is None:
        return
    torch = require("torch", extra="torch", needed_for="set_seed")
    torch.manual_seed(seed)
    if deterministic:
        # cuBLAS is deterministic with a fixed workspace alone, and reads this when it is first used.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)


def seed_tensorflow() -> None:
    """Let a seed that was set before TensorFlow was imported reach it, unless it was given another since."""
    tensorflow = require("tensorflow", extra="tensorflow", needed_for="its seed")
    if _waiting is not None and tensorflow.compat.v1.get_seed(None)[0] is None:
        _seed_tensorflow(*_waiting)


def _seed_tensorflow(seed: int, deterministic: bool) -> None:
    tensorflow = require("tensorflow", extra="tensorflow", needed_for="set_seed")
    tensorflow.random.set_seed(seed)
    keras = sys.modules.get("keras")
    if keras is not None:  # it keeps a seed of its own; imported later, it draws from Python's generator
        keras.utils.set_random_seed(seed)
    if deterministic:
        tensorflow.config.experimental.enable_op_determinism()
