"""RoBERTa and XLM-RoBERTa: the documented API, complete, exact and strict.

Names are resolved on first use, so that ``import robertakit`` imports nothing else.
"""

from robertakit.exports import lazily

# Type checkers take this for typing's, whose import would cost the time that this file saves.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from robertakit.auto import *  # noqa: F403
    from robertakit.configuration import *  # noqa: F403
    from robertakit.outputs import *  # noqa: F403
    from robertakit.tasks import *  # noqa: F403
    from robertakit.tokenizers import *  # noqa: F403
    from robertakit.torch import RobertaForMaskedLM as RobertaForMaskedLM
    from robertakit.torch import RobertaModel as RobertaModel
    from robertakit.torch import RobertaPreTrainedModel as RobertaPreTrainedModel
    from robertakit.torch import XLMRobertaForMaskedLM as XLMRobertaForMaskedLM
    from robertakit.torch import XLMRobertaModel as XLMRobertaModel

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
    "robertakit.outputs": (
        "BaseModelOutput",
        "BaseModelOutputWithCrossAttentions",
        "BaseModelOutputWithPastAndCrossAttentions",
        "BaseModelOutputWithPooling",
        "BaseModelOutputWithPoolingAndCrossAttentions",
        "CausalLMOutputWithCrossAttentions",
        "MaskedLMOutput",
        "ModelOutput",
        "MultipleChoiceModelOutput",
        "QuestionAnsweringModelOutput",
        "SequenceClassifierOutput",
        "TokenClassifierOutput",
    ),
    "robertakit.tasks": ("FillMaskPipeline", "Pipeline", "PipelineException", "pipeline"),
    "robertakit.tokenizers": (
        "AddedToken",
        "AutoTokenizer",
        "BatchEncoding",
        "PreTrainedTokenizer",
        "PreTrainedTokenizerBase",
        "PreTrainedTokenizerFast",
        "RobertaTokenizer",
        "RobertaTokenizerFast",
        "XLMRobertaTokenizer",
        "XLMRobertaTokenizerFast",
    ),
}
#: The same for names that need an extra.
_OPTIONAL = {
    "robertakit.torch": (
        "RobertaForMaskedLM",
        "RobertaModel",
        "RobertaPreTrainedModel",
        "XLMRobertaForMaskedLM",
        "XLMRobertaModel",
    ),
}
_SUBMODULES = (
    "architecture",
    "auto",
    "batch",
    "checkpoints",
    "cli",
    "configuration",
    "embedded",
    "errors",
    "files",
    "numpy",
    "outputs",
    "tasks",
    "tokenizers",
    "torch",
)
__getattr__, __dir__, __all__ = lazily(__name__, _HOMES, _SUBMODULES, _OPTIONAL)
