"""The only registry: which class a framework has for a head, and which engine answers.

``AutoModel…`` classes and the choice of an engine; configurations and tokenizers choose their classes
themselves.
"""

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar, Protocol, Self, cast, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from robertakit.architecture import HEADS, Head
from robertakit.batch import Batch
from robertakit.configuration import AutoConfig, PretrainedConfig
from robertakit.errors import ArgumentError, DependencyError, InputError, listed, require
from robertakit.files import take_where

__all__ = [
    "AutoModel",
    "AutoModelForCausalLM",
    "AutoModelForMaskedLM",
    "AutoModelForMultipleChoice",
    "AutoModelForPreTraining",
    "AutoModelForQuestionAnswering",
    "AutoModelForSequenceClassification",
    "AutoModelForTokenClassification",
    "ENGINES",
    "Engine",
    "Limits",
    "choose_engine",
    "device_name",
    "engine_of",
    "load_engine",
    "model_class_name",
]


class Limits(Protocol):
    """What an engine takes."""

    @property
    def tokens(self) -> int:
        """Tokens of a batch that suit it."""

    @property
    def device(self) -> str:
        """Where it computes."""


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


#: Name of an engine -> the package that has it, and the extra that installs its framework (None: always
#: there).
ENGINES: dict[str, tuple[str, str | None]] = {
    "numpy": ("robertakit.numpy", None),
    "torch": ("robertakit.torch", "torch"),
}
_FRAMEWORKS = {"np": "numpy", "pt": "torch", "tf": "tensorflow", "flax": "jax"}
_OF_MODEL = ("dtype", "torch_dtype")
_FAMILIES = {"roberta": "Roberta", "xlm-roberta": "XLMRoberta", "camembert": "Camembert"}


def device_name(device: object) -> str:
    """Return a device as its framework's name for it.

    Args:
        device: None, -1 or ``"cpu"`` for the processor; an integer from 0 for a CUDA device; a name such as
            ``"cuda:1"`` or ``"mps"``, or an object that prints as one.

    Example:
        >>> device_name(-1), device_name(0), device_name("cuda")
        ('cpu', 'cuda:0', 'cuda')
    """
    if device is None:
        return "cpu"
    text = str(device).strip()
    if text.lstrip("-").isdigit():
        number = int(text)
        if number < -1:
            raise InputError(given=f"device={device!r}", expected="-1 for the processor, or an index from 0")
        return "cpu" if number == -1 else f"cuda:{number}"
    if not text or not text.replace(":", "").isalnum():
        raise InputError(given=f"device={device!r}", expected="'cpu', 'cuda', 'cuda:1', 'mps', or an index")
    return text


def choose_engine(engine: str | None = None, framework: str | None = None, device: object = None) -> str:
    """Return the name of the engine that answers: the one asked for, else what the device asks for, else
    NumPy's.

    Args:
        engine: ``"numpy"`` or ``"torch"``.
        framework: the reference's word for the same: ``"np"``, ``"pt"``.
        device: see `device_name`; anything but the processor asks for PyTorch.

    Raises:
        ArgumentError: ``engine`` and ``framework`` disagree.
        InputError: no such engine.

    Example:
        >>> choose_engine(), choose_engine(framework="pt"), choose_engine(device=0)
        ('numpy', 'torch', 'torch')
    """
    asked = None if framework is None else _FRAMEWORKS.get(framework, framework)
    if engine is not None and asked is not None and engine != asked:
        raise ArgumentError(
            given=f"engine={engine!r} and framework={framework!r}", expected="one of them, or two that agree"
        )
    chosen = engine or asked or ("numpy" if device_name(device) == "cpu" else "torch")
    if chosen not in ENGINES:
        raise InputError(
            given=f"the engine {chosen!r}", expected=f"one of {listed(ENGINES)}, which this version has"
        )
    return chosen


def _engine_class(name: str) -> "type[_Loadable]":
    package, extra = ENGINES[name]
    if extra is not None:
        require(name, extra=extra, needed_for=f"the {name} engine")
    module = importlib.import_module(package)
    if not hasattr(module, "Engine"):
        raise DependencyError(
            given=f"{package} has no engine in this version", hint="leave out engine, framework and device"
        )
    return cast("type[_Loadable]", module.Engine)


class _Loadable(Engine, Protocol):
    def __init__(self, model: object) -> None: ...

    @classmethod
    def from_pretrained(cls, name_or_path: str | Path, head: str, **arguments: object) -> Self: ...


