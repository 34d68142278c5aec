"""The registry of model classes: ``AutoModel…``, ``TFAutoModel…`` and ``FlaxAutoModel…``.

Configurations and tokenizers choose their classes themselves; which engine answers: ``engine_choice.py``.
"""

import copy
import importlib
import warnings
from pathlib import Path
from typing import ClassVar, Protocol, cast

from robertakit.architecture import model_class_name
from robertakit.configuration import PretrainedConfig, take_config
from robertakit.errors import ArgumentError, require
from robertakit.files import refuse_remote_code

__all__ = [
    "AutoModel",
    "AutoModelForCausalLM",
    "AutoModelForMaskedLM",
    "AutoModelForMultipleChoice",
    "AutoModelForPreTraining",
    "AutoModelForQuestionAnswering",
    "AutoModelForSequenceClassification",
    "AutoModelForTextEncoding",
    "AutoModelForTokenClassification",
    "AutoModelWithLMHead",
    "FlaxAutoModel",
    "FlaxAutoModelForCausalLM",
    "FlaxAutoModelForMaskedLM",
    "FlaxAutoModelForMultipleChoice",
    "FlaxAutoModelForPreTraining",
    "FlaxAutoModelForQuestionAnswering",
    "FlaxAutoModelForSequenceClassification",
    "FlaxAutoModelForTokenClassification",
    "TFAutoModel",
    "TFAutoModelForCausalLM",
    "TFAutoModelForMaskedLM",
    "TFAutoModelForMultipleChoice",
    "TFAutoModelForPreTraining",
    "TFAutoModelForQuestionAnswering",
    "TFAutoModelForSequenceClassification",
    "TFAutoModelForTextEncoding",
    "TFAutoModelForTokenClassification",
    "TFAutoModelWithLMHead",
]


class _ModelClass(Protocol):
    """What a model class of a framework offers."""

    def __call__(self, config: PretrainedConfig, **arguments: object) -> object: ...

    def from_pretrained(self, name_or_path: str | Path, *inputs: object, **arguments: object) -> object: ...

    def _from_config(self, config: PretrainedConfig, **arguments: object) -> object: ...


class _AutoModel:
    """Chooses the class of a checkpoint by its configuration; never an instance itself."""

    framework: ClassVar[str] = "torch"
    head: ClassVar[str]
    _registered: ClassVar[dict[type[PretrainedConfig], _ModelClass]]

    def __init_subclass__(cls) -> None:
        cls._registered = {}

    def __init__(self) -> None:
        raise ArgumentError(
            given=f"{type(self).__name__}()",
            expected=f"{type(self).__name__}.from_pretrained(name) or .from_config(config)",
        )

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | Path, *model_args: object, **kwargs: object
    ) -> object:
        """Load a checkpoint into the class that its configuration names.

        Args:
            pretrained_model_name_or_path: folder, or name on the Hub.
            *model_args: as the class takes them.
            **kwargs: those of the class's ``from_pretrained`` (``dtype``, ``device_map``, …); ``config`` may be given;
                fields of the configuration where it is not.

        Raises:
            DependencyError: the framework is not installed.
            CheckpointError: the checkpoint is not there, or not whole.
        """
        config = take_config(pretrained_model_name_or_path, kwargs)
        chosen = cls._model_class(config)
        return chosen.from_pretrained(pretrained_model_name_or_path, *model_args, config=config, **kwargs)

    @classmethod
    def from_config(cls, config: PretrainedConfig, **kwargs: object) -> object:
        """Make a model with new weights of the class that a configuration names.

        Args:
            config: the configuration; not changed.
            **kwargs: ``dtype`` (or ``torch_dtype``), ``attn_implementation``, and arguments of the class.

        Raises:
            DependencyError: the framework is not installed.
            ConfigError: the configuration makes no model.
        """
        refuse_remote_code(kwargs.pop("trust_remote_code", None))
        return cls._model_class(config)._from_config(copy.deepcopy(config), **kwargs)

    @classmethod
    def register(
        cls, config_class: type[PretrainedConfig], model_class: object, exist_ok: bool = False
    ) -> None:
        """Let this class make models of your own for configurations of your own.

        Args:
            config_class: a configuration class; one with a ``model_type`` of its own is found in files by it.
            model_class: a class with ``from_pretrained`` whose ``config_class``, if it has one, is that.
            exist_ok: replace a class that is registered already.

        Raises:
            ArgumentError: the two do not belong together, or the configuration has a class.
        """
        own = getattr(model_class, "config_class", None)
        if own is not None and own is not config_class:
            raise ArgumentError(
                given=f"a model class with the config_class {own.__name__}", expected=config_class.__name__
            )
        known = config_class in cls._registered or config_class.model_type in ("roberta", "xlm-roberta")
        if known and not exist_ok:
            raise ArgumentError(
                given=f"{config_class.__name__}, which {cls.__name__} knows", hint="pass exist_ok=True"
            )
        cls._registered[config_class] = cast(_ModelClass, model_class)

    @classmethod
    def _model_class(cls, config: PretrainedConfig) -> _ModelClass:
        if type(config) in cls._registered:
            return cls._registered[type(config)]
        name = model_class_name(config.model_type, cls.head, cls.framework)
        require(cls.framework, extra=cls.framework, needed_for=cls.__name__)
        return cast(_ModelClass, getattr(importlib.import_module(f"robertakit.{cls.framework}"), name))


