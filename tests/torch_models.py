"""Models of every head and family, and calls of them, that the tests of `torch/` share."""

import models  # ``tests/models.py``, which the fixture has loaded
import torch
from models import LENGTHS, SIZES, config_of, wide_weights

import robertakit
from robertakit.architecture import HEADS

__all__ = ["LENGTHS", "SIZES", "build", "config_of", "one_by_one", "ragged", "wide_weights"]


def build(
    head: str, family: str = "Roberta", *, seed: int = 5, dtype: torch.dtype = torch.float32, **fields: object
) -> torch.nn.Module:
    """A model with wide weights, in `eval()`."""
    config = config_of(head, family, **fields)
    model = getattr(robertakit, family + HEADS[head].class_suffix)(config).eval()
    tensors = {name: torch.from_numpy(value) for name, value in wide_weights(config, head, seed).items()}
    named = dict(model.named_parameters())
    with torch.no_grad():
        for name, value in tensors.items():
            named[name].copy_(value)
    return model.to(dtype)


def ragged(
    head: str, lengths: tuple[int, ...] = LENGTHS, *, left: bool = False, seed: int = 0, labels: bool = False
) -> dict[str, torch.Tensor]:
    """Arguments of a call: padded ids with their mask, and labels on real tokens; choices come in pairs."""
    call = models.ragged(head, lengths, left=left, seed=seed, labels=labels)
    return {name: torch.from_numpy(value) for name, value in call.items()}


def one_by_one(call: dict[str, torch.Tensor]) -> list[dict[str, torch.Tensor]]:
    """The rows of a padded call, each alone and without padding."""
    rows = []
    for row in range(len(call["input_ids"])):
        mask = call["attention_mask"][row]
        real = mask.reshape(-1, mask.shape[-1]).any(0)
        rows.append(
            {
                name: value[row : row + 1, ..., real] if value.dim() > 1 else value[row : row + 1]
                for name, value in call.items()
            }
        )
    return rows
