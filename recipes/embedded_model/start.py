"""Where training starts from: positions as sines, and a first layer that looks at the neighbours.

From the published start (normal, 0.02) a small model spends its first millions of tokens at the loss of word counts:
it has to find its neighbours and what they say at the same time. Started here, it has only the second to learn. All
of it stays trainable, and the architecture is RoBERTa's.
"""

import numpy as np
import torch

from robertakit.torch import RobertaForMaskedLM

#: Which neighbour each head of the first layer begins with.
NEIGHBOURS = (-1, 1, -2, 2, -3, 3)


@torch.no_grad()
def look_at_neighbours(model: RobertaForMaskedLM, gain: float) -> None:
    """Set the positions to sines and cosines, and queries and keys of the first layer to looks at neighbours.

    The scalar product of two such positions depends on their distance alone (Vaswani et al. 2017, section 3.5), so
    a query that is turned by an angle for each frequency meets the key of its neighbour.

    Args:
        model: a model with its initial weights.
        gain: how sharp the looks are; the scores grow with its square.
    """
    table = model.roberta.embeddings.position_embeddings.weight
    first, width = model.config.pad_token_id + 1, model.config.hidden_size
    frequencies = torch.exp(torch.arange(0, width, 2) * (-np.log(10000.0) / width))
    angles = torch.arange(len(table) - first)[:, None] * frequencies
    height = model.config.initializer_range * 2**0.5  # as much variance as the words have
    table[first:, 0::2], table[first:, 1::2] = angles.sin() * height, angles.cos() * height
    attention = model.roberta.encoder.layer[0].attention.self
    size = attention.attention_head_size
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
