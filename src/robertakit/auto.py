"""The only registry: which class a framework has for a head, and which engine answers.

``AutoModel…`` classes and the choice of an engine; configurations and tokenizers choose their classes
themselves.
"""

import copy
import importlib
import importlib.util
import warnings
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar, Protocol, Self, cast

from robertakit.architecture import count_parameters, model_class_name
from robertakit.configuration import PretrainedConfig, take_config
from robertakit.engine import Engine
from robertakit.errors import ArgumentError, InputError, listed, require
from robertakit.field_values import dtype_name
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
    "AUTOMATIC_MAPS",
    "ENGINES",
    "LARGEST_ON_NUMPY",
    "choose_engine",
    "device_name",
    "engine_of",
    "load_engine",
]

#: Name of an engine -> the package that has it, and the extra that installs its framework (None: always
#: there).
ENGINES: dict[str, tuple[str, str | None]] = {
    "numpy": ("robertakit.numpy", None),
    "torch": ("robertakit.torch", "torch"),
}
#: The largest model, in parameters, that NumPy runs where PyTorch is there too. It is a little above the model in the
#: package, which answers in less time than the import of PyTorch takes (measured: docs/decisions.md).
LARGEST_ON_NUMPY = 8_000_000
_FRAMEWORKS = {"np": "numpy", "pt": "torch", "tf": "tensorflow", "flax": "jax"}
#: The dtypes that NumPy computes in, and what only PyTorch's loading has a use for.
_OF_NUMPY = (None, "auto", "float32", "float64")
_OF_TORCH = {"attn_implementation", "device_map", "low_cpu_mem_usage"}
#: Device maps that leave the choice to the machine; the processor is where NumPy would be put.
AUTOMATIC_MAPS = ("auto", "balanced", "balanced_low_0", "sequential")


def device_name(device: object) -> str:
    """Return a device as its framework's name for it.

    Args:
        device: None or ``"auto"`` for what the engine finds best; -1 or ``"cpu"`` for the processor; an integer
            from 0 for a CUDA device; a name such as ``"cuda:1"`` or ``"mps"``, or an object that prints as one.

    Example:
        >>> device_name(-1), device_name(0), device_name("cuda"), device_name(None)
        ('cpu', 'cuda:0', 'cuda', 'auto')
    """
    if device is None:
        return "auto"
    text = str(device).strip()
    if text.lstrip("-").isdigit():
        number = int(text)
        if number < -1:
            raise InputError(given=f"device={device!r}", expected="-1 for the processor, or an index from 0")
        return "cpu" if number == -1 else f"cuda:{number}"
    if not text or not text.replace(":", "").isalnum():
        raise InputError(given=f"device={device!r}", expected="'cpu', 'cuda', 'cuda:1', 'mps', or an index")
    return text


def choose_engine(
    engine: str | None = None,
    framework: str | None = None,
    device: object = None,
    dtype: object = None,
    parameters: int = 0,
) -> str:
    """Return the name of the engine that answers.

    It is the one that was asked for; else PyTorch's, where only it can do what was asked for (a device beside the
    processor, half precision), or where it is installed and has something to gain: a model of more than
    `LARGEST_ON_NUMPY` parameters, or ``device="auto"``; else NumPy's. Nothing is imported to find out.

    Args:
        engine: ``"numpy"`` or ``"torch"``.
        framework: the reference's word for the same: ``"np"``, ``"pt"``.
        device: see `device_name`.
        dtype: of the computation.
        parameters: of the model.

    Raises:
        ArgumentError: ``engine`` and ``framework`` disagree.
        InputError: no such engine.

    Example:
        >>> choose_engine(), choose_engine(framework="pt"), choose_engine(device=0), choose_engine(dtype="float16")
        ('numpy', 'torch', 'torch', 'torch')
    """
    asked = None if framework is None else _FRAMEWORKS.get(framework, framework)
    if engine is not None and asked is not None and engine != asked:
        raise ArgumentError(
            given=f"engine={engine!r} and framework={framework!r}", expected="one of them, or two that agree"
        )
    chosen = engine or asked
    if chosen is None:
        only_torch = device_name(device) not in ("cpu", "auto") or dtype_name(dtype) not in _OF_NUMPY
        gains = parameters > LARGEST_ON_NUMPY or device == "auto"
        chosen = "torch" if only_torch or (gains and _installed("torch")) else "numpy"
    if chosen not in ENGINES:
        raise InputError(
            given=f"the engine {chosen!r}", expected=f"one of {listed(ENGINES)}, which this version has"
        )
    return chosen


