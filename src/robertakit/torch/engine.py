"""PyTorch's engine: packed batches in, the named outputs of the rows that are needed out."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Self, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robertakit.architecture import Head, head_named
from robertakit.batch import Batch, longest_input
from robertakit.checkpoints.comparison import refuse_untrained
from robertakit.configuration import PretrainedConfig
from robertakit.errors import ArgumentError, DependencyError, InputError, listed
from robertakit.torch.encoder import RobertaModel
from robertakit.torch.language_models import RobertaForMaskedLM

__all__ = ["Engine", "Limits"]

Model = RobertaModel | RobertaForMaskedLM
_CLASSES: dict[str, type[RobertaModel] | type[RobertaForMaskedLM]] = {
    "model": RobertaModel,
    "masked-lm": RobertaForMaskedLM,
}
#: Tokens of a batch: what a processor's caches like; an accelerator wants more to be busy.
_TOKENS = {"cpu": 2048}
_TOKENS_ELSEWHERE = 16_384


@dataclass(frozen=True, slots=True)
class Limits:
    """What an engine takes.

    Attributes:
        tokens: tokens of a batch that suit it.
        longest: most tokens of one sequence.
        dtype: dtype of the computation; outputs are float32 at least.
        device: where it computes.
    """

    tokens: int
    longest: int
    dtype: str
    device: str


class Engine:
    """Runs a PyTorch model on packed batches; each sequence gives what it gives alone.

    Args:
        model: `RobertaModel`, `RobertaForMaskedLM` or one made of them; it is set to `eval()`.

    Example:
        >>> from robertakit import RobertaConfig
        >>> from robertakit.batch import Encoding
        >>> config = RobertaConfig(vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=2)
        >>> batch = Batch.from_encodings([Encoding([0, 5, 2]), Encoding([0, 2])], padding_idx=1)
        >>> Engine(RobertaForMaskedLM(config)).run(batch, rows=np.array([1]))["logits"].shape
        (1, 9)
    """

    def __init__(self, model: Model) -> None:
        self._model: Model | None = model.eval()
        self._recipe: Callable[[], Engine] | None = None
        self.config: PretrainedConfig = model.config
        self.head: Head = head_named(model.head)
        device = model.device
        self.limits = Limits(
            _TOKENS.get(device.type, _TOKENS_ELSEWHERE),
            longest_input(model.config),
            str(model.dtype).removeprefix("torch."),
            str(device),
        )

    @classmethod
    def from_pretrained(
        cls, name_or_path: str | os.PathLike[str], head: str, *, device: str = "cpu", **arguments: object
    ) -> Self:
        """Load a checkpoint onto a device; arguments as of the models. Such an engine pickles as this call.

        Raises:
            DependencyError: a head that PyTorch has not in this version.
            InputError: PyTorch cannot compute on that device.
            TensorMismatch: the checkpoint has no such head: an engine gives no random answers.
        """
        name = head_named(head).name
        if name not in _CLASSES:
            raise DependencyError(
                given=f"the head {name!r} is not part of robertakit.torch in this version",
                hint="robertakit.numpy runs every head: leave out engine, framework and device",
            )
        load = cast(Callable[..., tuple[Model, dict[str, list[str]]]], _CLASSES[name].from_pretrained)
        model, report = load(name_or_path, **{**arguments, "output_loading_info": True})
        refuse_untrained(report, name_or_path, name)
        try:
            model.to(device)
        except (RuntimeError, AssertionError) as error:
            reason = str(error).splitlines()[0].rstrip(".")
            raise InputError(
                given=f"device={device!r}, on which PyTorch computes nothing here ({reason})",
                expected="a device of this machine",
            ) from error
        engine = cls(model)
        engine._recipe = partial(cls.from_pretrained, name_or_path, head, device=device, **arguments)
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

    @torch.inference_mode()
    def run(
        self, batch: Batch, outputs: Sequence[str] = ("logits",), rows: NDArray[np.integer] | None = None
    ) -> dict[str, NDArray[np.generic]]:
        """Return the named outputs of a packed batch.

        Args:
            batch: T tokens of S sequences.
            outputs: names of the head's outputs; `"last_hidden_state"` with every head.
            rows: (R,) packed rows of which token-wise outputs are wanted; None for all T.

        Returns:
            Token-wise outputs (R or T, ...), outputs of whole sequences (S, ...): zeros for a sequence without
            tokens. Half precision comes back as float32.

        Raises:
            InputError: an id outside its table, or a row outside the batch.
            TooLong: a sequence with more tokens than positions.
            ArgumentError: an output that the head has not.
        """
        model = self.model
        encoder = model if isinstance(model, RobertaModel) else model.roberta
        self._check(encoder, len(batch.input_ids), outputs, rows)

        def tensor(array: NDArray[np.integer]) -> Tensor:
            return torch.from_numpy(array.astype(np.int64)).to(model.device)

        types = None if batch.token_type_ids is None else tensor(batch.token_type_ids)
        states = encoder.encode_packed(
            tensor(batch.input_ids),
            tensor(batch.position_ids),
            torch.from_numpy(batch.cumulative_lengths),
            types,
        )
        wanted = states if rows is None else states[tensor(rows)]
        found: dict[str, Tensor] = {"last_hidden_state": wanted}
        if isinstance(model, RobertaForMaskedLM) and "logits" in outputs:
            found["logits"] = model.lm_head(wanted)
        if encoder.pooler is not None and "pooler_output" in outputs:
            real = torch.from_numpy(batch.lengths > 0).to(model.device)
            first = encoder.pooler(states[tensor(batch.first_rows[batch.lengths > 0])])
            found["pooler_output"] = first.new_zeros(len(batch), first.shape[-1]).masked_scatter(
                real[:, None], first
            )
        return {name: _array(found[name]) for name in outputs}

    def _check(
        self, encoder: RobertaModel, total: int, outputs: Sequence[str], rows: NDArray[np.integer] | None
    ) -> None:
        known = {*self.head.outputs, "last_hidden_state"}
        if encoder.pooler is None:
            known -= {"pooler_output"}
        if unknown := set(outputs) - known:
            raise ArgumentError(
                given=f"outputs {listed(unknown)} of {self.head.name!r}", expected=f"some of {listed(known)}"
            )
        if rows is not None and len(rows) and not (int(rows.min()) >= 0 and int(rows.max()) < total):
            raise InputError(given=f"rows from {rows.min()} to {rows.max()}", expected=f"0 to {total - 1}")


def _array(values: Tensor) -> NDArray[np.generic]:
    wide = values if values.dtype == torch.float64 else values.float()
    array: NDArray[np.generic] = wide.cpu().numpy()
    return array
