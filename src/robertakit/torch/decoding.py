"""Sequences on their way: what a step of generation reads off the model, whatever chooses the tokens.

Shape letters: R rows (sequences written side by side), C columns (tokens so far, padding included), V vocabulary.
"""

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from robertakit.errors import InputError
from robertakit.generation.checks import as_ids
from robertakit.generation.config import GenerationConfig
from robertakit.outputs import CausalLMOutputWithCrossAttentions
from robertakit.torch.cache import DynamicCache

if TYPE_CHECKING:
    from robertakit.torch.generation import GenerationMixin
    from robertakit.torch.prompts import Prompts

__all__ = ["Decoding", "check_numbers", "check_possible", "real_tokens"]

#: Inputs of the model with one entry for each row; the first two grow with every token.
_OF_ROWS = (
    "token_type_ids", "position_ids", "inputs_embeds", "encoder_hidden_states", "encoder_attention_mask",
)  # fmt: skip
#: What the model may be asked for besides logits.
_OF_LAYERS = ("attentions", "hidden_states")


def real_tokens(input_ids: Tensor, attention_mask: Tensor, padding_idx: int) -> Tensor:
    """Return which columns (R, C) hold a token that counts: the mask keeps it, and it is not the padding's id.

    Args:
        input_ids: (R, n) ids of the last n columns; those before them hold embeddings.
        attention_mask: (R, C).
        padding_idx: the padding's id.

    Example:
        >>> ids, mask = torch.tensor([[1, 5, 6]]), torch.tensor([[0, 0, 1, 1, 1]])
        >>> real_tokens(ids, mask, padding_idx=1).tolist()
        [[False, False, False, True, True]]
    """
    real = attention_mask.bool().clone()
    real[:, real.shape[1] - input_ids.shape[1] :] &= input_ids.ne(padding_idx)
    return real


