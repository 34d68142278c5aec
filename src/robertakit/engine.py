"""Engines: what a task knows of a framework, and the life that the engines of all frameworks share.

Models are written for each framework by itself. What stands here is no part of a model: an engine loads one, checks
what is asked of it, closes, and pickles.
"""

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Generic, Protocol, Self, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from robertakit.architecture import Head, heads_with
from robertakit.batch import Batch, check_ids
from robertakit.checkpoints.comparison import refuse_untrained
from robertakit.configuration import PretrainedConfig
from robertakit.errors import ArgumentError, InputError, listed

__all__ = ["Engine", "Limits", "ModelEngine", "of_sequences"]

M = TypeVar("M")


@dataclass(frozen=True, slots=True)
class Limits:
    """What an engine takes.

    Attributes:
        tokens: tokens of a batch that suit it; more are taken and gain nothing.
        longest: most tokens of one sequence.
        dtype: dtype of the computation; outputs are float32 at least.
        device: where it computes.
    """

    tokens: int
    longest: int
    dtype: str
    device: str = "cpu"


@runtime_checkable
class Engine(Protocol):
    """What runs packed batches; a task knows no more of a framework than this.

    Attributes:
        config: the model's configuration.
        head: the model's head.
        limits: tokens a batch, and what else bounds it.
        model: the framework's model.
    """

    config: PretrainedConfig
    head: Head
    limits: Limits

    @property
    def model(self) -> object:
        """The framework's model."""

    def run(
        self, batch: Batch, outputs: Sequence[str] = ("logits",), rows: NDArray[np.int32] | None = None
    ) -> Mapping[str, NDArray[np.generic]]:
        """Return the named outputs of a batch.

        Args:
            batch: packed sequences.
            outputs: names of the head's outputs.
            rows: packed rows of which token-wise outputs are wanted; None for all.
        """

    def close(self) -> None:
        """Give back what the engine holds."""


class ModelEngine(ABC, Generic[M]):
    """An engine on a framework's model; a framework says how one is loaded (`_load`) and run (`_run`).

    Args:
        model: the framework's model.
        config: its configuration.
        head: its head.
        limits: what suits it.
        pooler: whether a bare model has its pooler.
    """

    def __init__(
        self, model: M, config: PretrainedConfig, head: Head, limits: Limits, *, pooler: bool = True
    ) -> None:
        self._model: M | None = model
        self._recipe: Callable[[], ModelEngine[M]] | None = None
        self._known = {*head.outputs, "last_hidden_state"} - (set() if pooler else {"pooler_output"})
        self.config, self.head, self.limits = config, head, limits

    # What a framework says.

    @classmethod
    @abstractmethod
    def _load(
        cls, name_or_path: str | os.PathLike[str], head: str, **arguments: object
    ) -> tuple[Self, Mapping[str, Sequence[str]]]:
        """Return an engine on a checkpoint, and the lists of ``output_loading_info``."""

    @abstractmethod
    def _run(
        self,
        model: M,
        batch: Batch,
        outputs: Sequence[str],
        rows: NDArray[np.integer] | None,
        first: NDArray[np.integer],
    ) -> dict[str, NDArray[np.generic]]:
        """As `run`, where all that was given is right; outputs of whole sequences are those of the rows ``first``."""

    # What is the same for all.

    @classmethod
    def from_pretrained(cls, name_or_path: str | os.PathLike[str], head: str, **arguments: object) -> Self:
        """Load a checkpoint. Such an engine pickles as this call.

        Args:
            name_or_path: folder, or name on the Hub.
            head: a key of ``architecture.HEADS``, or a class name.
            arguments: as the framework's models take them (``dtype``, ``revision``, ``strict``, …), and ``device``.

        Raises:
            CheckpointError: the checkpoint is not there, or not whole.
            TensorMismatch: the checkpoint has no such head: an engine gives no random answers.
        """
        engine, report = cls._load(name_or_path, head, **arguments)
        refuse_untrained(report, name_or_path, engine.head.name)
        if any(heads_with(name) == ("pooler",) for name in report["missing_keys"]):
            engine._known.discard("pooler_output")  # of a bare model, which is of use without
        engine._recipe = partial(cls.from_pretrained, name_or_path, head, **arguments)
        return engine

    @property
    def model(self) -> M:
        """The model that the engine runs."""
        if self._model is None:
            raise InputError(given="an engine that was closed", expected="an open one", hint="load it again")
        return self._model

    def run(
        self, batch: Batch, outputs: Sequence[str] = ("logits",), rows: NDArray[np.integer] | None = None
    ) -> dict[str, NDArray[np.generic]]:
        """Return the named outputs of a packed batch.

        Args:
            batch: T tokens of S sequences.
            outputs: names of the head's outputs; ``"last_hidden_state"`` with every head.
            rows: (R,) packed rows of which token-wise outputs are wanted; None for all T.

        Returns:
            Token-wise outputs (R or T, ...), outputs of whole sequences (S, ...): zeros for a sequence without
            tokens. Multiple choice gives one score for each sequence, (S,). All float32, or float64 where the engine
            computes so.

        Raises:
            InputError: an id outside its table, a row outside the batch, or an engine that was closed.
            TooLong: a sequence with more tokens than positions.
            ArgumentError: an output that the head has not.
        """
        model = self.model
        if unknown := set(outputs) - self._known:
            raise ArgumentError(
                given=f"outputs {listed(unknown)} of {self.head.name!r}",
                expected=f"some of {listed(self._known)}",
            )
        check_ids(self.config, batch.input_ids, batch.position_ids, batch.token_type_ids)
        total = len(batch.input_ids)
        if rows is not None and len(rows) and not (int(rows.min()) >= 0 and int(rows.max()) < total):
            raise InputError(given=f"rows from {rows.min()} to {rows.max()}", expected=f"0 to {total - 1}")
        real = batch.lengths > 0
        found = self._run(model, batch, outputs, rows, batch.first_rows[real])
        if not real.all():
            for name in outputs:
                if of_sequences(self.head, name):
                    found[name] = _scattered(found[name], real)
        return found

    def close(self) -> None:
        """Let go of the weights; the engine answers no more."""
        self._model = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.close()

    def __reduce__(self) -> tuple[Callable[..., "ModelEngine[M]"], tuple[M, ...]]:
        return (self._recipe, ()) if self._recipe is not None else (type(self), (self.model,))

    def __repr__(self) -> str:
        state = "" if self._model is not None else ", closed"
        place = f"{type(self).__module__}.{type(self).__name__}"
        return f"<{place}: {self.head.name}, {self.limits.dtype} on {self.limits.device}{state}>"


def of_sequences(head: Head, output: str) -> bool:
    """Whether an output has a row for each sequence, and not for each token.

    Example:
        >>> from robertakit.architecture import HEADS
        >>> of_sequences(HEADS["model"], "pooler_output"), of_sequences(HEADS["model"], "last_hidden_state")
        (True, False)
    """
    return output == "pooler_output" or (head.rows == "first" and output in head.outputs)


def _scattered(values: NDArray[np.generic], real: NDArray[np.bool_]) -> NDArray[np.generic]:
    """Give the sequences without tokens rows of zeros."""
    whole = np.zeros((len(real), *values.shape[1:]), values.dtype)
    whole[real] = values
    return whole