def load_engine(
    name_or_path: str | Path,
    head: str,
    *,
    engine: str | None = None,
    framework: str | None = None,
    device: object = None,
    arguments: Mapping[str, object] = MappingProxyType({}),
) -> Engine:
    """Load a checkpoint into the engine that `choose_engine` names.

    Args:
        name_or_path: folder, or name on the Hub.
        head: a key of ``architecture.HEADS``.
        engine: see `choose_engine`.
        framework: see `choose_engine`.
        device: see `device_name`.
        arguments: those of the engine's ``from_pretrained``: ``dtype``, ``revision``, ``token``, ``strict``,
            …

    Raises:
        DependencyError: the engine's framework is not installed.
        InputError: the engine does not run on that device.
    """
    name, where = choose_engine(engine, framework, device), device_name(device)
    if name == "numpy":
        if where != "cpu":
            raise InputError(
                given=f"device={where!r} for the NumPy engine",
                expected="'cpu'",
                hint="for a GPU pass engine='torch', which pip install 'robertakit[torch]' brings",
            )
        return _engine_class(name).from_pretrained(name_or_path, head, **arguments)
    return _engine_class(name).from_pretrained(name_or_path, head, device=where, **arguments)


def engine_of(model: object) -> Engine:
    """Return the engine that runs a model which is already there; an engine is returned as it is."""
    if isinstance(model, Engine):
        return model
    homes = {kind.__module__ for kind in type(model).__mro__}
    for name, (package, _) in ENGINES.items():
        if any(home == package or home.startswith(f"{package}.") for home in homes):
            return _engine_class(name)(model)
    raise InputError(
        given=f"a model of type {type(model).__name__}",
        expected="a folder, a name on the Hub, or a model of robertakit",
    )


def model_class_name(model_type: str, head: Head, framework: str = "torch") -> str:
    """Return the documented class name of a head.

    Args:
        model_type: the configuration's.
        head: one of ``architecture.HEADS``.
        framework: ``"torch"``, ``"tensorflow"`` or ``"jax"``.

    Example:
        >>> model_class_name("xlm-roberta", HEADS["masked-lm"], "tensorflow")
        'TFXLMRobertaForMaskedLM'
    """
    if model_type not in _FAMILIES:
        raise InputError(given=f"model_type {model_type!r}", expected=f"one of {listed(_FAMILIES)}")
    return (
        {"torch": "", "tensorflow": "TF", "jax": "Flax"}[framework]
        + _FAMILIES[model_type]
        + head.class_suffix
    )


class _ModelClass(Protocol):
    """What a model class of a framework offers."""

    def __call__(self, config: PretrainedConfig, **arguments: object) -> object: ...

    def from_pretrained(self, name_or_path: str | Path, *inputs: object, **arguments: object) -> object: ...


class _AutoModel:
    """Chooses the class of a checkpoint by its configuration; never an instance itself."""

    framework: ClassVar[str] = "torch"
    head: ClassVar[str]

    def __init__(self) -> None:
        raise ArgumentError(
            given=f"{type(self).__name__}()",
            expected=f"{type(self).__name__}.from_pretrained(name) or .from_config(config)",
        )

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | Path, *inputs: object, **arguments: object
    ) -> object:
        """Load a checkpoint into the class that its configuration names.

        Args:
            pretrained_model_name_or_path: folder, or name on the Hub.
            inputs: as the class takes them.
            arguments: those of the class's ``from_pretrained``; ``config`` may be given.

        Raises:
            DependencyError: the framework is not installed.
            CheckpointError: the checkpoint is not there, or not whole.
        """
        given = arguments.pop("config", None)
        if isinstance(given, PretrainedConfig):
            config = given
        else:
            # Fields of the configuration may be given as arguments (num_labels=3), as in the reference.
            source = pretrained_model_name_or_path if given is None else str(given)
            # Where the files are concerns the weights too, and a dtype is the model's although a field is called so.
            where = take_where(arguments)
            kept = {name: arguments.pop(name) for name in _OF_MODEL if name in arguments}
            config, rest = AutoConfig.from_pretrained(source, return_unused_kwargs=True, **arguments, **where)
            arguments = {**rest, **kept, **where}
        chosen = cls._model_class(config)
        if not hasattr(chosen, "from_pretrained"):
            raise DependencyError(
                given=f"{config.model_type} models are not loaded in {cls.framework} in this version",
                hint="robertakit.numpy.load loads every head",
            )
        return chosen.from_pretrained(pretrained_model_name_or_path, *inputs, config=config, **arguments)

    @classmethod
    def from_config(cls, config: PretrainedConfig, **arguments: object) -> object:
        """Make a model with new weights of the class that a configuration names."""
        return cls._model_class(config)(config, **arguments)

    @classmethod
    def _model_class(cls, config: PretrainedConfig) -> _ModelClass:
        name = model_class_name(config.model_type, HEADS[cls.head], cls.framework)
        require(cls.framework, extra=cls.framework, needed_for=cls.__name__)
        module = importlib.import_module(f"robertakit.{cls.framework}")
        if not hasattr(module, name):
            raise DependencyError(
                given=f"{name} is not part of this version", hint="robertakit.numpy.load runs every head"
            )
        return cast(_ModelClass, getattr(module, name))


class AutoModel(_AutoModel):
    """The bare model."""

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
