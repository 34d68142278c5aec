"""The models in PyTorch. This part: the encoder and the masked-LM head; nothing here knows a tokenizer."""

from robertakit.torch.pretrained import RobertaForMaskedLM, RobertaModel, RobertaPreTrainedModel

__all__ = ["RobertaForMaskedLM", "RobertaModel", "RobertaPreTrainedModel"]
