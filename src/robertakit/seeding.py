"""One seed for every generator that a script draws from."""

import importlib.util
import os
import random

from robertakit.errors import ArgumentError, require

__all__ = ["set_seed"]

_LARGEST = 2**32 - 1  # NumPy's


def set_seed(seed: int, deterministic: bool = False) -> None:
    """Seed the generators of Python, NumPy, and PyTorch on all its devices.

    PyTorch is imported where it is installed: a seed that does not reach the framework of the next line would be
    no seed. JAX has no generator of its own; its models take ``seed=``.

    Args:
        seed: 0 to 2**32 - 1.
        deterministic: have PyTorch use algorithms that give the same bits each time, and refuse to run where it has
            none; slower. False leaves that as it is.

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
    if importlib.util.find_spec("torch") is None:
        return
    torch = require("torch", extra="torch", needed_for="set_seed")
    torch.manual_seed(seed)
    if deterministic:
        # cuBLAS is deterministic with a fixed workspace alone, and reads this when it is first used.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
