"""What the engines share whose frameworks compile a program for each shape: batches in calls of few shapes."""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from robertakit.architecture import HEADS, Head
from robertakit.batch import Batch, longest_input
from robertakit.buckets import Bucket, buckets, padded_count
from robertakit.configuration import PretrainedConfig
from robertakit.engine import Limits, ModelEngine, of_sequences
from robertakit.errors import InputError

__all__ = ["BucketEngine", "head_of"]

M = TypeVar("M")
Array = NDArray[np.generic]

#: Tokens of a batch, and of a call with its padding (measured on a processor: docs/decisions.md).
_ON_CPU, _ELSEWHERE = (2048, 1024), (16_384, 8192)


class BucketEngine(ModelEngine[M]):
    """An engine on a framework that compiles for fixed shapes; it pads, and a framework says how a call is made.

    Args:
        model: the framework's model.
        config: its configuration.
        head: its head.
        dtype: dtype of the computation.
        device: where it computes.
        pooler: whether a bare model has its pooler.
    """

    def __init__(
        self, model: M, config: PretrainedConfig, head: Head, dtype: str, device: str, *, pooler: bool
    ) -> None:
        tokens, self._call_tokens = _ON_CPU if device.startswith("cpu") else _ELSEWHERE
        limits = Limits(tokens, longest_input(config), dtype, device)
        super().__init__(model, config, head, limits, pooler=pooler)

    # What a framework says.

    @abstractmethod
    def _encode(self, model: M, call: Bucket) -> object:
        """The last hidden states of a call, (B, L, W), as the framework has them: perhaps not computed yet."""

    @abstractmethod
    def _score(self, model: M, rows: Array) -> Mapping[str, Array]:
        """The head on (R, W), or on the first tokens where it reads those alone."""

    @abstractmethod
    def _own_call(self, model: M) -> Callable[[Mapping[str, Array]], Mapping[str, object]] | None:
        """A call of a model whose owner has written it anew, with the documented arguments; None for one of ours."""

    # What is the same for all.

    def _run(
        self,
        model: M,
        batch: Batch,
        outputs: Sequence[str],
        rows: NDArray[np.integer] | None,
        first: NDArray[np.integer],
    ) -> dict[str, Array]:
        own, found = self._own_call(model), dict[str, Array]()
        called = [] if own is None else [name for name in outputs if name in self.head.outputs]
        if own is not None and called:
            found |= self._called(own, batch, called, rows)
        if set(outputs) - set(called):
            states = self._states(model, batch)
            wanted = states if rows is None else states[rows]
            found["last_hidden_state"] = _wide(wanted)
            if set(outputs) - set(found):
                of_first = self.head.rows == "first" or self.head.name == "model"
                found |= self._scored(model, states[first] if of_first else wanted)
        return {name: found[name] for name in outputs}

    def _states(self, model: M, batch: Batch) -> Array:
        """The last hidden states (T, W)."""
        pad = self.config.pad_token_id
        calls = list(buckets(batch, pad, self.limits.longest, self._call_tokens))
        answers = [self._encode(model, call) for call in calls]  # all are under way before one is waited for
        parts = [
            np.asarray(states).reshape(-1, self.config.hidden_size)[call.flat]
            for call, states in zip(calls, answers, strict=True)
        ]
        if not parts:
            return np.zeros((0, self.config.hidden_size), np.float32)
        states = np.empty((len(batch.input_ids), self.config.hidden_size), parts[0].dtype)
        for call, part in zip(calls, parts, strict=True):
            states[call.packed] = part
        return states

    def _scored(self, model: M, rows: Array) -> dict[str, Array]:
        """The head's outputs of (R, W), computed on few counts of rows."""
        parts: list[Mapping[str, Array]] = []
        first = 0
        while not parts or first < len(rows):
            size = padded_count(len(rows) - first)
            taken = rows[first : first + size]
            padded = np.concatenate([taken, np.zeros((size - len(taken), *rows.shape[1:]), rows.dtype)])
            answer = self._score(model, padded)
            parts.append({name: value[: len(taken)] for name, value in answer.items()})
            first += size
        return {name: _wide(np.concatenate([part[name] for part in parts])) for name in parts[0]}

    def _called(
        self,
        call: Callable[[Mapping[str, Array]], Mapping[str, object]],
        batch: Batch,
        outputs: Sequence[str],
        rows: NDArray[np.integer] | None,
    ) -> dict[str, Array]:
        """Outputs of a call of the model, padded, a sequence to a row."""
        if not len(batch.input_ids):
            raise InputError(given="a batch without tokens for a model with a call of its own")
        ids, mask, positions = batch.padded(self.config.pad_token_id)
        given: dict[str, Array] = {"input_ids": ids, "attention_mask": mask, "position_ids": positions}
        real = mask.astype(bool)
        if batch.token_type_ids is not None:
            given["token_type_ids"] = np.zeros_like(ids)
            given["token_type_ids"][real] = batch.token_type_ids
        choices = self.head.name == "multiple-choice"
        answer = call({name: x[None] if choices else x for name, x in given.items()})
        found: dict[str, Array] = {}
        for name in outputs:
            values = np.asarray(answer[name])
            values = _wide(values[0] if choices else values)
            if of_sequences(self.head, name):
                found[name] = values[real.any(1)]
            else:
                found[name] = values[real] if rows is None else values[real][rows]
        return found


def head_of(model: object, example: str) -> Head:
    """Return the head of a model.

    Raises:
        InputError: it has none of those that a task knows.
    """
    head = getattr(model, "head", None)
    if head not in HEADS:
        raise InputError(
            given=f"a model of type {type(model).__name__}, which has no head that a task knows",
            expected=f"a class such as {example}, or one derived from it",
        )
    return HEADS[head]


def _wide(values: Array) -> Array:
    """Float32, or float64 where it is that."""
    return values if values.dtype == np.float64 else values.astype(np.float32, copy=False)
