"""Which tokens of a call are computed: the real ones alone, or every position.

Shape letters: B batch, L padded length.
"""

from warnings import warn

import torch
from torch import Tensor

from robertakit.configuration import RobertaConfig
from robertakit.errors import InputError

__all__ = ["labelled_tokens", "makes_graph", "packed_tokens"]


def makes_graph() -> bool:
    """Whether a graph is being made, or `torch.func` transforms the call: nothing may then depend on its values."""
    transformed = torch._C._are_functorch_transforms_active()
    return torch.compiler.is_compiling() or torch._C._is_tracing() or transformed


def packed_tokens(
    config: RobertaConfig,
    attention_mask: Tensor | None,
    head_mask: Tensor | None,
    output_attentions: bool | None,
) -> Tensor | None:
    """Return which tokens (B, L) bool of a call are computed, or None where it is computed at every position.

    Packing keeps what a 2-D mask keeps, for an encoder of which nobody asks maps or head masks. While a graph is
    made, where the number of real tokens cannot be known, it must be asked for.

    Raises:
        InputError: a mask that is no tensor.
    """
    if attention_mask is not None and not isinstance(attention_mask, Tensor):
        raise InputError(given=f"attention_mask of type {type(attention_mask).__name__}", expected="a tensor")
    ways = ("packed",) if makes_graph() else (None, "packed")
    maps = config.output_attentions if output_attentions is None else output_attentions
    if attention_mask is None or attention_mask.dim() != 2 or attention_mask.is_meta:
        return None
    if config.is_decoder or head_mask is not None or maps or config.attn_implementation not in ways:
        return None
    return attention_mask.bool()


def labelled_tokens(
    config: RobertaConfig,
    attention_mask: Tensor | None,
    head_mask: Tensor | None,
    output_attentions: bool | None,
    labelled: Tensor | None,
) -> tuple[Tensor | None, Tensor | None]:
    """Return the mask of a call and what `packed_tokens` says of it, seeing where its labels stand.

    Args:
        config: the model's.
        attention_mask: (B, L) or (B, L, L), or None.
        head_mask: as documented.
        output_attentions: as documented.
        labelled: (B, L) bool, the tokens that a label needs, or None.

    Returns:
        The mask as it is; or, where it hides a token that a label needs, the same mask for each query, (B, L, L),
        which is computed at every position.

    Raises:
        InputError: such labels where packed attention was asked for.
    """
    real = packed_tokens(config, attention_mask, head_mask, output_attentions)
    if real is None or labelled is None or attention_mask is None or makes_graph():
        return attention_mask, real
    if real.shape != labelled.shape:  # a mask that fits no input: the backbone says so
        return attention_mask, None
    count = int((labelled & ~real).sum())
    if not count:
        return attention_mask, real
    if config.attn_implementation == "packed":
        raise InputError(
            given=f"{count} labels on positions that attention_mask hides",
            expected="labels on real tokens only with packed attention",
            hint='set them to -100, or choose attn_implementation="sdpa"',
        )
    warn(f"{count} labels stand on positions that attention_mask hides; this batch is padded", stacklevel=4)
    return attention_mask[:, None].expand(-1, attention_mask.shape[1], -1), None
