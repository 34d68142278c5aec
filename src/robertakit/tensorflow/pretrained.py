"""What all Keras models share: the configuration, where weights come from and go to. No model is defined here.

The work is done beside it: `calling` reads inputs, `construction` draws, `loading` and `saving` move weights,
`training` finds losses, `serving` exports, `changing` adds and cuts. Files are `robertakit.checkpoints`' business.
"""

import json
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import ClassVar, Self, cast

import keras
import tensorflow as tf

from robertakit.architecture import HEADS
from robertakit.checkpoints import save_weights
from robertakit.checkpoints.saving import obsolete_weights
from robertakit.configuration import PretrainedConfig, RobertaConfig
from robertakit.errors import ArgumentError, InputError
from robertakit.field_values import refuse_unknown
from robertakit.model_card import model_card
from robertakit.publishing import PushToHub
from robertakit.tensorflow.backend import check_backend
from robertakit.tensorflow.calling import as_python, documented, read_call
from robertakit.tensorflow.construction import draw, drawn_seed, is_loading
from robertakit.tensorflow.contents import contents_of, head_of
from robertakit.tensorflow.layers import values_follow
from robertakit.tensorflow.loading import Loadable, dtype_asked
from robertakit.tensorflow.output_trees import register_outputs
from robertakit.tensorflow.saving import (
    config_to_save,
    generation_file,
    refuse_other_formats,
    tensors_to_save,
)

__all__ = ["TFPreTrainedModel", "TFRobertaPreTrainedModel"]

check_backend(keras.backend.backend())
register_outputs()