def _installed(framework: str) -> bool:
    """Whether a framework could be imported, which takes seconds and is not done for this."""
    return importlib.util.find_spec(framework) is not None


def _engine_class(name: str) -> "type[_Loadable]":
    package, extra = ENGINES[name]
    if extra is not None:
        require(name, extra=extra, needed_for=f"the {name} engine")
    return cast("type[_Loadable]", importlib.import_module(package).Engine)


class _Loadable(Engine, Protocol):
    def __init__(self, model: object, **arguments: object) -> None: ...

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
    given = dict(arguments)
    device_map, parameters = given.get("device_map"), 0
    if engine is None and framework is None:
        if isinstance(device_map, Mapping) or (given.keys() & _OF_TORCH and _installed("torch")):
            engine = "torch"
        elif _installed("torch"):
            parameters = count_parameters(take_config(name_or_path, dict(given)), head)
    dtype = given.get("dtype", given.get("torch_dtype"))
    name = choose_engine(engine, framework, device, dtype, parameters)
    if name == "numpy" and isinstance(device_map, str) and device_map in AUTOMATIC_MAPS:
        del given["device_map"]
    return _engine_class(name).from_pretrained(name_or_path, head, **given, **_place(name, device))


def _place(engine: str, device: object) -> dict[str, object]:
    """Return how the engine is told its device; NumPy's has one only."""
    where = device_name(device)
    if engine != "numpy":
        return {"device": where}
    if where not in ("cpu", "auto"):
        raise InputError(
            given=f"device={where!r} for the NumPy engine",
            expected="'cpu'",
            hint="for a GPU pass engine='torch', which pip install 'robertakit[torch]' brings",
        )
    return {}


def engine_of(
    model: object, engine: str | None = None, framework: str | None = None, device: object = None
) -> Engine:
    """Return the engine that runs a model which is already there; an engine is returned as it is.

    Args:
        model: a model of robertakit, or an engine.
        engine: see `choose_engine`; it must be the model's.
        framework: likewise.
        device: where the model is moved; None leaves it where it is.

    Raises:
        InputError: something else, or a device that is not there.
        ArgumentError: another engine than the model's, or an engine with another device.
    """
    homes = {kind.__module__ for kind in type(model).__mro__}
    names = [n for n, (home, _) in ENGINES.items() if any(f"{it}.".startswith(f"{home}.") for it in homes)]
    if (engine or framework) and choose_engine(engine, framework) not in names:
        raise ArgumentError(
            given=f"engine {choose_engine(engine, framework)!r} for a model of type {type(model).__name__}",
            expected=f"its own, {listed(names)}" if names else "none",
        )
    if isinstance(model, Engine):
        where = model.limits.device
        if device is not None and device_name(device) not in ("auto", where, where.removesuffix(":0")):
            raise ArgumentError(
                given=f"device={device!r} with an engine on {where!r}",
                expected="the engine's own device, or none",
            )
        return model
    if not names:
        raise InputError(
            given=f"a model of type {type(model).__name__}",
            expected="a folder, a name on the Hub, or a model of robertakit",
        )
    return _engine_class(names[0])(model, **({} if device is None else _place(names[0], device)))


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
        warnings.warn(
            "AutoModelWithLMHead is an old name: take AutoModelForMaskedLM, or AutoModelForCausalLM for a decoder",
            FutureWarning,
            stacklevel=3,
        )
        return super()._model_class(config)
