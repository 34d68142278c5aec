"""Another vocabulary, fewer heads: `robertakit.resizing` decides, this file changes the modules, which stay themselves.

A parameter stays the same object, too: what was tied is tied, what an optimizer trains it goes on training.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import cast

import torch
from torch import Tensor, nn

from robertakit.configuration import PretrainedConfig
from robertakit.errors import ArgumentError
from robertakit.resizing import heads_to_prune, new_rows, vocabulary_size
from robertakit.torch.construction import drawn_seed

__all__ = ["prune_heads", "resize_token_embeddings"]


def resize_token_embeddings(
    config: PretrainedConfig,
    embeddings: nn.Module,
    decoder: nn.Module | None,
    new_num_tokens: int | None,
    pad_to_multiple_of: int | None,
    mean_resizing: bool,
) -> int:
    """Give word embeddings and decoder another number of rows, at the end; return it.

    Args:
        config: of the model, for its special tokens and `initializer_range`.
        embeddings: the model's.
        decoder: what scores the vocabulary; its matrix may be the embeddings'.
        new_num_tokens: see `PreTrainedModel.resize_token_embeddings`, as the others.
        pad_to_multiple_of: round up.
        mean_resizing: draw new rows around the mean.
    """
    if not isinstance(embeddings, nn.Embedding) or not isinstance(decoder, nn.Linear | None):
        strange = embeddings if not isinstance(embeddings, nn.Embedding) else decoder
        raise ArgumentError(
            given=f"a vocabulary in a {type(strange).__name__}",
            expected="nn.Embedding, and nn.Linear where there is a decoder",
            hint="resize before an adapter is put around it",
        )
    size = vocabulary_size(config, embeddings.num_embeddings, new_num_tokens, pad_to_multiple_of)
    if size == embeddings.num_embeddings:
        return size
    seed = drawn_seed() if size > embeddings.num_embeddings else 0
    parameters = {"embeddings.weight": embeddings.weight}
    if decoder is not None:
        parameters |= {f"decoder.{name}": parameter for name, parameter in decoder.named_parameters()}
        decoder.out_features = size
    for name, parameter in parameters.items():
        if len(parameter) != size:  # a shared one was resized under its first name
            _resize(parameter, size, name, seed, mean_resizing, config.initializer_range)
    embeddings.num_embeddings = size
    return size


@torch.no_grad()
def _resize(
    parameter: Tensor, size: int, name: str, seed: int, mean_resizing: bool, deviation: float
) -> None:
    values = parameter[:size].clone()
    added = size - len(values)
    if added > 0:
        rows = parameter.new_empty(added, *parameter.shape[1:])
        if not parameter.is_meta:
            old = parameter.float().cpu().numpy()
            drawn = new_rows(old, added, name, seed, mean_resizing=mean_resizing, deviation=deviation)
            rows.copy_(torch.from_numpy(drawn))
        values = torch.cat([values, rows])
    parameter.data = values
    parameter.grad = None


def prune_heads(
    config: PretrainedConfig, layers: nn.ModuleList, asked: Mapping[int, Iterable[int]]
) -> dict[int, list[int]]:
    """Cut heads out of layers, which have a method for it; return all that are gone, by layer."""
    now, gone = heads_to_prune(config, asked)
    for layer, heads in now.items():
        prune = cast(Callable[[Iterable[int]], None], layers[layer].get_submodule("attention").prune_heads)
        prune(heads)
    return gone
