"""Other sizes for a model that is there: a vocabulary with more or fewer rows, layers with fewer heads.

What is decided here is the same in every framework; who moves the arrays is not known.
"""

import zlib
from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from robertakit.configuration import PretrainedConfig
from robertakit.errors import ArgumentError

__all__ = ["heads_to_prune", "new_rows", "vocabulary_size"]

#: Variance of new rows around the mean of the old ones, in parts of the old rows' covariance.
_SPREAD = 1e-9
_BLOCK = 8192
_SPECIAL = ("pad_token_id", "bos_token_id", "eos_token_id", "sep_token_id")


def vocabulary_size(
    config: PretrainedConfig, rows: int, new_num_tokens: int | None, pad_to_multiple_of: int | None
) -> int:
    """Return how many rows a vocabulary is to have.

    Args:
        config: names the special tokens.
        rows: it has now.
        new_num_tokens: it is to have; None keeps them.
        pad_to_multiple_of: rounds up to a multiple of this.

    Raises:
        ArgumentError: no such size, or one that cuts off a special token.

    Example:
        >>> from robertakit import RobertaConfig
        >>> vocabulary_size(RobertaConfig(), 50265, None, 64)
        50304
    """
    for name, given in (("new_num_tokens", new_num_tokens), ("pad_to_multiple_of", pad_to_multiple_of)):
        if given is not None and (isinstance(given, bool) or not hasattr(given, "__index__") or given < 1):
            raise ArgumentError(given=f"{name}={given!r}", expected="an integer from 1, or None")
    size = rows if new_num_tokens is None else int(new_num_tokens)
    if pad_to_multiple_of is not None:
        size = -(-size // pad_to_multiple_of) * pad_to_multiple_of
    for name in _SPECIAL:
        field = getattr(config, name, None)
        ids = field if isinstance(field, list) else [field]
        if any(isinstance(token, int) and size <= token < rows for token in ids):
            raise ArgumentError(
                given=f"new_num_tokens={size}, which cuts off {name}={field}",
                expected="a vocabulary with the special tokens of the config",
                hint=f"set config.{name} first if it is another one",
            )
    return size


def new_rows(
    old: NDArray[np.floating], count: int, name: str, seed: int, *, mean_resizing: bool, deviation: float
) -> NDArray[np.float32]:
    """Draw rows that are added to a matrix, or values that are added to a bias.

    Near the mean of the old rows a new token is as likely as the others are together on average, so that the others'
    probabilities hardly change (Hewitt 2021, "Initializing new word embeddings for pretrained language models").

    Args:
        old: (V, W) or (V,).
        count: how many to add.
        name: the tensor's, which the draw depends on beside the seed.
        seed: of the draw.
        mean_resizing: draw around the mean of the old rows, with 1e-9 of their covariance; otherwise as a new
            model's: around 0 with the given deviation, and zeros for a bias.
        deviation: ``initializer_range``.

    Returns:
        (count, W) or (count,).

    Example:
        >>> old = np.array([[1.0, 0.0], [3.0, 0.0]], np.float32)
        >>> new_rows(old, 1, "rows", seed=1, mean_resizing=True, deviation=0.02).round(3).tolist()
        [[2.0, 0.0]]
    """
    matrix = old.reshape(len(old), -1)
    generator = np.random.Generator(
        np.random.PCG64(np.random.SeedSequence([seed, zlib.crc32(name.encode())]))
    )
    drawn = generator.standard_normal((count, matrix.shape[1]))
    if mean_resizing:
        mean = matrix.mean(0, dtype=np.float64)
        covariance = np.zeros((matrix.shape[1], matrix.shape[1]))
        for start in range(0, len(matrix), _BLOCK):  # never a second matrix in double precision
            centred = matrix[start : start + _BLOCK] - mean
            covariance += centred.T @ centred / len(matrix)
        variances, axes = np.linalg.eigh(covariance)
        rows = mean + drawn * np.sqrt(_SPREAD * variances.clip(0)) @ axes.T
    else:
        rows = drawn * deviation * (old.ndim > 1)
    values: NDArray[np.float32] = rows.reshape(count, *old.shape[1:]).astype(np.float32)
    return values


def heads_to_prune(
    config: PretrainedConfig, asked: Mapping[int, Iterable[int]]
) -> tuple[dict[int, list[int]], dict[int, list[int]]]:
    """Return the heads of each layer that are to go now, and all that are then gone; numbers are the first ones.

    Args:
        config: knows which are gone already.
        asked: layer -> heads.

    Raises:
        ArgumentError: no such layer or head.

    Example:
        >>> from robertakit import RobertaConfig
        >>> heads_to_prune(RobertaConfig(pruned_heads={0: [1]}), {0: [1, 2]})
        ({0: [2]}, {0: [1, 2]})
    """
    layers, heads = config.num_hidden_layers, config.num_attention_heads
    now: dict[int, list[int]] = {}
    gone = {layer: sorted(set(pruned)) for layer, pruned in config.pruned_heads.items()}
    for layer, given in asked.items():
        wanted = {*given}
        if layer not in range(layers) or wanted - {*range(heads)}:
            raise ArgumentError(
                given=f"heads_to_prune={{{layer}: {sorted(wanted)}}}",
                expected=f"layers from 0 to {layers - 1} and heads from 0 to {heads - 1}",
            )
        before = set(gone.get(layer, ()))
        if wanted - before:
            now[layer], gone[layer] = sorted(wanted - before), sorted(before | wanted)
    return now, gone
