"""The executable specification: the whole family's forward pass in NumPy, and the engine of the bare install.

Names are resolved on first use, so that importing a part (``numpy.engine``) does not import the rest.
"""

import importlib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from robertakit.numpy.engine import Engine as Engine
    from robertakit.numpy.heads import *  # noqa: F403
    from robertakit.numpy.loading import load as load
    from robertakit.numpy.xlm_roberta import *  # noqa: F403

_SUFFIXES = (
    "Model",
    "ForCausalLM",
    "ForMaskedLM",
    "ForSequenceClassification",
    "ForMultipleChoice",
    "ForTokenClassification",
    "ForQuestionAnswering",
)
_HOMES = {
    **{f"Roberta{suffix}": "heads" for suffix in _SUFFIXES},
    **{f"XLMRoberta{suffix}": "xlm_roberta" for suffix in _SUFFIXES},
    "Engine": "engine",
    "load": "loading",
}
__all__ = sorted(_HOMES)  # noqa: PLE0605


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'robertakit.numpy' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"robertakit.numpy.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
