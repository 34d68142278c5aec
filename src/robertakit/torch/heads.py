"""Heads on the encoder. This part: the language-modelling head; the others follow with the PyTorch issue.

Shape letters: R rows (tokens that the head is asked for), W width, V vocabulary.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from robertakit.architecture import IGNORED_LABEL
from robertakit.configuration import RobertaConfig

__all__ = ["RobertaLMHead", "masked_lm_loss"]


class RobertaLMHead(nn.Module):
    """Dense, GELU, LayerNorm, then a decoder that may share the word embeddings."""

    def __init__(self, config: RobertaConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.layer_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.decoder = nn.Linear(config.hidden_size, config.vocab_size)
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))
        self.decoder.bias = self.bias

    def forward(self, features: Tensor) -> Tensor:
        """(..., W) to logits (..., V)."""
        logits: Tensor = self.decoder(self.layer_norm(F.gelu(self.dense(features))))
        return logits


def masked_lm_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy in float32 over the rows that carry a label; 0, with gradient 0, where none does.

    Args:
        logits: (R, V).
        labels: (R,) ids, -100 where there is nothing to predict.
    """
    logits = logits if logits.dtype == torch.float64 else logits.float()
    total = F.cross_entropy(logits, labels, ignore_index=IGNORED_LABEL, reduction="sum")
    return total / labels.ne(IGNORED_LABEL).sum().clamp(min=1)
