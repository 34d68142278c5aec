"""Configurations and weights of every head and family, and calls of them, as arrays: what the tests of all frameworks
share."""

from typing import Any

import numpy as np

from robertakit.architecture import initial_weights
from robertakit.configuration import RobertaConfig, XLMRobertaConfig

FAMILIES = {"Roberta": RobertaConfig, "XLMRoberta": XLMRobertaConfig}
SIZES = {
    "vocab_size": 61, "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 37,
    "max_position_embeddings": 40, "type_vocab_size": 2, "pad_token_id": 1,
}  # fmt: skip
LENGTHS = (9, 4, 9, 1, 6)


def config_of(head: str, family: str = "Roberta", **fields: object) -> RobertaConfig:
    """A small configuration, with as many classes as `ragged` makes labels of."""
    own = {"sequence-classification": {"num_labels": 3}, "token-classification": {"num_labels": 5}}.get(
        head, {}
    )
    return FAMILIES[family](**(SIZES | own | fields))


def wide_weights(config: RobertaConfig, head: str, seed: int = 5) -> dict[str, np.ndarray]:
    """New weights, ten times wider than by default, biases and scales too, so that mistakes show."""
    generator = np.random.default_rng(seed)
    drawn = initial_weights(config, head, seed)
    return {
        name: ((10 if value.ndim > 1 else 1) * value + 0.2 * generator.standard_normal(value.shape)).astype(
            np.float32
        )
        for name, value in drawn.items()
    }


def ragged(
    head: str, lengths: tuple[int, ...] = LENGTHS, *, left: bool = False, seed: int = 0, labels: bool = False
) -> dict[str, np.ndarray]:
    """Arguments of a call: padded ids with their mask, and labels on real tokens; choices come in pairs."""
    generator = np.random.default_rng(seed)
    longest = max(lengths)
    ids = np.full((len(lengths), longest), 1)
    for row, length in enumerate(lengths):
        where = slice(longest - length, longest) if left else slice(0, length)
        ids[row, where] = generator.integers(3, SIZES["vocab_size"], length)
    mask = (ids != 1).astype(np.int64)
    given: dict[str, Any] = {"input_ids": ids, "attention_mask": mask}
    given["token_type_ids"] = generator.integers(0, 2, ids.shape)
    if labels:
        given |= _labels(head, ids, mask, generator)
    if head == "multiple-choice":
        pairs = {"input_ids", "attention_mask", "token_type_ids"}
        given = {
            name: np.stack([value, np.roll(value, 1, 0)], 1) if name in pairs else value
            for name, value in given.items()
        }
    return {name: np.asarray(value) for name, value in given.items()}


def _labels(
    head: str, ids: np.ndarray, mask: np.ndarray, generator: np.random.Generator
) -> dict[str, np.ndarray]:
    lengths = mask.sum(1)
    if head in ("masked-lm", "causal-lm"):
        return {"labels": np.where((mask == 1) & (generator.random(ids.shape) < 0.5), ids, -100)}
    if head == "token-classification":
        return {"labels": np.where(mask == 1, generator.integers(0, 5, ids.shape), -100)}
    if head == "sequence-classification":
        return {"labels": generator.integers(0, 3, len(ids))}
    if head == "multiple-choice":
        return {"labels": generator.integers(0, 2, len(ids))}
    if head == "question-answering":
        return {
            "start_positions": generator.integers(0, lengths),
            "end_positions": generator.integers(0, lengths),
        }
    return {}
