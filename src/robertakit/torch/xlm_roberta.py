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


class XLMRobertaModel(RobertaModel):
    """The bare model; see `RobertaModel`."""

    config_class = XLMRobertaConfig


class XLMRobertaForCausalLM(RobertaForCausalLM):
    """Predicts the next word; see `RobertaForCausalLM`."""

    config_class = XLMRobertaConfig


class XLMRobertaForMaskedLM(RobertaForMaskedLM):
    """Predicts masked words; see `RobertaForMaskedLM`."""

    config_class = XLMRobertaConfig


class XLMRobertaForSequenceClassification(RobertaForSequenceClassification):
    """Classes of a text; see `RobertaForSequenceClassification`."""

    config_class = XLMRobertaConfig


class XLMRobertaForMultipleChoice(RobertaForMultipleChoice):
    """The best of several choices; see `RobertaForMultipleChoice`."""

    config_class = XLMRobertaConfig


class XLMRobertaForTokenClassification(RobertaForTokenClassification):
    """A class for each token; see `RobertaForTokenClassification`."""

    config_class = XLMRobertaConfig


class XLMRobertaForQuestionAnswering(RobertaForQuestionAnswering):
    """Where an answer lies; see `RobertaForQuestionAnswering`."""

    config_class = XLMRobertaConfig
