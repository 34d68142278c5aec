"""RoBERTa and XLM-RoBERTa: the documented API, complete, exact and strict.

Names are resolved on first use, so that ``import robertakit`` imports nothing else.
"""

TYPE_CHECKING = (
    False  # type checkers take it for typing's, whose import would cost what this file is here to save
)
if TYPE_CHECKING:
    from robertakit.auto import *  # noqa: F403
    from robertakit.configuration import *  # noqa: F403
    from robertakit.errors import *  # noqa: F403
    from robertakit.outputs import *  # noqa: F403
    from robertakit.tasks import *  # noqa: F403

__version__ = "0.1.0"

#: Where each public name lives.
_HOMES = {
    "robertakit.auto": (
        "AutoModel",
        "AutoModelForCausalLM",
        "AutoModelForMaskedLM",
        "AutoModelForMultipleChoice",
        "AutoModelForPreTraining",
        "AutoModelForQuestionAnswering",
        "AutoModelForSequenceClassification",
        "AutoModelForTokenClassification",
    ),
    "robertakit.configuration": (
        "AutoConfig",
        "CamembertConfig",
        "PretrainedConfig",
        "RobertaConfig",
        "XLMRobertaConfig",
    ),
    "robertakit.tasks": ("FillMaskPipeline", "Pipeline", "PipelineException", "pipeline"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}
__all__ = sorted(_HOME_OF)  # noqa: PLE0605


def __getattr__(name: str) -> object:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'robertakit' has no attribute {name!r}")
    import importlib

    value = getattr(importlib.import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
