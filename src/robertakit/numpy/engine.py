"""The engine of the bare install: packed batches in, the named outputs of the rows that are needed out.

The same layers as the specification's models; only the attention knows that the rows are packed.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Self, cast

import numpy as np
from numpy.typing import NDArray

from robertakit.architecture import Head
from robertakit.batch import Batch, check_ids, longest_input
from robertakit.checkpoints.comparison import refuse_untrained
from robertakit.configuration import PretrainedConfig
from robertakit.errors import ArgumentError, InputError, listed
from robertakit.numpy.attention import PackedAttention
from robertakit.numpy.encoder import embed, encode, pool
from robertakit.numpy.heads import choice_scores, class_logits, lm_logits, span_logits, token_logits
from robertakit.numpy.layers import Array, Scope
from robertakit.numpy.loading import Model, load

__all__ = ["Engine", "Limits"]

#: Tokens of a batch beyond which a processor gains nothing (measured: docs/decisions.md).
_TOKENS = 2048


@dataclass(frozen=True, slots=True)
class Limits:
    """What an engine takes.

    Attributes:
        tokens: tokens of a batch that suit it.
        longest: most tokens of one sequence.
        dtype: dtype of the computation and of the outputs.
        device: where it computes.
    """

    tokens: int
    longest: int
    dtype: str
    device: str = "cpu"


class Engine:
    """Runs a model of the specification on packed batches; each sequence gives what it gives alone.

    Args:
        model: a model of ``robertakit.numpy``.

    Example:
        >>> from robertakit import RobertaConfig
        >>> from robertakit.batch import Encoding
        >>> from robertakit.numpy import RobertaForMaskedLM
        >>> config = RobertaConfig(vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=2)
        >>> batch = Batch.from_encodings([Encoding([0, 5, 2]), Encoding([0, 2])], padding_idx=1)
        >>> Engine(RobertaForMaskedLM(config)).run(batch, rows=np.array([1]))["logits"].shape
        (1, 9)
    """

    def __init__(self, model: Model) -> None:
        self._model: Model | None = model
        self._recipe: Callable[[], Engine] | None = None
        self.config: PretrainedConfig = model.config
        self.head: Head = model.head
        self.limits = Limits(_TOKENS, longest_input(model.config), model.dtype.name)

    @classmethod
    def from_pretrained(cls, name_or_path: str | os.PathLike[str], head: str, **arguments: object) -> Self:
        """Load a checkpoint; arguments as for ``load``. Such an engine pickles as this call.

        Raises:
            TensorMismatch: the checkpoint has no such head: an engine gives no random answers.
        """
        found = load(name_or_path, head, **{**arguments, "output_loading_info": True})
        model, report = cast(tuple[Model, dict[str, list[str]]], found)
        refuse_untrained(report, name_or_path, head)
        engine = cls(model)
        engine._recipe = partial(cls.from_pretrained, name_or_path, head, **arguments)
        return engine

    @property
    def model(self) -> Model:
        """The model that the engine runs."""
        if self._model is None:
            raise InputError(given="an engine that was closed", expected="an open one", hint="load it again")
        return self._model

    def close(self) -> None:
        """Let go of the weights; the engine answers no more."""
        self._model = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.close()

    def __reduce__(self) -> tuple[Callable[..., "Engine"], tuple[Model, ...]]:
        return (self._recipe, ()) if self._recipe is not None else (type(self), (self.model,))

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
            tokens. Multiple choice gives one score for each sequence, (S,).

        Raises:
            InputError: an id outside its table, or a row outside the batch.
            TooLong: a sequence with more tokens than positions.
            ArgumentError: an output that the head has not.
        """
        model = self.model
        self._check(batch, outputs, rows)
        scope = model.scope()
        backbone = model.backbone_scope(scope)
        x = embed(
            backbone.at("embeddings"),
            self.config,
            position_ids=batch.position_ids,
            input_ids=batch.input_ids,
            token_type_ids=batch.token_type_ids,
        )
        attention = PackedAttention(self.config, batch.cumulative_lengths, model.dtype)
        for x in encode(backbone.at("encoder"), self.config, x, attention):  # noqa: B007, B020  the last is wanted
            pass
        wanted = x if rows is None else x[rows]
        found: dict[str, NDArray[np.generic]] = (
            {"last_hidden_state": wanted} if "last_hidden_state" in outputs else {}
        )
        if set(outputs) - set(found):
            found |= self._head_outputs(scope, backbone, batch, x, wanted)
        return {name: found[name] for name in outputs}

    def _head_outputs(
        self, scope: Scope, backbone: Scope, batch: Batch, x: Array, wanted: Array
    ) -> dict[str, NDArray[np.generic]]:
        match self.head.name:
            case "causal-lm" | "masked-lm":
                return {"logits": lm_logits(scope, self.config, wanted)}
            case "token-classification":
                return {"logits": token_logits(scope, wanted)}
            case "question-answering":
                starts, ends = span_logits(scope, wanted)
                return {"start_logits": starts, "end_logits": ends}
            case "sequence-classification":
                return {"logits": _of_first(batch, x, lambda first: class_logits(scope, first))}
            case "multiple-choice":
                return {"logits": _of_first(batch, x, lambda first: choice_scores(scope, backbone, first))}
            case _:
                return {
                    "pooler_output": _of_first(batch, x, lambda first: pool(backbone.at("pooler"), first))
                }

    def _check(self, batch: Batch, outputs: Sequence[str], rows: NDArray[np.integer] | None) -> None:
        known = {*self.head.outputs, "last_hidden_state"}
        if not self.model.add_pooling_layer:
            known -= {"pooler_output"}
        if unknown := set(outputs) - known:
            raise ArgumentError(
                given=f"outputs {listed(unknown)} of {self.head.name!r}", expected=f"some of {listed(known)}"
            )
        check_ids(self.config, batch.input_ids, batch.position_ids, batch.token_type_ids)
        total = len(batch.input_ids)
        if rows is not None and len(rows) and not (int(rows.min()) >= 0 and int(rows.max()) < total):
            raise InputError(given=f"rows from {rows.min()} to {rows.max()}", expected=f"0 to {total - 1}")


def _of_first(batch: Batch, x: Array, function: Callable[[Array], Array]) -> Array:
    """Apply a head to each sequence's first token; a sequence without one gets zeros."""
    real = batch.lengths > 0
    if real.all():
        return function(x[batch.first_rows])
    values = function(x[batch.first_rows[real]])
    whole = np.zeros((len(real), *values.shape[1:]), values.dtype)
    whole[real] = values
    return whole
