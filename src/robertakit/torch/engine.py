"""PyTorch's engine: packed batches in, the named outputs of the rows that are needed out."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock
from typing import Self, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from robertakit import logging
from robertakit.architecture import HEADS, model_class_name
from robertakit.batch import Batch, longest_input
from robertakit.configuration import take_config
from robertakit.engine import Limits, ModelEngine, of_sequences
from robertakit.errors import InputError
from robertakit.torch.contents import head_of
from robertakit.torch.encoder import RobertaModel
from robertakit.torch.pretrained import RobertaPreTrainedModel
from robertakit.torch.sequence_models import RobertaClassificationHead, RobertaForSequenceClassification

__all__ = ["Engine", "in_eval_mode"]

_logger = logging.get_logger(__name__)

#: Tokens of a batch: beyond these a processor gains nothing (measured: docs/decisions.md); an accelerator wants more.
_TOKENS_ON_CPU, _TOKENS_ELSEWHERE = 2048, 16_384


class Engine(ModelEngine[RobertaPreTrainedModel]):
    """Runs a PyTorch model on packed batches; each sequence gives what it gives alone.

    An encoder computes real tokens only, unless its `attn_implementation` asks for padded attention ("eager", "sdpa").
    A decoder's batches are padded, since attention over packed tokens looks in both directions, and so are those of a
    model with a `forward` of its own, which is called.

    Args:
        model: one of the seven models, or one made of them; it is left in the mode (`train()`, `eval()`) that it is
            in, and answers without dropout.
        device: where the model is moved; None leaves it where it is. "auto" is the first accelerator of the machine,
            or the processor where there is none.

    Raises:
        InputError: a model of none of the heads, or a device on which PyTorch cannot compute.

    Example:
        >>> from robertakit import RobertaConfig
        >>> from robertakit.batch import Encoding
        >>> from robertakit.torch import RobertaForMaskedLM
        >>> config = RobertaConfig(
        ...     vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
        ... )
        >>> batch = Batch.from_encodings([Encoding([0, 5, 2]), Encoding([0, 2])], padding_idx=1)
        >>> Engine(RobertaForMaskedLM(config)).run(batch, rows=np.array([1]))["logits"].shape
        (1, 9)
    """

    def __init__(self, model: RobertaPreTrainedModel, device: str | None = None) -> None:
        head = head_of(model)
        if head is None:
            raise InputError(
                given=f"a model of type {type(model).__name__}, which has no head that a task knows",
                expected="a class such as RobertaForMaskedLM, or one derived from it",
            )
        if device is not None:
            _move(model, device)
        where, dtype = model.device, str(model.dtype).removeprefix("torch.")
        if where.type == "cpu" and dtype == "float16":
            logging.warning_once(
                _logger,
                "float16 on a processor is slower than float32, a third of its speed where measured: it is for GPUs.",
            )
        tokens = _TOKENS_ON_CPU if where.type == "cpu" else _TOKENS_ELSEWHERE
        super().__init__(
            model,
            model.config,
            HEADS[head],
            Limits(tokens, longest_input(model.config), dtype, str(where)),
            pooler=getattr(model, "pooler", None) is not None,
        )

    @classmethod
    def _load(
        cls, name_or_path: str | os.PathLike[str], head: str, **arguments: object
    ) -> tuple[Self, Mapping[str, Sequence[str]]]:
        from robertakit import torch as family

        device: str | None = str(arguments.pop("device", "auto"))
        if arguments.get("device_map") is not None and device == "auto":
            device = None  # the map has put it where it is
        config = take_config(name_or_path, arguments)
        kind: object = getattr(family, model_class_name(config.model_type, head))
        load = cast(
            Callable[..., tuple[RobertaPreTrainedModel, dict[str, list[str]]]],
            cast(type[RobertaPreTrainedModel], kind).from_pretrained,
        )
        model, report = load(name_or_path, **{**arguments, "config": config, "output_loading_info": True})
        model.check_inputs = False  # `run` has checked the ids, where they are made: no device is waited for
        return cls(model, device), report

    def close(self) -> None:
        """Let go of the weights, and give the device's memory back; the engine answers no more."""
        super().close()
        if self.limits.device.startswith("cuda"):
            torch.cuda.empty_cache()

    def _run(
        self,
        model: RobertaPreTrainedModel,
        batch: Batch,
        outputs: Sequence[str],
        rows: NDArray[np.integer] | None,
        first: NDArray[np.integer],
    ) -> dict[str, NDArray[np.generic]]:
        own, found = _has_own_forward(model), dict[str, Tensor]()
        called = set(outputs) & set(self.head.outputs) if own else set()
        with in_eval_mode(model), torch.inference_mode(), _told(batch, model.device):
            if called:
                found |= self._called(model, batch, called, rows)
            if set(outputs) - called:
                states = _states(model, batch)
                wanted = states if rows is None else states[_tensor(rows, states.device)]
                found["last_hidden_state"] = wanted
                if set(outputs) - set(found):
                    of_first = self.head.rows == "first" or self.head.name == "model"
                    found |= _score(model, states[_tensor(first, states.device)] if of_first else wanted)
            return {name: _array(found[name]) for name in outputs}

    def _called(
        self,
        model: RobertaPreTrainedModel,
        batch: Batch,
        outputs: Iterable[str],
        rows: NDArray[np.integer] | None,
    ) -> dict[str, Tensor]:
        """Outputs of a call of the model, padded."""
        given = _padded(batch, model)
        real = given["attention_mask"].bool()
        if not real.numel():
            raise InputError(given="a batch without tokens for a model with a forward of its own")
        choices = self.head.name == "multiple-choice"
        answer = model(**{n: x[None] if choices else x for n, x in given.items()}, return_dict=True)
        found: dict[str, Tensor] = {}
        for name in outputs:
            values = answer[name][0] if choices else answer[name]
            if of_sequences(self.head, name):
                found[name] = values[real.any(1)]
            else:
                found[name] = values[real] if rows is None else values[real][_tensor(rows, values.device)]
        return found


