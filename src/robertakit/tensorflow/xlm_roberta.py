"""XLM-RoBERTa in TensorFlow: RoBERTa's models with another configuration class, and nothing else."""

from robertakit.configuration import XLMRobertaConfig
from robertakit.tensorflow.encoder import TFRobertaModel
from robertakit.tensorflow.language_models import TFRobertaForCausalLM, TFRobertaForMaskedLM
from robertakit.tensorflow.pretrained import TFRobertaPreTrainedModel
from robertakit.tensorflow.sequence_models import (
    TFRobertaForMultipleChoice,
    TFRobertaForSequenceClassification,
)
from robertakit.tensorflow.token_models import TFRobertaForQuestionAnswering, TFRobertaForTokenClassification

__all__ = [
    "TFXLMRobertaForCausalLM",
    "TFXLMRobertaForMaskedLM",
    "TFXLMRobertaForMultipleChoice",
    "TFXLMRobertaForQuestionAnswering",
    "TFXLMRobertaForSequenceClassification",
    "TFXLMRobertaForTokenClassification",
    "TFXLMRobertaModel",
    "TFXLMRobertaPreTrainedModel",
]


class TFXLMRobertaPreTrainedModel(TFRobertaPreTrainedModel):
    """What a model of one's own is made of; see `TFRobertaPreTrainedModel`."""

    config_class = XLMRobertaConfig


class TFXLMRobertaModel(TFRobertaModel, TFXLMRobertaPreTrainedModel):
    """The bare model; see `TFRobertaModel`."""


class TFXLMRobertaForCausalLM(TFRobertaForCausalLM, TFXLMRobertaPreTrainedModel):
    """Predicts the next word; see `TFRobertaForCausalLM`."""


class TFXLMRobertaForMaskedLM(TFRobertaForMaskedLM, TFXLMRobertaPreTrainedModel):
    """Predicts masked words; see `TFRobertaForMaskedLM`."""


class TFXLMRobertaForSequenceClassification(TFRobertaForSequenceClassification, TFXLMRobertaPreTrainedModel):
    """Classes of a text; see `TFRobertaForSequenceClassification`."""


class TFXLMRobertaForMultipleChoice(TFRobertaForMultipleChoice, TFXLMRobertaPreTrainedModel):
    """The best of several choices; see `TFRobertaForMultipleChoice`."""


class TFXLMRobertaForTokenClassification(TFRobertaForTokenClassification, TFXLMRobertaPreTrainedModel):
    """A class for each token; see `TFRobertaForTokenClassification`."""


class TFXLMRobertaForQuestionAnswering(TFRobertaForQuestionAnswering, TFXLMRobertaPreTrainedModel):
    """Where an answer lies; see `TFRobertaForQuestionAnswering`."""
