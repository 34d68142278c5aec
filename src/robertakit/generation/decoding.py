"""Sequences on their way: what a step of generation asks a model for, whatever chooses the tokens.

Shape letters: R rows (sequences written side by side), C columns (tokens so far, padding included), n columns that
are computed in a step, H heads, K keys, W width, V vocabulary.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from robertakit.errors import InputError
from robertakit.generation.checks import as_ids
from robertakit.generation.config import GenerationConfig
from robertakit.generation.narrowing import Scores
from robertakit.generation.prompts import Ids, Prompts, real_tokens
from robertakit.pretrained_config import PretrainedConfig

__all__ = ["Decoding", "Predictor", "Step", "Told", "check_numbers", "check_possible"]

Array = NDArray[np.generic]


@dataclass(frozen=True, slots=True)
class Step:
    """What a model is to compute.

    Attributes:
        rows: (R,) row of the step before that each row goes on from, so that the cache is to be arranged first; None
            where all are as they were. Behind the first step there may be more rows than in it.
        ids: (R, n) tokens that are not in the cache; None where there are embeddings.
        embeds: (R, n, W) in place of ids, or None.
        mask: (R, C), 1 for what may be attended to.
        position_ids: (R, n).
        token_type_ids: (R, n), or None for zeros.
        static: see `Prompts`; what belongs to a prompt stands for each of its rows.
    """

    rows: Ids | None
    ids: Ids | None
    embeds: Array | None
    mask: Ids
    position_ids: Ids
    token_type_ids: Ids | None
    static: Mapping[str, Array]


@dataclass(frozen=True, slots=True)
class Told:
    """What a model said.

    Attributes:
        logits: (R, V) of the last column, in float32 or float64.
        attentions: of each layer (R, H, n, K), where they were asked for.
        hidden_states: of the embeddings and each layer (R, n, W), where they were asked for.
    """

    logits: Scores
    attentions: tuple[Array, ...] | None = None
    hidden_states: tuple[Array, ...] | None = None


class Predictor(Protocol):
    """A model of some framework, as far as generation sees it; made for one call, it keeps the cache between steps."""

    @property
    def cached(self) -> int:
        """Tokens that the cache holds; 0 at each step of a model without one."""

    def __call__(self, step: Step) -> Told:
        """Compute what may follow each row."""

    def embed(self, ids: Ids) -> Array:
        """Return the embeddings (R, n, W) of ids (R, n), for rows that begin with embeddings."""

    def cache(self, rows: Ids | None) -> object:
        """Return the cache, arranged as for a `Step`, in the framework's own form; None without one."""