class TFPreTrainedModel(Loadable, PushToHub):
    """A Keras model with a configuration that is loaded and saved; the seven models are, and so is one of your own.

    Two models of one configuration, built after the same `tf.random.set_seed`, have the same weights. All weights
    are there when the constructor returns; no input is needed to build a model.

    Args:
        config: kept, not copied.
        *inputs: none; Keras' functional constructor is not one of a model's.
        **kwargs: Keras' own: `name`, `dtype` (a dtype or a policy such as `"mixed_bfloat16"`), `trainable`.

    Raises:
        ConfigError: fields contradict each other.
        ArgumentError: no configuration of this library, or a keyword that nothing knows.

    Example:
        >>> from robertakit import RobertaConfig, TFRobertaPreTrainedModel
        >>> from robertakit.tensorflow import TFRobertaMainLayer
        >>> class TFScored(TFRobertaPreTrainedModel):
        ...     def __init__(self, config, **kwargs):
        ...         super().__init__(config, **kwargs)
        ...         self.roberta = TFRobertaMainLayer(config, add_pooling_layer=False, name="roberta")
        ...         self.scorer = keras.layers.Dense(1, name="scorer")
        ...         self.post_init()
        ...     def build(self, input_shape=None):
        ...         self.roberta.build(None)
        ...         self.scorer.build((None, self.config.hidden_size))
        ...     def call(self, input_ids=None, attention_mask=None, training=False):
        ...         return self.scorer(self.roberta(input_ids, attention_mask)[0][:, 0])
        >>> sizes = {"vocab_size": 9, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
        >>> TFScored(RobertaConfig(**sizes))([[0, 5, 2]]).shape
        TensorShape([1, 1])
    """

    #: A key of `architecture.HEADS`; a model of somebody's own has none. Not set here: it may have a layer called so.
    head: ClassVar[str]
    main_input_name = "input_ids"

    def __init__(self, config: RobertaConfig, *inputs: object, **kwargs: object) -> None:
        name = type(self).__name__
        if not isinstance(cast(object, config), PretrainedConfig):
            raise ArgumentError(
                given=f"a configuration of type {type(config).__module__}.{type(config).__name__}",
                expected=f"a {self.config_class.__name__}",
                hint=f"{self.config_class.__name__}.from_dict(config.to_dict()) makes one; "
                f"{name}.from_pretrained(name) loads a model",
            )
        if inputs:
            raise ArgumentError(
                given=f"{len(inputs)} positional arguments behind the configuration of {name}",
                expected="keywords",
            )
        refuse_unknown(
            sorted(set(kwargs) - {"name", "dtype", "trainable"}), name, ("name", "dtype", "trainable")
        )
        if not isinstance(kwargs.get("dtype"), dict):
            kwargs["dtype"] = dtype_asked(kwargs.get("dtype"))
        config.validate(building=True)
        super().__init__(**kwargs)
        self.autocast = (
            False  # numbers to predict keep their precision; each layer casts what it computes with
        )
        self.config = config
        self.name_or_path = config.name_or_path

    def __init_subclass__(cls, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        keras.saving.register_keras_serializable(cls.__module__.partition(".")[0])(cls)

    @as_python
    def __call__(self, *args: object, **kwargs: object) -> object:
        """Compute, from any of the documented styles of inputs (see `calling`)."""
        given = read_call(documented(type(self).call), args, kwargs, type(self).__name__)
        if "input_ids" not in given and "inputs_embeds" not in given:
            raise InputError(
                given="neither input_ids nor inputs_embeds", expected="one of input_ids and inputs_embeds"
            )
        return super().__call__(**given)

    # Weights of a new model ---------------------------------------------------------------------------------

    def post_init(self) -> None:
        """End a constructor: weights are made and get their initial values, but where a checkpoint gives them."""
        if not self.built:
            with values_follow():
                self.build(None)
        if not is_loading():
            self.init_weights()

    def init_weights(self) -> None:
        """Draw by the architecture's table, from a seed that TensorFlow's generator gives; other layers stay."""
        contents = contents_of(self)
        draw(contents, contents.variables, drawn_seed())

    # Keras' own serialization -------------------------------------------------------------------------------

    def get_config(self) -> dict[str, object]:
        """What the constructor takes, as Keras saves it."""
        own: dict[str, object] = {
            "name": self.name,
            "trainable": self.trainable,
            "dtype": keras.dtype_policies.serialize(self.dtype_policy),
            "config": json.loads(self.config.to_json_string(use_diff=False)),
        }
        if HEADS[head_of(self) or "masked-lm"].pooler == "optional":
            own["add_pooling_layer"] = getattr(self.base_model, "pooler", None) is not None
        return own

    @classmethod
    def from_config(
        cls, config: PretrainedConfig | Mapping[str, object], custom_objects: object = None, **kwargs: object
    ) -> Self:
        """Make a model with new weights, from a configuration or from what `get_config` returned.

        Args:
            config: a `RobertaConfig`, kept, not copied; or Keras' mapping.
            custom_objects: as Keras passes it; not needed.
            **kwargs: of the constructor, such as `dtype`.
        """
        if isinstance(config, PretrainedConfig):
            return cls(cast(RobertaConfig, config), **kwargs)
        own = dict(config)
        fields = own.pop("config")
        made = cls.config_class.from_dict(fields) if isinstance(fields, dict) else fields
        return cls(cast(RobertaConfig, made), **own, **kwargs)

    _from_config = from_config

    def get_build_config(self) -> None:
        """None: the constructor builds all, whatever the inputs will be."""

    def build_from_config(self, config: object) -> None:
        """Nothing: see `get_build_config`."""

    # Files --------------------------------------------------------------------------------------------------

    def save_pretrained(
        self,
        save_directory: str | os.PathLike[str],
        saved_model: bool = False,
        version: int = 1,
        push_to_hub: bool = False,
        signatures: Mapping[str, tf.TensorSpec] | None = None,
        max_shard_size: int | str = "5GB",
        create_pr: bool = False,
        safe_serialization: bool = True,
        token: str | bool | None = None,
        *,
        variant: str | None = None,
        **kwargs: object,
    ) -> list[str]:
        """Write weights (safetensors) and `config.json`, which every framework reads.

        Names and layout are PyTorch's. A tensor under several names is written once. A kill leaves the old
        checkpoint or the new one.

        Args:
            save_directory: made if it is not there.
            saved_model: write a SavedModel, too, into `saved_model/{version}` of the folder.
            version: of the SavedModel.
            push_to_hub: upload the files, too.
            signatures: of the SavedModel, see `export`.
            max_shard_size: bytes, or a text such as `"500MB"`; larger weights are split.
            create_pr: upload as a pull request.
            safe_serialization: False is refused: `tf_model.h5` is read, not written.
            token: of the upload.
            variant: for example `"fp16"` for `model.fp16.safetensors`.
            **kwargs: of the upload, see `push_to_hub`; `repo_id` is the folder's name by default.

        Returns:
            The names of the files written, but the SavedModel's.

        Raises:
            SaveFailed: the disk or the Hub refused.
            ArgumentError: what is refused above, or a size that is none.
        """
        refuse_other_formats(safe_serialization)
        given = {"token": token, "create_pr": create_pr or None}
        of_push = {name: value for name, value in given.items() if value is not None} | kwargs
        publication = self._publication(save_directory, push_to_hub, of_push)
        contents = contents_of(self)
        names = save_weights(
            save_directory,
            tensors_to_save(contents),
            config_json=config_to_save(self, contents).to_json_string(),
            max_shard_size=max_shard_size,
            variant=variant,
            others=generation_file(self.generation_config),
        )
        if saved_model:
            folder = Path(save_directory) / "saved_model" / str(version)
            self.export(folder, verbose=False, input_signature=signatures)
        if publication is not None:
            publication.upload(save_directory, names)
        return names

    def _card(self, repo_id: str) -> str | None:
        head = head_of(self)
        if head is None:
            return None
        pooler = getattr(self.base_model, "pooler", None) is not None
        return model_card(self.config, HEADS[head], repo_id, type(self).__name__, add_pooling_layer=pooler)

    def _obsolete(self, there: Collection[str], written: Collection[str]) -> list[str]:
        return obsolete_weights(there, written)


class TFRobertaPreTrainedModel(TFPreTrainedModel):
    """What RoBERTa's Keras models are made of, and models of one's own around them; see `TFPreTrainedModel`."""

    config_class: ClassVar[type[PretrainedConfig]] = RobertaConfig
    base_model_prefix: ClassVar[str] = "roberta"

    def encode(
        self,
        input_ids: tf.Tensor,
        attention_mask: tf.Tensor | None = None,
        token_type_ids: tf.Tensor | None = None,
        position_ids: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """What the backbone makes of each token: its last hidden states (B, L, W), without dropout."""
        out = self.roberta(
            input_ids,
            attention_mask=attention_mask,
            token_type_ids=token_type_ids,
            position_ids=position_ids,
            use_cache=False,
            output_attentions=False,
            output_hidden_states=False,
            return_dict=True,
            training=False,
        )
        return out.last_hidden_state
