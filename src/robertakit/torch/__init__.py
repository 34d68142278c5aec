"""The models in PyTorch. This part: the encoder and the masked-LM head; nothing here knows a tokenizer."""

from robertakit.errors import require

require("torch", extra="torch", needed_for="robertakit.torch")

from robertakit.torch.pretrained import RobertaForMaskedLM, RobertaModel, RobertaPreTrainedModel  # noqa: E402

__all__ = ["RobertaForMaskedLM", "RobertaModel", "RobertaPreTrainedModel"]
