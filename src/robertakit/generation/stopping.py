"""When a sequence ends: length, end tokens, time, texts, and the caller's own criteria.

Shape letters: R rows, n ids of a row.
"""

import time
from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from robertakit.errors import ArgumentError, BadShape
from robertakit.generation.checks import as_ids
from robertakit.generation.config import GenerationConfig
from robertakit.generation.prompts import Ids

__all__ = ["Criterion", "Decoder", "Stopping"]

#: (ids (R, n), scores of the steps or None) to bool, or bool (R,).
Criterion = Callable[[Ids, tuple[object, ...] | None], NDArray[np.generic] | bool]


@runtime_checkable
class Decoder(Protocol):
    """A tokenizer, as far as stop strings need one."""

    def decode(self, token_ids: list[int], **kwargs: object) -> str:
        """Return the text of ids."""


class Stopping:
    """Says which rows have ended.

    Args:
        config: what the call asks for.
        longest: columns at which every row ends.
        criteria: the caller's own.
        tokenizer: makes texts, for `stop_strings`.

    Raises:
        ArgumentError: `stop_strings` without a tokenizer.
    """

    def __init__(
        self,
        config: GenerationConfig,
        longest: int,
        criteria: Sequence[Criterion] = (),
        tokenizer: object = None,
    ) -> None:
        self.longest, self.criteria = longest, criteria
        self.eos = as_ids("eos_token_id", config.eos_token_id)
        self.deadline = None if config.max_time is None else time.monotonic() + config.max_time
        strings = config.stop_strings or ()
        self.strings = [strings] if isinstance(strings, str) else list(strings)
        self.tokenizer = tokenizer if isinstance(tokenizer, Decoder) else None
        if self.strings and self.tokenizer is None:
            raise ArgumentError(
                given=f"stop_strings={self.strings!r} and tokenizer={tokenizer!r}",
                expected="generate(…, tokenizer=the tokenizer of the model)",
            )

    def __call__(self, ids: Ids, columns: int, scores: tuple[object, ...] | None) -> NDArray[np.bool_]:
        """Return which rows have ended with their last token.

        Args:
            ids: (R, n).
            columns: n, and the columns of a prompt of embeddings.
            scores: of the steps so far, for the caller's criteria; None where they are not kept.

        Returns:
            (R,).
        """
        late = self.deadline is not None and time.monotonic() > self.deadline
        ended = np.full(len(ids), columns >= self.longest or late)
        ended |= np.isin(ids[:, -1], self.eos)
        if self.strings:
            ended |= np.array([self._is_told(row) for row in ids.tolist()])
        for criterion in self.criteria:
            said = np.asarray(criterion(ids, scores))
            if said.ndim and said.size != len(ids):
                raise BadShape(
                    given=f"{said.shape} from {criterion.__name__}",
                    expected=f"a bool or {(len(ids),)}",
                )
            ended |= said.astype(np.bool_).ravel() if said.ndim else bool(said)
        return ended

    def _is_told(self, ids: list[int]) -> bool:
        """Whether a stop string ends in the text of the last token."""
        assert self.tokenizer is not None
        text = self.tokenizer.decode(ids, clean_up_tokenization_spaces=False)
        before = self.tokenizer.decode(ids[:-1], clean_up_tokenization_spaces=False)
        pairs = enumerate(zip(text, before, strict=False))
        told = next((index for index, (new, old) in pairs if new != old), min(len(text), len(before)))
        return any(string in text[max(0, told - len(string) + 1) :] for string in self.strings)