class Decoding:
    """Rows of ids and all that a model needs to continue them.

    A prompt is computed once, however many rows are written from it.

    Args:
        predict: computes scores.
        prompts: what the rows begin with.
        config: says what is returned.
        model_config: knows the padding's id.
        copies: rows that are written from each prompt, side by side.

    Attributes:
        ids: (R, n) with the new tokens; before the first step (B, n), one for each of the B prompts.
        mask: (R, C).
        padding: the id that fills rows behind their end.
        records: what was asked for of each step, by name.
    """

    def __init__(
        self,
        predict: Predictor,
        prompts: Prompts,
        config: GenerationConfig,
        model_config: PretrainedConfig,
        copies: int = 1,
    ) -> None:
        self.predict, self.ids, self.mask = predict, prompts.ids, prompts.mask
        self._embeds, self._types, self._positions = (
            prompts.embeds, prompts.token_type_ids, prompts.position_ids
        )  # fmt: skip
        self._static = prompts.static
        eos = as_ids("eos_token_id", config.eos_token_id)
        padding = as_ids("pad_token_id", config.pad_token_id)
        self._pad = model_config.pad_token_id
        self.padding = (*padding, *eos, self._pad)[0]
        names = ("attentions", "hidden_states", "logits", "scores")
        wanted = [name for name in names if getattr(config, f"output_{name}")]
        self.records: dict[str, list[object]] = {
            name: [] for name in (wanted if config.return_dict_in_generate else ())
        }
        self._rows: Ids | None = None
        self._copies = copies
        self._prompt_columns = self.columns

    @property
    def columns(self) -> int:
        """How many columns the rows have, those of embeddings included."""
        return int(self.mask.shape[1])

    def next_logits(self) -> Scores:
        """Compute what may follow: (R, V), the caller's to change."""
        told = self.predict(self._step())
        logits, layers = (
            told.logits.copy(),
            {"attentions": told.attentions, "hidden_states": told.hidden_states},
        )
        self._rows = None
        if self._copies > 1:
            of_prompt = np.arange(len(logits)).repeat(self._copies)
            self.select(of_prompt)
            self.mask = self.mask[of_prompt]
            self._embeds = None if self._embeds is None else self._embeds[of_prompt]
            self._types = None if self._types is None else self._types[of_prompt]
            self._positions = None if self._positions is None else self._positions[of_prompt]
            self._static = {
                name: value if name == "head_mask" else value[of_prompt]
                for name, value in self._static.items()
            }
            logits = logits[of_prompt]
            layers = {
                name: None if arrays is None else tuple(array[of_prompt] for array in arrays)
                for name, arrays in layers.items()
            }
            self._copies = 1
        for name, arrays in layers.items():
            if name in self.records:
                self.records[name].append(arrays)
        self.record("logits", logits)
        return logits

    def _step(self) -> Step:
        """All columns that the cache has not, with their positions."""
        done = self.predict.cached
        positions = self._positions
        if positions is None:
            real = real_tokens(self.ids, self.mask, self._pad)
            positions = np.cumsum(real, -1) * real + self._pad
        before = self.columns - self.ids.shape[1]  # columns of embeddings
        embeds = None
        if self._embeds is not None and done < before:
            written = [self.predict.embed(self.ids)] if self.ids.size else []
            embeds = np.concatenate([self._embeds, *written], 1)[:, done:]
        return Step(
            rows=self._rows,
            ids=None if embeds is not None else self.ids[:, done - before :],
            embeds=embeds,
            mask=self.mask,
            position_ids=positions[:, done:],
            token_type_ids=None if self._types is None else self._types[:, done:],
            static=self._static,
        )

    def record(self, name: str, values: Scores) -> None:
        """Keep a step's values (R, V), if they were asked for."""
        if name in self.records:
            self.records[name].append(values.copy())

    def recorded(self) -> dict[str, tuple[object, ...]]:
        """Return what was asked for of all steps, by name."""
        return {name: tuple(values) for name, values in self.records.items()}

    def append(self, tokens: Ids) -> None:
        """Write one token (R,) behind each row."""
        self.ids = np.concatenate([self.ids, tokens[:, None]], 1)
        self.mask = np.concatenate([self.mask, np.ones((len(tokens), 1), np.int64)], 1)
        if self._types is not None:
            self._types = np.concatenate([self._types, self._types[:, -1:]], 1)
        if self._positions is not None:
            self._positions = np.concatenate([self._positions, self._positions[:, -1:] + 1], 1)

    def select(self, rows: Ids) -> None:
        """Let row i go on from what row `rows[i]` is, (R,): one of the same prompt, so that masks and types stay."""
        self.ids = self.ids[rows]
        self._rows = rows if self._rows is None else self._rows[rows]

    def cache(self) -> object:
        """Return the model's cache, arranged as the rows are."""
        return self.predict.cache(self._rows)

    def real(self) -> NDArray[np.bool_]:
        """Return which of `ids` (R, n) rules look at: real tokens of the prompt, and all that was written."""
        columns = self.ids.shape[1]
        real = real_tokens(self.ids, self.mask, self._pad)
        real[:, self._prompt_columns :] = True
        return real[:, self.columns - columns :]

    def histories(self) -> list[list[int]]:
        """Return the tokens of each row that rules look at."""
        return [row[real].tolist() for row, real in zip(self.ids, self.real(), strict=True)]


def check_numbers(scores: Scores, running: NDArray[np.bool_] | None = None) -> None:
    """Raise where a score (R, V) of a row that still runs (R,) is not a number.

    Raises:
        InputError: names the row.
    """
    wrong = np.isnan(scores).any(-1)
    if running is not None:
        wrong &= running
    if wrong.any():
        raise InputError(
            given=f"scores of row {int(np.argmax(wrong))} that are not numbers",
            expected="numbers from the model and from processors",
            hint="remove_invalid_values=True replaces those of the model",
        )


def check_possible(scores: Scores, running: NDArray[np.bool_]) -> None:
    """Raise where a row that still runs (R,) has no token that may follow: all its scores (R, V) are minus infinity.

    Raises:
        InputError: names the row.
    """
    stuck = np.isneginf(scores).all(-1) & running
    if stuck.any():
        raise InputError(
            given=f"no token may follow in row {int(np.argmax(stuck))}: all are forbidden",
            hint="loosen the rules of this call",
        )
