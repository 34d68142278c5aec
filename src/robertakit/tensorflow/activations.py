"""The activations that a configuration may name, in TensorFlow."""

import math
from collections.abc import Callable
from typing import cast

import tensorflow as tf

__all__ = ["ACTIVATIONS", "activation", "gelu"]


def gelu(x: tf.Tensor) -> tf.Tensor:
    """The exact one, by the error function (Hendrycks and Gimpel 2016); `tf.nn.gelu` rounds its constant to float32."""
    return 0.5 * x * (1 + tf.math.erf(x * math.sqrt(0.5)))


def _gelu_tanh(x: tf.Tensor) -> tf.Tensor:
    return 0.5 * x * (1 + tf.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)))


def _gelu_10(x: tf.Tensor) -> tf.Tensor:
    return tf.clip_by_value(gelu(x), -10, 10)


def _quick_gelu(x: tf.Tensor) -> tf.Tensor:
    return x * tf.sigmoid(1.702 * x)


def _laplace(x: tf.Tensor) -> tf.Tensor:
    """The attention function of MEGA (Ma et al. 2022): a normal distribution's, fitted to squared ReLU."""
    return 0.5 * (1 + tf.math.erf((x - 0.707107) / (0.282095 * math.sqrt(2))))


def _leaky_relu(x: tf.Tensor) -> tf.Tensor:
    return tf.maximum(x, 0.01 * x)  # PyTorch's slope; TensorFlow's own is 0.2, and in float32


def _linear(x: tf.Tensor) -> tf.Tensor:
    return x


def _mish(x: tf.Tensor) -> tf.Tensor:
    return x * tf.tanh(tf.nn.softplus(x))


def _relu2(x: tf.Tensor) -> tf.Tensor:
    return tf.square(tf.nn.relu(x))


ACTIVATIONS: dict[str, Callable[[tf.Tensor], tf.Tensor]] = {
    "gelu": gelu,
    "gelu_10": _gelu_10,
    "gelu_accurate": _gelu_tanh,
    "gelu_fast": _gelu_tanh,
    "gelu_new": _gelu_tanh,
    "gelu_python": gelu,
    "gelu_python_tanh": _gelu_tanh,
    "gelu_pytorch_tanh": _gelu_tanh,
    "laplace": _laplace,
    "leaky_relu": _leaky_relu,
    "linear": _linear,
    "mish": _mish,
    "quick_gelu": _quick_gelu,
    "relu": tf.nn.relu,
    "relu2": _relu2,
    "relu6": tf.nn.relu6,
    "sigmoid": tf.sigmoid,
    "silu": tf.nn.silu,
    "swish": tf.nn.silu,
    "tanh": tf.tanh,
}


def activation(hidden_act: str | Callable[..., object]) -> Callable[[tf.Tensor], tf.Tensor]:
    """The function that `config.hidden_act` names, or is.

    Example:
        >>> activation("relu")(tf.constant([-1.0, 2.0])).numpy().tolist()
        [0.0, 2.0]
    """
    if isinstance(hidden_act, str):
        return ACTIVATIONS[hidden_act]
    return cast(Callable[[tf.Tensor], tf.Tensor], hidden_act)
