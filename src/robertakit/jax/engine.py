"""JAX's engine: packed batches in, the named outputs of the rows that are needed out."""

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Self, cast

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from numpy.typing import NDArray

from robertakit.architecture import model_class_name
from robertakit.batch import Batch
from robertakit.bucket_engine import BucketEngine, head_of
from robertakit.buckets import Bucket
from robertakit.configuration import PretrainedConfig, take_config
from robertakit.errors import InputError
from robertakit.jax.pretrained import FlaxPreTrainedModel

__all__ = ["Engine"]

Program = Callable[..., object]


class Engine(BucketEngine[FlaxPreTrainedModel]):
    """Runs a Flax model on packed batches; each sequence gives what it gives alone.

    Sequences are laid side by side in rows of few shapes (`robertakit.buckets`), for each of which `jax.jit` compiles
    once: at most twelve for a model of 512 positions on a processor. A model with a ``__call__`` or a module of its own
    is called as it is, padded.

    Args:
        model: one of the seven models, or one made of them. It answers without dropout, from the ``params`` that it
            has at that moment.
        device: where the parameters are moved; None leaves them where they are. "auto" is JAX's own first device.

    Raises:
        InputError: a model of none of the heads, or a device that JAX has not.

    Example:
        >>> from robertakit import RobertaConfig
        >>> from robertakit.batch import Encoding
        >>> from robertakit.jax import FlaxRobertaForMaskedLM
        >>> config = RobertaConfig(
        ...     vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
        ... )
        >>> batch = Batch.from_encodings([Encoding([0, 5, 2]), Encoding([0, 2])], padding_idx=1)
        >>> Engine(FlaxRobertaForMaskedLM(config)).run(batch, rows=np.array([1]))["logits"].shape
        (1, 9)
    """

    def __init__(self, model: FlaxPreTrainedModel, device: str | None = None) -> None:
        head = head_of(model, "FlaxRobertaForMaskedLM")
        dtype = jnp.dtype(model.dtype).name
        if device is not None:
            with _precise(dtype):
                model.params = jax.device_put(model.params, _device(device))
        pooler = head.name != "model" or "pooler" in model.params
        super().__init__(model, model.config, head, dtype, _place(model.params), pooler=pooler)
        self._programs: tuple[nn.Module, Program, Program] | None = None

    @classmethod
    def _load(
        cls, name_or_path: str | os.PathLike[str], head: str, **arguments: object
    ) -> tuple[Self, Mapping[str, Sequence[str]]]:
        from robertakit import jax as family

        device = str(arguments.pop("device", "auto"))
        config = take_config(name_or_path, arguments)
        kind: object = getattr(family, model_class_name(config.model_type, head, "jax"))
        load = cast(
            Callable[..., tuple[FlaxPreTrainedModel, dict[str, list[str]]]],
            cast(type[FlaxPreTrainedModel], kind).from_pretrained,
        )
        with _precise(arguments.get("dtype")):
            model, report = load(name_or_path, **{**arguments, "config": config, "output_loading_info": True})
            return cls(model, device), report

    def close(self) -> None:
        """Let go of the weights and of what was compiled; the engine answers no more."""
        super().close()
        self._programs = None

    def _run(
        self,
        model: FlaxPreTrainedModel,
        batch: Batch,
        outputs: Sequence[str],
        rows: NDArray[np.integer] | None,
        first: NDArray[np.integer],
    ) -> dict[str, NDArray[np.generic]]:
        with _precise(self.limits.dtype):
            return super()._run(model, batch, outputs, rows, first)

    def _encode(self, model: FlaxPreTrainedModel, call: Bucket) -> object:
        encode, _ = self._compiled(model)
        return encode(model.params, call.input_ids, call.token_type_ids, call.position_ids, call.sequence_ids)

    def _score(self, model: FlaxPreTrainedModel, rows: NDArray[np.generic]) -> dict[str, NDArray[np.generic]]:
        _, score = self._compiled(model)
        return {
            name: np.asarray(value)
            for name, value in cast(Mapping[str, object], score(model.params, rows)).items()
        }

    def _compiled(self, model: FlaxPreTrainedModel) -> tuple[Program, Program]:
        """The two programs of a model's module; of another module where its owner has put one in its place."""
        if self._programs is None or self._programs[0] is not model.module:
            self._programs = (model.module, *_programs(model.module, model.config))
        return self._programs[1:]

    def _own_call(
        self, model: FlaxPreTrainedModel
    ) -> Callable[[Mapping[str, NDArray[np.generic]]], Mapping[str, object]] | None:
        module = type(model.module)  # its parts are made in `setup`
        written = (type(model).__call__, module.__call__, module.setup)
        if all(code.__module__.startswith("robertakit.") for code in written):
            return None
        answer = cast(Callable[..., Mapping[str, object]], model)
        return lambda given: answer(**given)


def _programs(module: nn.Module, config: PretrainedConfig) -> tuple[Program, Program]:
    """What is compiled: the encoder on rows that hold several sequences, and the head on single rows."""

    @jax.jit
    def encode(
        params: Mapping[str, object],
        ids: jax.Array,
        types: jax.Array,
        positions: jax.Array,
        sequences: jax.Array,
    ) -> object:
        visible = sequences[:, :, None] == sequences[:, None, :]
        if config.is_decoder:
            visible = jnp.tril(visible)
        given = (ids, visible.astype(jnp.int32), types, positions)
        return module.apply({"params": params}, *given, method="encode")

    @jax.jit
    def score(params: Mapping[str, object], rows: jax.Array) -> object:
        return module.apply({"params": params}, rows, method="score")

    return encode, score


# Devices and dtypes.


def _precise(dtype: object) -> AbstractContextManager[object]:
    """Let JAX compute in float64 where that is asked for; it takes float32 for it otherwise."""
    asked = getattr(dtype, "__name__", str(dtype)) if dtype is not None else ""
    return jax.enable_x64(True) if "float64" in asked else nullcontext()


def _device(name: str) -> jax.Device:
    """JAX's device of a name such as "cpu", "gpu:1" or "cuda:0"; its own first one for "auto"."""
    if name == "auto":
        return jax.devices()[0]
    platform, _, index = name.partition(":")
    try:
        return jax.devices(platform)[int(index or 0)]
    except (RuntimeError, IndexError, ValueError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise InputError(
            given=f"device={name!r}, on which JAX computes nothing here ({reason})",
            expected="a device of this machine",
        ) from error


def _place(params: object) -> str:
    """Where the parameters are: "cpu", or a name such as "cuda:0"; JAX's own first device for arrays of NumPy's."""
    places = [leaf.devices() for leaf in jax.tree.leaves(params) if isinstance(leaf, jax.Array)]
    device = min(places[0], key=lambda device: device.id) if places else jax.devices()[0]
    if device.platform == "cpu":
        return "cpu"
    return f"{'cuda' if device.platform == 'gpu' else device.platform}:{device.id}"
