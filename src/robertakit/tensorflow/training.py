"""`compile`, `fit`, `evaluate` and `predict`: where labels are found, and which loss and metrics they make.

Keras' own steps do the rest. Labels may stand in the inputs or beside them; without a loss in `compile`, or with one,
the model's scores are what is compared with them.
"""

from collections.abc import Mapping
from typing import cast

import keras
import tensorflow as tf

from robertakit.architecture import HEADS, IGNORED_LABEL, Head
from robertakit.errors import ArgumentError, InputError
from robertakit.tensorflow.calling import as_arguments, documented
from robertakit.tensorflow.contents import head_of

__all__ = ["Trainable"]

Tree = object


class Trainable(keras.Model):
    """Gives a model the documented ways of training by Keras."""

    def compile(self, *args: object, **kwargs: object) -> None:
        """Keras' `compile`, but for one thing: where it names no loss or metrics, those of an earlier one go away.

        Keras keeps them, and so the model's own loss would never come back.
        """
        for name in ("loss", "_compile_loss", "_compile_metrics"):
            setattr(self, name, None)
        super().compile(*args, **kwargs)

    def compile_from_config(self, config: Mapping[str, object]) -> None:
        """Compile as a model was that Keras saved; a `compile` of one's own asks for this."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        self.optimizer.build(self.trainable_variables)

    def train_step(self, data: Tree) -> dict[str, tf.Tensor]:
        """One step of `fit`: without a loss in `compile`, labels beside the inputs are the model's own to judge."""
        return cast("dict[str, tf.Tensor]", super().train_step(self._with_labels(data)))

    def test_step(self, data: Tree) -> dict[str, tf.Tensor]:
        """One step of `evaluate`."""
        return cast("dict[str, tf.Tensor]", super().test_step(self._with_labels(data)))

    def predict_step(self, data: Tree) -> Tree:
        """One step of `predict`: labels are left aside, so that what comes back has a row for each input."""
        x, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        if isinstance(x, Mapping):
            x = {name: value for name, value in x.items() if name not in self._label_names()}
        return self(x, training=False)

    def compute_loss(
        self,
        x: Tree = None,
        y: Tree = None,
        y_pred: Tree = None,
        sample_weight: tf.Tensor | None = None,
        training: bool = True,
    ) -> tf.Tensor:
        """The loss of a batch: the one of `compile` on the scores, else the model's own.

        Args:
            x: inputs, perhaps with labels in them.
            y: labels beside the inputs.
            y_pred: what the model gave.
            sample_weight: of each row, for a loss of `compile`.
            training: as Keras says.

        Raises:
            InputError: no labels.
            ArgumentError: `sample_weight` without a loss that takes it.
        """
        outputs = self._outputs(y_pred, x)
        if self.loss is not None:
            y = self._targets(x, y)
            if y is None:
                raise self._no_labels()
            by_name = isinstance(self.loss, dict)
            y_pred, y = _paired(self._scores(outputs), y, by_name)
            return super().compute_loss(x, y, y_pred, sample_weight, training)
        if "loss" not in outputs:
            raise self._no_labels()
        if sample_weight is not None:
            raise ArgumentError(
                given="sample_weight for the model's own loss, which is a mean over all rows",
                expected="a loss in compile(), which weighs each row",
                hint="for example keras.losses.SparseCategoricalCrossentropy(from_logits=True)",
            )
        added = [tf.cast(tf.reduce_sum(loss), outputs["loss"].dtype) for loss in self.losses]
        return tf.add_n([outputs["loss"], *added])

    def compute_metrics(
        self, x: Tree, y: Tree, y_pred: Tree, sample_weight: tf.Tensor | None = None
    ) -> dict[str, tf.Tensor]:
        """Update the metrics of `compile` with the scores and labels, and return all results.

        `weighted_metrics` leave out tokens whose label is -100; Keras gives `metrics` no weights.
        """
        metrics = self._compile_metrics
        targets = self._targets(x, y)
        if metrics is None or targets is None:
            return cast("dict[str, tf.Tensor]", self.get_metrics_result())
        scores = self._scores(self._outputs(y_pred, x))
        if sample_weight is None and isinstance(scores, tf.Tensor | keras.KerasTensor):
            sample_weight = _weights_of_labels(targets)
        by_name = isinstance(metrics._user_metrics, dict) or isinstance(metrics._user_weighted_metrics, dict)
        y_pred, y = _paired(scores, targets, by_name)
        return cast("dict[str, tf.Tensor]", super().compute_metrics(x, y, y_pred, sample_weight))

    def _with_labels(self, data: Tree) -> Tree:
        """A batch whose labels stand in the inputs, where the model's own loss is to judge them."""
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        if y is None or self.loss is not None:
            return data
        names = self._label_names()
        if not names:
            raise ArgumentError(
                given=f"labels for {type(self).__name__}, which has no loss of its own",
                expected="a loss in compile()",
            )
        inputs = as_arguments(x, documented(type(self).call))
        return {**inputs, **_named(y, names, self._head().outputs)}, None, sample_weight

    def _label_names(self) -> tuple[str, ...]:
        return self._head().labels if head_of(self) is not None else ("labels",)

    def _head(self) -> Head:
        return HEADS[head_of(self) or "model"]

    def _outputs(self, y_pred: Tree, x: Tree) -> dict[str, tf.Tensor]:
        """The fields of what the model gave, of a tuple, too."""
        if isinstance(y_pred, Mapping):
            return dict(y_pred)
        if not isinstance(y_pred, list | tuple):
            return {"logits": y_pred}
        loss = ("loss",) if self._targets(x, None) is not None else ()
        return dict(zip((*loss, *self._head().outputs), y_pred, strict=False))

    def _scores(self, outputs: Mapping[str, tf.Tensor]) -> Tree:
        """The head's own fields: the one tensor, or several by their names."""
        fields = self._head().outputs if head_of(self) is not None else tuple(outputs)
        found = {name: outputs[name] for name in fields if name in outputs and name != "loss"}
        return next(iter(found.values())) if len(found) == 1 else found

    def _targets(self, x: Tree, y: Tree) -> Tree:
        """Labels by the names of the scores, or the one tensor; None where there are none."""
        names = self._label_names()
        if y is None:
            if not (names and isinstance(x, Mapping) and all(name in x for name in names)):
                return None
            y = {name: x[name] for name in names}
        if head_of(self) is None:
            return y
        labels = _named(y, self._head().outputs, names)
        return next(iter(labels.values())) if len(labels) == 1 else labels

    def _no_labels(self) -> InputError:
        names = " and ".join(self._label_names()) or "labels"
        return InputError(
            given=f"a batch without {names} for {type(self).__name__}",
            expected=f"{names} in the inputs, or labels beside them: fit(inputs, labels)",
        )


