"""What the documented arguments of a call mean: checked, given their defaults, and laid out padded or packed.

Everything that is wrong with a call raises here, before anything is computed.

Shape letters: B batch, L padded length, K keys, T packed tokens, W width, H heads.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from robertakit.batch import check_ids, sequential_position_ids
from robertakit.calls import check_call, check_choices, check_values
from robertakit.calls import leading_shape as shape_of_call
from robertakit.configuration import RobertaConfig
from robertakit.errors import BadShape
from robertakit.shapes import Kind
from robertakit.torch.cache import DynamicCache, read_cache
from robertakit.torch.packing import makes_graph, packed_tokens
from robertakit.torch.rows import Rows

__all__ = [
    "Inputs",
    "check_lengths",
    "check_rows",
    "default_positions",
    "flatten_choices",
    "kind_of",
    "leading_shape",
    "position_ids",
    "read_inputs",
]


@dataclass(frozen=True, slots=True)
class Inputs:
    """One call of the backbone, ready to compute.

    Attributes:
        input_ids: (B, L), or None.
        inputs_embeds: (B, L, W), or None.
        token_type_ids: (B, L) or (1, L), or None for zeros.
        position_ids: (B, L) or (1, L).
        rows: the tokens to pack; None where the call is computed at every position.
        keep: (B, 1, 1 or L, K) bool, which keys a query sees; None: all.
        head_mask: factors with one leading entry for each layer, broadcast to (layers, B, H, L, K), or None.
        cache: what `past_key_values` holds, or a new one where a cache is wanted, or None.
        encoder_states: (B, K, W) that cross-attention sees, or None.
        encoder_keep: (B, 1, 1 or L, K) bool, which of them a query sees; None: all.
    """

    input_ids: Tensor | None
    inputs_embeds: Tensor | None
    token_type_ids: Tensor | None
    position_ids: Tensor
    rows: Rows | None
    keep: Tensor | None
    head_mask: Tensor | None
    cache: DynamicCache | None
    encoder_states: Tensor | None
    encoder_keep: Tensor | None


def read_inputs(
    config: RobertaConfig,
    input_ids: Tensor | None,
    attention_mask: Tensor | None,
    token_type_ids: Tensor | None,
    position_ids: Tensor | None,
    head_mask: Tensor | None,
    inputs_embeds: Tensor | None,
    encoder_hidden_states: Tensor | None,
    encoder_attention_mask: Tensor | None,
    past_key_values: object,
    *,
    use_cache: bool,
    output_attentions: bool,
    check: bool,
) -> Inputs:
    """Check the documented arguments of `RobertaModel.forward` and give them their defaults.

    Args:
        config: the model's.
        input_ids: as documented, and so on up to `past_key_values`.
        use_cache: whether the caller gets a cache back.
        output_attentions: whether the caller gets maps.
        check: whether to look for ids without a row.

    Raises:
        ArgumentError: a cache for an encoder.
        InputError: both or none of `input_ids` and `inputs_embeds`, an id without a row, a mask of other numbers
            than 0 and 1.
        TooLong: more tokens than positions.
        BadShape: shapes that do not fit each other.
    """
    shape = leading_shape(input_ids, inputs_embeds)
    cache = _cache(past_key_values, config.num_hidden_layers, shape[0], use_cache)
    past = 0 if cache is None else cache.get_seq_length()
    masks = {"attention_mask": attention_mask, "encoder_attention_mask": encoder_attention_mask}
    given = {
        "input_ids": input_ids, "inputs_embeds": inputs_embeds, "token_type_ids": token_type_ids,
        "position_ids": position_ids, "head_mask": head_mask, "encoder_hidden_states": encoder_hidden_states,
        "past_key_values": past_key_values, **masks,
    }  # fmt: skip
    check_call(config, given, past=past, kind_of=kind_of)
    input_ids, types, positions = (
        None if ids is None else _indices(ids) for ids in (input_ids, token_type_ids, position_ids)
    )
    if positions is None:
        positions = default_positions(config.pad_token_id, input_ids, inputs_embeds, past)
    states = (
        encoder_hidden_states if config.is_decoder else None
    )  # an encoder leaves them aside, as the reference
    encoder_mask = None if states is None else encoder_attention_mask
    if check:
        check_rows(config, input_ids, positions, types)
        _check_masks(config, {"attention_mask": attention_mask, "encoder_attention_mask": encoder_mask})
    mask = attention_mask
    real = packed_tokens(config, mask, head_mask, output_attentions)
    rows = None if real is None else Rows.of(real)
    whole = rows is not None and not makes_graph() and len(rows.flat) == rows.real.numel()
    if whole:  # nothing to leave out
        rows, mask = None, None
    return Inputs(
        input_ids=input_ids,
        inputs_embeds=inputs_embeds,
        token_type_ids=types,
        position_ids=positions,
        rows=rows,
        keep=_kept_keys(config, mask, shape, past, positions.device),
        head_mask=None if head_mask is None else _head_masks(config, head_mask),
        cache=cache,
        encoder_states=states,
        encoder_keep=None if encoder_mask is None else _for_all_heads(encoder_mask),
    )


def position_ids(input_ids: Tensor, padding_idx: int, past_length: int = 0) -> Tensor:
    """Rows of the position table for (B, L) ids, as `batch.position_ids` makes them in NumPy."""
    real = input_ids.ne(padding_idx).long()
    return (real.cumsum(-1) + past_length) * real + padding_idx


def default_positions(
    padding_idx: int, input_ids: Tensor | None, inputs_embeds: Tensor | None, past: int
) -> Tensor:
    """(B, L) counted over the ids, or (1, L) in order from embeddings alone."""
    if input_ids is not None:
        return position_ids(input_ids, padding_idx, past)
    assert inputs_embeds is not None
    first = int(sequential_position_ids(1, padding_idx, past)[0, 0])
    return torch.arange(first, first + inputs_embeds.shape[1], device=inputs_embeds.device)[None]


def leading_shape(input_ids: Tensor | None, inputs_embeds: Tensor | None) -> torch.Size:
    """(B, L) of a call's input, which is one of the two.

    Raises:
        InputError: both or none is given, or ids that are no tensor of integers.
        BadShape: not (B, L) ids or (B, L, W) embeddings of at least one token.
    """
    shape_of_call(input_ids, inputs_embeds, kind_of=kind_of)
    given = inputs_embeds if input_ids is None else input_ids
    assert given is not None
    return given.shape[:2]


def kind_of(value: object) -> Kind | None:
    """Tell what a tensor holds; None for what is none."""
    if not isinstance(value, Tensor):
        return None
    if value.dtype == torch.bool:
        return "bool"
    return "real" if value.is_floating_point() else "integer"


def _indices(ids: Tensor) -> Tensor:
    """Integers of a kind that tables are looked up by, in rows."""
    ids = ids if ids.dtype in (torch.int32, torch.int64) else ids.long()
    return ids[None] if ids.dim() == 1 else ids


def flatten_choices(name: str, values: Tensor | None, axes: int = 3) -> Tensor | None:
    """Return (B, choices, ...) as (B x choices, ...): to the backbone every choice is a sequence."""
    if values is None:
        return None
    check_choices(name, values, axes)
    return values.flatten(0, 1)


def check_rows(
    config: RobertaConfig, input_ids: Tensor | None, positions: Tensor, token_type_ids: Tensor | None
) -> None:
    """Raise for ids without a row; inside `torch.compile`, and without values, no check costs time."""
    if makes_graph() or positions.is_meta:
        return
    tables = (config.vocab_size, config.max_position_embeddings, config.type_vocab_size)
    given = (input_ids, positions, token_type_ids)
    # One flag, so that an accelerator is waited for once; only a wrong call is looked at closely.
    wrong = [
        ((ids < 0) | (ids >= rows)).any() for ids, rows in zip(given, tables, strict=True) if ids is not None
    ]
    if bool(torch.stack(wrong).any()):
        check_ids(config, *(None if ids is None else ids.detach().cpu().numpy() for ids in given))


def check_lengths(cumulative_lengths: Tensor, tokens: int) -> None:
    """Raise unless (S+1,) cumulative lengths go from 0 up to the number of packed tokens."""
    if cumulative_lengths.is_meta:
        return
    steps = cumulative_lengths.tolist()
    if not steps or steps[0] != 0 or steps[-1] != tokens or any(b < a for a, b in pairwise(steps)):
        raise BadShape(
            given=f"cumulative_lengths {steps} for {tokens} tokens",
            expected="from 0 up to the number of tokens, never down",
        )


def _cache(past_key_values: object, layers: int, batch: int, use_cache: bool) -> DynamicCache | None:
    """The cache that a call reads and fills; one that the caller gave stays as it was where none is wanted back."""
    if past_key_values is None:
        return DynamicCache() if use_cache else None
    cache = read_cache(past_key_values, layers, batch)
    return cache if use_cache else DynamicCache.from_legacy_cache(cache.to_legacy_cache())


def _check_masks(config: RobertaConfig, masks: Mapping[str, Tensor | None]) -> None:
    """Raise for other numbers than 0 and 1; inside `torch.compile`, and without values, no check costs time."""
    for name, mask in masks.items():
        if mask is None or mask.dtype == torch.bool or makes_graph() or mask.is_meta:
            continue
        strange = mask.ne(0) & mask.ne(1)
        if bool(strange.any()):
            check_values(config, masks={name: mask[strange].detach().double().cpu().numpy()})


def _kept_keys(
    config: RobertaConfig, mask: Tensor | None, shape: torch.Size, past: int, device: torch.device
) -> Tensor | None:
    """(B, 1, 1 or L, K): padding from a 2-D mask, and the future of a decoder; a 3-D mask is taken as it is."""
    keep = None if mask is None else _for_all_heads(mask)
    length = shape[1]
    # One new token sees all that is there.
    if not config.is_decoder or length == 1 or (mask is not None and mask.dim() == 3):
        return keep
    causal = torch.ones(length, past + length, dtype=torch.bool, device=device).tril(past)[None, None]
    return causal if keep is None else causal & keep


def _for_all_heads(mask: Tensor) -> Tensor:
    """(B, K) or (B, L, K) as (B, 1, 1 or L, K) bool."""
    return mask.bool()[:, None] if mask.dim() == 3 else mask.bool()[:, None, None]


def _head_masks(config: RobertaConfig, head_mask: Tensor) -> Tensor:
    """Factors for each layer, (layers, 1 or B, H, 1 or L, 1 or K)."""
    layers, heads = config.num_hidden_layers, config.num_attention_heads
    if head_mask.shape == (heads,):
        return head_mask.view(1, 1, heads, 1, 1).expand(layers, 1, heads, 1, 1)
    return head_mask.view(layers, 1, heads, 1, 1) if head_mask.dim() == 2 else head_mask