class Decoding:
    """Rows of ids and all that the model needs to continue them.

    A prompt is computed once, however many rows are written from it.

    Args:
        model: computes scores.
        prompts: what the rows begin with.
        config: says what is returned, and whether there is a cache.
        copies: rows that are written from each prompt, side by side.

    Attributes:
        ids: (R, n) with the new tokens; before the first step (B, n), one for each of the B prompts.
        mask: (R, C).
        past: the cache, or None.
        padding: the id that fills rows behind their end.
        records: what was asked for of each step, by name.
    """

    def __init__(
        self,
        model: "GenerationMixin",
        prompts: "Prompts",
        config: GenerationConfig,
        copies: int = 1,
    ) -> None:
        self.model, self.ids, self.mask = model, prompts.ids, prompts.mask
        self.inputs = dict(prompts.inputs)
        self.past = self.inputs.pop("past_key_values", None)
        self.use_cache = config.use_cache
        if self.past is None and self.use_cache:
            self.past = DynamicCache()
        elif isinstance(self.past, DynamicCache) and copies > 1:  # the caller's goes on with its rows
            self.past = DynamicCache.from_legacy_cache(self.past.to_legacy_cache())
        eos = as_ids("eos_token_id", config.eos_token_id)
        padding = as_ids("pad_token_id", config.pad_token_id)
        self.padding = (*padding, *eos, model.config.pad_token_id)[0]
        wanted = [name for name in (*_OF_LAYERS, "logits", "scores") if getattr(config, f"output_{name}")]
        self.records: dict[str, list[object]] = {
            name: [] for name in (wanted if config.return_dict_in_generate else ())
        }
        self._copies = copies
        self._prompt_columns = self.columns
        takes = "logits_to_keep" in inspect.signature(model.forward).parameters
        self._only_last = {"logits_to_keep": 1} if takes else {}

    @property
    def columns(self) -> int:
        """How many columns the rows have, those of embeddings included."""
        return self.mask.shape[1]

    def next_logits(self) -> Tensor:
        """Compute what may follow: (R, V) in float32 or float64, the caller's to change."""
        prepare: Callable[..., dict[str, object]] = self.model.prepare_inputs_for_generation
        inputs = prepare(
            self.ids,
            past_key_values=self.past,
            attention_mask=self.mask,
            use_cache=self.use_cache,
            **self.inputs,
            **{f"output_{name}": True for name in _OF_LAYERS if name in self.records},
            **self._only_last,
        )
        output: CausalLMOutputWithCrossAttentions[Tensor] = self.model(**inputs, return_dict=True)
        assert output.logits is not None
        last = output.logits[:, -1]
        logits = last.to(torch.promote_types(last.dtype, torch.float32), copy=True)
        layers = {name: getattr(output, name) for name in _OF_LAYERS if name in self.records}
        if self.use_cache:
            self.past = output.past_key_values
        if self._copies > 1:
            of_prompt = torch.arange(len(logits), device=logits.device).repeat_interleave(self._copies)
            self.select(of_prompt)
            logits = logits[of_prompt]
            layers = {name: tuple(t[of_prompt] for t in tensors) for name, tensors in layers.items()}
            self._copies = 1
        for name, tensors in layers.items():
            self.records[name].append(tensors)
        self.record("logits", logits)
        return logits

    def record(self, name: str, values: Tensor) -> None:
        """Keep a step's values (R, V), if they were asked for."""
        if name in self.records:
            self.records[name].append(values.clone())

    def recorded(self) -> dict[str, tuple[object, ...]]:
        """Return what was asked for of all steps, by name."""
        return {name: tuple(values) for name, values in self.records.items()}

    def append(self, tokens: Tensor) -> None:
        """Write one token (R,) behind each row."""
        self.ids = torch.cat([self.ids, tokens[:, None]], 1)
        self.mask = torch.cat([self.mask, self.mask.new_ones(len(tokens), 1)], 1)
        for name, step in (("token_type_ids", 0), ("position_ids", 1)):
            given = self.inputs.get(name)
            if isinstance(given, Tensor):
                self.inputs[name] = torch.cat([given, given[:, -1:] + step], 1)

    def select(self, rows: Tensor) -> None:
        """Let row i go on from what row `rows[i]` is, (R',)."""
        self.ids, self.mask = self.ids[rows], self.mask[rows]
        for name in _OF_ROWS:
            given = self.inputs.get(name)
            if isinstance(given, Tensor):
                self.inputs[name] = given[rows]
        if self.past is not None:
            self.past = self.model._reorder_cache(self.past, rows)

    def real(self) -> Tensor:
        """Return which of `ids` (R, n) rules look at: real tokens of the prompt, and all that was written."""
        columns = self.ids.shape[1]
        real = real_tokens(self.ids, self.mask, self.model.config.pad_token_id)
        real[:, self._prompt_columns :] = True
        return real[:, self.columns - columns :]

    def histories(self) -> list[list[int]]:
        """Return the tokens of each row that rules look at."""
        pairs = zip(self.ids.tolist(), self.real().tolist(), strict=True)
        return [[token for token, real in zip(*pair, strict=True) if real] for pair in pairs]


def check_numbers(scores: Tensor, running: Tensor | None = None) -> None:
    """Raise where a score (R, V) of a row that still runs (R,) is not a number.

    Raises:
        InputError: names the row.
    """
    wrong = scores.isnan().any(-1)
    if running is not None:
        wrong = wrong & running
    if bool(wrong.any()):
        raise InputError(
            given=f"scores of row {int(wrong.nonzero()[0, 0])} that are not numbers",
            expected="numbers from the model and from processors",
            hint="remove_invalid_values=True replaces those of the model",
        )


def check_possible(scores: Tensor, running: Tensor) -> None:
    """Raise where a row that still runs (R,) has no token that may follow: all its scores (R, V) are minus infinity.

    Raises:
        InputError: names the row.
    """
    stuck = scores.isneginf().all(-1) & running
    if bool(stuck.any()):
        raise InputError(
            given=f"no token may follow in row {int(stuck.nonzero()[0, 0])}: all are forbidden",
            hint="loosen the rules of this call",
        )
