"""A start for small models: positions as sines, and a first layer that looks at the neighbours.

From the published start (normal, 0.02) a small model spends its first millions of tokens at the loss of word counts: it
has to find its neighbours and to learn what they say at the same time. Started here it has only the second to learn.
All of it stays trainable, and the architecture is RoBERTa's.
"""

import math
from typing import TYPE_CHECKING, cast

from robertakit.errors import ArgumentError, require

if TYPE_CHECKING:
    from robertakit.torch.attention import RobertaSelfAttention
    from robertakit.torch.language_models import RobertaForMaskedLM

__all__ = ["look_at_neighbours"]

#: Which neighbour each head of the first layer begins with.
NEIGHBOURS = (-1, 1, -2, 2, -3, 3)


def look_at_neighbours(model: "RobertaForMaskedLM", gain: float = 1.7) -> None:
    """Set positions to sines and cosines, and queries and keys of the first layer to looks at neighbours.

    The scalar product of two such positions depends on their distance alone (Vaswani et al. 2017, section 3.5), so a
    query that is turned by an angle for each frequency meets the key of its neighbour.

    Args:
        model: a new model; it is changed.
        gain: how sharp the looks are; scores grow with its square.

    Raises:
        ArgumentError: a width or a head of an odd size, which has no pairs of sine and cosine.

    Example:
        >>> import torch
        >>> from robertakit import RobertaConfig, RobertaForMaskedLM
        >>> sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
        >>> model = RobertaForMaskedLM(RobertaConfig(vocab_size=9, **sizes))
        >>> look_at_neighbours(model)
        >>> looks = model.roberta.encoder.layer[0].attention.self
        >>> places = model.roberta.embeddings.position_embeddings.weight[2:10].detach()
        >>> scores = looks.query(places).detach()[:, :16] @ looks.key(places).detach()[:, :16].T  # of the first head
        >>> scores.argmax(-1).tolist()[1:7]
        [0, 1, 2, 3, 4, 5]
    """
    torch = require("torch", extra="torch", needed_for="a model's start")
    config = model.config
    attention = cast("RobertaSelfAttention", model.roberta.encoder.layer[0].get_submodule("attention.self"))
    size, width = attention.attention_head_size, config.hidden_size
    if size % 2 or width % 2:
        raise ArgumentError(given=f"width {width} with heads of {size}", expected="even numbers")
    with torch.no_grad():
        table = model.roberta.embeddings.position_embeddings.weight
        first = config.pad_token_id + 1
        frequencies = torch.exp(torch.arange(0, width, 2) * (-math.log(10000.0) / width))
        angles = torch.arange(len(table) - first)[:, None] * frequencies
        height = config.initializer_range * 2**0.5  # as much variance as the words have
        table[first:, 0::2], table[first:, 1::2] = angles.sin() * height, angles.cos() * height
        for head in range(attention.num_attention_heads):
            turns = NEIGHBOURS[head % len(NEIGHBOURS)] * frequencies
            query, key = torch.zeros(size, width), torch.zeros(size, width)
            for pair in range(size // 2):  # the highest frequencies tell neighbours apart best
                sine, cosine = turns[pair].sin(), turns[pair].cos()
                at = slice(2 * pair, 2 * pair + 2)
                key[at, at] = gain * torch.eye(2)
                query[at, at] = gain * torch.tensor([[cosine, sine], [-sine, cosine]])
            own = slice(head * size, (head + 1) * size)
            attention.query.weight[own], attention.key.weight[own] = query, key
