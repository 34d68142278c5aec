"""XLM-RoBERTa in PyTorch: RoBERTa's models with another configuration class, and nothing else."""

from robertakit.configuration import XLMRobertaConfig
from robertakit.torch.encoder import RobertaModel
from robertakit.torch.heads import RobertaForMaskedLM

__all__ = ["XLMRobertaForMaskedLM", "XLMRobertaModel"]


class XLMRobertaModel(RobertaModel):
    """The encoder; see `RobertaModel`."""

    config_class = XLMRobertaConfig


class XLMRobertaForMaskedLM(RobertaForMaskedLM):
    """The encoder with the language-modelling head; see `RobertaForMaskedLM`."""

    config_class = XLMRobertaConfig
