"""Keras' backend: our Keras models compute by TensorFlow, and Keras chooses once for a whole process."""

from robertakit.errors import DependencyError

__all__ = ["check_backend"]


def check_backend(name: str) -> None:
    """Raise for a backend of Keras that our models do not compute by.

    Args:
        name: of the backend, as Keras spells it.

    Raises:
        DependencyError: it is not TensorFlow's.

    Example:
        >>> check_backend("tensorflow")
    """
    if name != "tensorflow":
        raise DependencyError(
            given=f"robertakit's Keras models with Keras' backend {name!r}",
            expected="the backend 'tensorflow'",
            hint="set the environment variable KERAS_BACKEND=tensorflow before Keras is imported, or 'backend' in "
            "~/.keras/keras.json",
        )
