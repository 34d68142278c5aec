"""The executable specification: the whole family's forward pass in NumPy, and the engine of the bare install.

Names are resolved on first use, so that importing a part (``numpy.engine``) does not import the rest.
"""

from robertakit.exports import lazily

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
__getattr__, __dir__, __all__ = lazily(
    __name__,
    {
        "robertakit.numpy.engine": ("Engine",),
        "robertakit.numpy.heads": [f"Roberta{suffix}" for suffix in _SUFFIXES],
        "robertakit.numpy.loading": ("load",),
        "robertakit.numpy.xlm_roberta": [f"XLMRoberta{suffix}" for suffix in _SUFFIXES],
    },
)
