"""TensorFlow's engine: packed batches in, the named outputs of the rows that are needed out."""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Self, cast

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from robertakit.architecture import model_class_name
from robertakit.batch import Batch
from robertakit.bucket_engine import BucketEngine, head_of
from robertakit.buckets import Bucket
from robertakit.configuration import take_config
from robertakit.errors import InputError
from robertakit.tensorflow.pretrained import TFPreTrainedModel

__all__ = ["Engine"]

Program = Callable[..., object]

#: Whether XLA compiles. It was measured on a processor: docs/decisions.md.
_XLA = True


class Engine(BucketEngine[TFPreTrainedModel]):
    """Runs a TensorFlow model on packed batches; each sequence gives what it gives alone.

    Sequences are laid side by side in rows of few shapes (`robertakit.buckets`). The encoder is traced once; XLA, where
    it is used, compiles for each shape: at most twelve for a model of 512 positions on a processor. A model with a
    ``call`` of its own is called as it is, padded.

    Args:
        model: one of the seven models, or one made of them; it answers without dropout.
        device: where it computes; None leaves that to TensorFlow, "auto" too. A model that is there already cannot be
            moved: its variables stay where they were made.

    Raises:
        InputError: a model of none of the heads, or a device that TensorFlow has not.

    Example:
        >>> from robertakit import RobertaConfig
        >>> from robertakit.batch import Encoding
        >>> from robertakit.tensorflow import TFRobertaForMaskedLM
        >>> config = RobertaConfig(
        ...     vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
        ... )
        >>> batch = Batch.from_encodings([Encoding([0, 5, 2]), Encoding([0, 2])], padding_idx=1)
        >>> Engine(TFRobertaForMaskedLM(config)).run(batch, rows=np.array([1]))["logits"].shape
        (1, 9)
    """

    def __init__(self, model: TFPreTrainedModel, device: str | None = None) -> None:
        head = head_of(model, "TFRobertaForMaskedLM")
        where = _place(model)
        if device not in (None, "auto") and _logical_device(str(device)) != _logical_device(where):
            raise InputError(
                given=f"device={device!r} for a model whose variables are on {where}",
                expected=f"{where!r}, or none",
                hint="load it with that device",
            )
        pooler = head.name != "model" or getattr(model.roberta, "pooler", None) is not None
        super().__init__(model, model.config, head, str(model.compute_dtype), where, pooler=pooler)
        self._programs: tuple[tuple[int, ...], Program, Program] | None = None

    @classmethod
    def _load(
        cls, name_or_path: str | os.PathLike[str], head: str, **arguments: object
    ) -> tuple[Self, Mapping[str, Sequence[str]]]:
        from robertakit import tensorflow as family

        device = str(arguments.pop("device", "auto"))
        config = take_config(name_or_path, arguments)
        kind: object = getattr(family, model_class_name(config.model_type, head, "tensorflow"))
        load = cast(
            Callable[..., tuple[TFPreTrainedModel, dict[str, list[str]]]],
            cast(type[TFPreTrainedModel], kind).from_pretrained,
        )
        with tf.device(_logical_device(device)):
            model, report = load(name_or_path, **{**arguments, "config": config, "output_loading_info": True})
        return cls(model, device), report

    def close(self) -> None:
        """Let go of the weights and of what was compiled; the engine answers no more."""
        super().close()
        self._programs = None

    def _run(
        self,
        model: TFPreTrainedModel,
        batch: Batch,
        outputs: Sequence[str],
        rows: NDArray[np.integer] | None,
        first: NDArray[np.integer],
    ) -> dict[str, NDArray[np.generic]]:
        with tf.device(_logical_device(self.limits.device)):
            return super()._run(model, batch, outputs, rows, first)

    def _encode(self, model: TFPreTrainedModel, call: Bucket) -> object:
        encode, _ = self._compiled(model)
        arrays = (call.input_ids, call.token_type_ids, call.position_ids, call.sequence_ids)
        return encode(*map(tf.convert_to_tensor, arrays))

    def _score(self, model: TFPreTrainedModel, rows: NDArray[np.generic]) -> dict[str, NDArray[np.generic]]:
        _, score = self._compiled(model)
        found = cast(Mapping[str, object], score(tf.convert_to_tensor(rows)))
        return {name: np.asarray(value) for name, value in found.items()}

    def _compiled(self, model: TFPreTrainedModel) -> tuple[Program, Program]:
        """The two programs of a model; new ones where it has other variables than they were traced with."""
        variables = tuple(id(variable.value) for variable in model.variables)  # a resized one keeps its shell
        if self._programs is None or self._programs[0] != variables:
            self._programs = (variables, *_programs(model))
        return self._programs[1:]

    def _own_call(
        self, model: TFPreTrainedModel
    ) -> Callable[[Mapping[str, NDArray[np.generic]]], Mapping[str, object]] | None:
        if type(model).call.__module__.startswith("robertakit."):
            return None
        return lambda given: cast(Mapping[str, object], model(dict(given), training=False))


def _programs(model: TFPreTrainedModel) -> tuple[Program, Program]:
    """What is traced: the encoder on rows that hold several sequences, and the head on single rows."""
    decoder = bool(model.config.is_decoder)
    ids = tf.TensorSpec((None, None), tf.int32)
    states = tf.TensorSpec((None, model.config.hidden_size), model.compute_dtype)

    @tf.function(input_signature=[ids] * 4, autograph=False, jit_compile=_XLA)
    def encode(ids: tf.Tensor, types: tf.Tensor, positions: tf.Tensor, sequences: tf.Tensor) -> object:
        visible = tf.cast(sequences[:, :, None] == sequences[:, None, :], tf.int32)
        if decoder:
            visible = tf.linalg.band_part(visible, -1, 0)
        return model.encode(ids, visible, types, positions)

    @tf.function(input_signature=[states], autograph=False, jit_compile=_XLA)
    def score(rows: tf.Tensor) -> object:
        return dict(model.score(rows))

    return encode, score


# Devices.


def _place(model: TFPreTrainedModel) -> str:
    """Where the variables are: "cpu", or a name such as "cuda:0"."""
    place = str(model.weights[0].value.device).rpartition("device:")[2].lower()
    return "cpu" if place.startswith("cpu") else place.replace("gpu", "cuda")


def _logical_device(name: str) -> str | None:
    """TensorFlow's name of a device such as "cpu", "cuda:0" or "gpu:1"; None for "auto", its own choice."""
    if name == "auto":
        return None
    kind, _, index = name.lower().partition(":")
    kind = {"cuda": "GPU"}.get(kind, kind.upper())
    there = [device.name for device in tf.config.list_logical_devices(kind)]
    wanted = f"/device:{kind}:{index or 0}"
    if wanted not in there:
        raise InputError(
            given=f"device={name!r}, on which TensorFlow computes nothing here (it has no {wanted})",
            expected="a device of this machine",
        )
    return wanted
