"""The prompts of a call of `generate`: ids, mask, and what else the model is given, checked before anything runs.

Shape letters: B prompts, C columns (tokens, padding included), W width.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from robertakit.errors import ArgumentError, BadShape, InputError
from robertakit.generation.checks import as_ids
from robertakit.generation.config import GenerationConfig
from robertakit.pretrained_config import PretrainedConfig
from robertakit.shapes import check_integers
from robertakit.torch.cache import DynamicCache, read_cache
from robertakit.torch.decoding import real_tokens
from robertakit.torch.inputs import kind_of

__all__ = ["Prompts"]


@dataclass(frozen=True, slots=True)
class Prompts:
    """What rows begin with.

    Attributes:
        ids: (B, n); n is 0 where the prompts are embeddings.
        mask: (B, C), 1 for real tokens.
        inputs: what else `forward` is given, by name.
        positions: those that the prompt with most real tokens takes.
    """

    ids: Tensor
    mask: Tensor
    inputs: dict[str, object]
    positions: int

    @classmethod
    def read(
        cls,
        inputs: Tensor | None,
        given: Mapping[str, object],
        config: GenerationConfig,
        model_config: PretrainedConfig,
        device: torch.device,
    ) -> "Prompts":
        """Check what the caller gave, and fill in what is left out.

        Args:
            inputs: (B, C) ids, or None.
            given: inputs of `forward` among the keywords of the call.
            config: says which tokens are special.
            model_config: the model's.
            device: where rows without any prompt are made.

        Raises:
            ArgumentError: prompts of two kinds, or none and no `bos_token_id`.
            InputError: padding on the right.
            BadShape: shapes that do not fit each other.
        """
        rest = dict(given)
        named, embeds = rest.pop("input_ids", None), rest.get("inputs_embeds")
        kinds = {"inputs": inputs, "input_ids": named, "inputs_embeds": embeds}
        present = [name for name, value in kinds.items() if value is not None]
        if len(present) > 1:
            raise ArgumentError(given=" and ".join(present), expected="one of them")
        if isinstance(embeds, Tensor):
            ids = torch.empty(len(embeds), 0, dtype=torch.long, device=embeds.device)
        else:
            ids = _ids(named if inputs is None else inputs, rest, config, device)
        columns = embeds.shape[1] if isinstance(embeds, Tensor) else ids.shape[1]
        mask = _mask(rest.pop("attention_mask", None), ids, columns, config)
        for name in ("token_type_ids", "position_ids"):
            if name in rest:
                rest[name] = _of_columns(name, rest[name], len(ids), columns)
        real = real_tokens(ids, mask, model_config.pad_token_id)
        if not bool(real[:, -1].all()):
            raise InputError(
                given=f"prompt {int((~real[:, -1]).nonzero()[0, 0])} ends in padding",
                expected="padding on the left",
                hint='tokenizer(texts, padding=True, padding_side="left", return_tensors="pt")',
            )
        where = rest.get("position_ids")
        longest = (
            real.sum(-1) if where is None else _tensor("position_ids", where) - model_config.pad_token_id
        )
        if (past := rest.get("past_key_values")) is not None:
            rest["past_key_values"] = _cache(past, model_config.num_hidden_layers, len(ids), columns)
        return cls(ids, mask, rest, int(longest.max()))


def _ids(given: object, rest: Mapping[str, object], config: GenerationConfig, device: torch.device) -> Tensor:
    """The ids of the prompts; without any, one first token for each row of the other inputs, or for one."""
    if given is None:
        if config.bos_token_id is None:
            raise ArgumentError(
                given="no prompt and bos_token_id=None",
                expected="input_ids, inputs_embeds, or a bos_token_id",
            )
        others = [value for name, value in rest.items() if isinstance(value, Tensor) and name != "head_mask"]
        return torch.full(
            (len(others[0]) if others else 1, 1),
            config.bos_token_id,
            device=others[0].device if others else device,
        )
    ids = _tensor("input_ids", given)
    check_integers("input_ids", ids, kind_of=kind_of)
    if ids.dim() != 2 or not ids.numel():
        raise BadShape(
            given=f"input_ids of shape {tuple(ids.shape)}",
            expected="(prompts, tokens), at least one of each",
            hint="without a prompt, leave them out",
        )
    return ids.long()


def _mask(given: object, ids: Tensor, columns: int, config: GenerationConfig) -> Tensor:
    """The caller's mask; without one, padding is where its id stands, unless that ends sequences, too."""
    if given is not None:
        mask = _tensor("attention_mask", given)
        if mask.shape != (len(ids), columns):
            raise BadShape(given=f"attention_mask {tuple(mask.shape)}", expected=f"{(len(ids), columns)}")
        return mask
    padding = config.pad_token_id
    if padding is None or padding in as_ids("eos_token_id", config.eos_token_id) or not ids.numel():
        return torch.ones(len(ids), columns, dtype=torch.long, device=ids.device)
    return ids.ne(padding).long()


def _of_columns(name: str, given: object, batch: int, columns: int) -> Tensor:
    """Integers (B, C), or (1, C) for all rows alike."""
    values = _tensor(name, given)
    check_integers(name, values, kind_of=kind_of)
    if values.shape not in ((batch, columns), (1, columns)):
        raise BadShape(
            given=f"{name} {tuple(values.shape)}", expected=f"{(batch, columns)} or {(1, columns)}"
        )
    return values.expand(batch, columns)


def _cache(given: object, layers: int, batch: int, columns: int) -> object:
    """A cache in one of our own forms, which holds less than the prompts."""
    cache = read_cache(given, layers, batch)
    if cache.get_seq_length() >= columns:
        raise ArgumentError(
            given=f"past_key_values of {cache.get_seq_length()} tokens and prompts of {columns}",
            expected="prompts with all the tokens of the cache, and at least one more",
        )
    return given if isinstance(given, tuple | list | DynamicCache) else cache


def _tensor(name: str, given: object) -> Tensor:
    if not isinstance(given, Tensor):
        raise InputError(given=f"{name} of type {type(given).__name__}", expected="a tensor")
    return given