def _named(y: Tree, wanted: tuple[str, ...], other: tuple[str, ...]) -> dict[str, Tree]:
    """Labels by the wanted names: one tensor for one name, several in order, or a mapping by either names."""
    if isinstance(y, Mapping):
        renamed = dict(zip(other, wanted, strict=False))
        return {renamed.get(str(name), str(name)): value for name, value in y.items()}
    if isinstance(y, list | tuple) and len(wanted) > 1:
        return dict(zip(wanted, y, strict=True))
    return {wanted[0]: y}


def _paired(scores: Tree, labels: Tree, by_name: bool) -> tuple[Tree, Tree]:
    """Scores and labels in one structure, as the losses and metrics of `compile` were given."""
    if not isinstance(scores, Mapping) and isinstance(labels, Mapping) and len(labels) == 1:
        labels = next(iter(labels.values()))
    if by_name and not isinstance(scores, Mapping):
        return {"logits": scores}, {"logits": labels}
    return scores, labels


def _weights_of_labels(labels: Tree) -> tf.Tensor | None:
    """1 for a label, 0 for one that takes no part; None where all labels of this kind do."""
    dtype = getattr(labels, "dtype", None)
    if not isinstance(labels, tf.Tensor) or not tf.as_dtype(dtype).is_integer:
        return None
    return tf.cast(tf.not_equal(labels, IGNORED_LABEL), tf.float32)
