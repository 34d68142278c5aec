"""Tensors that stand under several names: where they stand, and that they stay one whatever happens to a model."""

from collections.abc import Collection, Sequence

import torch
from torch import Tensor, nn

from robertakit.architecture import canonical_name, is_known_leftover
from robertakit.logging import get_logger
from robertakit.torch.contents import Contents

__all__ = [
    "absent_names",
    "holders",
    "put",
    "settle_names",
    "share",
    "share_again",
    "shared_places",
    "tie_decoder",
]

_logger = get_logger(__name__)

#: A module, and the name under which it holds a tensor.
Place = tuple[nn.Module, str]


def holders(model: nn.Module) -> dict[int, list[Place]]:
    """Return the id of each parameter and buffer of a model -> its places."""
    found: dict[int, list[Place]] = {}
    for module in model.modules():
        for leaf, tensor in (
            *module.named_parameters(recurse=False, remove_duplicate=False),
            *module.named_buffers(recurse=False, remove_duplicate=False),
        ):
            found.setdefault(id(tensor), []).append((module, leaf))
    return found


def put(places: Sequence[Place], tensor: Tensor) -> None:
    """Let a tensor stand in all places of the one that it replaces."""
    for module, leaf in places:
        setattr(module, leaf, tensor)


def shared_places(model: nn.Module) -> list[list[Place]]:
    """Return the places of each tensor that has several."""
    return [places for places in holders(model).values() if len(places) > 1]


def share(shared: Sequence[Sequence[Place]]) -> None:
    """Let what stands in the first of the places stand in all."""
    for (module, leaf), *others in shared:
        put(others, getattr(module, leaf))


def share_again(model: nn.Module, incompatible_keys: object) -> None:
    """Behind `load_state_dict`: what was one tensor before is one again. A hook of PyTorch's."""
    share(model.__dict__.pop("_shared", ()))


def settle_names(state_dict: dict[str, Tensor], prefix: str, contents: Contents) -> None:
    """Let a state dict of any release have the names that a model has today.

    Old spellings get today's, position ids that nothing reads go, and a shared tensor stands under all its names. Where
    its values differ, those count that `checkpoints.comparison` takes: a matrix's first, a bias's last, which computes.

    Args:
        state_dict: changed.
        prefix: what its names begin with.
        contents: of the model.
    """
    for stored in [name for name in state_dict if name.startswith(prefix)]:
        name = stored.removeprefix(prefix)
        if name in contents.tensors:
            continue
        if is_known_leftover(name):
            del state_dict[stored]
        elif canonical_name(name) in contents.tensors:
            state_dict[prefix + canonical_name(name)] = state_dict.pop(stored)
    for name, row in contents.table.items():
        if row.tied_to is None:
            continue
        counts, other = prefix + row.tied_to, prefix + name
        if counts not in state_dict or (row.kind == "bias" and other in state_dict):
            counts, other = other, counts
        if counts in state_dict:
            if other in state_dict and _differ(state_dict[other], state_dict[counts]):
                _logger.warning("%s has other values than %s, which takes its place.", other, counts)
            state_dict[other] = state_dict[counts]


def _differ(one: Tensor, other: Tensor) -> bool:
    known = not (one.is_meta or other.is_meta) and one.data_ptr() != other.data_ptr()
    return known and not torch.equal(one, other.to(one))


def absent_names(state_dict: Collection[str], contents: Contents) -> list[str]:
    """Return the names of shared tensors that a state dict leaves out, since it has them under another."""
    pairs = [(name, row.tied_to) for name, row in contents.table.items() if row.tied_to is not None]
    return [
        *(copy for copy, source in pairs if copy not in state_dict and source in state_dict),
        *(source for copy, source in pairs if copy in state_dict and source not in state_dict),
    ]


@torch.no_grad()
def tie_decoder(decoder: nn.Linear, table: nn.Parameter) -> None:
    """Let a decoder score by the word embeddings; its bias gets zeros for new rows, or is cut."""
    decoder.weight = table
    decoder.out_features = len(table)
    bias = getattr(decoder, "bias", None)
    if isinstance(bias, nn.Parameter) and len(bias) != len(table):
        kept = bias[: len(table)]
        bias.data = torch.cat([kept, kept.new_zeros(len(table) - len(kept))])
        bias.grad = None
