"""XLM-RoBERTa's seven models: RoBERTa's, with another configuration class."""

from robertakit.configuration import XLMRobertaConfig
from robertakit.numpy import heads

__all__ = [
    "XLMRobertaForCausalLM",
    "XLMRobertaForMaskedLM",
    "XLMRobertaForMultipleChoice",
    "XLMRobertaForQuestionAnswering",
    "XLMRobertaForSequenceClassification",
    "XLMRobertaForTokenClassification",
    "XLMRobertaModel",
]


class XLMRobertaModel(heads.RobertaModel):  # noqa: D101
    config_class = XLMRobertaConfig


class XLMRobertaForCausalLM(heads.RobertaForCausalLM):  # noqa: D101
    config_class = XLMRobertaConfig


class XLMRobertaForMaskedLM(heads.RobertaForMaskedLM):  # noqa: D101
    config_class = XLMRobertaConfig


class XLMRobertaForSequenceClassification(heads.RobertaForSequenceClassification):  # noqa: D101
    config_class = XLMRobertaConfig


class XLMRobertaForMultipleChoice(heads.RobertaForMultipleChoice):  # noqa: D101
    config_class = XLMRobertaConfig


class XLMRobertaForTokenClassification(heads.RobertaForTokenClassification):  # noqa: D101
    config_class = XLMRobertaConfig


class XLMRobertaForQuestionAnswering(heads.RobertaForQuestionAnswering):  # noqa: D101
    config_class = XLMRobertaConfig
