"""The models in PyTorch: seven heads of both families, and the engine; nothing here knows a tokenizer."""

from robertakit.errors import require

require("torch", extra="torch", needed_for="robertakit.torch")

from robertakit.torch.cache import DynamicCache  # noqa: E402
from robertakit.torch.encoder import RobertaModel  # noqa: E402
from robertakit.torch.engine import Engine as Engine  # noqa: E402
from robertakit.torch.generation import GenerationMixin  # noqa: E402
from robertakit.torch.language_models import RobertaForCausalLM, RobertaForMaskedLM  # noqa: E402
from robertakit.torch.output_trees import register_outputs  # noqa: E402
from robertakit.torch.pretrained import PreTrainedModel, RobertaPreTrainedModel  # noqa: E402
from robertakit.torch.sequence_models import RobertaForMultipleChoice, RobertaForSequenceClassification  # noqa: E402
from robertakit.torch.token_models import RobertaForQuestionAnswering, RobertaForTokenClassification  # noqa: E402
from robertakit.torch.xlm_roberta import (  # noqa: E402
    XLMRobertaForCausalLM,
    XLMRobertaForMaskedLM,
    XLMRobertaForMultipleChoice,
    XLMRobertaForQuestionAnswering,
    XLMRobertaForSequenceClassification,
    XLMRobertaForTokenClassification,
    XLMRobertaModel,
    XLMRobertaPreTrainedModel,
)

__all__ = [
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
]

register_outputs()