def _has_own_forward(model: RobertaPreTrainedModel) -> bool:
    """Whether somebody's own code may read more of the states than our head does: then a call of it must say."""
    own_head = isinstance(model, RobertaForSequenceClassification) and (
        type(model.classifier) is not RobertaClassificationHead
    )
    return own_head or not type(model).forward.__module__.startswith("robertakit.")


def _score(model: RobertaPreTrainedModel, rows: Tensor) -> dict[str, Tensor]:
    """The head on its rows; by the class, since a model of one's own may have a layer of that name."""
    score = cast(Callable[[object, Tensor], dict[str, Tensor]], cast(RobertaModel, type(model)).score)
    return score(model, rows)


def _states(model: RobertaPreTrainedModel, batch: Batch) -> Tensor:
    """The encoder's last rows, (T, W)."""
    backbone = cast(RobertaModel, getattr(model, model.base_model_prefix, model))
    config, device = model.config, model.device
    ours = type(backbone).forward is RobertaModel.forward
    if ours and not config.is_decoder and config.attn_implementation in (None, "packed"):
        return backbone.encode_packed(
            _tensor(batch.input_ids, device),
            _tensor(batch.position_ids, device),
            _tensor(batch.cumulative_lengths, torch.device("cpu")),  # which plans by them
            None if batch.token_type_ids is None else _tensor(batch.token_type_ids, device),
        )
    given = _padded(batch, model)
    if not given["attention_mask"].numel():
        return torch.zeros(0, config.hidden_size, dtype=model.dtype, device=device)
    quiet = {"use_cache": False, "output_attentions": False, "output_hidden_states": False}
    padded = backbone(**given, **quiet, return_dict=True).last_hidden_state
    states: Tensor = padded[given["attention_mask"].bool()]
    return states


def _padded(batch: Batch, model: RobertaPreTrainedModel) -> dict[str, Tensor]:
    """The batch as a call of the model takes it, (S, L) each."""
    ids, mask, positions = batch.padded(model.config.pad_token_id)
    arrays = {"input_ids": ids, "attention_mask": mask, "position_ids": positions}
    if batch.token_type_ids is not None:
        arrays["token_type_ids"] = np.zeros_like(ids)
        arrays["token_type_ids"][mask.astype(bool)] = batch.token_type_ids
    return {name: _tensor(array, model.device) for name, array in arrays.items()}


def _tensor(array: NDArray[np.integer], device: torch.device) -> Tensor:
    return torch.from_numpy(array.astype(np.int64)).to(device)


def _array(values: Tensor) -> NDArray[np.generic]:
    wide = values if values.dtype == torch.float64 else values.float()
    array: NDArray[np.generic] = wide.cpu().numpy()
    return array


# The device.


def _move(model: RobertaPreTrainedModel, device: str) -> None:
    """Move a model to a device, in place."""
    if device == "auto":
        accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
        device = "cpu" if accelerator is None else str(accelerator)
    try:
        if torch.device(device).type == "meta":
            raise RuntimeError("it holds no values")
        model.to(device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise InputError(
            given=f"device={device!r}, on which PyTorch computes nothing here ({reason})",
            expected="a device of this machine",
        ) from error


@contextmanager
def _told(batch: Batch, device: torch.device) -> Iterator[None]:
    """Tell in one sentence that a batch has no room on its device."""
    try:
        yield
    except RuntimeError as error:
        text = str(error).lower()
        if "out of memory" not in text and "can't allocate memory" not in text:
            raise
        raise InputError(
            given=f"a batch of {len(batch.input_ids)} tokens, for which {device} has no memory",
            hint="give pipeline() fewer batch_tokens",
        ) from error


# The mode.


@dataclass(slots=True)
class _Answering:
    """How many threads answer with a model now, and which of its modules were training before."""

    threads: int = 0
    training: list[nn.Module] = field(default_factory=list)


_answering: dict[int, _Answering] = {}
_lock = Lock()


@contextmanager
def in_eval_mode(model: nn.Module) -> Iterator[None]:
    """Keep a model from dropping out while at least one thread answers with it; then what was training trains on.

    Example:
        >>> dropout = nn.Dropout(0.5).train()
        >>> with in_eval_mode(dropout):
        ...     dropout.training
        False
        >>> dropout.training
        True
    """
    with _lock:
        state = _answering.setdefault(id(model), _Answering())
        state.threads += 1
        training = [module for module in model.modules() if module.training]
        state.training += training
        for module in training:
            module.training = False
    try:
        yield
    finally:
        with _lock:
            state.threads -= 1
            if not state.threads:
                del _answering[id(model)]
                for module in state.training:
                    module.training = True
