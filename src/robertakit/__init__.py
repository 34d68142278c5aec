"""RoBERTa and XLM-RoBERTa: the documented API, complete, exact and strict.

Names are resolved on first use, so that ``import robertakit`` imports nothing else.
"""

import sys

from robertakit.exports import Aliases, lazily

# Type checkers take this for typing's, whose import would cost the time that this file saves.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from robertakit.auto import *  # noqa: F403
    from robertakit.configuration import *  # noqa: F403
    from robertakit.generation import *  # noqa: F403
    from robertakit.jax import *  # noqa: F403
    from robertakit.outputs import *  # noqa: F403
    from robertakit.seeding import *  # noqa: F403
    from robertakit.tasks import *  # noqa: F403
    from robertakit.tensorflow import *  # noqa: F403
    from robertakit.tokenizers import *  # noqa: F403
    from robertakit.torch import *  # noqa: F403
    from robertakit.training.collators import *  # noqa: F403

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
    ),
    "robertakit.configuration": (
        "AutoConfig",
        "CamembertConfig",
        "PretrainedConfig",
        "RobertaConfig",
        "XLMRobertaConfig",
    ),
    "robertakit.generation": (
        "GenerateBeamDecoderOnlyOutput",
        "GenerateDecoderOnlyOutput",
        "GenerationConfig",
    ),
    "robertakit.outputs": (
        "BaseModelOutput",
        "BaseModelOutputWithCrossAttentions",
        "BaseModelOutputWithPastAndCrossAttentions",
        "BaseModelOutputWithPooling",
        "BaseModelOutputWithPoolingAndCrossAttentions",
        "CausalLMOutputWithCrossAttentions",
        "FlaxBaseModelOutput",
        "FlaxBaseModelOutputWithPastAndCrossAttentions",
        "FlaxBaseModelOutputWithPooling",
        "FlaxBaseModelOutputWithPoolingAndCrossAttentions",
        "FlaxCausalLMOutputWithCrossAttentions",
        "FlaxMaskedLMOutput",
        "FlaxMultipleChoiceModelOutput",
        "FlaxQuestionAnsweringModelOutput",
        "FlaxSequenceClassifierOutput",
        "FlaxTokenClassifierOutput",
        "MaskedLMOutput",
        "ModelOutput",
        "MultipleChoiceModelOutput",
        "QuestionAnsweringModelOutput",
        "SequenceClassifierOutput",
        "TFBaseModelOutput",
        "TFBaseModelOutputWithCrossAttentions",
        "TFBaseModelOutputWithPastAndCrossAttentions",
        "TFBaseModelOutputWithPooling",
        "TFBaseModelOutputWithPoolingAndCrossAttentions",
        "TFCausalLMOutputWithCrossAttentions",
        "TFMaskedLMOutput",
        "TFMultipleChoiceModelOutput",
        "TFQuestionAnsweringModelOutput",
        "TFSequenceClassifierOutput",
        "TFTokenClassifierOutput",
        "TokenClassifierOutput",
    ),
    "robertakit.seeding": ("set_seed",),
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
    "robertakit.training.collators": (
        "DataCollatorForLanguageModeling",
        "DataCollatorForWholeWordMask",
        "DataCollatorWithPadding",
        "DefaultDataCollator",
        "default_data_collator",
    ),
}
#: The same for names that need an extra.
_OPTIONAL = {
    "robertakit.jax": (
        "FlaxGenerationMixin",
        "FlaxPreTrainedModel",
        "FlaxRobertaForCausalLM",
        "FlaxRobertaForMaskedLM",
        "FlaxRobertaForMultipleChoice",
        "FlaxRobertaForQuestionAnswering",
        "FlaxRobertaForSequenceClassification",
        "FlaxRobertaForTokenClassification",
        "FlaxRobertaModel",
        "FlaxRobertaPreTrainedModel",
        "FlaxXLMRobertaForCausalLM",
        "FlaxXLMRobertaForMaskedLM",
        "FlaxXLMRobertaForMultipleChoice",
        "FlaxXLMRobertaForQuestionAnswering",
        "FlaxXLMRobertaForSequenceClassification",
        "FlaxXLMRobertaForTokenClassification",
        "FlaxXLMRobertaModel",
        "FlaxXLMRobertaPreTrainedModel",
    ),
    "robertakit.tensorflow": (
        "TFGenerationMixin",
        "TFPreTrainedModel",
        "TFRobertaForCausalLM",
        "TFRobertaForMaskedLM",
        "TFRobertaForMultipleChoice",
        "TFRobertaForQuestionAnswering",
        "TFRobertaForSequenceClassification",
        "TFRobertaForTokenClassification",
        "TFRobertaMainLayer",
        "TFRobertaModel",
        "TFRobertaPreTrainedModel",
        "TFXLMRobertaForCausalLM",
        "TFXLMRobertaForMaskedLM",
        "TFXLMRobertaForMultipleChoice",
        "TFXLMRobertaForQuestionAnswering",
        "TFXLMRobertaForSequenceClassification",
        "TFXLMRobertaForTokenClassification",
        "TFXLMRobertaModel",
        "TFXLMRobertaPreTrainedModel",
    ),
    "robertakit.torch": (
        "DynamicCache",
        "GenerationMixin",
        "PreTrainedModel",
        "RobertaForCausalLM",
        "RobertaForMaskedLM",
        "RobertaForMultipleChoice",
        "RobertaForQuestionAnswering",
        "RobertaForSequenceClassification",
        "RobertaForTokenClassification",
        "RobertaModel",
        "RobertaPreTrainedModel",
        "XLMRobertaForCausalLM",
        "XLMRobertaForMaskedLM",
        "XLMRobertaForMultipleChoice",
        "XLMRobertaForQuestionAnswering",
        "XLMRobertaForSequenceClassification",
        "XLMRobertaForTokenClassification",
        "XLMRobertaModel",
        "XLMRobertaPreTrainedModel",
    ),
}
_SUBMODULES = (
    "aliases",
    "architecture",
    "auto",
    "batch",
    "calls",
    "checkpoints",
    "cli",
    "configuration",
    "embedded",
    "engine",
    "errors",
    "files",
    "generation",
    "jax",
    "logging",
    "numpy",
    "outputs",
    "seeding",
    "tasks",
    "tensorflow",
    "tokenizers",
    "torch",
    "training",
)
__getattr__, __dir__, __all__ = lazily(__name__, _HOMES, _SUBMODULES, _OPTIONAL)
if Aliases not in sys.meta_path:
    sys.meta_path.append(Aliases)
