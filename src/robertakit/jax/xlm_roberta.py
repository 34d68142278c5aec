"""XLM-RoBERTa in JAX: RoBERTa's models with another configuration class, and nothing else."""

from robertakit.configuration import XLMRobertaConfig
from robertakit.jax.encoder import FlaxRobertaModel
from robertakit.jax.language_models import FlaxRobertaForCausalLM, FlaxRobertaForMaskedLM
from robertakit.jax.pretrained import FlaxRobertaPreTrainedModel
from robertakit.jax.sequence_models import FlaxRobertaForMultipleChoice, FlaxRobertaForSequenceClassification
from robertakit.jax.token_models import FlaxRobertaForQuestionAnswering, FlaxRobertaForTokenClassification

__all__ = [
    "FlaxXLMRobertaForCausalLM",
    "FlaxXLMRobertaForMaskedLM",
    "FlaxXLMRobertaForMultipleChoice",
    "FlaxXLMRobertaForQuestionAnswering",
    "FlaxXLMRobertaForSequenceClassification",
    "FlaxXLMRobertaForTokenClassification",
    "FlaxXLMRobertaModel",
    "FlaxXLMRobertaPreTrainedModel",
]


class FlaxXLMRobertaPreTrainedModel(FlaxRobertaPreTrainedModel):
    """What a model of one's own is made of; see `FlaxRobertaPreTrainedModel`."""

    config_class = XLMRobertaConfig


class FlaxXLMRobertaModel(FlaxRobertaModel, FlaxXLMRobertaPreTrainedModel):
    """The bare model; see `FlaxRobertaModel`."""


class FlaxXLMRobertaForCausalLM(FlaxRobertaForCausalLM, FlaxXLMRobertaPreTrainedModel):
    """Predicts the next word; see `FlaxRobertaForCausalLM`."""


class FlaxXLMRobertaForMaskedLM(FlaxRobertaForMaskedLM, FlaxXLMRobertaPreTrainedModel):
    """Predicts masked words; see `FlaxRobertaForMaskedLM`."""


class FlaxXLMRobertaForSequenceClassification(
    FlaxRobertaForSequenceClassification, FlaxXLMRobertaPreTrainedModel
):
    """Classes of a text; see `FlaxRobertaForSequenceClassification`."""


class FlaxXLMRobertaForMultipleChoice(FlaxRobertaForMultipleChoice, FlaxXLMRobertaPreTrainedModel):
    """The best of several choices; see `FlaxRobertaForMultipleChoice`."""


class FlaxXLMRobertaForTokenClassification(FlaxRobertaForTokenClassification, FlaxXLMRobertaPreTrainedModel):
    """A class for each token; see `FlaxRobertaForTokenClassification`."""


class FlaxXLMRobertaForQuestionAnswering(FlaxRobertaForQuestionAnswering, FlaxXLMRobertaPreTrainedModel):
    """Where an answer lies; see `FlaxRobertaForQuestionAnswering`."""
