"""What the documented arguments of a call mean: checked, given their defaults, and laid out padded or packed.

Everything that is wrong with a call raises here, before anything is computed.

Shape letters: B batch, L padded length, K keys, T packed tokens, W width, H heads.
"""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from robertakit.batch import check_ids, sequential_position_ids
from robertakit.configuration import RobertaConfig
from robertakit.errors import ArgumentError, BadShape, InputError
from robertakit.torch.cache import DynamicCache, read_cache
from robertakit.torch.packing import makes_graph, packed_tokens
from robertakit.torch.rows import Rows

__all__ = [
    "Inputs",
    "check_integers",
    "check_lengths",
    "check_rows",
    "default_positions",
    "flatten_choices",
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
    if inputs_embeds is not None and inputs_embeds.shape[2] != config.hidden_size:
        raise BadShape(
            given=f"inputs_embeds of shape {tuple(inputs_embeds.shape)}",
            expected=f"({shape[0]}, {shape[1]}, {config.hidden_size})",
        )
    input_ids = None if input_ids is None else _indices(input_ids)
    cache = _cache(config, past_key_values, shape[0], use_cache)
    past = 0 if cache is None else cache.get_seq_length()
    types = _row_like("token_type_ids", token_type_ids, shape)
    positions = _row_like("position_ids", position_ids, shape)
    if positions is None:
        positions = default_positions(config.pad_token_id, input_ids, inputs_embeds, past)
    if check:
        check_rows(config, input_ids, positions, types)
    mask = None if attention_mask is None else _checked_mask(attention_mask, shape, past, check)
    states, encoder_keep = _encoder_inputs(
        config, encoder_hidden_states, encoder_attention_mask, shape, check
    )
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
        encoder_keep=encoder_keep,
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
    if input_ids is not None and inputs_embeds is None:
        check_integers("input_ids", input_ids)
        return _leading("input_ids", input_ids, "(batch, length)")
    if inputs_embeds is not None and input_ids is None:
        return _leading("inputs_embeds", inputs_embeds, "(batch, length, width)")
    raise InputError(
        given="neither input_ids nor inputs_embeds"
        if input_ids is None
        else "both input_ids and inputs_embeds",
        expected="one of input_ids and inputs_embeds",
    )


def _indices(ids: Tensor) -> Tensor:
    """Integers of a kind that tables are looked up by."""
    return ids if ids.dtype in (torch.int32, torch.int64) else ids.long()


def _leading(name: str, given: Tensor, layout: str) -> torch.Size:
    if not isinstance(given, Tensor):
        raise InputError(given=f"{name} of type {type(given).__name__}", expected="a tensor")
    if given.dim() != layout.count(",") + 1 or not given.shape[1]:
        raise BadShape(
            given=f"{name} of shape {tuple(given.shape)}", expected=f"{layout}, with at least one token"
        )
    return given.shape[:2]


def check_integers(name: str, given: object) -> None:
    """Raise for what is no tensor of integers."""
    if not isinstance(given, Tensor):
        raise InputError(
            given=f"{name} of type {type(given).__name__}",
            expected="a tensor",
            hint="tokenizer(texts, padding=True, return_tensors='pt') gives tensors",
        )
    if given.is_floating_point() or given.dtype == torch.bool:
        raise InputError(given=f"{name} of dtype {given.dtype}", expected="integers")


def flatten_choices(name: str, values: Tensor | None, axes: int = 3) -> Tensor | None:
    """Return (B, choices, ...) as (B x choices, ...): to the backbone every choice is a sequence."""
    if values is None:
        return None
    if values.dim() != axes:
        layout = "(batch, choices, length" + (", width)" if axes == 4 else ")")
        raise BadShape(given=f"{name} of shape {tuple(values.shape)}", expected=layout)
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


def _row_like(name: str, values: Tensor | None, shape: torch.Size) -> Tensor | None:
    """Integers of shape (B, L), or (1, L) for all rows alike."""
    if values is None:
        return None
    check_integers(name, values)
    if values.dim() == 1:
        values = values[None]
    if values.shape not in (shape, (1, shape[1])):
        raise BadShape(
            given=f"{name} of shape {tuple(values.shape)}",
            expected=f"{tuple(shape)} or {(1, shape[1])}, as the inputs",
        )
    return _indices(values)


def _cache(
    config: RobertaConfig, past_key_values: object, batch: int, use_cache: bool
) -> DynamicCache | None:
    """The cache that a call reads and fills; one that the caller gave stays as it was where none is wanted back."""
    if past_key_values is None:
        return DynamicCache() if use_cache else None
    if not config.is_decoder:
        raise ArgumentError(
            given="past_key_values with is_decoder=False", expected="a decoder", hint="set is_decoder=True"
        )
    cache = read_cache(past_key_values, config.num_hidden_layers, batch)
    return cache if use_cache else DynamicCache.from_legacy_cache(cache.to_legacy_cache())


def _checked_mask(mask: Tensor, shape: torch.Size, past: int, check: bool) -> Tensor:
    """A mask (B, K) or (B, L, K), of 1 for real tokens and 0 for padding."""
    batch, length = shape
    total = past + length
    if mask.shape not in ((batch, total), (batch, length, total)):
        raise BadShape(
            given=f"attention_mask {tuple(mask.shape)} for inputs {tuple(shape)}"
            + (f" and {past} cached" if past else ""),
            expected=f"{(batch, total)} or {(batch, length, total)}",
        )
    if check:
        _check_zeros_and_ones("attention_mask", mask)
    return mask


def _check_zeros_and_ones(name: str, mask: Tensor) -> None:
    if mask.dtype == torch.bool or makes_graph() or mask.is_meta:
        return
    strange = mask.ne(0) & mask.ne(1)
    if bool(strange.any()):
        raise InputError(
            given=f"{name} with {mask[strange][0].item():g}", expected="1 for real tokens, 0 for padding"
        )


def _kept_keys(
    config: RobertaConfig, mask: Tensor | None, shape: torch.Size, past: int, device: torch.device
) -> Tensor | None:
    """(B, 1, 1 or L, K): padding from a 2-D mask, and the future of a decoder; a 3-D mask is taken as it is."""
    keep = None if mask is None else mask.bool()
    if keep is not None and keep.dim() == 3:
        return keep[:, None]
    length = shape[1]
    if not config.is_decoder or length == 1:  # one new token sees all that is there
        return None if keep is None else keep[:, None, None]
    causal = torch.ones(length, past + length, dtype=torch.bool, device=device).tril(past)[None, None]
    return causal if keep is None else causal & keep[:, None, None]


def _head_masks(config: RobertaConfig, head_mask: Tensor) -> Tensor:
    """Factors for each layer, (layers, 1 or B, H, 1 or L, 1 or K)."""
    layers, heads = config.num_hidden_layers, config.num_attention_heads
    if not isinstance(head_mask, Tensor):
        raise InputError(given=f"head_mask of type {type(head_mask).__name__}", expected="a tensor")
    if head_mask.shape == (heads,):
        return head_mask.view(1, 1, heads, 1, 1).expand(layers, 1, heads, 1, 1)
    if head_mask.shape == (layers, heads):
        return head_mask.view(layers, 1, heads, 1, 1)
    if head_mask.dim() == 5 and head_mask.shape[0] == layers and head_mask.shape[2] in (1, heads):
        return head_mask
    raise BadShape(given=f"head_mask {tuple(head_mask.shape)}", expected=f"({heads},) or ({layers}, {heads})")


def _encoder_inputs(
    config: RobertaConfig, states: Tensor | None, mask: Tensor | None, shape: torch.Size, check: bool
) -> tuple[Tensor | None, Tensor | None]:
    if states is None or not config.is_decoder:  # an encoder leaves them aside, as the reference does
        return None, None
    if not config.add_cross_attention:
        raise InputError(
            given="encoder_hidden_states to a decoder without cross-attention",
            expected="config.add_cross_attention=True",
        )
    if states.dim() != 3 or states.shape[0] != shape[0] or states.shape[2] != config.hidden_size:
        raise BadShape(
            given=f"encoder_hidden_states of shape {tuple(states.shape)}",
            expected=f"({shape[0]}, length, {config.hidden_size})",
        )
    if mask is None:
        return states, None
    keys = states.shape[1]
    if mask.shape not in ((shape[0], keys), (*shape, keys)):
        raise BadShape(
            given=f"encoder_attention_mask of shape {tuple(mask.shape)}",
            expected=f"{(shape[0], keys)} or {(*shape, keys)}",
        )
    if check:
        _check_zeros_and_ones("encoder_attention_mask", mask)
    keep = mask.bool()
    return states, keep[:, None] if keep.dim() == 3 else keep[:, None, None]
