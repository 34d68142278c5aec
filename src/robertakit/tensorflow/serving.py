"""A model for a server: one signature with free sizes, and outputs in one flat mapping, as SavedModels have them."""

import os
from collections.abc import Mapping
from typing import cast

import keras
import tensorflow as tf

from robertakit.architecture import HEADS
from robertakit.configuration import PretrainedConfig
from robertakit.tensorflow.contents import head_of

__all__ = ["Servable", "flat"]


class Servable(keras.Model):
    """Gives a model `export` and `serving`."""

    config: PretrainedConfig

    @property
    def input_signature(self) -> dict[str, tf.TensorSpec]:
        """What a served model takes: ids and mask, and token types where there are several."""
        choices = head_of(self) is not None and HEADS[head_of(self) or ""].name == "multiple-choice"
        shape = (None, None, None) if choices else (None, None)
        names = ["input_ids", "attention_mask"]
        if self.config.type_vocab_size > 1:
            names.append("token_type_ids")
        return {name: tf.TensorSpec(shape, tf.int32, name=name) for name in names}

    @property
    def _default_save_signature(self) -> object:
        """The signature for `tf.saved_model.save`; Keras, which knows no call, would guess one of floats."""
        return tf.function(self.serving, input_signature=[self.input_signature], autograph=False)

    def serving(self, inputs: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Compute as a server does: a mapping in, a flat mapping of tensors out, hidden states numbered.

        Args:
            inputs: documented name -> tensor.
        """
        outputs = self(dict(inputs), training=False, return_dict=True)
        return flat({name: value for name, value in outputs.items() if name != "past_key_values"})

    def export(
        self,
        filepath: str | os.PathLike[str],
        format: str = "tf_saved_model",
        verbose: bool | None = None,
        input_signature: object = None,
        **kwargs: object,
    ) -> None:
        """Write a SavedModel, which `tf.saved_model.load(path).serve(inputs)` and servers run, for any sizes.

        Args:
            filepath: folder.
            format: of Keras' `Model.export`; formats but the first are left to it.
            verbose: as Keras says.
            input_signature: name -> `tf.TensorSpec`, in place of `self.input_signature`; Keras' list of one mapping
                is taken, too.
            **kwargs: of Keras' `Model.export`.
        """
        if format != "tf_saved_model":
            super().export(filepath, format, verbose, input_signature=input_signature, **kwargs)
            return
        given = self.input_signature if input_signature is None else input_signature
        signature = given if isinstance(given, list | tuple) else [given]
        archive = keras.export.ExportArchive()
        archive.add_endpoint("serve", self.serving, input_signature=list(signature))
        archive.write_out(os.fspath(filepath), verbose=True if verbose is None else verbose)


def flat(outputs: Mapping[str, object]) -> dict[str, tf.Tensor]:
    """Return outputs without nesting.

    Example:
        >>> flat({"logits": 1, "hidden_states": (2, 3)})
        {'logits': 1, 'hidden_states_0': 2, 'hidden_states_1': 3}
    """
    found: dict[str, object] = {}
    for name, value in outputs.items():
        if isinstance(value, tuple):
            found |= flat({f"{name}_{number}": item for number, item in enumerate(value)})
        else:
            found[name] = value
    return cast("dict[str, tf.Tensor]", found)
