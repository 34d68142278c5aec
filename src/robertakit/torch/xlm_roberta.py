"""XLM-RoBERTa in PyTorch: RoBERTa's models with another configuration class, and nothing else."""

from robertakit.configuration import XLMRobertaConfig
from robertakit.torch.encoder import RobertaModel
from robertakit.torch.language_models import RobertaForCausalLM, RobertaForMaskedLM
from robertakit.torch.pretrained import RobertaPreTrainedModel
from robertakit.torch.sequence_models import RobertaForMultipleChoice, RobertaForSequenceClassification
from robertakit.torch.token_models import RobertaForQuestionAnswering, RobertaForTokenClassification

__all__ = [
    "XLMRobertaForCausalLM",
    "XLMRobertaForMaskedLM",
    "XLMRobertaForMultipleChoice",
    "XLMRobertaForQuestionAnswering",
    "XLMRobertaForSequenceClassification",
    "XLMRobertaForTokenClassification",
    "XLMRobertaModel",
    "XLMRobertaPreTrainedModel",
]


class XLMRobertaPreTrainedModel(RobertaPreTrainedModel):
    """What a model of one's own is made of; see `RobertaPreTrainedModel`."""

    config_class = XLMRobertaConfig


class XLMRobertaModel(RobertaModel, XLMRobertaPreTrainedModel):
    """The bare model; see `RobertaModel`."""


class XLMRobertaForCausalLM(RobertaForCausalLM, XLMRobertaPreTrainedModel):
    """Predicts the next word; see `RobertaForCausalLM`."""


class XLMRobertaForMaskedLM(RobertaForMaskedLM, XLMRobertaPreTrainedModel):
    """Predicts masked words; see `RobertaForMaskedLM`."""


class XLMRobertaForSequenceClassification(RobertaForSequenceClassification, XLMRobertaPreTrainedModel):
    """Classes of a text; see `RobertaForSequenceClassification`."""


class XLMRobertaForMultipleChoice(RobertaForMultipleChoice, XLMRobertaPreTrainedModel):
    """The best of several choices; see `RobertaForMultipleChoice`."""


class XLMRobertaForTokenClassification(RobertaForTokenClassification, XLMRobertaPreTrainedModel):
    """A class for each token; see `RobertaForTokenClassification`."""


class XLMRobertaForQuestionAnswering(RobertaForQuestionAnswering, XLMRobertaPreTrainedModel):
    """Where an answer lies; see `RobertaForQuestionAnswering`."""
