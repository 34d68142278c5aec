"""Modules that people import from by the reference's paths, each another name for parts of ours.

Code that is moved here by changing its import goes on working: ``from robertakit.modeling_outputs import …``,
``from robertakit.models.roberta.modeling_roberta import …``. Such a module holds nothing; a name is looked up in its
homes when it is asked for.
"""

import importlib
import sys
from collections.abc import Callable
from importlib.abc import Loader
from importlib.machinery import ModuleSpec
from types import ModuleType

__all__ = ["ALIASES", "spec_of"]

_TORCH = (
    "robertakit.torch",
    "robertakit.torch.pretrained",
    "robertakit.torch.encoder",
    "robertakit.torch.attention",
    "robertakit.torch.language_models",
    "robertakit.torch.sequence_models",
    "robertakit.torch.token_models",
    "robertakit.torch.inputs",
    "robertakit.torch.activations",
    "robertakit.outputs",
    "robertakit.configuration",
)
_TENSORFLOW = (
    "robertakit.tensorflow",
    "robertakit.tensorflow.pretrained",
    "robertakit.tensorflow.encoder",
    "robertakit.tensorflow.attention",
    "robertakit.tensorflow.embeddings",
    "robertakit.tensorflow.language_models",
    "robertakit.tensorflow.sequence_models",
    "robertakit.tensorflow.token_models",
    "robertakit.tensorflow.activations",
    "robertakit.outputs",
    "robertakit.configuration",
)
_JAX = (
    "robertakit.jax",
    "robertakit.jax.pretrained",
    "robertakit.jax.encoder",
    "robertakit.jax.attention",
    "robertakit.jax.embeddings",
    "robertakit.jax.language_models",
    "robertakit.jax.sequence_models",
    "robertakit.jax.token_models",
    "robertakit.jax.activations",
    "robertakit.outputs",
    "robertakit.configuration",
)
_TOKENIZERS = (
    "robertakit.tokenizers",
    "robertakit.tokenizers.padding",
    "robertakit.tokenizers.truncation",
)
_GENERAL = ("robertakit.outputs", "robertakit.tokenizers.padding", "robertakit")
_FAMILIES = ("roberta", "xlm_roberta")

#: Module below ``robertakit`` -> the modules whose public names it has, the first that has one giving it.
ALIASES: dict[str, tuple[str, ...]] = {
    "activations": ("robertakit.torch.activations",),
    "activations_tf": ("robertakit.tensorflow.activations",),
    "cache_utils": ("robertakit.torch",),
    "configuration_utils": ("robertakit.configuration",),
    "data": ("robertakit.training.collators",),
    "data.data_collator": ("robertakit.training.collators",),
    "file_utils": _GENERAL,
    "modeling_flax_outputs": ("robertakit.outputs",),
    "modeling_flax_utils": ("robertakit.jax.pretrained",),
    "modeling_outputs": ("robertakit.outputs",),
    "modeling_tf_outputs": ("robertakit.outputs",),
    "modeling_tf_utils": ("robertakit.tensorflow.pretrained",),
    "modeling_utils": ("robertakit.torch.pretrained",),
    "models": ("robertakit",),
    "models.auto": ("robertakit",),
    "models.auto.configuration_auto": ("robertakit.configuration",),
    "models.auto.modeling_auto": ("robertakit.auto",),
    "models.auto.modeling_flax_auto": ("robertakit.auto",),
    "models.auto.modeling_tf_auto": ("robertakit.auto",),
    "models.auto.tokenization_auto": _TOKENIZERS,
    "pipelines": ("robertakit.tasks",),
    "tokenization_utils": _TOKENIZERS,
    "tokenization_utils_base": _TOKENIZERS,
    "tokenization_utils_fast": _TOKENIZERS,
    "trainer_utils": ("robertakit.seeding",),
    "utils": _GENERAL,
    "utils.generic": _GENERAL,
    "utils.logging": ("robertakit.logging",),
    **{f"models.{family}": ("robertakit", *_TORCH) for family in _FAMILIES},
    **{f"models.{family}.configuration_{family}": ("robertakit.configuration",) for family in _FAMILIES},
    **{f"models.{family}.modeling_{family}": _TORCH for family in _FAMILIES},
    **{f"models.{family}.modeling_flax_{family}": _JAX for family in _FAMILIES},
    **{f"models.{family}.modeling_tf_{family}": _TENSORFLOW for family in _FAMILIES},
    **{f"models.{family}.tokenization_{family}": _TOKENIZERS for family in _FAMILIES},
    **{f"models.{family}.tokenization_{family}_fast": _TOKENIZERS for family in _FAMILIES},
    # as the reference had it before its version 4
    **{f"modeling_{family}": _TORCH for family in _FAMILIES},
    **{f"modeling_flax_{family}": _JAX for family in _FAMILIES},
    **{f"modeling_tf_{family}": _TENSORFLOW for family in _FAMILIES},
    **{f"configuration_{family}": ("robertakit.configuration",) for family in _FAMILIES},
    **{f"tokenization_{family}": _TOKENIZERS for family in _FAMILIES},
}
_RENAMED = {
    "ACT2FN": "ACTIVATIONS",
    "create_position_ids_from_input_ids": "position_ids",
    "get_activation": "activation",
    "get_tf_activation": "activation",
}


def spec_of(name: str) -> ModuleSpec | None:
    """Return what Python's import asks a finder for; None where the name is no alias.

    Args:
        name: in full, for example ``"robertakit.modeling_outputs"``.

    Example:
        >>> from robertakit.models.roberta.configuration_roberta import RobertaConfig
        >>> RobertaConfig.__module__
        'robertakit.configuration'
    """
    alias = name.removeprefix("robertakit.")
    if alias not in ALIASES:
        return None
    package = any(other.startswith(f"{alias}.") for other in ALIASES)
    return ModuleSpec(name, _Loader(), origin="another name", is_package=package)


class _Loader(Loader):
    """Makes a module that looks its names up in its homes."""

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return None  # an ordinary, empty one

    def exec_module(self, module: ModuleType) -> None:
        name = module.__name__
        homes = ALIASES[name.removeprefix("robertakit.")]
        vars(module).update(
            __doc__=f"Other names for parts of {', '.join(homes)}.",
            __getattr__=_finder(name, homes),
            __dir__=lambda: sorted({*vars(module), *_public(homes)}),
        )


def _finder(module: str, homes: tuple[str, ...]) -> Callable[[str], object]:
    def find(name: str) -> object:
        if f"{module}.{name}".removeprefix("robertakit.") in ALIASES:
            return importlib.import_module(f"{module}.{name}")
        if name == "__all__":
            return sorted(_public(homes))
        # XLM-R's parts are RoBERTa's.
        for known in (name, _RENAMED.get(name, name), name.replace("XLMRoberta", "Roberta")):
            for home in () if known.startswith("__") else map(importlib.import_module, homes):
                if hasattr(home, known):
                    value: object = getattr(home, known)
                    setattr(sys.modules[module], name, value)
                    return value
        raise AttributeError(f"module {module!r} has no attribute {name!r}")

    return find


def _public(homes: tuple[str, ...]) -> set[str]:
    return {name for home in map(importlib.import_module, homes) for name in getattr(home, "__all__", ())}