class AutoModel(_AutoModel):
    """The bare model."""

    head = "model"


class AutoModelForTextEncoding(_AutoModel):
    """The bare model, by the name that the reference has for encoders of text."""

    head = "model"


class AutoModelForCausalLM(_AutoModel):
    """A model that predicts the next token."""

    head = "causal-lm"


class AutoModelForMaskedLM(_AutoModel):
    """A model that predicts masked tokens."""

    head = "masked-lm"


class AutoModelForPreTraining(_AutoModel):
    """The head that the family is pre-trained with, masked tokens."""

    head = "masked-lm"


class AutoModelForSequenceClassification(_AutoModel):
    """A model that labels a text or a pair of texts."""

    head = "sequence-classification"


class AutoModelForMultipleChoice(_AutoModel):
    """A model that picks one of several choices."""

    head = "multiple-choice"


class AutoModelForTokenClassification(_AutoModel):
    """A model that labels each token."""

    head = "token-classification"


class AutoModelForQuestionAnswering(_AutoModel):
    """A model that finds an answer in a context."""

    head = "question-answering"


class AutoModelWithLMHead(_AutoModel):
    """The old name of `AutoModelForMaskedLM`, for this family; it warns, as in the reference."""

    head = "masked-lm"

    @classmethod
    def _model_class(cls, config: PretrainedConfig) -> _ModelClass:
        old, new = cls.__name__, cls.__name__.removesuffix("WithLMHead")
        warnings.warn(
            f"{old} is an old name: take {new}ForMaskedLM, or {new}ForCausalLM for a decoder",
            FutureWarning,
            stacklevel=3,
        )
        return super()._model_class(config)


class TFAutoModel(AutoModel):
    """`AutoModel` in TensorFlow."""

    framework = "tensorflow"


class TFAutoModelForTextEncoding(AutoModelForTextEncoding):
    """`AutoModelForTextEncoding` in TensorFlow."""

    framework = "tensorflow"


class TFAutoModelForCausalLM(AutoModelForCausalLM):
    """`AutoModelForCausalLM` in TensorFlow."""

    framework = "tensorflow"


class TFAutoModelForMaskedLM(AutoModelForMaskedLM):
    """`AutoModelForMaskedLM` in TensorFlow."""

    framework = "tensorflow"


class TFAutoModelForPreTraining(AutoModelForPreTraining):
    """`AutoModelForPreTraining` in TensorFlow."""

    framework = "tensorflow"


class TFAutoModelForSequenceClassification(AutoModelForSequenceClassification):
    """`AutoModelForSequenceClassification` in TensorFlow."""

    framework = "tensorflow"


class TFAutoModelForMultipleChoice(AutoModelForMultipleChoice):
    """`AutoModelForMultipleChoice` in TensorFlow."""

    framework = "tensorflow"


class TFAutoModelForTokenClassification(AutoModelForTokenClassification):
    """`AutoModelForTokenClassification` in TensorFlow."""

    framework = "tensorflow"


class TFAutoModelForQuestionAnswering(AutoModelForQuestionAnswering):
    """`AutoModelForQuestionAnswering` in TensorFlow."""

    framework = "tensorflow"


class TFAutoModelWithLMHead(AutoModelWithLMHead):
    """`AutoModelWithLMHead` in TensorFlow."""

    framework = "tensorflow"


class FlaxAutoModel(AutoModel):
    """`AutoModel` in JAX."""

    framework = "jax"


class FlaxAutoModelForCausalLM(AutoModelForCausalLM):
    """`AutoModelForCausalLM` in JAX."""

    framework = "jax"


class FlaxAutoModelForMaskedLM(AutoModelForMaskedLM):
    """`AutoModelForMaskedLM` in JAX."""

    framework = "jax"


class FlaxAutoModelForPreTraining(AutoModelForPreTraining):
    """`AutoModelForPreTraining` in JAX."""

    framework = "jax"


class FlaxAutoModelForSequenceClassification(AutoModelForSequenceClassification):
    """`AutoModelForSequenceClassification` in JAX."""

    framework = "jax"


class FlaxAutoModelForMultipleChoice(AutoModelForMultipleChoice):
    """`AutoModelForMultipleChoice` in JAX."""

    framework = "jax"


class FlaxAutoModelForTokenClassification(AutoModelForTokenClassification):
    """`AutoModelForTokenClassification` in JAX."""

    framework = "jax"


class FlaxAutoModelForQuestionAnswering(AutoModelForQuestionAnswering):
    """`AutoModelForQuestionAnswering` in JAX."""

    framework = "jax"
